"""
The store's directory and main file: who may touch them, and how a new store comes to be.

A new store is built under another name and renamed when it is finished and synced, so a file
under the store's name that is not whole was damaged and never merely unfinished.
"""

import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

from executor.audit.errors import AuditDamaged, AuditUnavailable
from executor.audit.schema import Carried, build


def prepare_directory(place: Path) -> None:
    """
    Make the store's directory (0700), or check that nobody else can reach into it.

    Raises AuditDamaged where the owner, the type or the mode is another.
    """
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise AuditDamaged(f"audit store {place}: cannot be made: {error.strerror}") from error
    _check_private(place, place.stat(), stat.S_ISDIR)


def prepare_file(path: Path) -> None:
    """
    Make the store's file (0600), or check it; SQLite gives the WAL and its index the same mode.

    The lock file must be held: nobody else builds meanwhile, and closing a descriptor of the main
    file lets go of every POSIX lock that this process has on it, also those of a store that is
    open. Raises AuditDamaged, and AuditUnavailable where there is no room.
    """
    if not path.is_symlink() and not path.exists():
        _build(path)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise AuditDamaged(f"audit store {path}: cannot be opened: {error.strerror}") from error
    try:
        _check_private(path, os.fstat(descriptor), stat.S_ISREG)
    finally:
        os.close(descriptor)


def _build(path: Path) -> None:
    if path.with_name(path.name + "-wal").exists():
        raise AuditDamaged(
            f"audit store {path}: the main file is gone, its WAL is there; put the file back, "
            "or move the WAL aside to start a new record"
        )
    new = path.with_name(path.name + ".new")
    make_file(new, None)
    try:
        new.rename(path)
        sync_directory(path.parent)
    except OSError as error:
        raise AuditUnavailable(f"audit store {path}: cannot be made: {error}") from error


def make_file(new: Path, carried: Carried | None) -> None:
    """
    Make a file of the record under a name of its own, whole and synced; one that was left half
    made is replaced. Raises AuditUnavailable.
    """
    try:
        for stale in (new, new.with_name(new.name + "-journal")):
            stale.unlink(missing_ok=True)
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        build(new, carried)
        sync_directory(new.parent)
    except (OSError, sqlite3.Error) as error:
        raise AuditUnavailable(f"audit store {new}: cannot be made: {error}") from error


def sync_directory(place: Path) -> None:
    """
    Make the names in a directory durable too: fsync(2) of a file does not.
    """
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_private(path: Path, found: os.stat_result, right_type: Callable[[int], bool]) -> None:
    if not right_type(found.st_mode):
        raise AuditDamaged(
            f"audit store {path}: is of the wrong type ({stat.filemode(found.st_mode)})"
        )
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise AuditDamaged(
            f"audit store {path}: mode {stat.filemode(found.st_mode)}, owner {found.st_uid}; it "
            f"must belong to uid {os.geteuid()} alone: chmod go-rwx, or name another place"
        )
