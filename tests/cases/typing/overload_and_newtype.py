# NewType, Final, overload, ParamSpec and Self do nothing at run time but name things.
from typing import (
    Final,
    NewType,
    ParamSpec,
    Self,
    TypeVar,
    assert_type,
    final,
    get_overloads,
    overload,
    reveal_type,
)

UserId = NewType("UserId", int)
LIMIT: Final = 10
P, T = ParamSpec("P"), TypeVar("T", bound=int)


@overload
def f(x: int) -> int: ...
@overload
def f(x: str) -> str: ...
def f(x):
    return x


@final
class Builder:
    def __init__(self) -> None:
        self.parts: list[str] = []

    def add(self, part: str) -> Self:
        self.parts.append(part)
        return self


print(
    UserId(5) + 1,
    UserId.__name__,
    P.__name__,
    T,
    T.__bound__,
    len(get_overloads(f)),
    Builder().add("a").add("b").parts,
    Builder.__final__,
    assert_type(3, int),
)
