"""
Leaving namespaces: this process goes on in new ones, which its children inherit.

A process that goes into a new user namespace is nobody there until somebody outside writes which
users there are; a child that is forked before does that, since what this process writes itself
may name one user only. Sources: unshare(2), user_namespaces(7).
"""

import os
from collections.abc import Sequence

from executor.linux import userns
from executor.linux.errors import MechanismError, MechanismFailed, MechanismMissing, asking
from executor.linux.libc import call
from executor.linux.namespaces import MECHANISM, Namespace

_WRITTEN, _REFUSED = 0, 1
_MEND = "allow user namespaces to this user, or run as root"

# A first number and how many there are from it on.
Extent = tuple[int, int]


def leave(kinds: Namespace) -> None:
    """
    Go on in new namespaces of `kinds`. Raises MechanismMissing where this user may make none.
    """
    try:
        call("unshare", int(kinds))
    except OSError as error:
        raise MechanismMissing(
            MECHANISM, f"asked for {kinds!r}, answered {error.strerror}; {_MEND}"
        ) from error


def leave_mapped(kinds: Namespace, users: Sequence[Extent], groups: Sequence[Extent]) -> None:
    """
    The same with a user namespace in which `users` and `groups` have their numbers of outside.

    For a process with one thread. Who is not root may name its own user and its own group alone.
    Raises MechanismMissing where there are no such namespaces, MechanismFailed where these users
    cannot be had; the process must then end.
    """
    reading, writing = os.pipe()
    maker = os.getpid()
    with asking(MECHANISM, "forking", "allow it more processes"):
        helper = os.fork()
    if helper == 0:
        os.close(writing)
        os._exit(_map_when_told(reading, maker, users, groups))
    os.close(reading)
    try:
        leave(Namespace.USER | kinds)
        os.write(writing, b"1")
    finally:
        os.close(writing)
        _, status = os.waitpid(helper, 0)
    if os.waitstatus_to_exitcode(status) != _WRITTEN:
        raise MechanismFailed(MECHANISM, f"mapping {users} and {groups} was refused; {_MEND}")


def map_users(pid: int, users: Sequence[Extent], groups: Sequence[Extent]) -> None:
    """
    Let `users` and `groups` be in the new user namespace of process `pid` what they are here.

    Raises MechanismFailed when the kernel refuses.
    """
    userns.map_all(pid, _same(users), _same(groups))


def _same(extents: Sequence[Extent]) -> list[userns.Extent]:
    return [(first, first, count) for first, count in extents]


def _map_when_told(
    reading: int, pid: int, users: Sequence[Extent], groups: Sequence[Extent]
) -> int:
    try:
        if os.read(reading, 1):
            map_users(pid, users, groups)
            return _WRITTEN
    except (OSError, MechanismError):
        return _REFUSED
    return _REFUSED
