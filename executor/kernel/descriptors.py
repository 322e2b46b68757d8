"""
Descriptors that have one owner, and the one step by which the file boundary goes forward.

A step is openat2(2) on a single name, because it says in one call, without a window, what
openat(2) and checks afterwards say only nearly: no link is followed, no magic link either, and no
mount point is crossed (a bind mount of the same file system has the same st_dev, so comparing
numbers would not see it). A kernel or a container that refuses openat2 is an error, not a reason
to walk with less.

Names go to the kernel as UTF-8 bytes whatever the server's locale is: what was decided is what
is opened.
"""

import ctypes
import errno
import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Generator
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self

from executor.kernel.errors import ExecutorError, InternalError, Status

_SYS_OPENAT2 = 437  # one number on every architecture: include/uapi/asm-generic/unistd.h
_PATH_ONLY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_COMPONENTS = frozenset({b"", b".", b".."})
# struct statfs of x86-64 has 120 bytes, of other machines fewer; f_type is the first, a long.
_STATFS_SIZE = 256
_F_TYPE = struct.Struct("l")
CLOSED = -1


class _Resolve(Enum):
    """
    The bits of `how.resolve` that steps set (openat2(2), include/uapi/linux/openat2.h).
    """

    NO_XDEV = 0x01
    NO_MAGICLINKS = 0x02
    NO_SYMLINKS = 0x04
    BENEATH = 0x08
    CACHED = 0x20


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_STEP = sum(bit.value for bit in _Resolve if bit is not _Resolve.CACHED)
_HOW = _OpenHow(_PATH_ONLY, 0, _STEP)
_HOW_SIZE = ctypes.sizeof(_HOW)
_HOW_CACHED = _OpenHow(_PATH_ONLY, 0, _STEP | _Resolve.CACHED.value)
_LIBC = ctypes.CDLL(None, use_errno=True)
_syscall = _LIBC.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (
    ctypes.c_long,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.POINTER(_OpenHow),
    ctypes.c_size_t,
)


class Closing(ABC):
    """
    What is closed where a `with` is left.
    """

    __slots__ = ()

    @abstractmethod
    def close(self) -> None:
        """
        Let go of what it holds.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Descriptor(Closing):
    """
    A file descriptor and the duty to close it.

    Closing twice is harmless, and use after closing raises InternalError, because a number that
    was closed soon belongs to somebody else: perhaps to another session.
    """

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        self._number = number

    @property
    def number(self) -> int:
        """
        The number, for a system call that is made at once; not to be kept.
        """
        if self._number == CLOSED:
            raise InternalError("a descriptor was used after it had been closed")
        return self._number

    def status(self) -> os.stat_result:
        """
        What fstat(2) says; it also holds for descriptors opened with O_PATH.
        """
        return os.fstat(self.number)

    def duplicate(self) -> "Descriptor":
        """
        A second descriptor of the same object, with an owner of its own.
        """
        return Descriptor(os.dup(self.number))

    def step(self, name: bytes) -> "Descriptor":
        """
        The object called `name` in this directory, held with O_PATH: a link is itself, not its
        target, and a device or FIFO is not touched.

        `name` is a single component, without `/` and NUL, neither `.` nor `..`. Raises OSError as
        openat2(2) does, among them EXDEV where another file system is mounted on the name.
        """
        _require_component(name)
        return Descriptor(_openat2(self.number, name))

    def link_text(self) -> bytes:
        """
        The text of this symbolic link itself, whatever its name has come to mean (readlinkat(2)).
        """
        return os.readlink(b"", dir_fd=self.number)

    def reopen(self, flags: int) -> "Descriptor":
        """
        Open the very object again with `flags` of open(2), here without O_CREAT and O_TRUNC.

        This goes through the magic link of /proc, so no name is looked up again and nothing can
        have been put in its place. Callers check the type first: opening acts on FIFOs and
        devices. Raises OSError as open(2) does.
        """
        return Descriptor(os.open(self.magic_link, flags | os.O_CLOEXEC | os.O_NOCTTY))

    @property
    def magic_link(self) -> str:
        """
        The path that means this object to this process (proc(5)); no guest ever sees it.
        """
        return f"/proc/self/fd/{self.number}"

    @property
    def host_path(self) -> str:
        """
        Where this object lies by now, for the server alone (proc(5)).
        """
        return str(Path(self.magic_link).readlink())

    def names(self) -> Generator[bytes, None, None]:
        """
        The names in this directory, in no order, without `.` and `..`. Raises OSError.
        """
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        with (
            Descriptor(os.open(".", flags, dir_fd=self.number)) as opened,
            os.scandir(opened.number) as found,
        ):
            for entry in found:
                yield os.fsencode(entry.name)

    def to_change(self) -> None:
        """
        Say that the object itself is about to be changed. Here nothing has to be done for that.
        """

    def create(self, name: bytes, flags: int, mode: int) -> "Descriptor":
        """
        Make a file in this directory, which did not have the name, and open it (open(2)).
        """
        made = flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
        return Descriptor(os.open(name, made, mode, dir_fd=self.number))

    def make_directory(self, name: bytes, mode: int) -> None:
        """
        Make a directory in this one (mkdir(2)).
        """
        os.mkdir(name, mode, dir_fd=self.number)

    def remove(self, name: bytes) -> None:
        """
        Remove a name that is no directory (unlink(2)).
        """
        os.unlink(name, dir_fd=self.number)

    def remove_directory(self, name: bytes) -> None:
        """
        Remove an empty directory (rmdir(2)).
        """
        os.rmdir(name, dir_fd=self.number)

    def rename(self, name: bytes, target: "Descriptor", new: bytes) -> None:
        """
        Move a name to `new` in the directory `target` (rename(2)).
        """
        os.rename(name, new, src_dir_fd=self.number, dst_dir_fd=target.number)

    def release(self) -> int:
        """
        Give the number away; whoever takes it has to close it.
        """
        number, self._number = self.number, CLOSED
        return number

    def close(self) -> None:
        """
        Close the descriptor, if it is still open.
        """
        number, self._number = self._number, CLOSED
        if number != CLOSED:
            os.close(number)


def open_root(source: str) -> Descriptor:
    """
    Hold the directory `source`, an absolute host path that an administrator wrote.

    Links on the way are the administrator's and are followed, once. Raises OSError as open(2)
    does, and ExecutorError when this kernel cannot do what the boundary rests on.
    """
    root = Descriptor(os.open(source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    try:
        _require_openat2(root)
    except ExecutorError:
        root.close()
        raise
    return root


def step_in_memory(directory: int, name: bytes) -> int:
    """
    As `Descriptor.step`, where the kernel has all that it needs for it in memory (RESOLVE_CACHED,
    Linux 5.12); the number is the caller's. Raises BlockingIOError where it has not.
    """
    _require_component(name)
    return _openat2(directory, name, _HOW_CACHED)


def file_system_of(root: Descriptor) -> int | None:
    """
    The type of the file system (statfs(2), f_type), or None where names there cannot be asked for
    in memory alone, since the kernel is older than 5.12.
    """
    told = ctypes.create_string_buffer(_STATFS_SIZE)
    if _LIBC.fstatfs(root.number, told) != 0:
        return None
    try:
        os.close(_openat2(root.number, b".", _HOW_CACHED))
    except BlockingIOError:
        pass
    except OSError:
        return None
    return int(_F_TYPE.unpack_from(told)[0])


def _require_component(name: bytes) -> None:
    if b"/" in name or b"\0" in name or name in _NO_COMPONENTS:
        raise InternalError(f"{name!r} is not the name of one component")


def _openat2(directory: int, name: bytes, how: _OpenHow = _HOW) -> int:
    while True:
        number = int(_syscall(_SYS_OPENAT2, directory, name, ctypes.byref(how), _HOW_SIZE))
        if number >= 0:
            return number
        code = ctypes.get_errno()
        if code != errno.EINTR:  # os.open would try again as well (PEP 475)
            raise OSError(code, os.strerror(code))


def _require_openat2(root: Descriptor) -> None:
    # An empty name is ENOENT where the call exists; a filter answers EPERM or ENOSYS.
    try:
        os.close(_openat2(root.number, b""))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return
        raise ExecutorError(
            Status.FAILED_PRECONDITION,
            "OPENAT2_MISSING",
            "host directories need the system call openat2 (Linux 5.6), which is refused here "
            f"({error.strerror}); allow it in the container's seccomp profile",
        ) from error
