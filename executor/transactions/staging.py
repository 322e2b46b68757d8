"""
The staging directory of a commit, at the root of the mount's source, and what is left of one.

Only one commit at a time has it, in whatever server: it holds a lock on the source's directory
(flock(2)). Whoever gets the lock and finds a staging directory finds that of a commit that was cut
off, and brings it to its end first. What is in it is believed only where the directory belongs to
the server's account and nobody else may look into it.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from stat import S_IMODE, S_ISDIR

from executor.kernel.descriptors import Descriptor
from executor.kernel.errors import GuestError
from executor.transactions.applying import Application, Watch
from executor.transactions.changes import Change, ChangeKind
from executor.transactions.copying import copy
from executor.transactions.errors import Conflict, Unrecoverable
from executor.transactions.journal import (
    Entry,
    forget_journal,
    is_undone,
    read_journal,
)
from executor.transactions.nodes import digest_of
from executor.transactions.places import STAGING, held_at, opened, parent_of, sync_directory


class Recovered(Enum):
    """
    What was found of an earlier commit, and done about it.
    """

    NOTHING = "nothing was left"
    DROPPED = "a commit that had not begun was dropped"
    COMPLETED = "a commit was completed"
    UNDONE = "a commit was undone"


def quiet(_: str) -> None:
    """
    Nobody watches.
    """


@contextmanager
def alone(root: Descriptor) -> Iterator[None]:
    """
    Hold the source against commits of other servers.

    Raises GuestError (EBUSY) where somebody else has it.
    """
    with root.reopen(os.O_RDONLY | os.O_DIRECTORY) as directory:
        try:
            fcntl.flock(directory.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = "another commit below the same directory is under way; try again"
            raise GuestError(errno.EBUSY, message) from error
        yield


def settle(root: Descriptor) -> None:
    """
    As `recover`, where something is left and no commit is under way. Raises Unrecoverable, OSError.
    """
    try:
        root.step(STAGING.encode()).close()
        with alone(root):
            recover(root)
    except (FileNotFoundError, GuestError):
        return


def recover(root: Descriptor, watch: Watch = quiet) -> Recovered:
    """
    Bring a commit that was cut off to its end; the caller holds the source (`alone`).

    Raises Unrecoverable, and OSError.
    """
    staging = _left(root)
    if staging is None:
        return Recovered.NOTHING
    with staging:
        entries = read_journal(staging)
        found = Recovered.DROPPED if entries is None else _settled(root, staging, entries, watch)
        if entries is not None:
            watch("forget the journal")
            forget_journal(staging)
        clear(root, staging, watch)
        return found


def make_staging(root: Descriptor) -> Descriptor:
    """
    A new, empty staging directory below `root`, on the device. Raises OSError.
    """
    os.mkdir(STAGING, 0o700, dir_fd=root.number)
    sync_directory(root)
    return root.step(STAGING.encode())


def stage(layer: Descriptor, staging: Descriptor, change: Change, entry: Entry) -> None:
    """
    Copy what a change adds from the layer into its slot, with the mode it will have, synced.

    Raises Conflict where the copy is not what the list says, and OSError.
    """
    if change.kind is ChangeKind.DELETED:
        return
    if change.directory:
        os.mkdir(entry.slot, 0o755, dir_fd=staging.number)
        return
    directory, name = parent_of(change.path)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
    with (
        held_at(layer, directory) as parent,
        opened(parent, name, os.O_RDONLY | os.O_NONBLOCK) as source,
        opened(staging, entry.slot, flags, 0o600) as target,
    ):
        copy(source, target, change.size)
        _dress(target, change)
        os.fsync(target.number)
        if digest_of(target.number) != change.after:
            raise Conflict(change.path)


def clear(root: Descriptor, staging: Descriptor, watch: Watch = quiet) -> None:
    """
    Remove the staging directory with what is in it. Only where no journal is left. Raises OSError.
    """
    for name in list(staging.names()):
        watch(f"clear {name.decode()}")
        with staging.step(name) as held:
            directory = S_ISDIR(held.status().st_mode)
        (os.rmdir if directory else os.unlink)(name, dir_fd=staging.number)
    watch("remove the staging directory")
    os.rmdir(STAGING, dir_fd=root.number)
    sync_directory(root)


def _left(root: Descriptor) -> Descriptor | None:
    try:
        staging = root.step(STAGING.encode())
    except FileNotFoundError:
        return None
    status = staging.status()
    if not S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or S_IMODE(status.st_mode) & 63:
        staging.close()
        raise Unrecoverable(
            f"{STAGING} at the root of the source is not a directory of the server's account "
            f"(number {os.geteuid()}) that nobody else may look into"
        )
    return staging


def _settled(
    root: Descriptor, staging: Descriptor, entries: tuple[Entry, ...], watch: Watch
) -> Recovered:
    application = Application(root, staging, entries, watch)
    if not is_undone(staging):
        try:
            application.apply()
        except (Conflict, OSError):
            application.undo()
            return Recovered.UNDONE
        return Recovered.COMPLETED
    application.undo()
    return Recovered.UNDONE


def _dress(target: Descriptor, change: Change) -> None:
    """
    The rights that the file had, or those of a new one. Only root can keep another's file his.
    """
    status = target.status()
    if change.owner is not None and change.owner != (status.st_uid, status.st_gid):
        try:
            os.fchown(target.number, *change.owner)
        except PermissionError:
            os.fchmod(target.number, change.mode & 0o755 | 0o600)
            return
    mask = 0 if change.owner is not None else _umask()
    os.fchmod(target.number, change.mode & ~mask)


def _umask() -> int:
    """
    The file creation mask of this process (proc_pid_status(5)); umask(2) could only set it.
    """
    with Path("/proc/self/status").open(encoding="ascii") as status:
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o077
