# Locks, events and local data work in one thread.
import threading

lock, rlock = threading.Lock(), threading.RLock()
with lock, rlock, rlock:
    print(lock.locked(), lock.acquire(blocking=False))
event = threading.Event()
event.set()
local = threading.local()
local.x = 1
print(
    event.wait(),
    local.x,
    threading.current_thread().name,
    threading.active_count(),
    threading.main_thread() is threading.current_thread(),
    threading.Semaphore(2).acquire(),
)
lock.release()
