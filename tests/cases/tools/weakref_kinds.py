# Weak references, dictionaries, sets and finalizers let go.
import gc
import weakref


class Thing:
    def __init__(self, n):
        self.n = n

    def hello(self):
        return self.n


a, b = Thing(1), Thing(2)
cache = weakref.WeakValueDictionary(a=a, b=b)
keys = weakref.WeakKeyDictionary({a: "x"})
group = weakref.WeakSet([a, b])
method = weakref.WeakMethod(a.hello)
weakref.finalize(a, print, "finalized")
print(sorted(cache), len(keys), len(group), method()())
del a
gc.collect()
print(sorted(cache), len(keys), len(group), method())
p = weakref.proxy(b)
print(p.n)
del b
gc.collect()
p.n
