"""
An assembler for classic BPF, the language of seccomp filters.

A conditional jump reaches at most 255 instructions forward, and none goes backward. Programs
are therefore laid out from their end: whatever is jumped to already stands, its distance is
known, and a target that is too far gets an unconditional jump (32-bit reach) in between.
The rejected way, emitting forward and relaxing until nothing moves, needs a fixed point.

Source: Linux `Documentation/networking/filter.rst` and `include/uapi/linux/bpf_common.h`.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum


class Opcode(IntEnum):
    """
    The seven instructions that a filter needs, with the bits that the kernel reads.
    """

    LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS: the word at offset k of the data
    AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
    GOTO = 0x05  # BPF_JMP | BPF_JA
    IF_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
    IF_GREATER_OR_EQUAL = 0x35  # BPF_JMP | BPF_JGE | BPF_K, unsigned
    RETURN = 0x06  # BPF_RET | BPF_K


MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_NEAR = 255
_LAYOUT = struct.Struct("=HBBI")


@dataclass(frozen=True, slots=True)
class Instruction:
    """
    One `struct sock_filter`: opcode, jump lengths (0 to 255) and operand (32 bits, unsigned).
    """

    code: Opcode
    if_true: int
    if_false: int
    operand: int


Program = tuple[Instruction, ...]
INSTRUCTION_BYTES = _LAYOUT.size


def encode(program: Program) -> bytes:
    """
    The program as the kernel's array of `struct sock_filter`.
    """
    return b"".join(_LAYOUT.pack(i.code, i.if_true, i.if_false, i.operand) for i in program)


@dataclass(frozen=True, slots=True)
class Label:
    """
    A place that can be jumped to: its distance from the end of the program.
    """

    from_end: int


class Assembler:
    """
    Builds one program from its last instruction to its first.

    Every method puts its instruction in front of what is there and returns the label of it.
    Falling through means running on into the instruction emitted just before.
    """

    def __init__(self) -> None:
        self._reversed: list[Instruction] = []

    @property
    def here(self) -> Label:
        """
        The instruction that is first at this moment.
        """
        return Label(len(self._reversed))

    def finish(self) -> Program:
        """
        The program. Raises ValueError when it is longer than the kernel takes (4096).
        """
        if len(self._reversed) > MAX_INSTRUCTIONS:
            raise ValueError(
                f"filter of {len(self._reversed)} instructions; the kernel takes"
                f" {MAX_INSTRUCTIONS}; merge rows or drop conditions"
            )
        return tuple(reversed(self._reversed))

    def leave(self, value: int) -> Label:
        """
        Return `value` (32 bits) to the kernel.
        """
        return self._emit(Opcode.RETURN, value)

    def load(self, offset: int, then: Label) -> Label:
        """
        Load the 32-bit word at `offset` (bytes, a multiple of 4) and run on at `then`.
        """
        self._continue_at(then)
        return self._emit(Opcode.LOAD, offset)

    def mask(self, bits: int, then: Label) -> Label:
        """
        Keep only `bits` (32 of them) of the loaded word and run on at `then`.
        """
        self._continue_at(then)
        return self._emit(Opcode.AND, bits)

    def if_equal(self, value: int, yes: Label, no: Label) -> Label:
        """
        Go to `yes` when the loaded word is `value`, else to `no`.
        """
        return self._branch(Opcode.IF_EQUAL, value, yes, no)

    def if_at_least(self, value: int, yes: Label, no: Label) -> Label:
        """
        Go to `yes` when the loaded word, unsigned, is `value` or more, else to `no`.
        """
        return self._branch(Opcode.IF_GREATER_OR_EQUAL, value, yes, no)

    def _branch(self, code: Opcode, value: int, yes: Label, no: Label) -> Label:
        # A jump inserted for one target moves the other further away, so both are settled
        # before the distances are taken: the margin of one covers the second insertion.
        no_near = self._near(no, _NEAR - 1)
        yes_near = self._near(yes, _NEAR)
        return self._emit(code, value, self._distance(yes_near), self._distance(no_near))

    def _near(self, target: Label, reach: int) -> Label:
        if self._distance(target) <= reach:
            return target
        return self._emit(Opcode.GOTO, self._distance(target))

    def _continue_at(self, target: Label) -> None:
        if self._distance(target):
            self._emit(Opcode.GOTO, self._distance(target))

    def _distance(self, target: Label) -> int:
        return len(self._reversed) - target.from_end

    def _emit(self, code: Opcode, operand: int, if_true: int = 0, if_false: int = 0) -> Label:
        self._reversed.append(Instruction(code, if_true, if_false, operand))
        return self.here
