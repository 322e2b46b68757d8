"""
Who the users inside a user namespace are outside of it. Source: user_namespaces(7).
"""

import os
from collections.abc import Iterable

from executor.linux import proc
from executor.linux.errors import asking

MECHANISM = "user namespace"

# The first number inside, the first outside, and how many there are from these on.
Extent = tuple[int, int, int]


def map_one(pid: int, inside: int, uid: int, gid: int) -> None:
    """
    Let user and group `inside` (1 or more) of `pid`'s new user namespace be `uid` and `gid` here.

    Id 0 is not among them: the kernel gives rights to that number alone, so inside there is nobody
    to become. Otherwise as `map_all`.
    """
    map_all(pid, [(inside, uid, 1)], [(inside, gid, 1)])


def map_all(pid: int, users: Iterable[Extent], groups: Iterable[Extent]) -> None:
    """
    Say which `users` and `groups` there are in `pid`'s new user namespace.

    To be called once by the parent of `pid`. Root may name any host ids; another user only its
    own, and the namespace then keeps its supplementary groups, which it can never change.
    Raises MechanismFailed when the kernel refuses.
    """
    if os.geteuid() != 0:
        # Without this no unprivileged process may map a group: it could drop one that denies.
        _write(pid, "setgroups", "deny")
    _write(pid, "gid_map", _lines(groups))
    _write(pid, "uid_map", _lines(users))


def _lines(extents: Iterable[Extent]) -> str:
    return "\n".join(f"{inside} {outside} {count}" for inside, outside, count in extents)


def _write(pid: int, name: str, text: str) -> None:
    path = f"/proc/{pid}/{name}"
    mend = "run as root, or map this user's own ids"
    with asking(MECHANISM, "writing {!r} to {}", mend, text, path):
        proc.write(path, text.encode("ascii"))
