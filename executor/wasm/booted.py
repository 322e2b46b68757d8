"""
A booted guest, whatever its Python and its binary interface: what the worker works with.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final

import wasmtime

from executor.kernel.errors import InternalError
from executor.wasm import engine
from executor.wasm.calls import Exports, Faults
from executor.wasm.engine_config import MEMORY_RESERVATION
from executor.wasm.gathering import Gathering
from executor.wasm.imports import OUTPUT, Row
from executor.wasm.layout import layout
from executor.wasm.linkage import Linkage
from executor.wasm.memory import GuestMemory
from executor.wasm.nodes import File, Local
from executor.wasm.openfiles import OpenFile
from executor.wasm.parts import Parts
from executor.wasm.process import Process, unlimited
from executor.wasm.snapshot import Snapshot
from executor.wasm.space import Space
from executor.wasm.vfs import FileSystem
from executor.wasm.waiting import Sleeper
from executor.wasm.world import ENVIRONMENT, Hooks, build_tree

PAGE: Final = 65_536
LINEAR_MAX: Final = 2**32 - PAGE
# The runtime cuts each of its three texts at 64 Ki characters, which JSON may write as 12 bytes.
ANSWER_MAX: Final = 4 * 2**20
_REHEARSAL: Final[tuple[dict[str, Any], ...]] = (
    {"op": "begin", "environment": {}, "seed": "00" * 64, "directory": "/"},
    {"op": "cell", "cell": 0, "code": ""},
)


class GuestOutOfMemoryError(Exception):
    """
    The guest could not allocate what a call from the host needs.
    """


class Guest(ABC):
    """
    One instance with its memory, its process, and one function to call.

    A subclass instantiates its module in `_instantiate`, starts Python in `_start`, and says
    how it is called and interrupted.
    """

    def __init__(self, parts: Parts) -> None:
        self.hooks: Final = Hooks()
        self.faults: Final = Faults()
        self.layout: Final = layout(parts.guest)
        self.environment: Final = dict(ENVIRONMENT) | self._environment()
        self._engine: Final = engine.new_engine(threads=False)
        self._store: Final = engine.new_store(self._engine, LINEAR_MAX)
        self._side_modules: Final = len(parts.native)
        engine.limit(self._store, LINEAR_MAX, self._side_modules)
        self.gathering: Final = Gathering(self._engine, self._store)
        before = {OUTPUT: self.gathering.before}
        self.linkage: Final = Linkage(self._store, self._rows(), self.faults, before)
        module = engine.load(self._engine, parts.python)
        instance = self._instantiate(module)
        self.linkage.require_all_used()
        self.exports: Final = Exports(self._store, instance, self.faults)
        self._linear: Final = self._find_memory()
        self.memory: Final = GuestMemory(self._store, self._linear, MEMORY_RESERVATION)
        self.gathering.join(self._linear)
        self.process: Final = self._process(parts)
        self.linkage.bind(self.process)
        # Of the snapshot that the guest was taken up from: what `digest` gives now. Else empty.
        self.resumed_digest = b""
        self._start(parts)
        if not self.resumed_digest:
            self.rehearse()

    def rehearse(self) -> None:
        """
        Begin and run an empty cell, which leaves nothing that a session's own begin does not set.

        When the guest boots, so that what the interpreter writes at the first use of its code is
        shared, and is in the boot's digest. Entropy and clocks are not touched.
        """
        for request in _REHEARSAL:
            self.call(request)

    # ---- what a kind of guest adds --------------------------------------------------------------

    @abstractmethod
    def _rows(self) -> tuple[Row, ...]:
        """
        The table of the module's imports.
        """

    @abstractmethod
    def _instantiate(self, module: wasmtime.Module) -> wasmtime.Instance:
        """
        Link and instantiate the main module.
        """

    @abstractmethod
    def _start(self, parts: Parts) -> None:
        """
        Start Python, and install and warm up the guest's half of the cells; or take a guest up
        where the image's build left it, and keep the snapshot's digest in `resumed_digest`.
        """

    def snapshot(self, parts: Parts) -> Snapshot | None:  # noqa: ARG002 - see the docstring
        """
        What this guest, which was booted from `parts` and has done nothing since, can be taken up
        from. None where that is not possible for its kind, or for what its image imports.
        """
        return None

    @abstractmethod
    def call(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """
        Call the guest's entry with a request, and return its answer.

        Raises Exited, GuestTrapped or what a host function left in `faults`: the guest is then
        over. Raises GuestOutOfMemoryError when the answer did not fit, after which it lives on.
        """

    @abstractmethod
    def set_signal(self, *, pending: bool) -> None:
        """
        Have the interpreter see a pending interrupt soon, or none. Called from any thread.
        """

    @abstractmethod
    def signal_pending(self) -> bool:
        """
        Whether an interrupt that was set has still to be taken by the interpreter.
        """

    def _environment(self) -> dict[str, str]:
        return {}

    def _find_memory(self) -> wasmtime.Memory:
        return self.exports.memory("memory")

    # ---- what all of them are -------------------------------------------------------------------

    def _process(self, parts: Parts) -> Process:
        hooks = self.hooks
        files = FileSystem(lambda: process.clock.wall_ns())  # noqa: PLW0108 - the clock changes
        process = Process(
            memory=self.memory,
            files=files,
            total=unlimited(),
            output=hooks.output,
            display=hooks.display,
            tool=hooks.tool,
            sleeper=Sleeper(hooks.wait, hooks.wait_for),
            take_signal=hooks.take_signal,
            grow_memory=self._grow,
            note=hooks.note,
            environment=dict(self.environment),
        )
        build_tree(files, self.layout, parts)
        process.descriptors.on_change = self._on_descriptor
        process.open_standard_streams()
        return process

    def _on_descriptor(self, number: int, file: OpenFile | None) -> None:
        self.gathering.set_stream(number, 0 if file is None else file.stream)

    def _grow(self, size: int) -> bool:
        """
        Grow linear memory to `size` bytes if the session's memory has room for it.
        """
        missing = size - self.memory.size
        if size > LINEAR_MAX:
            return False
        if missing <= 0:
            return True
        pages = -(-missing // PAGE)
        if not self.process.total.fits(pages * PAGE):
            return False
        try:
            self._linear.grow(self._store, pages)
        except wasmtime.WasmtimeError:
            self.hooks.lost("the host had no memory for the guest's to grow")
            return False
        self.process.total.take(pages * PAGE)
        self.memory.check_base()
        return True

    def limit_memory(self, size: int) -> None:
        """
        Let linear memory and the GC heap hold no more than `size` bytes each.
        """
        engine.limit(self._store, size, self._side_modules)

    def budget(self, size: int) -> Space:
        """
        The session's memory, of `size` bytes, in which the guest's own counts.

        Raises GuestFault(ENOSPC) where the guest is larger already.
        """
        total = Space(size, 2**31)
        total.take(self.memory.size)
        self.limit_memory(size)
        return total

    def read_file(self, path: str) -> bytes:
        """
        The bytes of a file in the guest's memory.
        """
        found = self.process.files.resolve(path, "/", follow=True)
        if not isinstance(found, Local) or not isinstance(found.node, File):
            raise InternalError(f"the guest has no file {path}")
        return bytes(found.node.data)

    def digest(self) -> bytes:
        """
        The SHA-256 of linear memory.
        """
        return hashlib.sha256(self.memory.window(0, self.memory.size)).digest()


def decoded(answer: bytes) -> dict[str, Any]:
    """
    The guest's JSON: its word for what happened, checked for shape where it is used.
    """
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return {"status": "error", "name": "RuntimeError", "message": "the cell broke its runtime"}
    return found
