# __del__ runs when the last reference goes, and gc breaks cycles.
import gc
import weakref

log = []


class Node:
    def __init__(self, name):
        self.name = name

    def __del__(self):
        log.append(self.name)


n = Node("plain")
n = None
print(log)
a, b = Node("a"), Node("b")
a.other, b.other = b, a
watch = weakref.ref(a)
del a, b
gc.collect()
print(sorted(log), watch())
