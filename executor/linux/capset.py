"""
Keeping a few capabilities and giving up the rest, for a program that root starts.

After no_new_privs an execve adds none, not even for uid 0: what is permitted then is cut to what
was permitted before. Sources: capabilities(7), capset(2).
"""

import struct
from ctypes import addressof, create_string_buffer
from enum import IntEnum

from executor.linux import prctl
from executor.linux.errors import MechanismFailed, asking
from executor.linux.libc import call

MECHANISM = "capabilities"

_VERSION_3 = 0x2008_0522
_LOW = 0xFFFF_FFFF
# struct __user_cap_header_struct (the calling thread), and two of __user_cap_data_struct:
# effective, permitted and inheritable of the lower 32 capabilities, then of the others.
_HEADER = struct.Struct("=Ii")
_SETS = struct.Struct("=6I")


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
    wanted = sum(1 << capability for capability in kept)
    left = prctl.capabilities().permitted & wanted
    low, high = left & _LOW, left >> 32
    header = create_string_buffer(_HEADER.pack(_VERSION_3, 0))
    sets = create_string_buffer(_SETS.pack(low, low, 0, high, high, 0))
    with asking(MECHANISM, f"keeping {left:#x} alone", "allow capset(2) to give up rights"):
        call("capset", addressof(header), addressof(sets))
    if prctl.capabilities() != prctl.Capabilities(left, left, 0):
        raise MechanismFailed(MECHANISM, f"more than {left:#x} was left; do not run here")
