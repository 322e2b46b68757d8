"""
What is measured: a row, its contestants, and how much of it is wanted.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from agent_client.errors import CodecageError

# One measurement of a case, in the unit of its row.
Act = Callable[[str], float]
# A row without cases has this one.
ONLY: Final = ""


class Role(StrEnum):
    """
    Whose figure it is.
    """

    OURS = "ours"
    FLOOR = "floor"
    PEER = "peer"


class Better(StrEnum):
    """
    Which figure is the better one.
    """

    LOWER = "lower"
    HIGHER = "higher"


class AimOf(StrEnum):
    """
    What an aim is about: the figure in its unit, or its ratio to the floor.
    """

    FIGURE = "figure"
    RATIO = "ratio"


class Failed(CodecageError):
    """
    A contestant did not do what was asked, or gave another result than it must.
    """


class Missing(CodecageError):
    """
    A contestant is not to be had on this machine; the text says what is missing.
    """


@dataclass(frozen=True, slots=True)
class Contestant:
    """
    Somebody who takes part in a row.

    `begin` makes it ready, on a stack that undoes it, and gives its act; it raises Missing where
    it cannot be. `floor` is the name of the contestant of the same row that it is compared with,
    `aim` the figure that is wanted of it, `note` what a reader of the table has to know.
    """

    name: str
    role: Role
    begin: Callable[[ExitStack], Act]
    floor: str = ""
    aim: float | None = None
    note: str = ""
    aim_of: AimOf = AimOf.FIGURE


@dataclass(frozen=True, slots=True)
class Effort:
    """
    How much is measured: `rounds` in each of `passes`, but of each contestant no more than fills
    `seconds` in a pass, and at least `least`. `points` is how many of a curve's points are
    measured, of which the last ones take minutes, and
    `amount` is the share of the bytes and files that are moved (0 to 1); `packages` is whether
    images with more than the standard library take part, which take seconds to boot.
    """

    name: str
    passes: int
    rounds: int
    seconds: float
    least: int
    warm: int
    points: int
    amount: float
    peers: bool
    packages: bool = True


LONG: Final = Effort("long", 3, 400, 10.0, 5, 3, 99, 1.0, peers=True)
NORMAL: Final = Effort("normal", 2, 150, 1.2, 2, 2, 7, 1.0, peers=True)
SHORT: Final = Effort("short", 1, 20, 0.25, 1, 1, 3, 0.1, peers=False, packages=False)


@dataclass(frozen=True, slots=True)
class Setting:
    """
    What a run was asked for; `kit` is the directory of M3ToolEval, `peers` of the peers' parts,
    `recorded` a file of recorded runs.
    """

    effort: Effort
    kit: Path | None
    peers: Path | None
    recorded: Path | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """
    One line of the plan: `unit` is of all its figures, `cases` are measured one after another.
    """

    name: str
    what: str
    unit: str
    better: Better
    contestants: Callable[[Setting, ExitStack], Sequence[Contestant]]
    cases: tuple[str, ...] = (ONLY,)


@dataclass(frozen=True, slots=True)
class Curve:
    """
    How a cost grows: `measure` gives some figures at one point, in `unit`.
    """

    name: str
    what: str
    along: str
    unit: str
    points: tuple[int, ...]
    measure: Callable[[Setting, ExitStack], Callable[[int], list[float]]]
