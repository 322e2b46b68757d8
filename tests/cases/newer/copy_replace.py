# copy.replace changes fields of what knows __replace__.
# Needs Python 3.13.
import copy
from collections import namedtuple
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class P:
    x: int
    y: int


print(
    copy.replace(P(1, 2), y=5),
    copy.replace(namedtuple("N", "a b")(1, 2), a=3),
    copy.replace(date(2024, 1, 2), month=6),
)
# Writes:
# P(x=1, y=5) N(a=3, b=2) 2024-06-02
