"""
WASI preview 1 as data: flags and struct layouts, where they differ from Emscripten's.

From the interface's own description (WebAssembly/WASI, `preview1/docs.md`). Error numbers are
those of `executor.wasm.abi`, which Emscripten took from here.
"""

import struct
from enum import IntEnum, IntFlag
from typing import Final

from executor.wasm.abi import DT_CHR, DT_DIR, DT_LNK, DT_REG, S_IFDIR, S_IFLNK, S_IFREG

# The first descriptor of a preopened directory.
FIRST_PREOPENED: Final = 3


class Lookup(IntFlag):
    """
    `lookupflags`.
    """

    SYMLINK_FOLLOW = 1


class OpenFlag(IntFlag):
    """
    `oflags`.
    """

    CREAT = 1
    DIRECTORY = 2
    EXCL = 4
    TRUNC = 8


class DescriptorFlag(IntFlag):
    """
    `fdflags`.
    """

    APPEND = 1
    DSYNC = 2
    NONBLOCK = 4
    RSYNC = 8
    SYNC = 16


class TimeFlag(IntFlag):
    """
    `fstflags`.
    """

    ATIM = 1
    ATIM_NOW = 2
    MTIM = 4
    MTIM_NOW = 8


class Right(IntFlag):
    """
    The two of the `rights` by which a program says how it wants to use a file.
    """

    FD_READ = 1 << 1
    FD_WRITE = 1 << 6


class FileType(IntEnum):
    """
    `filetype`.
    """

    CHARACTER_DEVICE = 2
    DIRECTORY = 3
    REGULAR_FILE = 4
    SOCKET_STREAM = 6
    SYMBOLIC_LINK = 7


class EventType(IntEnum):
    """
    `eventtype`: what a subscription of poll_oneoff waits for.
    """

    CLOCK = 0
    FD_READ = 1
    FD_WRITE = 2


class Receive(IntFlag):
    """
    `riflags`.
    """

    PEEK = 1
    WAITALL = 2


class Shut(IntFlag):
    """
    `sdflags`.
    """

    RD = 1
    WR = 2


# The bits of a mode that say what a file is.
FORMAT: Final = 0o170000
FORMATS: Final = {
    S_IFDIR: FileType.DIRECTORY,
    S_IFREG: FileType.REGULAR_FILE,
    S_IFLNK: FileType.SYMBOLIC_LINK,
}
ENTRY_TYPES: Final = {
    DT_CHR: FileType.CHARACTER_DEVICE,
    DT_DIR: FileType.DIRECTORY,
    DT_REG: FileType.REGULAR_FILE,
    DT_LNK: FileType.SYMBOLIC_LINK,
}

ALL_RIGHTS: Final = 2**64 - 1
# The times of a filestat and a subscription are 64 bits of nanoseconds; later ones are refused.
TIME_MAX: Final = 2**33 * 10**9

# filestat: dev, ino, filetype, nlink, size, atim, mtim, ctim. 64 bytes.
FILESTAT: Final = struct.Struct("<QQB7xQQQQQ")
# fdstat: filetype, flags, rights, rights inherited. 24 bytes.
FDSTAT: Final = struct.Struct("<BxHxxxxQQ")
# prestat of a directory: tag 0, length of its name. 8 bytes.
PRESTAT: Final = struct.Struct("<BxxxI")
# dirent: cookie of the next, ino, length of the name, filetype; the name follows. 24 bytes.
DIRENT: Final = struct.Struct("<QQIBxxx")
# subscription: userdata, tag; then of a clock: id, timeout, precision, flags; of a descriptor:
# its number, where the clock's id is. 48 bytes.
SUBSCRIPTION: Final = struct.Struct("<QB7xI4xQQH6x")
# event: userdata, error, type; bytes available, flags. 32 bytes.
EVENT: Final = struct.Struct("<QHB5xQH6x")
SUBSCRIPTION_ABSTIME: Final = 1
EVENT_HANGUP: Final = 1
