"""
A process locks itself step by step: each step holds or raises, and there is no weaker way on.

Here is what the locks of workers, the network broker, the supervisor and zygotes have in common.
Each has its own list, in an order for which it gives the reasons.
"""

import errno
import os
import signal
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from executor.linux import descriptors, landlock, prctl, sealing, seccomp
from executor.linux.canary import Canary
from executor.linux.errors import MechanismFailed, MechanismMissing, asking
from executor.linux.libc import call

Plan_contra = TypeVar("Plan_contra", contravariant=True)
_STANDARD: Final = frozenset({0, 1, 2})


@dataclass(frozen=True, slots=True)
class Step(Generic[Plan_contra]):
    """
    One thing that is taken away, and why at this place.
    """

    name: str
    reason: str
    act: Callable[[Plan_contra], None]


def require_landlock(need: str) -> int:
    """
    The Landlock ABI of this kernel, 1 or more. Raises MechanismMissing with `need`, a clause that
    says who needs it.
    """
    if abi := landlock.abi():
        return abi
    raise MechanismMissing(
        landlock.MECHANISM,
        f"this kernel does not offer it and {need}; enable it"
        " (CONFIG_SECURITY_LANDLOCK, lsm=landlock)",
    )


def leave_directory(who: str) -> None:
    """
    Hold no directory of the host as the working directory. Raises MechanismFailed.
    """
    with asking("working directory", "chdir /", f"make / searchable for the {who}"):
        os.chdir("/")


def guard(parent: int) -> None:
    """
    For a process that the server has started, before it reads anything: nobody of its user looks
    into it, a terminal's Ctrl-C is for the server alone, and it ends with process `parent`.

    Raises MechanismFailed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    prctl.set_not_dumpable()
    die_with(parent)


def die_with(parent: int, mend: str = "nobody needs this one") -> None:
    """
    Be killed when process `parent`, which has started this one, ends.

    Raises MechanismFailed, with `mend`, where it has ended already.
    """
    prctl.set_parent_death_signal(signal.SIGKILL)
    # Only now: a parent that ended before the signal was set would never be missed.
    if os.getppid() != parent:
        raise MechanismFailed("parent-death signal", f"parent {parent} has ended; {mend}")


def require_sockets_alone(*, loop: bool) -> None:
    """
    No descriptor of a file or a directory is held: a lock that forbids open would not help.

    Standard streams may be files, and with `loop` what a loop waits by may be there. Raises
    MechanismFailed.
    """
    for number in sorted(descriptors.own()):
        mode = os.fstat(number).st_mode
        if stat.S_ISSOCK(mode) or (number in _STANDARD and not stat.S_ISDIR(mode)):
            continue
        kind = str(Path(f"/proc/self/fd/{number}").readlink())
        if not (loop and kind == "anon_inode:[eventpoll]"):
            raise MechanismFailed(
                "descriptors", f"{number} is {kind}; close everything but sockets before the lock"
            )


# First, as they need /proc or the right to change memory.
NO_WAY_AROUND: Final[tuple[Step[object], ...]] = (
    Step(
        "one thread",
        "neither Landlock nor seccomp reaches a thread that exists",
        lambda _: sealing.require_one_thread(),
    ),
    Step(
        "personality",
        "or every readable page would be executable",
        lambda _: sealing.require_data_is_not_code(),
    ),
    Step(
        "code",
        "the filter forbids new code, not writing to what is there",
        lambda _: sealing.seal_code(),
    ),
)
NO_NEW_CODE: Final[Step[object]] = Step(
    "no new code", "what was sealed stays so", lambda _: prctl.deny_new_code()
)
BOUNDING_SET: Final[Step[object]] = Step(
    "bounding set",
    "needs CAP_SETPCAP, which the next step loses",
    lambda _: prctl.drop_bounding_set(),
)
CAPABILITIES: Final[Step[object]] = Step(
    "capabilities", "those that a change of user leaves", lambda _: prctl.drop_capabilities()
)
NOT_DUMPABLE: Final[Step[object]] = Step(
    "not dumpable", "a change of user resets it", lambda _: prctl.set_not_dumpable()
)
NO_NEW_PRIVILEGES: Final[Step[object]] = Step(
    "no new privileges", "Landlock and seccomp need it", lambda _: prctl.set_no_new_privs()
)
_OF_THE_FILTER: Final = Canary(seccomp.MECHANISM, "getppid", errno.EPERM, lambda: call("getppid"))
CANARY: Final[Step[object]] = Step(
    "canary", "a filter that does not refuse is none", lambda _: _OF_THE_FILTER.ask()
)
