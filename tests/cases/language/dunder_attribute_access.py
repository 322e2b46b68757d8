# __getattr__, __setattr__, __dir__ and __delattr__ make a record of a mapping.
class Record:
    def __init__(self, **data):
        object.__setattr__(self, "_data", data)

    def __getattr__(self, name):
        try:
            return self._data[name]
        except KeyError:
            raise AttributeError(f"record has no {name!r}") from None

    def __setattr__(self, name, value):
        self._data[name] = value

    def __delattr__(self, name):
        del self._data[name]

    def __dir__(self):
        return sorted(self._data)


r = Record(a=1, b=2)
r.c = r.a + r.b
del r.a
print(dir(r), r.c, hasattr(r, "a"), getattr(r, "z", "none"))
r.a
