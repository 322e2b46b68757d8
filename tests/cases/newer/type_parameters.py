# Classes, functions and aliases take type parameters.
# Needs Python 3.12.
type Pair[T] = tuple[T, T]


class Stack[T: int]:
    def __init__(self, *items: T) -> None:
        self.items = list(items)


def first[T](items: list[T]) -> T:
    return items[0]


print(
    first([3, 4]),
    Stack(1, 2).items,
    Pair.__value__,
    Pair.__type_params__,
    Stack.__type_params__[0].__bound__,
)
# Writes:
# 3 [1, 2] tuple[T, T] (T,) <class 'int'>
