# namedtuple has fields, defaults, replacement and dictionaries.
from collections import namedtuple
from typing import NamedTuple

Point = namedtuple("Point", "x y z", defaults=[0])
p = Point(1, 2)
print(
    p,
    p.z,
    p._replace(x=9),
    p._asdict(),
    Point._fields,
    Point._make("abc"),
    p == (1, 2, 0),
    p[0] + p.y,
)


class Employee(NamedTuple):
    name: str
    id: int = 3

    def tag(self):
        return f"{self.name}#{self.id}"


print(
    Employee("Ann"), Employee("Bob", 7).tag(), sorted([Employee("b", 1), Employee("a", 2)])[0].name
)
p.x = 5
