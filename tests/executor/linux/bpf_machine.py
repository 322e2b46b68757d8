"""
A classic BPF machine, as small as the filters that it judges, and a plain reading of their tables.
"""

import struct

from executor.linux.bpf import Opcode, Program
from executor.linux.filters import (
    ALLOW,
    KILL_PROCESS,
    NOTIFY,
    Action,
    Allow,
    Condition,
    Filter,
    MaskedEquals,
    OneOf,
    Refuse,
)
from executor.linux.syscalls import NUMBERS

X86_64 = 0xC000_003E
I386 = 0x4000_0003
AARCH64 = 0xC000_00B7
X32 = 0x4000_0000


# As plain names: a test judges a hundred thousand calls, of many instructions each.
_LOAD, _AND, _GOTO, _RETURN = Opcode.LOAD, Opcode.AND, Opcode.GOTO, Opcode.RETURN
_IF_EQUAL, _IF_GREATER_OR_EQUAL = Opcode.IF_EQUAL, Opcode.IF_GREATER_OR_EQUAL
_CALL, _WORD = struct.Struct("=IIQ6Q"), struct.Struct("=I")


def evaluate(program: Program, number: int, architecture: int, arguments: tuple[int, ...]) -> int:
    data = _CALL.pack(number, architecture, 0, *arguments)
    accumulator, at = 0, 0
    for _ in program:
        instruction = program[at]
        at += 1
        code = instruction.code
        if code is _IF_EQUAL:
            at += (
                instruction.if_true if accumulator == instruction.operand else instruction.if_false
            )
        elif code is _IF_GREATER_OR_EQUAL:
            at += (
                instruction.if_true if accumulator >= instruction.operand else instruction.if_false
            )
        elif code is _LOAD:
            (accumulator,) = _WORD.unpack_from(data, instruction.operand)
        elif code is _RETURN:
            return instruction.operand
        elif code is _GOTO:
            at += instruction.operand
        else:
            assert code is _AND
            accumulator &= instruction.operand
    raise AssertionError("the program does not end")


def expected(
    table: Filter, pid: int, number: int, architecture: int, arguments: tuple[int, ...]
) -> int:
    """
    What the rows say, read one by one, with none of the compiler's code.
    """
    if architecture != X86_64 or number >= X32:
        return KILL_PROCESS.encoded
    answer: Action = table.default
    for row in table.rows:
        if NUMBERS[row.name] != number:
            continue
        if isinstance(row, Refuse):
            return row.action.encoded
        if all(_holds(condition, pid, arguments) for condition in row.arguments):
            return (ALLOW if isinstance(row, Allow) else NOTIFY).encoded
        answer = row.otherwise or table.default
    return answer.encoded


def _holds(condition: Condition, pid: int, arguments: tuple[int, ...]) -> bool:
    value = arguments[condition.index]
    match condition:
        case MaskedEquals(_, mask, wanted):
            return value & mask == wanted
        case OneOf(_, values):
            return value in values
        case _:
            return value == pid


def samples(table: Filter, pid: int, number: int) -> list[tuple[int, ...]]:
    """
    Arguments that satisfy the rows of `number`, and each of their near misses.
    """
    rows = [
        row for row in table.rows if NUMBERS[row.name] == number and not isinstance(row, Refuse)
    ]
    found: list[tuple[int, ...]] = [(0,) * 6, (2**64 - 1,) * 6]
    for row in rows:
        fits = [0] * 6
        for condition in row.arguments:
            fits[condition.index] = _fit(condition, pid)
        found.append(tuple(fits))
        for index in range(6):
            found.extend(_flipped(fits, index, 1 << bit) for bit in (*range(33), 47, 63))
    return found


def _flipped(values: list[int], index: int, bits: int) -> tuple[int, ...]:
    return (*values[:index], values[index] ^ bits, *values[index + 1 :])


def _fit(condition: Condition, pid: int) -> int:
    match condition:
        case MaskedEquals(_, _, wanted):
            return wanted
        case OneOf(_, values):
            return values[-1]
        case _:
            return pid
