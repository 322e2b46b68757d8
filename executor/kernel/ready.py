"""
What can be done with host files without waiting: names and objects that the kernel has in memory.

Handing an act to a thread and hearing of it costs more than most acts do. So looking and opening to
read are tried on the loop's own thread first, in a way that waits for no disk and no server:

- A step is openat2(2) with RESOLVE_CACHED: where the kernel would have to read a directory or ask
  anybody, it says EAGAIN, and the act is done by a thread from its beginning.
- Only on the file systems in `_IN_MEMORY`, whose fstat(2) and open(2) of an object that is held
  need nothing but its inode. A network file system or FUSE asks its server; all others are unknown.
- Links, listings, transactions and paths that are unusually deep go to a thread, and so does all
  else of a policy's sessions for a while after an act has waited here after all: a program of the
  host that judges each open (fanotify(7)) makes whoever opens wait.

What is decided, checked and recorded is the same either way, by the same code: a `Ready` is a
descriptor whose steps may say "not now", and nothing is done before the last of them.

Sources: openat2(2), RESOLVE_CACHED (Linux 5.12); statfs(2); getrusage(2), ru_nvcsw: on a busy
machine a thread that is ready to run waits as long as one that sleeps, and is not to blame.
"""

import resource
import time
from collections.abc import Callable, Generator
from typing import Final, ParamSpec, TypeVar

from executor.kernel.descriptors import Descriptor, file_system_of, step_in_memory

_P = ParamSpec("_P")
_R = TypeVar("_R")
# statfs(2), f_type: ext2 to ext4, XFS, Btrfs, tmpfs, F2FS.
_IN_MEMORY: Final = frozenset({0xEF53, 0x58465342, 0x9123683E, 0x01021994, 0xF2F52010})
# Components of a path: what one act does on the loop stays far below a millisecond.
_DEPTH: Final = 16
# What took longer (seconds) and gave the processor away is the last for so many times as long.
_SLOW: Final = 0.02
_SHY: Final = 20


class NotReady(Exception):
    """
    The act may have to wait. Nothing was done.
    """


class Ready(Descriptor):
    """
    A descriptor of an object in memory, whose steps wait for nothing or raise NotReady.
    """

    __slots__ = ()

    def step(self, name: bytes) -> "Ready":
        """
        As `Descriptor.step`. Raises NotReady where the kernel would have to look somewhere.
        """
        try:
            return Ready(step_in_memory(self.number, name))
        except BlockingIOError as error:
            raise NotReady from error

    def link_text(self) -> bytes:
        """
        A link's text may be on the disk. Raises NotReady.
        """
        raise NotReady

    def names(self) -> Generator[bytes, None, None]:
        """
        A directory may be on the disk. Raises NotReady.
        """
        raise NotReady


def is_in_memory(root: Descriptor) -> bool:
    """
    Whether what lies below `root` may be tried at all.
    """
    return file_system_of(root) in _IN_MEMORY


class Haste:
    """
    Whether acts are tried at once: not for a while after one that waited.
    """

    __slots__ = ("_not_before",)

    def __init__(self) -> None:
        self._not_before = 0.0

    def attempt(self, act: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """
        What `act` returns or raises, at once. Raises NotReady.
        """
        began = time.monotonic()
        if began < self._not_before:
            raise NotReady
        slept = _sleeps()
        try:
            return act(*args, **kwargs)
        finally:
            took = (ended := time.monotonic()) - began
            if took > _SLOW and _sleeps() != slept:
                self._not_before = ended + _SHY * took


def _sleeps() -> int:
    """
    How often this thread has waited for something that is not the processor.
    """
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


def require_shallow(path: str) -> None:
    """
    Raises NotReady for a path of more than 16 components.
    """
    if path.count("/") > _DEPTH:
        raise NotReady
