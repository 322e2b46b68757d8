"""
seccomp filters as tables of rows, and the compiler from such a table to classic BPF.

Every program begins by killing what is not x86-64 (the i386 entry of the same kernel has other
numbers) and the x32 numbers. Then a binary search over the number line finds the segment that
holds the number; numbers without a row, those of future kernels among them, take the filter's
default. Arguments are compared in both 32-bit halves: the kernel hands over 64 bits, and a
filter that reads half of them can be fed the other half. For a C `int` this is stricter than
the kernel, never weaker.

libseccomp is not used: it has no wheel, and two of its conditions on one argument do not mean
what they seem to. Source: Linux `Documentation/userspace-api/seccomp_filter.rst`.
"""

import errno
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby, pairwise

from executor.linux.bpf import Assembler, Label, Program, encode
from executor.linux.syscalls import NUMBERS, X32_BIT

# struct seccomp_data: int nr; __u32 arch; __u64 instruction_pointer; __u64 args[6].
_NUMBER_OFFSET = 0
_ARCHITECTURE_OFFSET = 4
_ARGUMENTS_OFFSET = 16
_AUDIT_ARCH_X86_64 = 0xC000_003E
_LOW = 0xFFFF_FFFF
_ALL = 0xFFFF_FFFF_FFFF_FFFF
_MAX_ARGUMENT = 5


_WORD = struct.Struct("=I")
_TWO_PIDS = (1_111_111, 2_222_222)


class Verdict(IntEnum):
    """
    What the kernel does with a call, in the upper half of a filter's answer.
    """

    KILL_PROCESS = 0x8000_0000
    ERRNO = 0x0005_0000
    NOTIFY = 0x7FC0_0000
    ALLOW = 0x7FFF_0000


@dataclass(frozen=True, slots=True)
class Action:
    """
    A verdict, with the errno (1 to 4095) that `ERRNO` gives to the caller.
    """

    verdict: Verdict
    number: int = 0

    @property
    def encoded(self) -> int:
        """
        The 32 bits that a filter returns for it.
        """
        return self.verdict | self.number


ALLOW = Action(Verdict.ALLOW)
# The caller waits until it is answered at the filter's listener; without one it gets ENOSYS.
NOTIFY = Action(Verdict.NOTIFY)
KILL_PROCESS = Action(Verdict.KILL_PROCESS)
EPERM = Action(Verdict.ERRNO, errno.EPERM)
ENOSYS = Action(Verdict.ERRNO, errno.ENOSYS)


@dataclass(frozen=True, slots=True)
class MaskedEquals:
    """
    Argument `index` (0 to 5) AND `mask` is `value`; all are unsigned 64-bit numbers.
    """

    index: int
    mask: int
    value: int

    def __post_init__(self) -> None:
        """
        Raises ValueError for a condition that could never hold, or names no argument.
        """
        _check_argument(self.index, (self.mask, self.value))
        if self.value & ~self.mask:
            raise ValueError(f"value {self.value:#x} has bits outside mask {self.mask:#x}")


@dataclass(frozen=True, slots=True)
class OneOf:
    """
    Argument `index` (0 to 5) is one of `values` (unsigned 64-bit numbers, at least one).
    """

    index: int
    values: tuple[int, ...]

    def __post_init__(self) -> None:
        """
        Raises ValueError for an empty set, or one that names no argument.
        """
        _check_argument(self.index, self.values)
        if not self.values:
            raise ValueError("an empty set of values allows nothing; leave the row out")


@dataclass(frozen=True, slots=True)
class OwnPid:
    """
    Argument `index` (0 to 5) is the id of the process that the filter is compiled for.
    """

    index: int

    def __post_init__(self) -> None:
        """
        Raises ValueError when it names no argument.
        """
        _check_argument(self.index, ())


Condition = MaskedEquals | OneOf | OwnPid


def equals(index: int, value: int) -> Condition:
    """
    Argument `index` is `value` in all its 64 bits.
    """
    return OneOf(index, (value,))


def only_bits(index: int, bits: int) -> Condition:
    """
    Argument `index` has no bit set outside `bits`; unknown and future flags are refused.
    """
    # Not `~bits`: of an enumeration that has the named bits alone.
    return MaskedEquals(index, _ALL ^ int(bits), 0)


@dataclass(frozen=True, slots=True)
class Allow:
    """
    Let the call `name` through when all `arguments` hold; else do `otherwise`.

    Several rows for one name are alternatives, tried in order; the last one's `otherwise`
    counts. `None` is the filter's default. `reason` says who needs the call, for what.
    """

    name: str
    reason: str
    arguments: tuple[Condition, ...] = ()
    otherwise: Action | None = None


@dataclass(frozen=True, slots=True)
class Tell:
    """
    Have whoever has the filter's listener answer the call `name` when all `arguments` hold; else do
    `otherwise`. `reason` says who needs the call, for what.

    Rows for one name are alternatives, as those that allow; the caller waits for the answer.
    """

    name: str
    reason: str
    arguments: tuple[Condition, ...] = ()
    otherwise: Action | None = None


@dataclass(frozen=True, slots=True)
class Refuse:
    """
    Do `action` on the call `name`, whatever its arguments.
    """

    name: str
    reason: str
    action: Action


Row = Allow | Tell | Refuse


@dataclass(frozen=True, slots=True)
class Filter:
    """
    A table of rows and what is done with every call that has none.
    """

    name: str
    rows: tuple[Row, ...]
    default: Action

    def __post_init__(self) -> None:
        """
        Raises ValueError for a row without reason, an unknown name, or a name refused twice.
        """
        for row in self.rows:
            _check_row(self.name, row)
        refused = [row.name for row in self.rows if isinstance(row, Refuse)]
        named = refused + sorted({row.name for row in self.rows if not isinstance(row, Refuse)})
        if len(named) != len(set(named)):
            raise ValueError(
                f"filter {self.name}: a call is refused by one row and named by another"
            )


def compile_filter(table: Filter, pid: int) -> Program:
    """
    The BPF program of `table`, for the process `pid` (pinned where a row says `OwnPid`).

    Raises ValueError when the program would be longer than the kernel takes.
    """
    return _Compiler(pid).compile(table)


@dataclass(frozen=True, slots=True)
class Prepared:
    """
    A filter compiled and encoded ahead: what stands before, between and behind the places where
    the process id belongs.
    """

    pieces: tuple[bytes, ...]

    def for_process(self, pid: int) -> bytes:
        """
        The encoded program for process `pid`.
        """
        return _WORD.pack(pid).join(self.pieces)


def prepare(table: Filter) -> Prepared:
    """
    Compile `table` once for all processes: compiling takes a millisecond, which a fork would pay.

    The places of the process id are the words by which the programs of two ids differ.
    """
    one, other = (encode(compile_filter(table, pid)) for pid in _TWO_PIDS)
    places = range(0, len(one), _WORD.size)
    differing = tuple(at for at in places if one[at : at + 4] != other[at : at + 4])
    for at in differing:
        if (_WORD.unpack_from(one, at)[0], _WORD.unpack_from(other, at)[0]) != _TWO_PIDS:
            raise ValueError(f"filter {table.name!r} depends on the process id in another way")
    bounds = zip((0, *(at + _WORD.size for at in differing)), (*differing, len(one)), strict=True)
    return Prepared(tuple(one[first:last] for first, last in bounds))


def _check_argument(index: int, values: Iterable[int]) -> None:
    if not 0 <= index <= _MAX_ARGUMENT:
        raise ValueError(f"argument {index}; a system call has 0 to {_MAX_ARGUMENT}")
    for value in values:
        if not 0 <= value < 1 << 64:
            raise ValueError(f"value {value} is not an unsigned 64-bit number")


def _check_row(table: str, row: Row) -> None:
    if row.name not in NUMBERS:
        raise ValueError(f"filter {table}: no system call is called {row.name!r} on x86-64")
    if not row.reason:
        raise ValueError(f"filter {table}: the row {row.name} gives no reason; say who needs it")


class _Compiler:
    """
    One compilation: the program is laid out from its end (see `bpf.py`), leaves first.
    """

    def __init__(self, pid: int) -> None:
        self._code = Assembler()
        self._leaves: dict[Action, Label] = {}
        self._pid = pid

    def compile(self, table: Filter) -> Program:
        kill = self._leaf(KILL_PROCESS)
        search = self._search([*self._segments(table), (X32_BIT, kill)])
        native = self._code.load(_NUMBER_OFFSET, search)
        checked = self._code.if_equal(_AUDIT_ARCH_X86_64, native, kill)
        self._code.load(_ARCHITECTURE_OFFSET, checked)
        return self._code.finish()

    def _leaf(self, action: Action) -> Label:
        if action not in self._leaves:
            self._leaves[action] = self._code.leave(action.encoded)
        return self._leaves[action]

    def _segments(self, table: Filter) -> list[tuple[int, Label]]:
        """
        Where on the number line which code begins, in order and without repetition.
        """
        default = self._leaf(table.default)
        starts = {0: default}
        by_number = sorted(table.rows, key=lambda row: NUMBERS[row.name])
        for number, rows in groupby(by_number, key=lambda row: NUMBERS[row.name]):
            starts[number] = self._alternatives(tuple(rows), table.default)
            starts.setdefault(number + 1, default)
        ordered = sorted(starts.items())
        return ordered[:1] + [
            (start, label) for (_, before), (start, label) in pairwise(ordered) if label != before
        ]

    def _search(self, segments: list[tuple[int, Label]]) -> Label:
        if len(segments) == 1:
            return segments[0][1]
        middle = len(segments) // 2
        below = self._search(segments[:middle])
        above = self._search(segments[middle:])
        return self._code.if_at_least(segments[middle][0], above, below)

    def _alternatives(self, rows: tuple[Row, ...], default: Action) -> Label:
        last = rows[-1]
        if isinstance(last, Refuse):
            return self._leaf(last.action)
        label = self._leaf(last.otherwise or default)
        for row in reversed(rows):
            if not isinstance(row, Refuse):
                label = self._allow(row, label)
        return label

    def _allow(self, row: Allow | Tell, refused: Label) -> Label:
        label = self._leaf(ALLOW if isinstance(row, Allow) else NOTIFY)
        for condition in reversed(row.arguments):
            label = self._condition(condition, label, refused)
        return label

    def _condition(self, condition: Condition, holds: Label, fails: Label) -> Label:
        match condition:
            case OwnPid(index):
                return self._one_of(index, (self._pid,), holds, fails)
            case OneOf(index, values):
                return self._one_of(index, values, holds, fails)
            case MaskedEquals(index, mask, value):
                low = self._half(_low(index), mask & _LOW, value & _LOW, holds, fails)
                return self._half(_low(index) + 4, mask >> 32, value >> 32, low, fails)

    def _half(self, offset: int, mask: int, value: int, holds: Label, fails: Label) -> Label:
        compared = self._code.if_equal(value, holds, fails)
        masked = self._code.mask(mask, compared)
        return self._code.load(offset, masked)

    def _one_of(self, index: int, values: tuple[int, ...], holds: Label, fails: Label) -> Label:
        label = fails
        for high, group in groupby(sorted(values), key=lambda value: value >> 32):
            lows = [value & _LOW for value in group]
            matched = self._any(_low(index), lows, holds, fails)
            label = self._any(_low(index) + 4, [high], matched, label)
        return label

    def _any(self, offset: int, words: list[int], holds: Label, fails: Label) -> Label:
        label = fails
        for word in words:
            label = self._code.if_equal(word, holds, label)
        return self._code.load(offset, label)


def _low(index: int) -> int:
    # Little endian: the lower half of an argument comes first.
    return _ARGUMENTS_OFFSET + 8 * index
