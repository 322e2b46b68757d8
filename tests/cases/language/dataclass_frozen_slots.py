# A frozen, slotted dataclass is hashable, refuses changes and has no __dict__.
from dataclasses import FrozenInstanceError, dataclass, KW_ONLY


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float = 0.0
    _: KW_ONLY
    label: str = ""


p = Point(1, 2, label="a")
print(p, {p: "here"}[Point(1, 2, label="a")], hasattr(p, "__dict__"), Point.__slots__)
try:
    p.x = 5
except FrozenInstanceError as error:
    print(type(error).__mro__[1].__name__, error)
