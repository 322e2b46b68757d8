"""
Reading libffi's description of a call from guest memory.

A `ffi_cif` says which types a function takes and returns; the guest made it, so it may say
anything: counts are limited before anything is read, nesting has a depth, and a type that refers
to itself ends there. What comes out is data of ours: nothing is read twice.

The layouts are those of libffi 3.4 and 3.5 on wasm32 (`ffi.h`). How a value becomes a wasm
parameter is the C ABI of the tool-conventions repository (`BasicCABI.md`): a struct of one
element is that element, an empty one is nothing, other structs and complex numbers go by their
address, and a long double is two 64-bit integers.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from executor.wasm.memory import GuestMemory

# The engine takes no function of more parameters, and ctypes makes no call of more than 1,024.
ARGUMENTS_MAX: Final = 1024
# Structs of one struct of one struct ...: C code has two or three of these.
DEPTH_MAX: Final = 32
_ALIGN_MAX: Final = 4096
# abi, nargs, arg_types, rtype, bytes, flags, nfixedargs
_CIF: Final = struct.Struct("<7I")
# size, alignment, type, elements
_TYPE: Final = struct.Struct("<IHHI")
_POINTER: Final = 4


class Kind(IntEnum):
    """
    The FFI_TYPE numbers of `ffi.h`.
    """

    VOID = 0
    INT = 1
    FLOAT = 2
    DOUBLE = 3
    LONGDOUBLE = 4
    UINT8 = 5
    SINT8 = 6
    UINT16 = 7
    SINT16 = 8
    UINT32 = 9
    SINT32 = 10
    UINT64 = 11
    SINT64 = 12
    STRUCT = 13
    POINTER = 14
    COMPLEX = 15


_KINDS: Final = {int(kind): kind for kind in Kind}
# How each is passed, in the letters of the table of imports.
_PASSED: Final = {
    Kind.VOID: "",
    Kind.FLOAT: "f",
    Kind.DOUBLE: "d",
    Kind.LONGDOUBLE: "II",
    Kind.UINT64: "I",
    Kind.SINT64: "I",
}
BY_ADDRESS: Final = frozenset({Kind.STRUCT, Kind.COMPLEX})
# The caller passes where these results go.
BY_RESULT: Final = BY_ADDRESS | {Kind.LONGDOUBLE}


class NoInterface(Exception):
    """
    What the guest describes is no function that it could have; the text says what is wrong.
    """


@dataclass(frozen=True, slots=True)
class Type:
    """
    A type, with structs of one element already replaced by it. Size and alignment in bytes.
    """

    kind: Kind
    size: int
    align: int

    @property
    def passed(self) -> str:
        """
        The letters of the parameters that a value of this type takes.
        """
        return _PASSED.get(self.kind, "i")


@dataclass(frozen=True, slots=True)
class Interface:
    """
    A call: the types of its arguments, how many of them are not variadic, and its result.
    """

    arguments: tuple[Type, ...]
    fixed: int
    result: Type

    @property
    def variadic(self) -> bool:
        """
        Whether some arguments go by the address of an array on the stack.
        """
        return self.fixed != len(self.arguments)

    @property
    def signature(self) -> str:
        """
        What the function's wasm type must be ("iid>i").
        """
        by_result = self.result.kind in BY_RESULT
        first = "i" if by_result else ""
        fixed = "".join(one.passed for one in self.arguments[: self.fixed])
        last = "i" if self.variadic else ""
        return f"{first}{fixed}{last}>{'' if by_result else self.result.passed}"


def read_interface(memory: GuestMemory, address: int) -> Interface:
    """
    The `ffi_cif` at `address`.

    Raises NoInterface, and GuestFault(EFAULT) where it or a type lies outside memory.
    """
    _, count, types, result, _, _, fixed = _CIF.unpack(memory.read(address, _CIF.size))
    if count > ARGUMENTS_MAX or fixed > count:
        raise NoInterface(
            f"{count} arguments of which {fixed} are fixed; at most {ARGUMENTS_MAX} are passed"
        )
    pointers = struct.unpack(f"<{count}I", memory.read(types, _POINTER * count))
    # A call has few types and many arguments: each is read once.
    known = {pointer: _read_type(memory, pointer) for pointer in {*pointers, result}}
    arguments = tuple(known[pointer] for pointer in pointers)
    return Interface(arguments, fixed, known[result])


def _read_type(memory: GuestMemory, address: int) -> Type:
    for _ in range(DEPTH_MAX):
        size, align, number, elements = _TYPE.unpack(memory.read(address, _TYPE.size))
        kind = _KINDS.get(number)
        if kind is None:
            raise NoInterface(f"a type of number {number}, which libffi does not have")
        if kind is not Kind.STRUCT:
            return _checked(kind, size, align)
        first = memory.u32(elements)
        if not first:
            return Type(Kind.VOID, 0, 1)
        if memory.u32(elements + _POINTER):
            return _checked(kind, size, align)
        address = first
    raise NoInterface(f"a struct nested deeper than {DEPTH_MAX}")


def _checked(kind: Kind, size: int, align: int) -> Type:
    if not 0 < align <= _ALIGN_MAX or align & (align - 1):
        raise NoInterface(
            f"a type aligned to {align}; a power of two up to {_ALIGN_MAX} is allowed"
        )
    return Type(kind, size, align)
