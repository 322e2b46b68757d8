"""
Emscripten's binary interface as data: error numbers, flags, struct layouts.

Error numbers are WASI's, not Linux's (WASI preview 1, `errno`); flags are Linux's octal values
(musl, `bits/fcntl.h`, as in the sysroot of Emscripten 5.0). A test compares the numbers with the
guest's own `errno` module.
"""

import errno as host_errno
import struct
from enum import IntEnum, IntFlag
from typing import Final


class Errno(IntEnum):
    """
    The guest's error numbers.
    """

    E2BIG = 1
    EACCES = 2
    EADDRINUSE = 3
    EADDRNOTAVAIL = 4
    EAFNOSUPPORT = 5
    EAGAIN = 6
    EALREADY = 7
    EBADF = 8
    EBADMSG = 9
    EBUSY = 10
    ECANCELED = 11
    ECHILD = 12
    ECONNABORTED = 13
    ECONNREFUSED = 14
    ECONNRESET = 15
    EDEADLK = 16
    EDESTADDRREQ = 17
    EDOM = 18
    EDQUOT = 19
    EEXIST = 20
    EFAULT = 21
    EFBIG = 22
    EHOSTUNREACH = 23
    EIDRM = 24
    EILSEQ = 25
    EINPROGRESS = 26
    EINTR = 27
    EINVAL = 28
    EIO = 29
    EISCONN = 30
    EISDIR = 31
    ELOOP = 32
    EMFILE = 33
    EMLINK = 34
    EMSGSIZE = 35
    EMULTIHOP = 36
    ENAMETOOLONG = 37
    ENETDOWN = 38
    ENETRESET = 39
    ENETUNREACH = 40
    ENFILE = 41
    ENOBUFS = 42
    ENODEV = 43
    ENOENT = 44
    ENOEXEC = 45
    ENOLCK = 46
    ENOLINK = 47
    ENOMEM = 48
    ENOMSG = 49
    ENOPROTOOPT = 50
    ENOSPC = 51
    ENOSYS = 52
    ENOTCONN = 53
    ENOTDIR = 54
    ENOTEMPTY = 55
    ENOTRECOVERABLE = 56
    ENOTSOCK = 57
    ENOTTY = 59
    ENXIO = 60
    EOVERFLOW = 61
    EOWNERDEAD = 62
    EPERM = 63
    EPIPE = 64
    EPROTO = 65
    EPROTONOSUPPORT = 66
    EPROTOTYPE = 67
    ERANGE = 68
    EROFS = 69
    ESPIPE = 70
    ESRCH = 71
    ESTALE = 72
    ETIMEDOUT = 73
    ETXTBSY = 74
    EXDEV = 75
    EOPNOTSUPP = 138

    @property
    def host(self) -> int:
        """
        Linux's number for the same error.
        """
        return int(getattr(host_errno, self.name))


def from_host(number: int) -> Errno:
    """
    The guest's number for a Linux errno; EIO for one that the guest has no name for.
    """
    name = host_errno.errorcode.get(number, "EIO")
    return Errno.__members__.get(name, Errno.EIO)


class GuestFault(Exception):
    """
    A system call that fails: the guest gets the error number, and the reason where one is kept.
    """

    def __init__(self, errno: Errno, reason: str = "") -> None:
        super().__init__(errno.name if not reason else f"{errno.name}: {reason}")
        self.errno = errno
        self.reason = reason


class Open(IntFlag):
    """
    Flags of open(2).
    """

    WRONLY = 0o1
    RDWR = 0o2
    CREAT = 0o100
    EXCL = 0o200
    NOCTTY = 0o400
    TRUNC = 0o1000
    APPEND = 0o2000
    NONBLOCK = 0o4000
    DIRECTORY = 0o200000
    NOFOLLOW = 0o400000
    CLOEXEC = 0o2000000

    # Asked for each call about a file, so of plain numbers: `&` and `|` make a member each time.
    @property
    def reads(self) -> bool:
        """
        Whether a file that is opened so can be read.
        """
        return not self._value_ & _WRITES_ONLY

    @property
    def writes(self) -> bool:
        """
        Whether a file that is opened so can be written.
        """
        return bool(self._value_ & _WRITES)

    @property
    def changes(self) -> bool:
        """
        Whether to open a file so may change it, or make one.
        """
        return bool(self._value_ & _CHANGES)


_WRITES_ONLY: Final = int(Open.WRONLY)
_WRITES: Final = int(Open.WRONLY | Open.RDWR)
_CHANGES: Final = int(Open.WRONLY | Open.RDWR | Open.CREAT | Open.TRUNC)

AT_FDCWD = -100 & 0xFFFFFFFF
AT_SYMLINK_NOFOLLOW = 0x100
AT_REMOVEDIR = 0x200
AT_EMPTY_PATH = 0x1000

F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL = range(5)
F_GETLK, F_SETLK, F_SETLKW = 12, 13, 14
F_UNLCK = 2
F_DUPFD_CLOEXEC = 1030
FD_CLOEXEC = 1

SEEK_SET, SEEK_CUR, SEEK_END = range(3)

POLLIN, POLLOUT, POLLERR, POLLHUP, POLLNVAL = 0x1, 0x4, 0x8, 0x10, 0x20

# fdstat.fs_filetype of WASI; d_type of getdents64(2).
FILETYPE_CHARACTER, FILETYPE_DIRECTORY, FILETYPE_REGULAR, FILETYPE_STREAM = 2, 3, 4, 6
DT_CHR, DT_DIR, DT_REG, DT_LNK = 2, 4, 8, 10

S_IFCHR, S_IFDIR, S_IFREG, S_IFLNK, S_IFIFO = 0o020000, 0o040000, 0o100000, 0o120000, 0o010000
S_IFSOCK = 0o140000

# struct stat of wasm32: dev, mode, nlink, uid, gid, rdev, size, blksize, blocks, three times of
# (i64 seconds, u32 nanoseconds, padding), ino. 96 bytes.
STAT = struct.Struct("<IIIIIIqiiqIxxxxqIxxxxqIxxxxQ")
# A getdents64 record is always 280 bytes: ino, offset, length, type, name of 256.
DIRENT = struct.Struct("<QqHB256sxxxxx")
# struct statfs of wasm32, 88 bytes: type, bsize; blocks, bfree, bavail, files, ffree in 64 bits;
# fsid[2], namelen, frsize, flags, spare[4], padding.
STATFS = struct.Struct("<II5Q9Ixxxx")
# The same where counts have 32 bits, as in the Emscripten of Pyodide 0.29: 64 bytes.
STATFS_32 = struct.Struct("<II5I9I")
# struct pollfd: descriptor, events, returned events.
POLLFD = struct.Struct("<iHH")
# struct tm as Emscripten's JavaScript fills it: nine ints, gmtoff; the zone's name is libc's.
TM = struct.Struct("<10i")
# struct flock of wasm32: type and origin of 16 bits, start and length of 64, a process id.
FLOCK_SIZE = 32
# fdstat: file type, padding, flags, padding, two rights of 64 bits.
FDSTAT = struct.Struct("<BxHxxxxQQ")

NAME_MAX = 255
PATH_MAX = 4096


def signed(value: int) -> int:
    """
    A 32-bit integer read as signed.
    """
    return value - 2**32 if value & 0x80000000 else value


def signed64(value: int) -> int:
    """
    A 64-bit integer read as signed.
    """
    return value - 2**64 if value >> 63 else value
