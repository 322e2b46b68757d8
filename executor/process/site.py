"""
A box while it is being made: what it is to be, and what one step leaves for the next.
"""

from dataclasses import dataclass, field

from executor.linux.cgroups import WayIn
from executor.linux.filters import Prepared
from executor.process.conversation import Inside
from executor.process.executables import Executables
from executor.process.plan import BoxPlan, Level


@dataclass(slots=True)
class Site:
    """
    What the steps work on, of one box.

    `way_in` is that into its control group, if it goes there itself. `trees` are mounts that are
    not attached yet, by the guest's path, of which `files` are those of one file; `devices` are
    those of the kernel's devices; `answering` the FUSE devices in the order of the plan's served
    mounts.
    """

    plan: BoxPlan
    level: Level
    program: Prepared
    landlock_abi: int
    inside: Inside
    executables: Executables
    way_in: WayIn | None = None
    places: tuple[tuple[str, str], ...] = ()
    trees: list[tuple[str, int]] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    devices: list[tuple[str, int]] = field(default_factory=list)
    answering: list[int] = field(default_factory=list)
    data_in_use: int = 0
    root: int = -1
