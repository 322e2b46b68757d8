"""
What one attack is: its number in the design's table, its program, and what is known of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from box_range import Host

BLOCKED = frozenset({"EPERM", "EACCES", "ENOENT", "ENOSYS", "EROFS", "EAFNOSUPPORT"})


class Control(Enum):
    """
    What the attack does without a box, as root.
    """

    REACHES = "it is seen to reach its target"
    ASSUMED = "it would disturb this machine, so that it works is taken as given"
    NEVER = "it reaches nothing on this kernel either; only the refusal is seen"


@dataclass(frozen=True, slots=True)
class Attack:
    """
    One row: `answers` are the outcomes that count as blocked; `plan` changes the box's plan.
    """

    number: int
    act: Callable[[Host], str]
    answers: frozenset[str] = BLOCKED
    control: Control = Control.REACHES
    plan: dict[str, object] = field(default_factory=dict)


def only(*answers: str) -> frozenset[str]:
    return frozenset(answers)
