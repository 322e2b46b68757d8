"""
The acts on host files. Each takes places that `paths.py` has resolved and allowed.

An act first checks that its place was allowed for it and is of the right kind, and only then
touches the host; it looks up no name but the last one, in the directory that the place holds.
None of them gives a descriptor away except `open_for_reading`, whose descriptor is read-only and
of a regular file. So no directory, no O_PATH descriptor and no writable one can reach a worker.

There is no act that makes a link, a device or a FIFO, or changes modes, owners or attributes.

Files with several names (hard links) are read like others: which names a file has elsewhere
cannot be known. They are not written to, truncated or dated, because the other name may be a file
outside the grant; a file renamed over one replaces the name and leaves the other alone. For a
grant where reading through a hard link matters, the host has to see to it (proc_sys_fs(5),
protected_hardlinks).

A directory is renamed only where no name below could be denied, and the names guarded in every
writable host grant count as such: there directories keep their names, and programs that move
one copy it. Looking through the directory instead would not do: another session can hold a place
in it and create a file there after the look.

Where the host shows more than this module says: rmdir of a directory whose only entries are
denied is ENOTEMPTY, so the guest learns that something is there.
"""

import errno
import os
import stat as modes
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from threading import Lock

from executor.kernel.descriptors import Descriptor
from executor.kernel.errors import GuestError, InternalError
from executor.kernel.limits import Quota
from executor.kernel.places import FileStat, Kind, Place
from executor.kernel.walk import Decides
from executor.kernel.writehandle import Right, WriteHandle
from executor.transactions.places import STAGING
from policy.requests import FileAction, FileRequest
from policy.types import Access

__all__ = [
    "Creation",
    "Entry",
    "FileStat",
    "Opening",
    "Quota",
    "Right",
    "WriteHandle",
    "list_directory",
    "make_directory",
    "open_for_reading",
    "open_for_writing",
    "read_link",
    "remove",
    "remove_directory",
    "rename",
    "set_times",
    "stat",
    "truncate",
]

MAX_ENTRIES = 10_000  # that one listing shows; a frame holds about as many
MAX_SCANNED = 100_000  # that one listing looks at, shown or not
_MAX_NS = 2**63 - 1

# What opening says of what is no file, where it is not EACCES.
_NOT_REGULAR = {Kind.DIRECTORY: errno.EISDIR, Kind.LINK: errno.ELOOP}

# Sessions that share a directory could swap a name between the check of a rename and the rename
# itself. So whatever puts a name somewhere holds the lock of its device. Other processes of the
# host do not, and do not need to cheat: they can write there anyway.
_NAMING: dict[int, Lock] = {}


@dataclass(frozen=True, slots=True)
class Entry:
    """
    A name in a directory and what it is.
    """

    name: str
    kind: Kind


class Creation(Enum):
    """
    What opening does about a missing file; the values are open(2)'s flags.
    """

    NEVER = 0
    IF_MISSING = os.O_CREAT
    EXCLUSIVE = os.O_CREAT | os.O_EXCL


@dataclass(frozen=True, slots=True)
class Opening:
    """
    How a file is to be opened for writing, decoded from the flags of open(2).
    """

    creation: Creation = Creation.NEVER
    truncate: bool = False
    append: bool = False
    read: bool = False

    @property
    def actions(self) -> tuple[FileAction, ...]:
        """
        Everything that a place must be allowed for, to be opened this way.
        """
        wanted = (
            (FileAction.CREATE, self.creation is not Creation.NEVER),
            (FileAction.TRUNCATE, self.truncate),
            (FileAction.READ, self.read),
        )
        return (FileAction.WRITE, *(action for action, needed in wanted if needed))

    @property
    def follow(self) -> bool:
        """
        Whether a link at the end is followed: not where the name itself must be new (O_EXCL).
        """
        return self.creation is not Creation.EXCLUSIVE

    @property
    def rights(self) -> Right:
        """
        What the handle will be good for.
        """
        read = Right.READ if self.read else Right(0)
        append = Right.APPEND if self.append else Right(0)
        return Right.WRITE | read | append

    @property
    def flags(self) -> int:
        """
        The flags of open(2) that this comes to, without those that create or truncate.
        """
        access = os.O_RDWR if self.read else os.O_WRONLY
        return access | (os.O_APPEND if self.append else 0) | os.O_NONBLOCK


def stat(place: Place) -> FileStat:
    """
    What the guest may learn of the object, without touching it. Raises GuestError (ENOENT).
    """
    _require(place, FileAction.STAT)
    _, status = _existing(place)
    return FileStat.of(status, place.grant)


def read_link(place: Place) -> str:
    """
    The text of a link, for a place that was located by following it.

    A link that leads out of the grant or to a denied name has no such place, so its text, which
    may be a host path, is never shown. Raises GuestError (EINVAL) where the name is no link.
    """
    _require(place, FileAction.STAT)
    if place.link is None:
        raise place.fails(errno.ENOENT if place.status is None else errno.EINVAL)
    return place.link


def list_directory(place: Place, decides: Decides) -> list[Entry]:
    """
    The entries of a directory, sorted by name, without `.` and `..`.

    Left out are names that the policy denies, names that are not UTF-8 (no path could ask for
    them), mount points, and what the server's user may not even stat. Raises GuestError: ENOENT,
    ENOTDIR, EOVERFLOW beyond 10,000 entries shown or 100,000 looked at.
    """
    _require(place, FileAction.LIST)
    target, _ = _of_kind(place, Kind.DIRECTORY, errno.ENOTDIR)
    entries: list[Entry] = []
    with closing(_names(place, target)) as names:
        for count, name in enumerate(names, start=1):
            entry = _entry(place, target, name, decides)
            entries += [] if entry is None else [entry]
            if len(entries) > MAX_ENTRIES or count > MAX_SCANNED:
                raise GuestError(
                    errno.EOVERFLOW,
                    f"list {place.requested}: at most {MAX_ENTRIES} entries can be listed; "
                    "open files by name, or ask for a directory with fewer",
                )
    return sorted(entries, key=lambda entry: entry.name)


def open_for_reading(place: Place) -> int:
    """
    A read-only descriptor of a regular file, which the caller owns and may send to the worker.

    Raises GuestError: ENOENT, EISDIR, ELOOP for a link that was not followed, EACCES for FIFOs,
    sockets and devices, and what else open(2) says of the very object that was located.
    """
    _require(place, FileAction.READ)
    target, status = _regular(place)
    with _guest_errors(place), target.reopen(os.O_RDONLY | os.O_NONBLOCK) as opened:
        found = opened.status()
        if not _same_file(found, status) or not modes.S_ISREG(found.st_mode):
            raise place.fails(errno.EBUSY)  # an overlay has copied the file up meanwhile
        return opened.release()


def open_for_writing(place: Place, opening: Opening, quota: Quota) -> WriteHandle:
    """
    Open a regular file to write it, making it where `opening` says so.

    New files get mode 0644 less the server's umask, and one file of `quota`. The place must have
    been located for `opening.actions`, following as `opening.follow` says.

    Raises GuestError: ENOENT, EEXIST, EISDIR, ELOOP, EDQUOT; EACCES for a file with several
    names, with a set-id bit, or that is no regular file.
    """
    for action in opening.actions:
        _require(place, action)
    if place.status is not None and opening.creation is Creation.EXCLUSIVE:
        raise place.fails(errno.EEXIST)
    if place.status is None and opening.creation is Creation.NEVER:
        raise place.fails(errno.ENOENT)
    how = _create if place.status is None else _reopen
    descriptor = how(place, opening, quota)
    handle = WriteHandle(descriptor, place.requested, place.grant, opening.rights, quota)
    with ExitStack() as unless_kept:
        unless_kept.push(handle)
        if opening.truncate:
            handle.truncate(0)
        unless_kept.pop_all()
    return handle


def truncate(place: Place, size: int, quota: Quota) -> None:
    """
    Make a regular file `size` bytes long (0 to 2**62), at the cost of the zeros it adds.

    Raises GuestError as `open_for_writing` and `WriteHandle.truncate` do.
    """
    _require(place, FileAction.TRUNCATE)
    descriptor = _reopen(place, Opening(), quota)
    with WriteHandle(descriptor, place.requested, place.grant, Right.WRITE, quota) as handle:
        handle.truncate(size)


def set_times(place: Place, accessed_ns: int, modified_ns: int) -> None:
    """
    Set both times (nanoseconds since 1970, 0 to 2**63 - 1) of a regular file or directory.

    Raises GuestError: ENOENT, EINVAL out of range, EACCES for other kinds and for files with
    several names.
    """
    _require(place, FileAction.SET_TIMES)
    target, status = _existing(place)
    if not 0 <= min(accessed_ns, modified_ns) <= max(accessed_ns, modified_ns) <= _MAX_NS:
        raise place.fails(errno.EINVAL)
    if place.kind is not Kind.DIRECTORY:
        _regular(place)
        _refuse_shared(place, status)
    with _guest_errors(place):
        target.to_change()
        os.utime(target.magic_link, ns=(accessed_ns, modified_ns))


def make_directory(place: Place, quota: Quota) -> None:
    """
    Make a directory, mode 0755 less the server's umask, for one file of `quota`.

    Raises GuestError: EEXIST (also where the name is a link), EDQUOT, and as mkdir(2).
    """
    _require(place, FileAction.MAKE_DIRECTORY)
    if place.status is not None:
        raise place.fails(errno.EEXIST)
    parent = _parent(place)
    with _one_file(place, quota), _guest_errors(place), _naming(parent):
        parent.make_directory(place.name, 0o755)


def remove(place: Place) -> None:
    """
    Remove a name that is no directory; a link itself, not its target (unlink(2)).

    Raises GuestError: ENOENT, EISDIR, and as unlink(2).
    """
    _require(place, FileAction.REMOVE)
    _existing(place)
    if place.kind is Kind.DIRECTORY:
        raise place.fails(errno.EISDIR)
    parent = _parent(place)
    with _guest_errors(place):
        parent.remove(place.name)


def remove_directory(place: Place) -> None:
    """
    Remove an empty directory (rmdir(2)).

    Raises GuestError: ENOENT, ENOTDIR, ENOTEMPTY, and EBUSY for the root of a mount.
    """
    _require(place, FileAction.REMOVE_DIRECTORY)
    _of_kind(place, Kind.DIRECTORY, errno.ENOTDIR)
    parent = _parent(place)
    with _guest_errors(place):
        parent.remove_directory(place.name)


def rename(old: Place, new: Place, decides: Decides) -> None:
    """
    Move `old`, located for `RENAME`, to `new`, located for `CREATE`; both without following.

    What `new` was is replaced as in rename(2), if the policy lets it be removed. A directory moves
    only between names beneath which nothing can be denied, since denials go by name: under
    another name, a hidden object would be shown and a forbidden one put in its place. For the
    same reason names below a held directory stay as they were decided.

    Raises GuestError: ENOENT; EXDEV between grants; EBUSY for the root of a mount, or when
    another session changed a name meanwhile; EACCES as above; and as rename(2).
    """
    _require(old, FileAction.RENAME)
    _require(new, FileAction.CREATE)
    _existing(old)
    if old.grant != new.grant:
        raise old.fails(errno.EXDEV)
    source, destination = _parent(old), _parent(new)
    if old.kind is Kind.DIRECTORY and old.grant.access is Access.TRANSACTION:
        raise old.fails(errno.EXDEV)  # programs that move one copy it then
    if old.kind is Kind.DIRECTORY:
        _refuse_hiding(old, new, decides)
    _refuse_replacing(new, decides)
    with _guest_errors(old), _naming(source):
        _still(old)
        _still(new)
        source.rename(old.name, destination, new.name)


def _require(place: Place, action: FileAction) -> None:
    if action not in place.actions:
        raise InternalError(f"{action.value} on a place that was allowed for {place.actions}")


def _existing(place: Place) -> tuple[Descriptor, os.stat_result]:
    if place.target is None or place.status is None:
        raise place.fails(errno.ENOENT)
    return place.target, place.status


def _of_kind(place: Place, kind: Kind, otherwise: int) -> tuple[Descriptor, os.stat_result]:
    held = _existing(place)
    if place.kind is not kind:
        raise place.fails(otherwise)
    return held


def _regular(place: Place) -> tuple[Descriptor, os.stat_result]:
    otherwise = _NOT_REGULAR.get(place.kind or Kind.FILE, errno.EACCES)
    return _of_kind(place, Kind.FILE, otherwise)


def _parent(place: Place) -> Descriptor:
    if place.parent is None:
        raise place.fails(errno.EBUSY)
    return place.parent


def _names(place: Place, directory: Descriptor) -> Generator[str, None, None]:
    """
    The names that are UTF-8, as the kernel gives them, without a commit's own directory.
    """
    with _guest_errors(place), closing(directory.names()) as found:
        for name in found:
            try:
                text = name.decode()
            except UnicodeDecodeError:
                continue
            if text != STAGING:
                yield text


def _entry(place: Place, directory: Descriptor, name: str, decides: Decides) -> Entry | None:
    if not decides.decide(FileRequest(FileAction.STAT, f"{place.final}/{name}")).allowed:
        return None
    try:
        with directory.step(name.encode()) as held:
            return Entry(name, Kind.of(held.status()))
    except OSError:
        return None


def _create(place: Place, opening: Opening, quota: Quota) -> Descriptor:
    parent = _parent(place)
    try:
        with _one_file(place, quota), _guest_errors(place), _naming(parent):
            return parent.create(place.name, opening.flags, 0o644)
    except GuestError as error:
        if error.errno != errno.EEXIST or opening.creation is Creation.EXCLUSIVE:
            raise
    # Somebody else made the name first. It is allowed whatever it is by now; the checks of an
    # existing file tell whether this act can have it.
    with _guest_errors(place), parent.step(place.name) as found:
        return _reopen(replace(place, target=found, status=found.status()), opening, quota)


def _reopen(place: Place, opening: Opening, _quota: Quota) -> Descriptor:
    target, status = _regular(place)
    _refuse_shared(place, status)
    with _guest_errors(place):
        target.to_change()
        with target.reopen(opening.flags) as opened:
            _refuse_shared(place, opened.status())
            return Descriptor(opened.release())


def _refuse_shared(place: Place, status: os.stat_result) -> None:
    if status.st_nlink > 1:
        raise GuestError(
            errno.EACCES,
            f"{place.actions[0].value} {place.requested}: the file has other names, which may "
            "lie outside the grant; write a new file and rename it over this one",
        )
    if status.st_mode & (modes.S_ISUID | modes.S_ISGID):
        raise place.fails(errno.EACCES)


def _refuse_hiding(old: Place, new: Place, decides: Decides) -> None:
    for path in (old.final, new.final):
        if decides.may_hide(path):
            raise GuestError(
                errno.EACCES,
                f"rename {old.requested} to {new.requested}: the policy denies names that could "
                f"lie below {path}, so directories keep their names; copy the files instead",
            )


def _refuse_replacing(new: Place, decides: Decides) -> None:
    if new.status is None:
        return
    directory = new.kind is Kind.DIRECTORY
    action = FileAction.REMOVE_DIRECTORY if directory else FileAction.REMOVE
    decision = decides.decide(FileRequest(action, new.final))
    if not decision.allowed:
        raise GuestError(errno.EACCES, decision.reason, decision)


def _still(place: Place) -> None:
    """
    Check that the last name means what it meant when the place was located.

    Comparing numbers is enough: the place holds its object, so no other can have its inode.
    """
    try:
        with _parent(place).step(place.name) as held:
            now = held.status()
    except FileNotFoundError:
        now = None
    if not _same_file(now, place.status):
        raise GuestError(
            errno.EBUSY, f"rename {place.requested}: somebody else changed the name; try again"
        )


def _same_file(one: os.stat_result | None, other: os.stat_result | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


@contextmanager
def _guest_errors(place: Place) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = str(FileRequest(place.actions[0], place.requested))
        raise GuestError.from_host(error, what) from error


@contextmanager
def _one_file(place: Place, quota: Quota) -> Iterator[None]:
    quota.take_file(place.requested)
    try:
        yield
    except GuestError:
        quota.give_back_file()
        raise


@contextmanager
def _naming(parent: Descriptor) -> Iterator[None]:
    with _NAMING.setdefault(parent.status().st_dev, Lock()):
        yield
