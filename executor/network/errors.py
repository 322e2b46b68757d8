"""
How a connection ends other than by the wish of one of its sides.

    Ending            an errno for the guest, and the reason in words
    └── Refused       the server refuses what the guest asked on it: EACCES
    ControlBroken     the server's frames are not of the protocol: the process ends

An `Ending` is about one connection and never about the process. Its reason reaches the guest,
so it names hosts and addresses, never a secret and never a path of this machine.
"""

import errno

# Whoever wrote the text, this much of it goes into a frame.
REASON_MAX = 500


class Ending(Exception):
    """
    One connection is over: `errno` as Linux numbers it (1 or more), `reason` for the guest.
    """

    def __init__(self, errno: int, reason: str) -> None:
        super().__init__(errno, reason)
        self.errno = errno
        self.reason = reason[:REASON_MAX]


class Refused(Ending):
    """
    The policy refuses what was asked on this connection; `reason` is the policy's sentence.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EACCES, reason)


class ControlBroken(Exception):
    """
    The server sent what the protocol has no place for. Nothing can be trusted after that.
    """
