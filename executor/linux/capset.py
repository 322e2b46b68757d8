"""
Keeping a few capabilities and giving up the rest, for a program that root starts.

After no_new_privs an execve adds none, not even for uid 0: what is permitted then is cut to what
was permitted before. Sources: capabilities(7), capset(2).
"""

from enum import IntEnum

from executor.linux import prctl


class Capability(IntEnum):
    """
    The capabilities that we let a program keep, by their numbers.
    """

    CHOWN = 0
    DAC_OVERRIDE = 1
    DAC_READ_SEARCH = 2
    FOWNER = 3
    KILL = 5
    SETGID = 6
    SETUID = 7
    SETPCAP = 8
    SYS_PTRACE = 19
    SYS_ADMIN = 21


def keep_only(*kept: Capability) -> None:
    """
    Give up all capabilities of this thread but those of `kept` that it has. Irrevocable.

    No set can be passed on by inheritance. Raises MechanismFailed when one is left.
    """
    prctl.keep_capabilities(sum(1 << capability for capability in kept))
