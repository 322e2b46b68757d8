# Types written down: unions, literals, callables, annotated, typed dictionaries.
from typing import (
    Annotated,
    Any,
    Callable,
    Literal,
    Optional,
    TypedDict,
    Union,
    cast,
    get_args,
    get_origin,
)


class Movie(TypedDict, total=False):
    title: str
    year: int


print(
    get_args(Union[int, str]),
    get_origin(list[int]),
    get_args(dict[str, int]),
    Literal["a", 1],
    Callable[[int], str],
    get_args(Annotated[int, "unit"]),
    Optional[int] == Union[int, None],
)
print(
    Movie(title="x", year=1),
    Movie.__annotations__.keys(),
    Movie.__optional_keys__ == {"title", "year"},
    cast(int, "not"),
    list[int] == list[int],
    Any,
    (int | None) == Optional[int],
)
isinstance([], list[int])
