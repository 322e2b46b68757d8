# Type parameters have defaults; read-only items and TypeIs are there.
# Needs Python 3.13.
from typing import ReadOnly, TypedDict, TypeIs
import warnings


class Box[T = int]:
    pass


class Row(TypedDict):
    id: ReadOnly[int]


def is_text(x: object) -> TypeIs[str]:
    return isinstance(x, str)


@warnings.deprecated("use new")
def old():
    return 1


with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    old()
print(Box.__type_params__[0].__default__, Row.__readonly_keys__, is_text(""), seen[0].message)
# Writes:
# <class 'int'> frozenset({'id'}) True use new
