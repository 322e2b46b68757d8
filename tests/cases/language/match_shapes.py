# Structural matching takes apart sequences, mappings, classes and guards.
from dataclasses import dataclass


@dataclass
class Move:
    dx: int
    dy: int


def describe(command):
    match command:
        case Move(dx=0, dy=0):
            return "stay"
        case Move(dx, dy) if dx == dy:
            return f"diagonal {dx}"
        case Move():
            return "move"
        case {"op": "add", "args": [first, *rest], **more}:
            return f"add {first} and {len(rest)} more, {sorted(more)}"
        case ["go", ("north" | "south") as where, *_]:
            return f"go {where}"
        case str(text) | bytes(text):
            return f"text {text!r}"
        case int() | float() as number:
            return f"number {number}"
        case None:
            return "nothing"
        case _:
            return "unknown"


for c in [
    Move(0, 0),
    Move(2, 2),
    Move(1, 2),
    {"op": "add", "args": [1, 2, 3], "id": 7},
    ["go", "south", 1],
    "hi",
    b"x",
    2.5,
    True,
    None,
    ["go"],
    {},
]:
    print(describe(c))
