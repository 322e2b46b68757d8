"""
The system calls of the wasm cage without a guest: the whole table over one page of memory.

Calls of `Kernel` are made with the integers that a guest would pass.
"""

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final

import wasmtime

from codecage.worker.v1 import worker_pb2 as wire
from executor.wasm import engine, imports
from executor.wasm.abi import AT_FDCWD, STAT, Errno, GuestFault
from executor.wasm.engine_config import MEMORY_RESERVATION
from executor.wasm.memory import GuestMemory
from executor.wasm.process import HOME, WORK, Clock, Entropy, Process
from executor.wasm.space import Space
from executor.wasm.vfs import FileSystem
from executor.wasm.waiting import Sleeper
from tests.executor.wasm.world import MIB

PAGE: Final = 65_536
ROWS: Final = {row.name: row for row in imports.ROWS}
# What the guest may write in the kernel without a guest.
SCRATCH: Final = 4 * MIB
FILES: Final = 200


class TinyMemory:
    """
    A real linear memory of `pages` pages, made by a module that has nothing else.
    """

    def __init__(self, pages: int = 1, limit: int = 64) -> None:
        self.engine = engine.new_engine()
        self.store = engine.new_store(self.engine, limit * PAGE)
        text = f'(module (memory (export "memory") {pages} {limit}))'
        module = wasmtime.Module(self.engine, text)
        exported = wasmtime.Instance(self.store, module, []).exports(self.store)["memory"]
        assert isinstance(exported, wasmtime.Memory)
        self.linear = exported
        self.guest = GuestMemory(self.store, exported, MEMORY_RESERVATION)

    def grow(self, pages: int) -> None:
        self.linear.grow(self.store, pages)

    def bytes(self) -> bytes:
        return bytes(self.linear.read(self.store))


class Gate:
    """
    A broker's other end that answers what a test says, and keeps what it was asked.

    `answers` gives the answer to a request, or raises GuestFault; without it everything is
    absent.
    """

    def __init__(self, answers: Callable[[wire.Ask], wire.Answer] | None = None) -> None:
        self.answers = answers
        self.asked: list[wire.Ask] = []
        self.passed: list[int] = []
        self.streams: list[socket.socket] = []

    def ask(self, request: wire.Ask) -> wire.Answer:
        self.asked.append(request)
        if self.answers is None:
            raise GuestFault(Errno.ENOENT, "not granted")
        return self.answers(request)

    def passed_descriptor(self) -> int:
        return self.passed.pop(0)

    def passed_stream(self) -> socket.socket:
        return self.streams.pop(0)

    @property
    def kinds(self) -> list[str]:
        return [str(request.WhichOneof("ask")) for request in self.asked]


class Kernel:
    """
    The system calls of a guest that is not there.

    `call` makes one by the row's name; text arguments are placed in memory first, each in a
    place of its own, and structs are read back from `BUFFER`.
    """

    BUFFER: Final = 0x8000
    _TEXT: Final = 0xA000
    _ARGUMENTS: Final = 0x7FF0

    def __init__(self, gate: Gate | None = None) -> None:
        self.tiny = TinyMemory()
        self.notes: list[tuple[str, Errno]] = []
        self.written: list[tuple[int, bytes]] = []
        self.shown: list[Mapping[str, bytes]] = []
        self.waited: list[float] = []
        self.gate = gate or Gate()
        self.total = Space(64 * MIB, 2**31)
        self.scratch = Space(SCRATCH, FILES, self.total)
        self.process = self._process()
        self._texts = self._TEXT
        self._bound = {name: row.bind(self.process) for name, row in ROWS.items()}

    def _process(self) -> Process:
        files = FileSystem(lambda: process.clock.wall_ns())  # noqa: PLW0108 - the clock changes
        process = Process(
            memory=self.tiny.guest,
            files=files,
            total=self.total,
            output=lambda stream, data: self.written.append((stream, data)),
            display=self.shown.append,
            sleeper=Sleeper(self._wait),
            take_signal=lambda: 0,
            grow_memory=lambda _size: False,
            note=lambda name, errno: self.notes.append((name, errno)),
            environment={"HOME": HOME},
            kernel_entropy=os.urandom,
        )
        process.broker._channel = self.gate
        process.clock = Clock(10**18)
        process.entropy = Entropy(b"a test")
        files.add_directory("/dev", None)
        for name in (
            "null",
            "zero",
            "urandom",
            "stdin",
            "stdout",
            "stderr",
            "denial",
            "display",
            "tools",
        ):
            files.add_device(f"/dev/{name}", name)
        files.add_directory("/lib", None)
        files.add_image_file("/lib/image.txt", b"of the image\n")
        for path in ("/tmp", HOME, WORK):
            files.add_directory(path, self.scratch)
        process.directory = WORK
        process.open_standard_streams()
        return process

    def _wait(self, seconds: float) -> bool:
        self.waited.append(seconds)
        return False

    def call(self, name: str, *arguments: int | str | bytes) -> int:
        """
        The answer as the guest reads it: signed.
        """
        self._texts = self._TEXT
        row = ROWS[name]
        wide = [kind == "I" for kind in row.signature.partition(">")[0]]
        numbers = [
            self._number(value, 64 if is_wide else 32)
            for value, is_wide in zip(arguments, wide, strict=True)
        ]
        answer = self._bound[name](*numbers)
        assert answer is None or isinstance(answer, int)
        return answer or 0

    def _number(self, value: int | str | bytes, bits: int) -> int:
        return value & (2**bits - 1) if isinstance(value, int) else self.text(value)

    def text(self, value: str | bytes) -> int:
        data = (value if isinstance(value, bytes) else os.fsencode(value)) + b"\0"
        pointer, self._texts = self._texts, self._texts + len(data)
        self.tiny.guest.write(pointer, data)
        return pointer

    # ---- the calls that tests make most -------------------------------------------------------

    def open(
        self, path: str | bytes, flags: int = 0, mode: int = 0o644, directory: int = AT_FDCWD
    ) -> int:
        self.tiny.guest.put_u32(self._ARGUMENTS, mode)
        return self.call("__syscall_openat", directory, path, flags, self._ARGUMENTS)

    def fcntl(self, descriptor: int, command: int, argument: int = 0) -> int:
        self.tiny.guest.put_u32(self._ARGUMENTS, argument)
        return self.call("__syscall_fcntl64", descriptor, command, self._ARGUMENTS)

    def write(self, descriptor: int, data: bytes) -> int:
        """
        How many bytes were written, or the error negated.
        """
        return self._transfer("fd_write", descriptor, len(data), data)

    def read(self, descriptor: int, size: int) -> bytes | int:
        """
        The bytes, or the error negated.
        """
        count = self._transfer("fd_read", descriptor, size)
        return count if count < 0 else self.tiny.guest.read(self.BUFFER, count)

    def _transfer(self, name: str, descriptor: int, size: int, data: bytes = b"") -> int:
        memory = self.tiny.guest
        memory.write(self.BUFFER, data)
        memory.put_u32(self._ARGUMENTS, self.BUFFER)
        memory.put_u32(self._ARGUMENTS + 4, size)
        error = self.call(name, descriptor, self._ARGUMENTS, 1, self._ARGUMENTS + 8)
        return -error if error else memory.u32(self._ARGUMENTS + 8)

    def seek(self, descriptor: int, offset: int, whence: int = 0) -> int:
        error = self.call("fd_seek", descriptor, offset, whence, self.BUFFER)
        return -error if error else int.from_bytes(self.tiny.guest.read(self.BUFFER, 8), "little")

    def stat(self, path: str | bytes, *, follow: bool = True) -> tuple[Any, ...] | int:
        """
        The fields of struct stat, or the error negated.
        """
        name = "__syscall_stat64" if follow else "__syscall_lstat64"
        error = self.call(name, path, self.BUFFER)
        return error or STAT.unpack(self.tiny.guest.read(self.BUFFER, STAT.size))

    def readlink(self, path: str | bytes) -> bytes | int:
        count = self.call("__syscall_readlinkat", AT_FDCWD, path, self.BUFFER, 4096)
        return count if count < 0 else self.tiny.guest.read(self.BUFFER, count)
