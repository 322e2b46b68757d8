# A mapping by the abstract base class gets the rest for free.
from collections import UserDict, UserList
from collections.abc import MutableMapping, Sequence


class Lower(MutableMapping):
    def __init__(self, **data):
        self.data = {k.lower(): v for k, v in data.items()}

    def __getitem__(self, key):
        return self.data[key.lower()]

    def __setitem__(self, key, value):
        self.data[key.lower()] = value

    def __delitem__(self, key):
        del self.data[key.lower()]

    def __iter__(self):
        return iter(self.data)

    def __len__(self):
        return len(self.data)


m = Lower(Accept="a", HOST="b")
m.update(CONTENT=1)
print(
    dict(m),
    m["host"],
    m.pop("ACCEPT"),
    "content" in m,
    m.get("x", 0),
    m.setdefault("New", 5),
    isinstance([], Sequence),
)


class Upper(UserDict):
    def __setitem__(self, key, value):
        super().__setitem__(key.upper(), value)


print(Upper(a=1), UserList([3, 1]) + [2])


class Half(Sequence):
    def __len__(self):
        return 1


Half()
