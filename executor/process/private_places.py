"""
Directories of the host that are one box's own, where no namespace can give it any.

They are made before the box and removed after it, by its maker, when no process of the box is
left. By then a guest has put anything in them: directories that nobody may list, thousands of
levels. Nothing is followed, and nothing is walked deeper than two levels: what lies deeper is
moved up until it does not.

A maker that is killed removes nothing; whoever makes boxes next does. What is in use is locked: by
flock(2), which ends with the process that has the directory open, however it ends. The box has it
not, so a guest can neither let go of the lock nor keep it. Whatever lies there and is not as we
make it, such as a link or another user's directory, is left alone.

Rejected: the maker's number in the name, as control groups have it. Numbers are given out again,
and a container that shares these files with another has its own.
"""

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from executor.linux import mounts
from executor.linux.errors import MechanismError, MechanismFailed, asking
from executor.process.plan import MAX_SLOTS, BoxPlan, Identity, identity_of

MECHANISM = "private directory"

_MEND = "let the server write in the directory for temporary files"
_PREFIX = "codecage-box-"
_MODE: Final = 0o700
_TRIES: Final = 64
_DIRECTORY: Final = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# The owners of what root makes: the boxes' users, once they have been given it.
_BOXES: Final = range(identity_of(0).uid, identity_of(0).uid + MAX_SLOTS)


@dataclass(frozen=True, slots=True)
class Private:
    """
    A directory, and for each of the guest's own places the directory in it that stands for it.

    `claim` is the descriptor of the directory that its maker holds it locked by.
    """

    directory: str
    places: tuple[tuple[str, str], ...]
    claim: int


def make(plan: BoxPlan, identity: Identity) -> Private:
    """
    Make one directory for each own place of `plan`, which `identity` alone may enter.

    Raises MechanismFailed when none can be made.
    """
    with ExitStack() as undo, asking(MECHANISM, "making one", _MEND):
        directory, claim = _claimed()
        private = Private(directory, tuple(_places(directory, plan)), claim)
        undo.callback(remove, private)
        for _, place in private.places:
            Path(place).mkdir(_MODE)
        for path in (directory, *(place for _, place in private.places)):
            if os.geteuid() == 0:
                os.chown(path, identity.uid, identity.gid)
        undo.pop_all()
    return private


def remove(private: Private) -> None:
    """
    Remove it with all that is in it, when no process of the box is left.

    Raises MechanismFailed when something cannot be removed.
    """
    with asking(MECHANISM, f"removing {private.directory}", _MEND):
        try:
            _empty(private.claim)
            # Before others may have the lock, who would find it empty and do the same.
            Path(private.directory).rmdir()
        finally:
            os.close(private.claim)


def remove_left() -> None:
    """
    Remove the directories that killed makers of this user, or if it is root of boxes' users, have
    left. What is in use stays, and so does what cannot be removed.
    """
    with suppress(OSError, MechanismError):
        paths = [str(path) for path in Path(_temporary()).resolve().glob(f"{_PREFIX}*")]
        # Nothing is looked at where something is mounted: another's file system may never answer.
        busy = [f"{one.place}/" for one in mounts.mounted()] if paths else []
        for path in paths:
            if not any(one.startswith(f"{path}/") for one in busy):
                with suppress(OSError):
                    _remove_if_left(path)


def _temporary() -> str:
    """
    Where they are made; not kept in mind, or a guest that has another place would be told this one.
    """
    before = tempfile.tempdir
    try:
        return tempfile.gettempdir()
    finally:
        tempfile.tempdir = before


def _remove_if_left(path: str) -> None:
    if not _as_we_make_it(os.lstat(path)):
        return
    top = os.open(path, os.O_RDONLY | _DIRECTORY)
    try:
        # Once more: what was looked at by name need not be what was opened.
        if _as_we_make_it(os.fstat(top)) and _locks(top, path):
            _empty(top)
            Path(path).rmdir()
    finally:
        os.close(top)


def _as_we_make_it(found: os.stat_result) -> bool:
    """
    A directory that nobody but its owner may enter, so that nobody else can have moved it here
    (rename(2) writes in a directory that gets another parent), of an owner that we would give it.
    """
    ours = found.st_uid == os.geteuid() or (os.geteuid() == 0 and found.st_uid in _BOXES)
    return ours and found.st_mode == stat.S_IFDIR | _MODE


def _claimed() -> tuple[str, int]:
    """
    A new directory, and the descriptor by which it is locked.
    """
    for _ in range(_TRIES):
        directory = tempfile.mkdtemp(prefix=_PREFIX)
        # Until it is locked it looks like one that was left, and may go.
        with suppress(FileNotFoundError), ExitStack() as undo:
            claim = os.open(directory, os.O_RDONLY | _DIRECTORY)
            undo.callback(os.close, claim)
            if _claims(claim, directory):
                undo.pop_all()
                return directory, claim
    raise MechanismFailed(MECHANISM, f"{_TRIES} new ones were removed by others; {_MEND}")


def _claims(claim: int, directory: str) -> bool:
    try:
        return _locks(claim, directory)
    except OSError:
        # A file system without locks: nobody can lock it, so nobody takes it for left.
        return True


def _locks(top: int, path: str) -> bool:
    """
    Whether the directory `path`, open as `top`, was nobody's, is there still, and is ours now.

    Raises OSError where there are no locks.
    """
    try:
        fcntl.flock(top, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    # Whoever had the lock may have removed it.
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(top), os.lstat(path))
    return False


def _places(directory: str, plan: BoxPlan) -> Iterator[tuple[str, str]]:
    for number, own in enumerate(plan.own_places):
        yield own.mount, f"{directory}/{number}"


def _empty(top: int) -> None:
    """
    Remove everything below `top`: files at once, directories when their content has moved up.
    """
    fresh = count(1)
    while names := os.listdir(top):
        for name in names:
            if not _is_directory(name, top):
                os.unlink(name, dir_fd=top)
                continue
            with _opened(name, top) as inner:
                _move_up(inner, top, fresh)
            os.rmdir(name, dir_fd=top)


def _move_up(inner: int, top: int, fresh: "count[int]") -> None:
    for name in os.listdir(inner):
        if not _is_directory(name, inner):
            os.unlink(name, dir_fd=inner)
            continue
        with suppress(OSError):  # not empty
            os.rmdir(name, dir_fd=inner)
            continue
        # A directory moves only if its owner may write in it, for its ".." changes.
        with _opened(name, inner):
            pass
        os.rename(
            name, f".removed-{next(fresh)}-{os.urandom(8).hex()}", src_dir_fd=inner, dst_dir_fd=top
        )


def _is_directory(name: str, directory: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)


@contextmanager
def _opened(name: str, directory: int) -> Iterator[int]:
    """
    The directory `name`, open, with all rights for its owner: a guest may have taken them.
    """
    held = os.open(name, os.O_PATH | _DIRECTORY, dir_fd=directory)
    try:
        # Not by its name: of a killed maker's box a process may be about to end, and put a link
        # there.
        Path(f"/proc/self/fd/{held}").chmod(_MODE)
        inner = os.open(".", os.O_RDONLY | _DIRECTORY, dir_fd=held)
    finally:
        os.close(held)
    try:
        yield inner
    finally:
        os.close(inner)
