# Matching compares with dotted names, and binds bare ones.
import enum


class Color(enum.Enum):
    RED = 1
    BLUE = 2


def kind(value):
    match value:
        case Color.RED:
            return "red"
        case Color() as other:
            return f"other {other.name}"
        case 0 | 0.0:
            return "zero"
        case -1:
            return "minus one"
        case complex(real=r, imag=i):
            return f"complex {r} {i}"
        case (a, b):
            return f"pair {a} {b}"
        case []:
            return "empty"
    return "no match"


print(
    [
        kind(v)
        for v in [Color.RED, Color.BLUE, 0, 0.0, False, -1, 2j, (1, 2), [3, 4], [], "ab", set()]
    ]
)
