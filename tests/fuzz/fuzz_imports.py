"""
Calls every import of every ABI table with hostile integers, for as long as one likes.

    python tests/fuzz/fuzz_imports.py --seconds 60 --seed 1

A round is a kernel without a guest and a few hundred calls in a row, so that what one call opened
the next may close. Its numbers come from the seed and the round's own number, which the report of
a fault names: `--seed S --round R` makes that round again. After each call must hold what is
promised of every row: the answer fits the row's type, nothing but the guest's own end comes out
(a GuestFault is an answer by then), an error has changed no memory, linear memory has its size.
After each round, the process holds as many descriptors as before and the session's counter is
within its limit. Host memory is watched by the processor: all that lies within reach of 32 bits
behind linear memory is mapped without any right, so a byte read there ends the process, and the
test beside this file shows that it does. What green does not prove: that the answers are right.
"""

import argparse
import contextlib
import faulthandler
import gc
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from codecage.worker.v1 import worker_pb2 as wire
from executor.wasm.abi import AT_FDCWD, Errno, GuestFault, Open
from executor.wasm.emscripten_abi import ABIS
from executor.wasm.imports import Failure, Row
from executor.wasm.nodes import Local
from executor.wasm.process import HOME, Exited, Process
from executor.wasm.syscalls import paths
from tests.executor.wasm.tiny_kernel import PAGE, Gate, Kernel
from tests.executor.wasm.wasi_world import WASI_ROWS, WasiKernel

CALLS: Final = 400
# In pages, in one round of eight: a transfer of the longest kind fits then.
GROWN: Final = 17
Number = int | float
Calls = Mapping[str, Callable[..., object]]


class BrokenPromiseError(AssertionError):
    """
    A row did what no row may.
    """


@dataclass(frozen=True, slots=True)
class Table:
    """
    One ABI's rows, and a kernel to bind them to.
    """

    name: str
    rows: tuple[Row, ...]
    kernel: Callable[[Gate], Kernel]


@dataclass(slots=True)
class Tally:
    """
    What was done: calls and refusals by row, ends of guests, asks of the gate by kind.
    """

    rounds: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    ended: int = 0


TABLES: Final = (
    *(Table(name, abi.rows, Kernel) for name, abi in ABIS.items()),
    Table("wasi", tuple(WASI_ROWS.values()), WasiKernel),
)


def fuzz(seed: int, rounds: Iterator[int], calls: int = CALLS) -> Tally:
    """
    Make these rounds, `calls` calls each, of every table. Raises BrokenPromiseError.
    """
    gc.collect()  # what this process has left of earlier work is closed before it is counted
    tally = Tally()
    for number in rounds:
        for table in TABLES:
            try:
                one_round(table, random.Random(f"{seed} {number} {table.name}"), calls, tally)
            except BrokenPromiseError as error:
                where = f"--seed {seed} --round {number} ({table.name})"
                raise BrokenPromiseError(f"{where}: {error}") from error
        tally.rounds += 1
    return tally


def one_round(table: Table, dice: random.Random, calls: int, tally: Tally) -> None:
    """
    One kernel and its calls.
    """
    with tempfile.TemporaryFile() as granted:
        granted.write(b"granted" * 100)
        granted.flush()
        before = _descriptors()
        gate = RandomGate(dice, granted.fileno())
        kernel = table.kernel(gate)
        _furnish(kernel, dice)
        bound = {row.name: row.bind(kernel.process) for row in table.rows}
        for _ in range(calls):
            row = dice.choice(table.rows)
            call(kernel, row, bound[row.name], arguments(row, dice), tally)
        _close_all(kernel)
        gate.close()
        tally.asked.update(gate.kinds)
        if _descriptors() != before:
            raise BrokenPromiseError("the host's descriptors are not what they were")
        if not 0 <= kernel.total.used <= kernel.total.limit:
            raise BrokenPromiseError(f"the session holds {kernel.total.used} bytes")


def call(
    kernel: Kernel,
    row: Row,
    bound: Callable[..., object],
    given: Sequence[Number],
    tally: Tally,
) -> None:
    """
    One call and what must hold after it.
    """
    tally.calls[row.name] += 1
    before = _image(kernel)
    try:
        answer = bound(*given)
    except Exited as exited:
        tally.ended += 1
        if not 0 <= exited.code <= 255:
            raise BrokenPromiseError(f"{row.name}{given} ended with {exited.code}") from exited
        return
    except BaseException as error:
        raise BrokenPromiseError(f"{row.name}{given} raised {error!r}") from error
    if not fits(row, answer):
        raise BrokenPromiseError(f"{row.name}{given} answered {answer!r}")
    if kernel.tiny.guest.size != len(before):
        raise BrokenPromiseError(f"{row.name}{given} changed the size of memory")
    if failed(row, answer):
        tally.refused[row.name] += 1
        if _image(kernel) != before:
            raise BrokenPromiseError(f"{row.name}{given} failed and changed memory")


def _image(kernel: Kernel) -> bytes:
    """
    All of linear memory, read by the engine and not by what is tested.
    """
    return bytes(kernel.tiny.linear.read(kernel.tiny.store, 0, kernel.tiny.guest.size))


def fits(row: Row, answer: object) -> bool:
    """
    Whether an answer is of the row's type.
    """
    result = row.signature.partition(">")[2]
    if result in {"", "r"}:
        return True
    if result == "d":
        return isinstance(answer, float)
    low, high = (-(2**31), 2**32) if result == "i" else (-(2**63), 2**64)
    return isinstance(answer, int) and low <= answer < high


def failed(row: Row, answer: object) -> bool:
    """
    Whether an answer is an error, by the convention of the row.
    """
    if row.failure is Failure.NEGATED:
        return isinstance(answer, int) and answer < 0
    return row.failure is Failure.POSITIVE and answer != 0


# ---- integers -----------------------------------------------------------------------------------

EDGES_32: Final = (
    0, 1, 2, 7, 8, 1023, 1024, 1025, 4095, 4096, 4097, PAGE - 8, PAGE - 1, PAGE, PAGE + 1, 2**20, 2**20 + 1, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 4096, 2**32 - 100, 2**32 - 2,
    2**32 - 1, AT_FDCWD & 0xFFFFFFFF,
)  # fmt: skip
EDGES_64: Final = (
    0, 1, 4096, 2**31, 2**32 - 1, 2**32, 2**40, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 4096,
    2**64 - 1,
)  # fmt: skip
DOUBLES: Final = (0.0, -0.0, -1.0, 1e-308, 1e308, float("inf"), float("-inf"), float("nan"))
# Where `_furnish` places texts, arrays of vectors, and a buffer.
_TEXTS, _VECTORS, _BUFFER = 0x1000, 0x6000, 0x8000
_TEXT_STEP: Final = 64
OPENED: Final = (
    ("/work/f", Open.RDWR | Open.CREAT),
    ("/work/g", Open.WRONLY | Open.CREAT | Open.APPEND),
    ("/lib/image.txt", Open(0)),
    ("/work/d", Open.DIRECTORY),
    ("/dev/zero", Open.RDWR),
)
TEXTS: Final = (
    b"/work/f", b"/work/g", b"/work/d", b"/work/d/x", b"/work/link", b"/tmp/a", b"a", b".", b"..",
    b"/", b"", b"/work/", b"/work/link/", b"../../../etc/passwd", b"/etc/passwd", b"/proc/self/mem",
    b"/granted/file", b"/granted/..", b"/granted", b"/granted/a/b", b"/granted/", b"granted/file",
    b"granted/../granted/d", b"granted", b"/granted/link", b"work/f", b"work/d", b"tmp/a", b"/dev/null", b"/dev/urandom", b"/dev/display",
    b"/dev/denial", b"/dev/tcp/h.example/80", b"/lib/image.txt", b"\xff\xfe", b"/work/\xed\xa0\x80",
    b"h.example", b"127.0.0.1", b"80", b"/granted/" + b"n" * 50, b"a/" * 20, HOME.encode(),
)  # fmt: skip


_PLACES: Final = tuple(_TEXTS + _TEXT_STEP * number for number in range(len(TEXTS)))
_TEXT_AT: Final[Mapping[Number, bytes]] = dict(zip(_PLACES, TEXTS, strict=True))


def arguments(row: Row, dice: random.Random) -> list[Number]:
    """
    Arguments of the row's types: plausible ones, edges, and any; a text is often followed by its
    length.
    """
    given: list[Number] = []
    for kind in row.signature.partition(">")[0]:
        text = _TEXT_AT.get(given[-1]) if given else None
        if kind == "i" and text is not None and dice.random() < 0.5:
            given.append(len(text))
        else:
            given.append(_number(kind, dice))
    return given


def _number(kind: str, dice: random.Random) -> Number:
    if kind == "r":
        return 0
    if kind == "d":
        return dice.choice([*DOUBLES, dice.uniform(-10, 10), dice.random() * 1e300])
    bits = 32 if kind == "i" else 64
    chosen = dice.random()
    if chosen < 0.65:
        return _plausible(dice)
    if chosen < 0.9:
        return dice.choice(EDGES_32 if kind == "i" else EDGES_64)
    return 1 << dice.randrange(bits) if chosen < 0.95 else dice.getrandbits(bits)


def _plausible(dice: random.Random) -> int:
    """
    A descriptor, a small length or flag, a text, an array of vectors, or a buffer.
    """
    return dice.choice(
        (
            dice.randrange(12),
            dice.randrange(12),
            dice.randrange(2**16),
            0o100 << dice.randrange(12) | dice.randrange(3),
            *dice.choices(_PLACES, k=4),
            _VECTORS + 8 * dice.randrange(32),
            _BUFFER + dice.randrange(PAGE - _BUFFER),
        )
    )


def _furnish(kernel: Kernel, dice: random.Random) -> None:
    """
    Give the guest texts, vectors and files to be hostile with, and a granted directory.
    """
    if dice.randrange(8) == 0:
        kernel.tiny.grow(GROWN)
    memory = kernel.tiny.guest
    memory.write(0, dice.randbytes(PAGE))
    for place, text in zip(_PLACES, TEXTS, strict=True):
        memory.write(place, text + b"\0")
    for index in range(64):
        memory.put_u32(_VECTORS + 4 * index, int(_number("i", dice)))
    process = kernel.process
    process.files.add_mount("/granted", writable=True)
    process.files.make_directory(_place(process, "/work/d"), 0o755)
    process.files.make_link(_place(process, "/work/link"), "d")
    for path, flags in OPENED:
        process.descriptors.add(paths.open_path(process, AT_FDCWD, path, flags))


def _place(process: Process, path: str) -> Local:
    found = process.resolve_name(AT_FDCWD, path)
    assert isinstance(found, Local)
    return found


# ---- the other end ------------------------------------------------------------------------------


class RandomGate(Gate):
    """
    A gate that refuses for any reason, or answers something of the right kind.
    """

    def __init__(self, dice: random.Random, file: int) -> None:
        super().__init__()
        self._dice = dice
        self._file = file

    def ask(self, request: wire.Ask) -> wire.Answer:
        self.asked.append(request)
        answer = self._answer(str(request.WhichOneof("ask")))
        if answer is None or self._dice.random() < 0.4:
            raise GuestFault(self._dice.choice(list(Errno)), self._dice.choice(["", "refused"]))
        if answer.opened.passed:
            self.passed.append(os.dup(self._file))
        return answer

    def close(self) -> None:
        """
        Close what was passed and never taken.
        """
        while self.passed:
            os.close(self.passed.pop())

    def _answer(self, kind: str) -> wire.Answer | None:
        dice = self._dice
        found = wire.FileStatus(
            kind=dice.choice(wire.Kind.values()),
            size=dice.choice([0, 5, 2**40, 2**63 - 1]),
            modified_ns=dice.choice([0, 10**18, 2**63 - 1]),
            mode=dice.getrandbits(12),
        )
        entries = [wire.Entry(name=f"n{i}", kind=found.kind) for i in range(dice.randrange(5))]
        opened = wire.Opened(passed=dice.random() < 0.5, handle=dice.getrandbits(31), status=found)
        answers = {
            "stat": wire.Answer(status=found),
            "stat_handle": wire.Answer(status=found),
            "list": wire.Answer(listing=wire.Listing(entries=entries)),
            "read_link": wire.Answer(link=dice.choice(["", "/etc/passwd", "x" * 4096])),
            "open": wire.Answer(opened=opened),
            "read": wire.Answer(data=dice.randbytes(dice.randrange(100))),
            "write": wire.Answer(count=dice.choice([0, 1, 5, 2**32])),
        }
        done = {"truncate", "sync", "close", "make_directory", "remove_file", "remove_directory"}
        return answers.get(kind) or (
            wire.Answer() if kind in done | {"rename", "set_times"} else None
        )


def _close_all(kernel: Kernel) -> None:
    table = kernel.process.descriptors
    for number in range(table.limit):
        with contextlib.suppress(GuestFault):
            table.close(number)


def _descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


# ---- the command --------------------------------------------------------------------------------


def _until(deadline: float) -> Iterator[int]:
    number = 0
    while time.monotonic() < deadline:
        yield number
        number += 1


def main(given: Sequence[str]) -> int:
    """
    Fuzz for a time, or make one round again; print what was done.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--round", type=int, default=None)
    options = parser.parse_args(given)
    started = time.monotonic()
    rounds = (
        _until(started + options.seconds)
        if options.round is None
        else iter(range(options.round, options.round + 1))
    )
    tally = fuzz(options.seed, rounds)
    calls, seconds = tally.calls.total(), time.monotonic() - started
    print(f"seed {options.seed}: {tally.rounds} rounds, {calls:,} calls in {seconds:.0f} s")
    print(f"{tally.refused.total():,} refused, {tally.ended:,} ended their guest")
    asked = ", ".join(f"{kind} {count:,}" for kind, count in sorted(tally.asked.items()))
    print(f"{tally.asked.total():,} asks of the gate: {asked}")
    return 0


if __name__ == "__main__":
    faulthandler.enable()
    sys.exit(main(sys.argv[1:]))
