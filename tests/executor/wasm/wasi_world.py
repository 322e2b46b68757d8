"""
What the tests of the WASI guest drive: its calls over one page of memory, and the real guest.

`WasiKernel` is the table of preview 1 without a guest, as `Kernel` is Emscripten's. `Data` is the
image `data`, booted in this process with a session begun.
"""

import os
import socket
import subprocess
from dataclasses import replace
from functools import cache
from typing import Any, Final

import pytest

from executor.children import launcher
from executor.images import catalog
from executor.images.bootable import parts
from executor.images.manifest import Image
from executor.kernel import spawn
from executor.wasm import wasi_imports
from executor.wasm.parts import Parts
from executor.wasm.process import HOME, WORK, Clock, Entropy
from executor.wasm.space import Space
from executor.wasm.syscalls.wasi_abi import DIRENT, FILESTAT, Right
from executor.wasm.syscalls.wasi_preopened import preopen
from executor.wasm.wasi_door import Door
from executor.wasm.wasip1 import WasiGuest
from tests.executor.wasm.tiny_kernel import Gate, Kernel
from tests.executor.wasm.world import MIB, PATIENCE, Zygote

ANSWER_MAX: Final = 64
DOOR: Final = Door(ANSWER_MAX)
WASI_ROWS: Final = {row.name: row for row in wasi_imports.rows(DOOR.knock)}
ROOT: Final = 3
READ, WRITE = int(Right.FD_READ), int(Right.FD_WRITE)


class WasiKernel(Kernel):
    """
    The calls of preview 1. Text is given as two arguments, pointer and length; paths are relative
    to the root unless `at` says otherwise.
    """

    def __init__(self, gate: Gate | None = None) -> None:
        super().__init__(gate)
        self.door = Door(ANSWER_MAX)
        preopen(self.process, "/", "/")
        rows = wasi_imports.rows(self.door.knock)
        self._bound = {row.name: row.bind(self.process) for row in rows}

    def call(self, name: str, *arguments: int | str | bytes) -> int:
        """
        The answer, which is the error number or 0.
        """
        self._texts = self._TEXT
        numbers: list[int] = []
        for value in arguments:
            if isinstance(value, int):
                numbers.append(value)
            else:
                data = value if isinstance(value, bytes) else value.encode()
                numbers += [self.text(data), len(data)]
        kinds = WASI_ROWS[name].signature.partition(">")[0]
        wide = [64 if kind == "I" else 32 for kind in kinds]
        numbers = [n & (2**bits - 1) for n, bits in zip(numbers, wide, strict=True)]
        answer = self._bound[name](*numbers)
        assert answer is None or isinstance(answer, int)
        return answer or 0

    # ---- the calls that tests make most -------------------------------------------------------

    def open_path(
        self, path: str | bytes, rights: int = READ, flags: int = 0, modes: int = 0, **more: int
    ) -> int:
        """
        The descriptor, or the error negated.
        """
        at, lookup = more.get("at", ROOT), more.get("lookup", 1)
        arguments = (at, lookup, path, flags, rights, 0, modes, self.BUFFER)
        error = self.call("path_open", *arguments)
        return -error if error else self.tiny.guest.u32(self.BUFFER)

    def filestat(self, path: str | bytes, lookup: int = 1) -> tuple[Any, ...] | int:
        error = self.call("path_filestat_get", ROOT, lookup, path, self.BUFFER)
        return -error or FILESTAT.unpack(self.tiny.guest.read(self.BUFFER, FILESTAT.size))

    def names(self, descriptor: int, size: int = 4096) -> list[bytes]:
        """
        The names of a directory, read as libc does: a buffer at a time, from the last cookie.
        """
        found: list[bytes] = []
        cookie = 0
        while True:
            result = self._ARGUMENTS
            assert self.call("fd_readdir", descriptor, self.BUFFER, size, cookie, result) == 0
            used = self.tiny.guest.u32(result)
            data, at = self.tiny.guest.read(self.BUFFER, used), 0
            while at + DIRENT.size <= used:
                cookie_after, _, length, _ = DIRENT.unpack_from(data, at)
                at += DIRENT.size + length
                if at > used:
                    break
                found.append(data[at - length : at])
                cookie = cookie_after
            if used < size:
                return found


@pytest.fixture
def wasi():
    return WasiKernel()


# ---- the real thing ---------------------------------------------------------------------------


def data_image() -> Image:
    """
    The image `data`, which takes a minute to build and is not part of `make setup`.
    """
    image = catalog.find("data")
    if image is None:
        pytest.skip("the image data is not built: `codecage image build data`")
    return image


@cache
def _opened() -> Parts:
    # Opening copies and hashes 255 MB, so it is done once.
    return parts(data_image())


def data_parts(warm: tuple[str, ...] = ()) -> Parts:
    """
    The files of the image, with other imports before the fork than the image says.
    """
    return replace(_opened(), warm=warm)


class DataZygote(Zygote):
    """
    A real zygote process of the image `data`.
    """

    def __init__(self) -> None:
        image = data_image()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        user = ("--uid", "65534", "--gid", "65534") if os.getuid() == 0 else ()
        program = launcher.program("executor.children.zygote", "--image", "data")
        with theirs:
            self._process = subprocess.Popen(
                [*program, "--key", image.key, "--socket", str(theirs.fileno()), *user],
                pass_fds=(theirs.fileno(),),
                env=launcher.environment(os.environ),
                stdin=subprocess.DEVNULL,
            )
        self._socket.settimeout(PATIENCE)
        self.pid = self._process.pid
        self.digest = spawn.ZygoteReady.unpack(self._socket.recv(spawn.MESSAGE_MAX)).digest
        self._spawned = 0
        self._exited: dict[int, int] = {}


class Data:
    """
    A booted guest in this process. `begin` gives it a session.
    """

    def __init__(self, given: Parts) -> None:
        self.guest = WasiGuest(given)
        self.digest = self.guest.digest()
        self.cells = 0
        self.output: dict[int, bytes] = {1: b"", 2: b""}
        self.gate = Gate()

    def begin(self, memory: int = 512 * MIB, seed: str = "00" * 32, **environment: str) -> "Data":
        process, hooks = self.guest.process, self.guest.hooks
        process.broker._channel = self.gate
        process.total = self.guest.budget(memory)
        process.clock, process.entropy = Clock(None), Entropy(bytes.fromhex(seed))
        scratch = Space(64 * MIB, 500, process.total)
        for path in ("/tmp", HOME, WORK):
            process.files.add_directory(path, scratch)
        hooks.on_output = self._write
        begin = {"op": "begin", "environment": environment, "seed": seed, "directory": WORK}
        assert self.guest.call(begin) == {"status": "ok"}
        return self

    def _write(self, stream: int, data: bytes) -> None:
        self.output[stream] += data

    def run(self, code: str) -> dict[str, Any]:
        """
        The cell's answer; what it printed is in `output`.
        """
        self.cells += 1
        self.output = {1: b"", 2: b""}
        return self.guest.call({"op": "cell", "cell": self.cells, "code": code})

    def value(self, code: str) -> str:
        """
        The repr of the last expression.
        """
        answer = self.run(code)
        assert answer["status"] == "ok", answer.get("traceback", answer)
        text = (answer.get("value") or {}).get("text")
        assert isinstance(text, str)
        return text

    def error(self, code: str) -> str:
        """
        The name of the exception that the cell ended in.
        """
        answer = self.run(code)
        assert answer["status"] in {"error", "interrupted"}, answer
        return str(answer["name"])
