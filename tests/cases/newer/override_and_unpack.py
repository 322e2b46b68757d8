# override marks methods, Unpack types keyword arguments.
# Needs Python 3.12.
from typing import TypedDict, Unpack, override


class Options(TypedDict, total=False):
    width: int


class Base:
    def size(self):
        return 1


class Child(Base):
    @override
    def size(self):
        return 2


def draw(**options: Unpack[Options]):
    return options


print(Child().size(), Child.size.__override__, draw(width=3))
# Writes:
# 2 True {'width': 3}
