# A context manager sees the exception, may swallow it, and exits in reverse order.
class Section:
    def __init__(self, name, swallow=()):
        self.name, self.swallow = name, swallow

    def __enter__(self):
        print("enter", self.name)
        return self

    def __exit__(self, kind, error, trace):
        print("exit", self.name, kind and kind.__name__, error, trace is not None)
        return kind is not None and issubclass(kind, self.swallow)


with Section("outer", KeyError) as outer, Section("inner"):
    print("in", outer.name)
    {}["missing"]
    print("never")
print("after")
