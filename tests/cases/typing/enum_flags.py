# Flags combine, iterate and test; IntEnum and StrEnum are their values.
import enum


class Perm(enum.Flag):
    R = enum.auto()
    W = enum.auto()
    X = enum.auto()
    RW = R | W


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 5


class Name(enum.StrEnum):
    A = enum.auto()
    B = "bee"


p = Perm.R | Perm.X
print(p, Perm.R in p, bool(p & Perm.W), ~p, list(p), p.value, Perm.RW, Perm(0), Perm(3) is Perm.RW)
print(
    Level.HIGH > 3,
    Level.LOW + 1,
    f"{Level.HIGH}",
    sorted(Level, reverse=True)[0].name,
    Name.A == "a",
    f"{Name.B}",
    Name("bee"),
    Name.A.upper(),
)


@enum.unique
class Bad(enum.Enum):
    X = 1
    Y = 1
