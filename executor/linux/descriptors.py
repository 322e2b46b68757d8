"""
Which descriptors a process holds, and how a regular file or a stream is handed to another process.

A passed descriptor is the only thing of the host's file system that a worker ever touches, so
its type and mode are checked by who sends it and again by who receives it: a regular file, open
for reading only, not O_PATH. A directory would be a way around every mount and every rule.
What a read-only descriptor still allows (fchmod, utime, setxattr, flock) the worker's filter
refuses.

A passed stream is one end of a pair of connected unix sockets. Its sender looks at family, type
and connection; its receiver, whose filter may have neither getsockopt nor getpeername, sees that
it is a socket. Sources: close_range(2), unix(7), cmsg(3), stat(2), socket(7).
"""

import array
import ctypes
import fcntl
import os
import socket
import stat
import struct
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from executor.linux.errors import DescriptorRefused, asking
from executor.linux.libc import call

_LAST = 0xFFFF_FFFF
_STANDARD = (0, 1, 2)
# struct stat of x86-64: st_mode at byte 24 (32 bits), st_size at byte 48 (64 bits), 144 in all.
_STAT_SIZE = 144
_MODE = struct.Struct("=24xI")
_SIZE = struct.Struct("=48xq")
_ONE = array.array("i", [0]).itemsize
# Room for one descriptor more than is taken, so that a second one is seen and refused.
_ANCILLARY_ROOM = socket.CMSG_SPACE(2 * _ONE)


@dataclass(frozen=True, slots=True)
class RegularFile:
    """
    A regular file open for reading: its descriptor, which the holder closes, and size (bytes).
    """

    descriptor: int
    size: int


@dataclass(frozen=True, slots=True)
class PassedStream:
    """
    A socket that was sent by who checked it: its descriptor, which the holder closes.
    """

    descriptor: int


Passed = RegularFile | PassedStream


def own() -> frozenset[int]:
    """
    The descriptors that this process holds now.

    Raises MechanismFailed when /proc is not mounted.
    """
    with asking("descriptors", "listing /proc/self/fd", "mount /proc"):
        names = [entry.name for entry in Path("/proc/self/fd").iterdir()]
    # The listing had a descriptor of its own, which is gone by now.
    return frozenset(number for number in map(int, names) if _is_open(number))


def open_null() -> int:
    """
    Open /dev/null, close-on-exec. Raises MechanismFailed when it cannot be opened.
    """
    with asking("descriptors", "opening /dev/null for standard streams", "mount /dev"):
        return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


def keep_only(kept: Collection[int], null: int | None = None) -> None:
    """
    Close every descriptor but `kept`; those of 0 to 2 that are not kept become /dev/null, which
    `null` is where it is open already.

    Raises MechanismFailed when one of `kept` is not open or /dev/null cannot be opened;
    MechanismMissing before Linux 5.9.
    """
    for descriptor in kept:
        with asking("descriptors", f"keeping descriptor {descriptor}", "name open descriptors"):
            fcntl.fcntl(descriptor, fcntl.F_GETFD)
    _silence(frozenset(_STANDARD) - frozenset(kept), null)
    with asking("close_range", "closing what is not kept", "use Linux 5.9 or later"):
        for first, last in _gaps({*kept, *_STANDARD}):
            call("close_range", first, last, 0)


def silence() -> None:
    """
    Make all three standard streams /dev/null. Raises MechanismFailed when it cannot be opened.
    """
    _silence(_STANDARD)


def require_regular_file(descriptor: int) -> RegularFile:
    """
    Look at `descriptor`: it must be a regular file, open for reading only.

    Makes only fstat and fcntl(F_GETFL), so it works under the worker's filter. (glibc's fstat
    may be newfstatat, which takes a path and which that filter therefore refuses.)
    Raises DescriptorRefused saying what it is instead, OSError EBADF when it is not open.
    """
    mode, size = _status(descriptor)
    if not stat.S_ISREG(mode):
        raise DescriptorRefused(
            "descriptors",
            f"{descriptor} is {stat.filemode(mode)}; only a regular file may be passed",
        )
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    if flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_PATH:
        raise DescriptorRefused(
            "descriptors", f"{descriptor} has flags {flags:#o}; open it O_RDONLY to pass it"
        )
    return RegularFile(descriptor, size)


def require_stream(descriptor: int) -> PassedStream:
    """
    Look at `descriptor`: it must be an AF_UNIX SOCK_STREAM socket that is connected.

    For a sender; it needs getsockopt and getpeername. Raises DescriptorRefused saying what it is
    instead, OSError EBADF when it is not open.
    """
    _require_socket(descriptor)
    # Not detached before the end: leaving the block early must not close the caller's.
    seen = socket.socket(fileno=os.dup(descriptor))
    with seen:
        if (seen.family, seen.type) != (socket.AF_UNIX, socket.SOCK_STREAM):
            raise DescriptorRefused(
                "descriptors",
                f"{descriptor} is a socket of {seen.family!r} and {seen.type!r}; only a unix"
                " stream may be passed",
            )
        try:
            seen.getpeername()
        except OSError as error:
            raise DescriptorRefused(
                "descriptors", f"{descriptor} is not connected ({error}); pass an end of a pair"
            ) from error
    return PassedStream(descriptor)


def send_regular_file(channel: socket.socket, data: bytes, descriptor: int) -> int:
    """
    Send `data` (1 byte or more) on the unix stream `channel`, with `descriptor` at its first byte.

    Returns how many bytes of `data` went; the descriptor went with the first of them, and the
    sender's own stays open. Raises DescriptorRefused as `require_regular_file` does, ValueError
    for no data (the descriptor would be lost), OSError from sendmsg(2).
    """
    require_regular_file(descriptor)
    return _send(channel, data, descriptor)


def send_stream(channel: socket.socket, data: bytes, descriptor: int) -> int:
    """
    As `send_regular_file`, for one end of a pair of unix streams.

    Raises DescriptorRefused as `require_stream` does.
    """
    require_stream(descriptor)
    return _send(channel, data, descriptor)


def receive_regular_file(channel: socket.socket, size: int) -> tuple[bytes, RegularFile | None]:
    """
    Receive up to `size` bytes (1 or more) and the descriptor that came with them, if any.

    The received descriptor is close-on-exec. Raises DescriptorRefused when more than one came,
    or anything else but a regular file open for reading: all that came are then closed.
    Raises OSError from recvmsg(2).
    """
    return _receive(channel, size, require_regular_file)


def receive_passed(channel: socket.socket, size: int) -> tuple[bytes, Passed | None]:
    """
    As `receive_regular_file`, where what comes may also be a stream.

    Of a stream only fstat and fcntl(F_GETFL) are asked: that it is a socket, open for reading and
    writing. Raises DescriptorRefused for anything else.
    """
    return _receive(channel, size, _require_passed)


def _is_open(descriptor: int) -> bool:
    try:
        fcntl.fcntl(descriptor, fcntl.F_GETFD)
    except OSError:
        return False
    return True


def _silence(numbers: Collection[int], opened: int | None = None) -> None:
    if not numbers:
        return
    null = open_null() if opened is None else opened
    for number in numbers:
        if number != null:
            os.dup2(null, number, inheritable=True)
    if null not in numbers and opened is None:
        os.close(null)


def _gaps(kept: set[int]) -> Iterator[tuple[int, int]]:
    for before, after in pairwise([-1, *sorted(kept), _LAST + 1]):
        if after - before > 1:
            yield before + 1, after - 1


def _status(descriptor: int) -> tuple[int, int]:
    held = ctypes.create_string_buffer(_STAT_SIZE)
    call("fstat", descriptor, ctypes.addressof(held))
    (mode,), (size,) = _MODE.unpack_from(held), _SIZE.unpack_from(held)
    return mode, size


def _require_passed(descriptor: int) -> Passed:
    mode, _ = _status(descriptor)
    if stat.S_ISSOCK(mode):
        return _require_socket(descriptor)
    return require_regular_file(descriptor)


def _require_socket(descriptor: int) -> PassedStream:
    mode, _ = _status(descriptor)
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    if not stat.S_ISSOCK(mode) or flags & os.O_ACCMODE != os.O_RDWR or flags & os.O_PATH:
        raise DescriptorRefused(
            "descriptors",
            f"{descriptor} is {stat.filemode(mode)} with flags {flags:#o}; only a socket may be"
            " passed as a stream",
        )
    return PassedStream(descriptor)


def _send(channel: socket.socket, data: bytes, descriptor: int) -> int:
    if not data:
        raise ValueError("a descriptor travels with at least one byte of data")
    passed = array.array("i", [descriptor])
    return channel.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])


_Checked = TypeVar("_Checked", bound=Passed)


def _receive(
    channel: socket.socket, size: int, check: Callable[[int], _Checked]
) -> tuple[bytes, _Checked | None]:
    data, ancillary, flags, _ = channel.recvmsg(size, _ANCILLARY_ROOM, socket.MSG_CMSG_CLOEXEC)
    received = list(_descriptors(ancillary))
    try:
        if len(received) > 1 or flags & socket.MSG_CTRUNC:
            raise DescriptorRefused("descriptors", "several came at once; send them one by one")
        return data, check(received[0]) if received else None
    except DescriptorRefused:
        for descriptor in received:
            os.close(descriptor)
        raise


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> Iterator[int]:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            whole = array.array("i")
            whole.frombytes(data[: len(data) - len(data) % _ONE])
            yield from whole
