"""
How a build or a lock says where it is.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from executor.images.cache import tree_bytes
from executor.images.process import Tick


class Step(Enum):
    """
    The steps of a build in their order; the value is what a person reads.
    """

    WAIT = "wait for another build"
    WHEELS = "fetch and check wheels"
    FETCH = "fetch the guest and its tools"
    TRANSLATE = "translate to current WebAssembly"
    COMPILE = "compile to machine code"
    NATIVE = "compile native parts of packages"
    BYTECODE = "boot the guest and prepare its library"
    TRIAL = "boot the image once"
    PUBLISH = "write the image"


@dataclass(frozen=True, slots=True)
class Progress:
    """
    Where a build is: the step, seconds since it began, and bytes it has put on disk so far.
    """

    step: Step
    seconds: float
    size: int


Report = Callable[[Progress], None]


def silent(_progress: Progress) -> None:
    """
    A report that shows nothing.
    """


@contextmanager
def reported(step: Step, work: Path, progress: Report) -> Iterator[Tick]:
    """
    Report a step at its start, at every tick and at its end; `work` is where it writes.
    """
    begun = time.monotonic()

    def tick() -> None:
        progress(Progress(step, time.monotonic() - begun, tree_bytes(work)))

    tick()
    yield tick
    tick()
