# Queues order what they hold, and a scheduler runs by time.
import queue
import sched

q = queue.PriorityQueue()
for item in [(2, "b"), (1, "a"), (3, "c")]:
    q.put(item)
print([q.get() for _ in range(3)], q.empty())
lifo = queue.LifoQueue(maxsize=2)
lifo.put(1)
lifo.put(2)
try:
    lifo.put_nowait(3)
except queue.Full as error:
    print("full", repr(error))
print(lifo.get(), lifo.qsize())
now, log = [0], []
s = sched.scheduler(lambda: now[0], lambda d: now.__setitem__(0, now[0] + d))
for delay, name in [(3, "late"), (1, "early"), (2, "middle")]:
    s.enter(delay, 1, log.append, (name,))
s.run()
print(log, now)
queue.Queue().get_nowait()
