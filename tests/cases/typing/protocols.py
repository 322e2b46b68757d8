# Protocols check structure at run time.
from typing import Protocol, runtime_checkable


@runtime_checkable
class Sized(Protocol):
    def __len__(self) -> int: ...


@runtime_checkable
class Named(Protocol):
    name: str


class Dog:
    name = "Rex"


print(
    isinstance([], Sized),
    isinstance(5, Sized),
    isinstance(Dog(), Named),
    isinstance("x", Named),
    issubclass(list, Sized),
)
Sized()
