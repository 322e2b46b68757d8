# Annotations are kept and resolved, and do not check anything.
from typing import get_type_hints


def scale(values: list[float], by: "int" = 2) -> dict[str, float]:
    return {str(v): v * by for v in values}


class Row:
    id: int
    name: "str | None" = None


print(get_type_hints(scale))
print(get_type_hints(Row), scale("ab"))
limit: int = "not an int"
print(limit, __annotations__ if False else "kept")
