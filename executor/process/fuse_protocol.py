"""
The kernel's side of FUSE, as bytes: what a request looks like, and what an answer must.

The kernel speaks first and is believed to be the kernel; what it hands on are the guest's names,
offsets and sizes. So every length is compared with the header's, every string has its end, and a
request that is not exactly of its row's shape is `Malformed`: whoever sent that is no kernel that
we know, and the session ends. Nothing is decided here.

Layouts follow <linux/fuse.h>, protocol 7.31 (Linux 5.4) and its later additions where the kernel
sends them without being asked; fuse(4) tells how the device is read and written. All numbers are
of this machine's order, which is little endian: the box runs on x86-64 alone.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from types import MappingProxyType
from typing import Final

MAJOR: Final = 7
MINOR: Final = 31
# A write of this many bytes is one frame to the server, which takes no larger one.
WRITE_MAX: Final = 2**18
# Pages of one read at most, and therefore its bytes.
PAGES_MAX: Final = 256
READ_MAX: Final = PAGES_MAX * 4096
ROOT: Final = 1
NAME_MAX: Final = 255
# "Nobody knows" for an inode's number in a listing (FUSE_UNKNOWN_INO).
_UNKNOWN_INODE: Final = 0xFFFF_FFFF

_IN: Final = struct.Struct("<IIQQIIIHH")
_OUT: Final = struct.Struct("<IiQ")
_ATTRIBUTES: Final = struct.Struct("<6Q10I")
_ENTRY: Final = struct.Struct("<4Q2I")
_ATTRIBUTES_OUT: Final = struct.Struct("<QII")
_OPENED: Final = struct.Struct("<QIi")
_WRITTEN: Final = struct.Struct("<II")
_STATISTICS: Final = struct.Struct("<5Q4I24x")
_DIRENT: Final = struct.Struct("<QQII")
_INIT_OUT: Final = struct.Struct("<4I2H2I2HI28x")
_PAIR: Final = struct.Struct("<QQ")
_ALIGNMENT: Final = 8
_FRESH_NS: Final = 10_000_000
_EMPTY: Final = memoryview(b"")
# The device wants room for the largest request and refuses a read with less than two pages.
REQUEST_MAX: Final = WRITE_MAX + 2**13


class Malformed(Exception):
    """
    A request that no kernel sends.
    """


class Opcode(IntEnum):
    """
    What the kernel may ask for (enum fuse_opcode).
    """

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    GETLK = 31
    SETLK = 32
    SETLKW = 33
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    BMAP = 37
    DESTROY = 38
    IOCTL = 39
    POLL = 40
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    LSEEK = 46
    COPY_FILE_RANGE = 47
    SETUPMAPPING = 48
    REMOVEMAPPING = 49
    SYNCFS = 50
    TMPFILE = 51
    STATX = 52
    COPY_FILE_RANGE_64 = 53


class Feature(IntFlag):
    """
    What INIT agrees on; what is not here the kernel then does itself, or not at all.

    Locks are left out, so that they are the kernel's own, among the processes of one box; so is
    the writeback cache, with which sizes and times would be the guest's to tell.
    """

    ASYNC_READ = 1 << 0
    ATOMIC_O_TRUNC = 1 << 3
    BIG_WRITES = 1 << 5
    AUTO_INVAL_DATA = 1 << 12
    PARALLEL_DIROPS = 1 << 18
    MAX_PAGES = 1 << 22


class Valid(IntFlag):
    """
    Which fields of SETATTR are meant (FATTR_*).
    """

    MODE = 1 << 0
    UID = 1 << 1
    GID = 1 << 2
    SIZE = 1 << 3
    ATIME = 1 << 4
    MTIME = 1 << 5
    HANDLE = 1 << 6
    ATIME_NOW = 1 << 7
    MTIME_NOW = 1 << 8


class Opening(IntFlag):
    """
    How the kernel is to treat an open file (FOPEN_*).
    """

    PLAIN = 0
    DIRECT_IO = 1 << 0
    NO_FLUSH = 1 << 5


GETATTR_HANDLE: Final = 1
WRITE_FROM_CACHE: Final = 1


@dataclass(frozen=True, slots=True)
class Shape:
    """
    What follows a request's header: fixed numbers, then names that end with a zero, then `rest`
    bytes that the row's act takes apart.
    """

    fixed: struct.Struct
    names: int = 0
    rest: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """
    One request, taken apart. `names` hold no zero and are as long as the guest made them.
    """

    opcode: int
    unique: int
    node: int
    numbers: tuple[int, ...]
    names: tuple[bytes, ...] = ()
    rest: memoryview = _EMPTY


@dataclass(frozen=True, slots=True)
class Attributes:
    """
    What the kernel is told of an object: `size` in bytes, `mode` with its kind, `modified_ns`
    since 1970 for all three times.
    """

    inode: int
    mode: int
    size: int
    modified_ns: int
    links: int
    owner: int


def _plain(layout: str, names: int = 0, *, rest: bool = False) -> Shape:
    return Shape(struct.Struct(f"<{layout}"), names, rest)


_NOTHING: Final = _plain("", rest=True)

# opcode                       what follows the header
SHAPES: Final[Mapping[int, Shape]] = MappingProxyType(
    {
        Opcode.LOOKUP: _plain("", 1),  # name
        Opcode.FORGET: _plain("Q"),  # nlookup
        Opcode.GETATTR: _plain("IIQ"),  # flags, -, fh
        Opcode.SETATTR: _plain("II6Q8I"),  # valid, -, fh, size, owner, 3 times, 3 parts, mode, ...
        Opcode.READLINK: _plain(""),
        Opcode.SYMLINK: _plain("", 2),  # name, target
        Opcode.MKNOD: _plain("4I", 1),  # mode, rdev, umask, -; name
        Opcode.MKDIR: _plain("2I", 1),  # mode, umask; name
        Opcode.UNLINK: _plain("", 1),  # name
        Opcode.RMDIR: _plain("", 1),  # name
        Opcode.RENAME: _plain("Q", 2),  # new directory; old name, new name
        Opcode.RENAME2: _plain("QII", 2),  # new directory, flags, -; old name, new name
        Opcode.LINK: _plain("Q", 1),  # node; name
        Opcode.OPEN: _plain("II"),  # flags, open flags
        Opcode.OPENDIR: _plain("II"),  # flags, open flags
        Opcode.READ: _plain("QQIIQII"),  # fh, offset, size, read flags, owner, flags, -
        Opcode.READDIR: _plain("QQIIQII"),  # as READ
        Opcode.WRITE: _plain("QQIIQII", rest=True),  # as READ; the data
        Opcode.STATFS: _plain(""),
        Opcode.RELEASE: _plain("QIIQ"),  # fh, flags, release flags, owner
        Opcode.RELEASEDIR: _plain("QIIQ"),  # as RELEASE
        Opcode.FSYNC: _plain("QII"),  # fh, flags, -
        Opcode.FSYNCDIR: _plain("QII"),  # as FSYNC
        Opcode.FLUSH: _plain("QIIQ"),  # fh, -, -, owner
        Opcode.INIT: _plain("4I", rest=True),  # major, minor, readahead, flags; newer fields
        Opcode.ACCESS: _plain("II"),  # mask, -
        Opcode.CREATE: _plain("4I", 1),  # flags, mode, umask, open flags; name
        Opcode.INTERRUPT: _plain("Q"),  # unique of the other request
        Opcode.BATCH_FORGET: _plain("II", rest=True),  # count, -; pairs of node and nlookup
        Opcode.DESTROY: _plain("", rest=True),
    }
)


def parse(data: memoryview) -> Request:
    """
    The request in `data`, which is what one read of the device gave. Raises Malformed.

    An opcode without a row comes with nothing but its header; it is answered, and not looked into.
    """
    if len(data) < _IN.size:
        raise Malformed(f"{len(data)} bytes; a header has {_IN.size}")
    length, opcode, unique, node, _, _, _, extensions, _ = _IN.unpack_from(data)
    if length != len(data) or extensions:
        raise Malformed(f"{len(data)} bytes that say they are {length}, {extensions} of extensions")
    shape = SHAPES.get(opcode, _NOTHING)
    body = data[_IN.size :]
    if len(body) < shape.fixed.size:
        raise Malformed(f"opcode {opcode} with {len(body)} bytes; {shape.fixed.size} are due")
    numbers = shape.fixed.unpack_from(body)
    rest = body[shape.fixed.size :]
    names: tuple[bytes, ...] = ()
    if shape.names:
        names, rest = _names(bytes(rest), shape.names), _EMPTY
    if rest and not shape.rest:
        raise Malformed(f"opcode {opcode} with {len(rest)} bytes too many")
    return Request(opcode, unique, node, numbers, names, rest)


def _names(data: bytes, count: int) -> tuple[bytes, ...]:
    parts = data.split(b"\0")
    if len(parts) != count + 1 or parts[-1] or not all(parts[:-1]):
        raise Malformed(f"{len(data)} bytes that are not {count} names")
    return tuple(parts[:-1])


def forgotten(request: Request) -> list[tuple[int, int]]:
    """
    The nodes of a FORGET or BATCH_FORGET, each with how many lookups of it are taken back.

    Raises Malformed.
    """
    if request.opcode == Opcode.FORGET:
        return [(request.node, request.numbers[0])]
    if len(request.rest) != request.numbers[0] * _PAIR.size:
        raise Malformed(f"{request.numbers[0]} forgotten nodes in {len(request.rest)} bytes")
    return [(node, count) for node, count in _PAIR.iter_unpack(request.rest)]


def answer(unique: int, size: int) -> bytes:
    """
    The header of an answer that `size` bytes (0 or more) follow.
    """
    return _OUT.pack(_OUT.size + size, 0, unique)


def refusal(unique: int, number: int) -> bytes:
    """
    The answer that is an errno (1 to 511).
    """
    return _OUT.pack(_OUT.size, -number, unique)


def agreed(request: Request) -> bytes:
    """
    The answer to INIT. Raises Malformed for a kernel whose protocol is older than ours.
    """
    major, minor, readahead, flags = request.numbers
    if (major, minor) < (MAJOR, MINOR) or major > MAJOR:
        raise Malformed(
            f"FUSE {major}.{minor}; this speaks {MAJOR}.{MINOR}: use Linux 5.4 or later"
        )
    wanted = flags & sum(Feature)
    background, congested = 16, 12
    return _INIT_OUT.pack(
        *(MAJOR, MINOR, readahead, wanted, background, congested),
        *(WRITE_MAX, 1, PAGES_MAX, 0, 0),
    )


def attributes(found: Attributes) -> bytes:
    """
    The bytes of struct fuse_attr.
    """
    seconds, part = divmod(found.modified_ns, 10**9)
    blocks = -(-found.size // 512)
    return _ATTRIBUTES.pack(
        *(found.inode, found.size, blocks, seconds, seconds, seconds, part, part, part),
        *(found.mode, found.links, found.owner, found.owner, 0, 4096, 0),
    )


def attributes_answer(found: Attributes) -> bytes:
    """
    The bytes of struct fuse_attr_out, good for no time at all.
    """
    return _ATTRIBUTES_OUT.pack(0, 0, 0) + attributes(found)


def entry_answer(node: int, found: Attributes) -> bytes:
    """
    The bytes of struct fuse_entry_out. The name is good for no time at all: every use of it asks
    again, and brings attributes. These are good for `_FRESH_NS`, or what a path's last lookup has
    brought would be asked for a second time at once. No number of a node is used twice, so there
    are no generations of it.
    """
    return _ENTRY.pack(node, 0, 0, 0, 0, _FRESH_NS) + attributes(found)


def opened_answer(handle: int, how: Opening) -> bytes:
    """
    The bytes of struct fuse_open_out.
    """
    return _OPENED.pack(handle, how, 0)


def written_answer(count: int) -> bytes:
    """
    The bytes of struct fuse_write_out.
    """
    return _WRITTEN.pack(count, 0)


def statistics_answer(size: int, files: int) -> bytes:
    """
    The bytes of struct fuse_statfs_out for `size` bytes and `files` files, all of them free.
    """
    blocks = size // 4096
    return _STATISTICS.pack(blocks, blocks, blocks, files, files, 4096, NAME_MAX, 4096, 0)


def directory_entry(following: int, kind: int, name: bytes) -> bytes:
    """
    The bytes of struct fuse_dirent, without an inode's number; `following` is the offset that the
    next one is asked by.
    """
    entry = _DIRENT.pack(_UNKNOWN_INODE, following, len(name), kind) + name
    return entry + bytes(-len(entry) % _ALIGNMENT)
