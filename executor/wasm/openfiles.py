"""
What a guest's descriptor can stand for, and the table of descriptors.

An open file description (open(2)) is shared by the descriptors that dup made of it, and holds
the position and the rights it was opened with. Every operation that a kind of file does not
have is refused with the error that Linux gives. Reads fill a view of guest memory: the bytes of a
granted file come by pread(2), the one call for it that the worker's filter allows.
"""

import os
from collections.abc import Callable
from typing import Final

from codecage.worker.v1 import worker_pb2 as wire
from executor.wasm.abi import POLLIN, POLLOUT, Errno, GuestFault, Open
from executor.wasm.broker import Broker
from executor.wasm.nodes import Device, File
from executor.wasm.vfs import FileSystem

# Positions are kept below 2**63 - 1, as off_t is; larger ones are refused by the callers.
OFFSET_MAX: Final = 2**63 - 1


class OpenFile:
    """
    An open file description. Subclasses override what their kind can do.
    """

    def __init__(self, flags: Open) -> None:
        self.flags = flags
        self.position = 0
        self.descriptors = 0
        # Which stream of the session what is written goes to, 1 or 2, where it just goes there.
        self.stream = 0

    @property
    def readable(self) -> bool:
        """
        Whether it was opened for reading.
        """
        return self.flags.reads

    @property
    def writable(self) -> bool:
        """
        Whether it was opened for writing.
        """
        return self.flags.writes

    def read_at(self, view: memoryview, offset: int) -> int:  # noqa: ARG002 - see the class
        """
        Fill `view` from `offset`; the number of bytes read, 0 at the end.
        """
        raise GuestFault(Errno.EINVAL)

    def write_at(self, data: bytes, offset: int) -> int:  # noqa: ARG002
        """
        Write at `offset`; the number of bytes written.
        """
        raise GuestFault(Errno.EINVAL)

    def read(self, view: memoryview) -> int:
        """
        Read at the position and move it.
        """
        self.require(reading=True)
        count = self.read_at(view, self.position)
        self.position += count
        return count

    def read_more(self, view: memoryview) -> int:
        """
        Read on in the same call (readv(2) into a further buffer): what is there without waiting.
        """
        return self.read(view)

    def write(self, data: bytes) -> int:
        """
        Write at the position, or at the end in append mode, and move it.
        """
        self.require(reading=False)
        if Open.APPEND in self.flags:
            self.position = self.size()
        count = self.write_at(data, self.position)
        self.position += count
        return count

    def require(self, *, reading: bool) -> None:
        """
        Raise GuestFault(EBADF) unless opened for reading, or for writing.
        """
        if not (self.readable if reading else self.writable):
            raise GuestFault(Errno.EBADF)

    def size(self) -> int:
        """
        The size in bytes; ESPIPE for what has none.
        """
        raise GuestFault(Errno.ESPIPE)

    def truncate(self, length: int) -> None:  # noqa: ARG002
        """
        Set the size.
        """
        raise GuestFault(Errno.EINVAL)

    def sync(self) -> None:
        """
        Bring it to the disk, where there is one.
        """

    def ready(self) -> int:
        """
        The poll(2) events that hold now.
        """
        return POLLIN | POLLOUT

    def waits_on(self, events: int) -> tuple[int, int] | None:  # noqa: ARG002
        """
        A descriptor of the host and its poll(2) events on which these events of the file depend;
        None where nothing of the host can change them.
        """
        return None

    def close(self) -> None:
        """
        Give back what the description holds.
        """


class MemoryFile(OpenFile):
    """
    A file of the session's memory or of the image.
    """

    def __init__(self, files: FileSystem, node: File, flags: Open) -> None:
        super().__init__(flags)
        self._files = files
        self.node = node
        files.hold(node)

    def read_at(self, view: memoryview, offset: int) -> int:
        """
        Copy from the file's bytes.
        """
        count = max(0, min(len(view), len(self.node.data) - offset))
        if count:
            view[:count] = memoryview(self.node.data)[offset : offset + count]
        return count

    def write_at(self, data: bytes, offset: int) -> int:
        """
        Copy into the file's bytes, growing it.
        """
        end = offset + len(data)
        if not data:
            return 0
        held = self.node.data
        if offset == len(held):
            self._files.append(self.node, data)
            return len(data)
        if end > len(held) or not isinstance(held, bytearray):
            held = self._files.resize(self.node, max(end, len(held)))
        held[offset:end] = data
        self.node.modified_ns = self._files.now_ns
        return len(data)

    def size(self) -> int:
        """
        The number of bytes.
        """
        return len(self.node.data)

    def truncate(self, length: int) -> None:
        """
        Set the size.
        """
        self.require(reading=False)
        self._files.resize(self.node, length)

    def close(self) -> None:
        """
        Let go of the file's bytes.
        """
        self._files.release(self.node)


class PassedFile(OpenFile):
    """
    A granted file, read through the read-only descriptor that the broker sent.
    """

    def __init__(self, descriptor: int, status: wire.FileStatus, path: str) -> None:
        super().__init__(Open(0))
        self._descriptor = descriptor
        self.status = status
        self.path = path

    def read_at(self, view: memoryview, offset: int) -> int:
        """
        Read through the descriptor.
        """
        try:
            data = os.pread(self._descriptor, len(view), offset)
        except OSError as error:
            raise GuestFault(Errno.EIO) from error
        view[: len(data)] = data
        return len(data)

    def size(self) -> int:
        """
        The size now, asked of the kernel by seeking: fstat would be another system call to allow.
        """
        return os.lseek(self._descriptor, 0, os.SEEK_END)

    def close(self) -> None:
        """
        Close the descriptor.
        """
        os.close(self._descriptor)


class BrokeredFile(OpenFile):
    """
    A granted file that is open for writing: every act is a frame to the broker.
    """

    def __init__(self, broker: Broker, opened: wire.Opened, flags: Open, path: str) -> None:
        super().__init__(flags)
        self._broker = broker
        self._handle = opened.handle
        self.path = path

    def read_at(self, view: memoryview, offset: int) -> int:
        """
        Ask for bytes.
        """
        data = self._broker.read(self._handle, offset, len(view))
        view[: len(data)] = data
        return len(data)

    def write_at(self, data: bytes, offset: int) -> int:
        """
        Send bytes; a long write is cut at a frame's size, and the guest writes the rest.
        """
        return self._broker.write(self._handle, offset, data) if data else 0

    def size(self) -> int:
        """
        Ask for the size.
        """
        return self.status().size

    def status(self) -> wire.FileStatus:
        """
        Ask for the status.
        """
        return self._broker.stat_handle(self._handle)

    def truncate(self, length: int) -> None:
        """
        Ask for another size.
        """
        self.require(reading=False)
        self._broker.truncate(self._handle, length)

    def sync(self) -> None:
        """
        Ask for fsync.
        """
        self._broker.sync(self._handle)

    def close(self) -> None:
        """
        Tell the broker.
        """
        self._broker.close(self._handle)


class OutputStream(OpenFile):
    """
    Standard output or error: what is written becomes events.
    """

    def __init__(self, send: Callable[[bytes], None], stream: int = 0) -> None:
        super().__init__(Open.WRONLY)
        self.stream = stream
        self._send = send

    def write(self, data: bytes) -> int:
        """
        Hand over the bytes; capping and counting them is the receiver's.
        """
        self.require(reading=False)
        self._send(data)
        return len(data)


class DeviceFile(OpenFile):
    """
    `null`, `zero`, `urandom`, and standard input, which is always at its end.
    """

    def __init__(self, node: Device, flags: Open, entropy: Callable[[int], bytes]) -> None:
        super().__init__(flags)
        self.node = node
        self._entropy = entropy

    def read_at(self, view: memoryview, offset: int) -> int:  # noqa: ARG002
        """
        Zeros, random bytes, or the end.
        """
        if self.node.name == "zero":
            view[:] = bytes(len(view))
            return len(view)
        if self.node.name == "urandom":
            view[:] = self._entropy(len(view))
            return len(view)
        return 0

    def write_at(self, data: bytes, offset: int) -> int:  # noqa: ARG002
        """
        Everything is swallowed.
        """
        return len(data)

    def write(self, data: bytes) -> int:
        """
        Everything is swallowed, and no position is kept.
        """
        self.require(reading=False)
        return len(data)


class DirectoryFile(OpenFile):
    """
    An open directory: the names it had when listing began, and its path for relative calls.
    """

    def __init__(self, path: str, listing: Callable[[], list[tuple[str, int, int]]]) -> None:
        super().__init__(Open.DIRECTORY)
        self.path = path
        self._list = listing
        self._entries: list[tuple[str, int, int]] | None = None

    def entries(self) -> list[tuple[str, int, int]]:
        """
        (name, d_type, serial) of every entry, taken once for each pass of readdir(3).
        """
        if self._entries is None or self.position == 0:
            self._entries = self._list()
        return self._entries

    def read(self, view: memoryview) -> int:  # noqa: ARG002
        """
        A directory has no bytes.
        """
        raise GuestFault(Errno.EISDIR)


class Descriptors:
    """
    The guest's descriptor table: number to open file description, lowest free number first.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._open: dict[int, OpenFile] = {}
        self._close_on_exec: set[int] = set()
        # Told of each number that stands for something else from now on.
        self.on_change: Callable[[int, OpenFile | None], None] = lambda _number, _file: None

    def get(self, number: int) -> OpenFile:
        """
        The description of an open descriptor. Raises GuestFault(EBADF).
        """
        found = self._open.get(number)
        if found is None:
            raise GuestFault(Errno.EBADF)
        return found

    def require_room(self, count: int = 1) -> None:
        """
        Raise GuestFault(EMFILE) unless `count` more descriptors may be opened.
        """
        if len(self._open) + count > self.limit:
            raise GuestFault(Errno.EMFILE, f"the session may have {self.limit} files open at once")

    def add(self, file: OpenFile, lowest: int = 0) -> int:
        """
        Give `file` the lowest free number from `lowest`. Raises GuestFault(EMFILE).
        """
        self.require_room()
        number = lowest
        while number in self._open:
            number += 1
        if number >= self.limit:
            raise GuestFault(Errno.EMFILE)
        return self.put(file, number)

    def put(self, file: OpenFile, number: int) -> int:
        """
        Give `file` this number, closing what had it. Raises GuestFault(EBADF) out of range.
        """
        if not 0 <= number < self.limit:
            raise GuestFault(Errno.EBADF)
        file.descriptors += 1
        if number in self._open:
            self.close(number)
        self._open[number] = file
        self.on_change(number, file)
        return number

    def close(self, number: int) -> None:
        """
        Close a descriptor, and its description with the last. Raises GuestFault(EBADF).
        """
        file = self.get(number)
        del self._open[number]
        self.on_change(number, None)
        self._close_on_exec.discard(number)
        file.descriptors -= 1
        if file.descriptors == 0:
            file.close()

    def close_on_exec(self, number: int) -> bool:
        """
        The descriptor's flag, kept because programs ask for it; nothing is ever exec'd.
        """
        self.get(number)
        return number in self._close_on_exec

    def set_close_on_exec(self, number: int, *, on: bool) -> None:
        """
        Set the descriptor's flag.
        """
        self.get(number)
        (self._close_on_exec.add if on else self._close_on_exec.discard)(number)

    def items(self) -> list[tuple[int, OpenFile]]:
        """
        The open descriptors and their descriptions, in order.
        """
        return sorted(self._open.items())

    def __len__(self) -> int:
        return len(self._open)
