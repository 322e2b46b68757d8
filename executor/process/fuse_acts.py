"""
What is done with each request of the kernel: one row for each opcode in `ACTS`; what is refused
whatever the policy says has its row in `fuse_refusals.py`.

An act is a generator: it yields what it wants to ask of the gate, in the frames that a wasm worker
sends for the same deed, and gets the answer back; what it returns is what the kernel is told. So
an act waits without a thread, and whoever drives it (`fuse.py`) decides when it goes on. A denied
name is absent here as it is there: the errno is the gate's, and its sentence stays outside.

The kernel looks every component of a path up by itself. Those lookups are asked too, each time,
because nothing that the kernel is told is good for later.
"""

import errno
import os
import stat
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel.frames import CHUNK
from executor.linux.descriptors import require_regular_file
from executor.process import fuse_protocol as fuse
from executor.process.fuse_nodes import (
    Fault,
    Files,
    Node,
    Nodes,
    OpenFile,
    inode_of,
    path_below,
    path_of,
)
from executor.process.fuse_protocol import Malformed, Opcode, Opening, Request, Valid

_KINDS: Final = {
    wire.KIND_FILE: stat.S_IFREG,
    wire.KIND_DIRECTORY: stat.S_IFDIR,
    wire.KIND_LINK: stat.S_IFLNK,
}
# What can be seen and never opened: the mount forbids devices.
_OTHER: Final = stat.S_IFCHR
_LINK_MODE: Final = 0o777
_TYPE_SHIFT: Final = 12
# What pread says where the bytes are not in memory, or where it cannot say that.
_NOT_NOW: Final = frozenset({errno.EAGAIN, errno.EOPNOTSUPP})


@dataclass(frozen=True, slots=True)
class Passed:
    """
    An answer of the gate, with the read-only descriptor that came with it, or -1.
    """

    answer: wire.Answer
    descriptor: int = -1


@dataclass(frozen=True, slots=True)
class Told:
    """
    What the kernel is told, and what has to be taken back where it does not hear of it: a lookup
    of `node`, the open file `handle`.
    """

    data: bytes | bytearray | memoryview = b""
    node: int = 0
    handle: int = 0


Steps = Generator[wire.Ask, Passed, Told]


@dataclass(frozen=True, slots=True)
class Tree:
    """
    One served mount: its tables, whom everything there seems to belong to, and what statfs(2)
    says of it in bytes and files.
    """

    nodes: Nodes
    files: Files
    owner: int
    size: int
    count: int


Act = Callable[[Tree, Request], Steps]


def lookup(tree: Tree, request: Request) -> Steps:
    """
    A name in a directory; what it is, is asked each time.
    """
    return (yield from _entry(tree, request.node, request.names[0]))


def get_attributes(tree: Tree, request: Request) -> Steps:
    """
    Of an open file by what is open, so that one without a name has them too; else by path.
    """
    node = tree.nodes.get(request.node)
    flags, _, number = request.numbers
    file = tree.files.get(number) if flags & fuse.GETATTR_HANDLE else _any_open(node)
    return Told(fuse.attributes_answer((yield from _attributes(tree, node, file))))


def set_attributes(tree: Tree, request: Request) -> Steps:
    """
    Size and time of modification. Rights and owners of granted files are not changed; asking for
    rights that run nothing is no error, since what copies files copies rights too.
    """
    valid, _, number, size, _, _, modified, _, _, part = request.numbers[:10]
    node = tree.nodes.get(request.node)
    if valid & (Valid.MODE | Valid.UID | Valid.GID):
        passed = yield wire.Ask(stat=wire.PathAsk(path=path_of(node)))
        writable = passed.answer.status.mode & stat.S_IWUSR
        if not writable or valid & (Valid.UID | Valid.GID) or _is_special(request.numbers[11]):
            raise Fault(errno.EPERM, "rights and owners of granted files cannot be changed")
    file = tree.files.get(number) if valid & Valid.HANDLE else _any_open(node)
    if valid & Valid.SIZE:
        yield from _resize(node, file, size)
    if valid & (Valid.MTIME | Valid.MTIME_NOW):
        stamp = time.time_ns() if valid & Valid.MTIME_NOW else modified * 10**9 + part
        if not 0 <= stamp < 2**63:
            raise Fault(errno.EINVAL)
        yield wire.Ask(set_times=wire.SetTimesAsk(path=path_of(node), modified_ns=stamp))
    return Told(fuse.attributes_answer((yield from _attributes(tree, node, file))))


def _is_special(mode: int) -> bool:
    special = 0o7000 if stat.S_ISDIR(mode) else 0o7111
    return bool(mode & special)


def read_link(tree: Tree, request: Request) -> Steps:
    """
    The text of a link, which the kernel then follows in the box; every name is asked on its way.
    """
    path = path_of(tree.nodes.get(request.node))
    passed = yield wire.Ask(read_link=wire.PathAsk(path=path))
    return Told(passed.answer.link.encode())


def make_node(tree: Tree, request: Request) -> Steps:
    """
    A regular file, made by its name; there are no devices, FIFOs or sockets.
    """
    if not stat.S_ISREG(request.numbers[0]):
        raise Fault(
            errno.EPERM, "only regular files and directories are made in a granted directory"
        )
    path = path_below(tree.nodes.get(request.node), request.names[0])
    passed = yield wire.Ask(open=wire.OpenAsk(path=path, write=True, create=True, exclusive=True))
    yield wire.Ask(close=passed.answer.opened.handle)
    return (yield from _entry(tree, request.node, request.names[0]))


def make_directory(tree: Tree, request: Request) -> Steps:
    """
    A directory; its rights are the server's choice.
    """
    path = path_below(tree.nodes.get(request.node), request.names[0])
    yield wire.Ask(make_directory=path)
    return (yield from _entry(tree, request.node, request.names[0]))


def remove(tree: Tree, request: Request) -> Steps:
    """
    A name that is no directory.
    """
    parent = tree.nodes.get(request.node)
    path = path_below(parent, request.names[0])
    yield wire.Ask(remove_file=path)
    tree.nodes.removed(parent, request.names[0].decode())
    return Told()


def remove_directory(tree: Tree, request: Request) -> Steps:
    """
    An empty directory.
    """
    parent = tree.nodes.get(request.node)
    path = path_below(parent, request.names[0])
    yield wire.Ask(remove_directory=path)
    tree.nodes.removed(parent, request.names[0].decode())
    return Told()


def rename(tree: Tree, request: Request) -> Steps:
    """
    Within the mount, by rename(2)'s rules and no others: exchanging and keeping are refused.
    """
    flags = request.numbers[1] if request.opcode == Opcode.RENAME2 else 0
    if flags:
        raise Fault(errno.EINVAL, "renames with flags are not done in a granted directory")
    old, new = tree.nodes.get(request.node), tree.nodes.get(request.numbers[0])
    old_path, new_path = path_below(old, request.names[0]), path_below(new, request.names[1])
    yield wire.Ask(rename=wire.RenameAsk(old=old_path, new=new_path))
    tree.nodes.renamed(old, request.names[0].decode(), new, request.names[1].decode())
    return Told()


def open_file(tree: Tree, request: Request) -> Steps:
    """
    A file that exists. Links are resolved by now, so one that stands there is refused.
    """
    node = tree.nodes.get(request.node)
    tree.files.require_room()
    file = yield from _opened(tree, node, path_of(node), request.numbers[0], create=False)
    return file[0]


def create(tree: Tree, request: Request) -> Steps:
    """
    A file whose name was not there a moment ago, made and opened at once.
    """
    parent = tree.nodes.get(request.node)
    tree.files.require_room()
    path = path_below(parent, request.names[0])
    node = tree.nodes.found(parent, request.names[0].decode(), wire.KIND_FILE)
    try:
        told, status = yield from _opened(tree, node, path, request.numbers[0], create=True)
    except BaseException:
        tree.nodes.forget(node.number, 1)
        raise
    entry = fuse.entry_answer(node.number, _shown(tree, path, status))
    return Told(entry + told.data, node.number, told.handle)


def read(tree: Tree, request: Request) -> Steps:
    """
    Bytes of an open file: those in memory at once, through the descriptor; others the server reads,
    which has threads to wait for a disk or a network.
    """
    number, offset, size, *_ = request.numbers
    if size > fuse.READ_MAX:
        raise Malformed(f"a read of {size} bytes; {fuse.READ_MAX} were agreed")
    file = tree.files.get(number)
    data = bytearray(size)
    done, ended = _at_once(file, memoryview(data), offset)
    while not ended and done < size:
        wanted = min(CHUNK, size - done)
        ask = wire.ReadAsk(handle=_handle(file), offset=offset + done, length=wanted)
        got = (yield wire.Ask(read=ask)).answer.data[:wanted]
        data[done : done + len(got)] = got
        done += len(got)
        ended = len(got) < wanted
    return Told(memoryview(data)[:done])


def write(tree: Tree, request: Request) -> Steps:
    """
    Bytes into an open file; how many were taken. At the end, where it was opened to append.
    """
    number, offset, size, flags, *_ = request.numbers
    if size != len(request.rest) or size > fuse.WRITE_MAX:
        raise Malformed(f"a write of {size} bytes that brings {len(request.rest)}")
    file = tree.files.get(number)
    if not file.writes:
        raise Fault(errno.EBADF)
    if file.appends and flags & fuse.WRITE_FROM_CACHE:
        raise Fault(errno.EIO, "a file that is open to append cannot be written through memory")
    ask = wire.WriteAsk(handle=file.handle, offset=offset, data=bytes(request.rest))
    passed = yield wire.Ask(write=ask)
    return Told(fuse.written_answer(min(passed.answer.count, size)))


def statistics(tree: Tree, _: Request) -> Steps:
    """
    The mount's quota, whatever is left of it: how much a budget holds is no measure of room.
    """
    yield from ()
    return Told(fuse.statistics_answer(tree.size, tree.count))


def release(tree: Tree, request: Request) -> Steps:
    """
    The last use of an open file is over; nobody waits for the answer.
    """
    file = tree.files.pop(request.numbers[0])
    if file.handle:
        yield wire.Ask(close=file.handle)
    return Told()


def synchronise(tree: Tree, request: Request) -> Steps:
    """
    What was written, on the disk; there is nothing to do for who reads.
    """
    file = tree.files.get(request.numbers[0])
    if file.writes:
        yield wire.Ask(sync=file.handle)
    return Told()


def open_directory(tree: Tree, request: Request) -> Steps:
    """
    A directory; it is asked for when it is read.
    """
    yield from ()
    tree.files.require_room()
    number = tree.files.add(OpenFile(tree.nodes.get(request.node)))
    return Told(fuse.opened_answer(number, Opening.PLAIN), handle=number)


def read_directory(tree: Tree, request: Request) -> Steps:
    """
    Its names, taken once for each pass over it.
    """
    number, offset, size, *_ = request.numbers
    file = tree.files.get(number)
    if file.listing is None or offset == 0:
        path = path_of(file.node)
        passed = yield wire.Ask(list=wire.PathAsk(path=path, follow=True))
        file.listing = [(b".", stat.S_IFDIR), (b"..", stat.S_IFDIR)]
        file.listing += [
            (entry.name.encode(), _KINDS.get(entry.kind, _OTHER))
            for entry in passed.answer.listing.entries
        ]
    return Told(_listed(file.listing, offset, size))


def access(tree: Tree, request: Request) -> Steps:
    """
    What access(2) asks: writing needs a grant that lets write, as the rights show it.
    """
    path = path_of(tree.nodes.get(request.node))
    status = (yield wire.Ask(stat=wire.PathAsk(path=path))).answer.status
    if request.numbers[0] & os.W_OK and not status.mode & stat.S_IWUSR:
        raise Fault(errno.EACCES, f"write {path}: it is granted for reading")
    return Told()


def done(_tree: Tree, _request: Request) -> Steps:
    """
    Nothing is to be done.
    """
    yield from ()
    return Told()


# opcode                     act                  asked of the gate
ACTS: Final[Mapping[int, Act]] = MappingProxyType(
    {
        Opcode.LOOKUP: lookup,  # lookup
        Opcode.GETATTR: get_attributes,  # stat or stat_handle; nothing for what a descriptor reads
        Opcode.SETATTR: set_attributes,  # truncate, set_times; rights and owners EPERM
        Opcode.READLINK: read_link,  # read_link
        Opcode.MKNOD: make_node,  # open to create; anything but files EPERM
        Opcode.MKDIR: make_directory,  # make_directory, lookup
        Opcode.UNLINK: remove,  # remove_file
        Opcode.RMDIR: remove_directory,  # remove_directory
        Opcode.RENAME: rename,  # rename
        Opcode.RENAME2: rename,  # rename; flags EINVAL
        Opcode.OPEN: open_file,  # open
        Opcode.CREATE: create,  # open to create
        Opcode.READ: read,  # nothing, or read where the bytes are not in memory
        Opcode.WRITE: write,  # write
        Opcode.STATFS: statistics,  # nothing
        Opcode.RELEASE: release,  # close
        Opcode.FSYNC: synchronise,  # sync
        Opcode.OPENDIR: open_directory,  # nothing; its lookup was asked
        Opcode.READDIR: read_directory,  # list
        Opcode.RELEASEDIR: release,  # nothing
        Opcode.FSYNCDIR: done,  # nothing: what is in a directory is on disk when its act is
        Opcode.ACCESS: access,  # stat
    }
)


def _entry(tree: Tree, directory: int, name: bytes) -> Steps:
    parent = tree.nodes.get(directory)
    path = path_below(parent, name)
    status = (yield wire.Ask(lookup=path)).answer.status
    node = tree.nodes.found(parent, name.decode(), status.kind)
    shown = _shown(tree, path, status)
    return Told(fuse.entry_answer(node.number, shown), node=node.number)


def _shown(tree: Tree, path: str, status: wire.FileStatus) -> fuse.Attributes:
    kind = _KINDS.get(status.kind, _OTHER)
    rights = _LINK_MODE if kind == stat.S_IFLNK else status.mode & 0o777
    links = 2 if kind == stat.S_IFDIR else 1
    return fuse.Attributes(
        inode_of(path), kind | rights, status.size, status.modified_ns, links, tree.owner
    )


def _any_open(node: Node) -> OpenFile | None:
    """
    An open file of the node to ask in place of its path: one that writes, which knows the size.
    """
    usable = [file for file in node.files if file.handle or file.descriptor >= 0]
    return max(usable, key=lambda file: file.writes, default=None)


def _attributes(
    tree: Tree, node: Node, file: OpenFile | None
) -> Generator[wire.Ask, Passed, fuse.Attributes]:
    path = _name_of(node)
    if file is not None and file.descriptor >= 0:
        size = require_regular_file(file.descriptor).size
        return fuse.Attributes(
            inode_of(path), stat.S_IFREG | file.mode, size, file.modified_ns, 1, tree.owner
        )
    if file is not None and file.handle:
        status = (yield wire.Ask(stat_handle=file.handle)).answer.status
    else:
        asked = path_of(node)
        status = (yield wire.Ask(stat=wire.PathAsk(path=asked))).answer.status
    return _shown(tree, path, status)


def _name_of(node: Node) -> str:
    try:
        return path_of(node)
    except Fault:
        return node.name


def _resize(node: Node, file: OpenFile | None, size: int) -> Generator[wire.Ask, Passed, None]:
    if file is not None and file.writes:
        yield wire.Ask(truncate=wire.TruncateAsk(handle=file.handle, length=size))
        return
    passed = yield wire.Ask(open=wire.OpenAsk(path=path_of(node), write=True, no_follow=True))
    handle = passed.answer.opened.handle
    try:
        yield wire.Ask(truncate=wire.TruncateAsk(handle=handle, length=size))
    except Fault:
        yield wire.Ask(close=handle)
        raise
    yield wire.Ask(close=handle)


def _opened(
    tree: Tree, node: Node, path: str, flags: int, *, create: bool
) -> Generator[wire.Ask, Passed, tuple[Told, wire.FileStatus]]:
    ask = wire.OpenAsk(
        path=path,
        write=flags & os.O_ACCMODE != os.O_RDONLY,
        create=create,
        exclusive=bool(create and flags & os.O_EXCL),
        truncate=bool(flags & os.O_TRUNC),
        append=bool(flags & os.O_APPEND and flags & os.O_ACCMODE != os.O_RDONLY),
        no_follow=True,
        keep=True,
    )
    passed = yield wire.Ask(open=ask)
    opened = passed.answer.opened
    if opened.passed and passed.descriptor < 0:
        raise Malformed("an answer says that a descriptor came with it, and none did")
    file = OpenFile(node, passed.descriptor, opened.handle, not opened.passed, ask.append)
    file.mode, file.modified_ns = opened.status.mode & 0o777, opened.status.modified_ns
    number = tree.files.add(file)
    # What appends goes past the kernel's pages, which would not know where the end is.
    how = Opening.NO_FLUSH | (Opening.DIRECT_IO if ask.append else Opening.PLAIN)
    return Told(fuse.opened_answer(number, how), handle=number), opened.status


def _handle(file: OpenFile) -> int:
    if not file.handle:
        raise Fault(errno.EBADF)
    return file.handle


def _at_once(file: OpenFile, view: memoryview, offset: int) -> tuple[int, bool]:
    """
    How many bytes were there without waiting, and whether the file ends after them.

    A short answer would be the file's end to the kernel, so the rest is asked for elsewhere.
    """
    done = 0
    while file.descriptor >= 0 and done < len(view):
        try:
            got = os.preadv(file.descriptor, [view[done:]], offset + done, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno in _NOT_NOW:
                break
            raise Fault(error.errno or errno.EIO) from error
        if not got:
            return done, True
        done += got
    return done, False


def _listed(listing: list[tuple[bytes, int]], offset: int, size: int) -> bytes:
    data = bytearray()
    for place, (name, kind) in enumerate(listing[offset:], start=offset + 1):
        entry = fuse.directory_entry(place, kind >> _TYPE_SHIFT, name)
        if len(data) + len(entry) > size:
            break
        data += entry
    return bytes(data)
