# A generic container works with subscripts at run time.
from typing import Generic, TypeVar

T = TypeVar("T")


class Stack(Generic[T]):
    def __init__(self) -> None:
        self.items: list[T] = []

    def push(self, item: T) -> "Stack[T]":
        self.items.append(item)
        return self

    def pop(self) -> T:
        return self.items.pop()


s = Stack[int]().push(1).push(2)
print(s.pop(), s.items, Stack[int], s.__orig_class__, Stack.__parameters__)
s.pop()
s.pop()
