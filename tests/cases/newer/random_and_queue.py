# Queues shut down, and a generator closes with a value.
# Needs Python 3.13.
import queue


def total():
    n = 0
    try:
        while True:
            n += yield
    except GeneratorExit:
        return n


g = total()
next(g)
g.send(2)
g.send(5)
q = queue.Queue()
q.put(1)
q.shutdown()
print(g.close(), q.get())
try:
    q.get()
except queue.ShutDown:
    print("shut down")
# Writes:
# 7 1
# shut down
