"""
Arguments of a foreign call: from where the guest keeps them to the engine's values.

Plain values become parameters. Structs are copied below the guest's stack pointer, because the
callee may change its copy, and so is the array by which variadic arguments are passed: each in
the next place of its alignment, as `va_arg` walks it (tool-conventions, BasicCABI.md). Nothing
is written here: what goes on the stack comes back as a list, for the moment when all checks
have passed.
"""

import struct
from dataclasses import dataclass
from typing import Final

from executor.wasm.cif import BY_ADDRESS, BY_RESULT, Interface, Kind, NoInterface, Type
from executor.wasm.memory import GuestMemory

# What the arguments of one call may take of the guest's stack.
STACK_MAX: Final = 2**20
_STACK_ALIGN: Final = 16
_POINTER: Final = 4
# Size in bytes, and whether a value narrower than its parameter is sign-extended.
_SIZES: Final = {
    Kind.INT: (4, False),
    Kind.FLOAT: (4, False),
    Kind.DOUBLE: (8, False),
    Kind.UINT8: (1, False),
    Kind.SINT8: (1, True),
    Kind.UINT16: (2, False),
    Kind.SINT16: (2, True),
    Kind.UINT32: (4, False),
    Kind.SINT32: (4, False),
    Kind.UINT64: (8, False),
    Kind.SINT64: (8, False),
    Kind.POINTER: (4, False),
}
_LONGDOUBLE: Final = struct.Struct("<QQ")
_WIDE: Final = 8
_MASK_32: Final = 0xFFFFFFFF
_MASK_64: Final = 0xFFFFFFFFFFFFFFFF


@dataclass(frozen=True, slots=True)
class Arguments:
    """
    A call's parameters as words, and what is stored on the guest's stack before it.

    The stack pointer is `stack` during the call and `old_stack` after it.
    """

    words: list[int]
    stored: list[tuple[int, bytes]]
    old_stack: int
    stack: int


def lay_out(
    memory: GuestMemory,
    interface: Interface,
    values: int,
    result: int,
    stack_pointer: int,
) -> Arguments:
    """
    The arguments that the array at `values` points to, for a function of the interface's type.

    Raises GuestFault(EFAULT) for a pointer outside memory, of the result as well, and
    NoInterface for arguments that cannot be passed.
    """
    memory.span(result, _result_size(interface.result))
    count = len(interface.arguments)
    addresses = struct.unpack(f"<{count}I", memory.read(values, _POINTER * count))
    pairs = list(zip(interface.arguments, addresses, strict=True))
    copies = _Copies(memory, stack_pointer)
    words = [result] if interface.result.kind in BY_RESULT else []
    for one, address in pairs[: interface.fixed]:
        words += copies.parameters(one, address)
    if interface.variadic:
        words.append(copies.variadic(pairs[interface.fixed :]))
    return Arguments(words, copies.stored, stack_pointer, copies.now)


def store_result(memory: GuestMemory, kind: Type, result: int, word: int) -> None:
    """
    Store what a call returned at `result`, in the size of its type; structs are there already.
    """
    if kind.kind not in BY_RESULT:
        memory.write(result, word.to_bytes(8, "little")[: _result_size(kind)])


def _result_size(kind: Type) -> int:
    if kind.kind is Kind.VOID:
        return 0
    return kind.size if kind.kind in BY_RESULT else _SIZES[kind.kind][0]


class _Copies:
    """
    What goes below the guest's stack pointer.
    """

    def __init__(self, memory: GuestMemory, stack_pointer: int) -> None:
        self._memory = memory
        self.stored: list[tuple[int, bytes]] = []
        self._least = stack_pointer - STACK_MAX
        self.now = stack_pointer

    def parameters(self, kind: Type, address: int) -> list[int]:
        """
        The parameters of the value at `address`, each as a word.
        """
        if kind.kind is Kind.VOID:
            return []
        if kind.kind in BY_ADDRESS:
            return [self._copy(kind, address)]
        if kind.kind is Kind.LONGDOUBLE:
            return list(_LONGDOUBLE.unpack(self._memory.read(address, _LONGDOUBLE.size)))
        size, signed = _SIZES[kind.kind]
        value = int.from_bytes(self._memory.read(address, size), "little", signed=signed)
        return [value & (_MASK_64 if size == _WIDE else _MASK_32)]

    def variadic(self, pairs: list[tuple[Type, int]]) -> int:
        """
        The address of the array in which variadic arguments lie, each in four bytes or more.
        """
        array = bytearray()
        for kind, address in pairs:
            wide = kind.passed in {"I", "II", "d"}
            if wide:
                array += bytes(-len(array) % _WIDE)
            for word in self.parameters(kind, address):
                array += word.to_bytes(_WIDE if wide else _POINTER, "little")
        return self._place(bytes(array), _WIDE)

    def _copy(self, kind: Type, address: int) -> int:
        self._memory.span(address, kind.size)
        if kind.size > STACK_MAX:
            raise NoInterface(f"a struct of {kind.size} bytes; {STACK_MAX} are passed by value")
        return self._place(self._memory.read(address, kind.size), kind.align)

    def _place(self, data: bytes, align: int) -> int:
        self.now = (self.now - len(data)) & -max(align, _STACK_ALIGN)
        if self.now < max(self._least, 0):
            raise NoInterface(f"arguments that take more than {STACK_MAX} bytes of the stack")
        self._memory.span(self.now, len(data))
        self.stored.append((self.now, data))
        return self.now
