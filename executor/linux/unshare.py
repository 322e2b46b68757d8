"""
Leaving namespaces: this process goes on in new ones, which its children inherit.

A process that goes into a new user namespace is nobody there until somebody outside writes which
users there are; a child that is forked before does that, since what this process writes itself
may name one user only. Sources: unshare(2), user_namespaces(7).
"""

import os
from collections.abc import Iterable

from executor.linux import proc
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


def leave_mapped(kinds: Namespace, users: Iterable[Extent], groups: Iterable[Extent]) -> None:
    """
    The same with a user namespace in which `users` and `groups` have their numbers of outside.

    For a process with one thread. Who is not root may name its own user and its own group alone.
    Raises MechanismMissing where there are no such namespaces, MechanismFailed where these users
    cannot be had; the process must then end.
    """
    reading, writing = os.pipe()
    maker, texts = os.getpid(), (_map(groups), _map(users))
    with asking(MECHANISM, "forking", "allow it more processes"):
        helper = os.fork()
    if helper == 0:
        os._exit(_map_when_told(reading, writing, maker, texts))
    os.close(reading)
    try:
        leave(Namespace.USER | kinds)
        os.write(writing, b"1")
    finally:
        os.close(writing)
        _, status = os.waitpid(helper, 0)
    if os.waitstatus_to_exitcode(status) != _WRITTEN:
        raise MechanismFailed(MECHANISM, f"mapping {texts} was refused; {_MEND}")


def map_users(pid: int, users: Iterable[Extent], groups: Iterable[Extent]) -> None:
    """
    Let `users` and `groups` be in the new user namespace of process `pid` what they are here.

    Raises MechanismFailed when the kernel refuses.
    """
    with asking(MECHANISM, "mapping users of {}", _MEND, pid):
        _write_maps(pid, (_map(groups), _map(users)))


def _map(extents: Iterable[Extent]) -> str:
    return "\n".join(f"{first} {first} {count}" for first, count in extents)


def _map_when_told(reading: int, writing: int, pid: int, texts: tuple[str, str]) -> int:
    try:
        os.close(writing)
        if os.read(reading, 1):
            _write_maps(pid, texts)
            return _WRITTEN
    except (OSError, MechanismError):
        return _REFUSED
    return _REFUSED


def _write_maps(pid: int, texts: tuple[str, str]) -> None:
    groups, users = texts
    if os.geteuid() != 0:
        # Without this no unprivileged process may map a group: it could drop one that denies.
        proc.write(f"/proc/{pid}/setgroups", b"deny")
    proc.write(f"/proc/{pid}/gid_map", groups.encode("ascii"))
    proc.write(f"/proc/{pid}/uid_map", users.encode("ascii"))
