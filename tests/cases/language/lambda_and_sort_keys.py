# Sorting by several keys, stable, reversed, with lambdas and attrgetter.
from operator import attrgetter, itemgetter
from types import SimpleNamespace as NS

people = [
    NS(name="Ann", age=30, city="Oslo"),
    NS(name="bob", age=25, city="Rome"),
    NS(name="Cy", age=30, city="Bern"),
]
print([p.name for p in sorted(people, key=lambda p: (-p.age, p.name.lower()))])
print([p.name for p in sorted(people, key=attrgetter("city"))])
print(sorted({"b": 2, "a": 2, "c": 1}.items(), key=itemgetter(1), reverse=True))
print(
    sorted("banana apple Cherry".split(), key=str.casefold),
    min(people, key=lambda p: len(p.name)).name,
)
print(sorted([3, 1, 2], key=lambda x: -x), sorted([True, 0, 2.5, -1]))
