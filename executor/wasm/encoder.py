"""
Writing small WebAssembly modules: adapters between functions of different compilers.

A module is built when an image is built, never in a session: what comes out is compiled, hashed
and pinned like everything else of the image. So this is a writer for our own few modules and no
assembler: it knows the sections that they use and a handful of instructions, it gives the same
bytes for the same calls, and it does not validate. (The engine does, when it compiles them.)

The format is that of the WebAssembly core specification 2.0, chapter 5.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

_HEADER: Final = b"\0asm\x01\0\0\0"
_END: Final = b"\x0b"


class ValueType(IntEnum):
    """
    A value type, by its byte (specification 5.3.1 to 5.3.4).
    """

    I32 = 0x7F
    I64 = 0x7E
    F32 = 0x7D
    F64 = 0x7C
    FUNCREF = 0x70
    EXTERNREF = 0x6F


class Kind(IntEnum):
    """
    What an import or export is, by its byte (specification 5.5.5).
    """

    FUNCTION = 0
    TABLE = 1
    MEMORY = 2
    GLOBAL = 3


class _Section(IntEnum):
    """
    The sections that are written, in the order in which they stand (specification 5.5.2).
    """

    TYPE = 1
    IMPORT = 2
    FUNCTION = 3
    TABLE = 4
    MEMORY = 5
    GLOBAL = 6
    EXPORT = 7
    CODE = 10


class ModuleWriter:
    """
    One module, built up call by call.

    Every method that adds something returns its index, counted as the specification counts:
    what is imported comes before the module's own of its kind, so it is added first.
    Raises ValueError for an import that comes too late, and for a second export of one name.
    """

    def __init__(self) -> None:
        self._types: Final[dict[bytes, int]] = {}
        self._imports: Final[list[bytes]] = []
        self._imported: Final = dict.fromkeys(Kind, 0)
        self._functions: Final[list[int]] = []
        self._bodies: Final[list[bytes]] = []
        self._tables: Final[list[bytes]] = []
        self._memories: Final[list[bytes]] = []
        self._globals: Final[list[bytes]] = []
        self._exports: Final[dict[str, bytes]] = {}

    def type(self, params: Iterable[ValueType], results: Iterable[ValueType] = ()) -> int:
        """
        The index of a function type; the same type has one index.
        """
        encoded = b"\x60" + _types(params) + _types(results)
        return self._types.setdefault(encoded, len(self._types))

    # ---- imports ------------------------------------------------------------------------------

    def import_function(self, module: str, name: str, type_index: int) -> int:
        """
        Import a function of the type with that index.
        """
        if self._functions:
            raise ValueError(f"function {name} is imported after the module's own functions")
        return self._import(Kind.FUNCTION, module, name, unsigned(type_index))

    def import_table(self, module: str, name: str, least: int = 0) -> int:
        """
        Import a table of functions with at least `least` elements.
        """
        limits = bytes((ValueType.FUNCREF, 0)) + unsigned(least)
        return self._import(Kind.TABLE, module, name, limits)

    def import_memory(self, module: str, name: str, least: int = 0) -> int:
        """
        Import a memory of 32-bit addresses with at least `least` pages of 64 KiB.
        """
        return self._import(Kind.MEMORY, module, name, b"\0" + unsigned(least))

    def import_global(
        self, module: str, name: str, kind: ValueType = ValueType.I32, *, mutable: bool
    ) -> int:
        """
        Import a global.
        """
        if self._globals:
            raise ValueError(f"global {name} is imported after the module's own globals")
        return self._import(Kind.GLOBAL, module, name, bytes((kind, mutable)))

    def _import(self, kind: Kind, module: str, name: str, description: bytes) -> int:
        self._imports.append(_name(module) + _name(name) + bytes((kind,)) + description)
        self._imported[kind] += 1
        return self._imported[kind] - 1

    # ---- the module's own ---------------------------------------------------------------------

    def global_i32(self, initial: int = 0, *, mutable: bool = True) -> int:
        """
        Add a 32-bit global that starts at `initial` (-2**31 to 2**32 - 1).
        """
        description = bytes((ValueType.I32, mutable)) + i32_const(initial) + _END
        self._globals.append(description)
        return self._imported[Kind.GLOBAL] + len(self._globals) - 1

    def table(self, elements: int) -> int:
        """
        Add a table of so many functions, all null, which does not grow.
        """
        self._tables.append(bytes((ValueType.FUNCREF,)) + _exactly(elements))
        return self._imported[Kind.TABLE] + len(self._tables) - 1

    def memory(self, pages: int) -> int:
        """
        Add a memory of so many pages of 64 KiB, which does not grow.
        """
        self._memories.append(_exactly(pages))
        return self._imported[Kind.MEMORY] + len(self._memories) - 1

    def function(
        self, type_index: int, code: Iterable[bytes], local_types: Iterable[ValueType] = ()
    ) -> int:
        """
        Add a function: instructions without the last `end`, and locals numbered after the
        parameters.
        """
        declared = [b"\x01" + bytes((one,)) for one in local_types]
        body = _vector(declared) + b"".join(code) + _END
        self._functions.append(type_index)
        self._bodies.append(unsigned(len(body)) + body)
        return self._imported[Kind.FUNCTION] + len(self._functions) - 1

    def export(self, name: str, kind: Kind, index: int) -> None:
        """
        Export what has that index among its kind.
        """
        if name in self._exports:
            raise ValueError(f"{name} is exported twice")
        self._exports[name] = _name(name) + bytes((kind,)) + unsigned(index)

    def encode(self) -> bytes:
        """
        The module's bytes; the same calls give the same bytes.
        """
        sections: tuple[tuple[_Section, list[bytes]], ...] = (
            (_Section.TYPE, list(self._types)),
            (_Section.IMPORT, self._imports),
            (_Section.FUNCTION, [unsigned(index) for index in self._functions]),
            (_Section.TABLE, self._tables),
            (_Section.MEMORY, self._memories),
            (_Section.GLOBAL, self._globals),
            (_Section.EXPORT, list(self._exports.values())),
            (_Section.CODE, self._bodies),
        )
        return _HEADER + b"".join(_section(number, items) for number, items in sections if items)


def _exactly(count: int) -> bytes:
    """
    Limits: at least and at most so many.
    """
    return b"\x01" + unsigned(count) + unsigned(count)


def _section(number: _Section, items: list[bytes]) -> bytes:
    content = _vector(items)
    return bytes((number,)) + unsigned(len(content)) + content


def _vector(items: list[bytes]) -> bytes:
    return unsigned(len(items)) + b"".join(items)


def _types(types: Iterable[ValueType]) -> bytes:
    return _vector([bytes((one,)) for one in types])


def _name(text: str) -> bytes:
    data = text.encode()
    return unsigned(len(data)) + data


# ---- numbers (specification 5.2.2) ------------------------------------------------------------


def unsigned(value: int) -> bytes:
    """
    A 32-bit unsigned number in LEB128. Raises ValueError outside 0 to 2**32 - 1.
    """
    if not 0 <= value < 2**32:
        raise ValueError(f"{value} is not an unsigned 32-bit number")
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def signed(value: int) -> bytes:
    """
    A signed number in LEB128, of any size.
    """
    encoded = bytearray()
    while not -0x40 <= value < 0x40:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value & 0x7F)
    return bytes(encoded)


# ---- instructions (specification 5.4), each as its bytes --------------------------------------

I32_EQZ: Final = b"\x45"
I32_NE: Final = b"\x47"
I32_LT_U: Final = b"\x49"
I32_GT_U: Final = b"\x4b"
I32_ADD: Final = b"\x6a"
I32_SUB: Final = b"\x6b"
I32_AND: Final = b"\x71"
I32_OR: Final = b"\x72"
I32_SHL: Final = b"\x74"
I32_SHR_U: Final = b"\x76"
I64_GT_U: Final = b"\x56"
I64_ADD: Final = b"\x7c"
I64_SHL: Final = b"\x86"
I64_EXTEND_I32_U: Final = b"\xad"
MEMORY_SIZE: Final = b"\x3f\0"
SELECT: Final = b"\x1b"
DROP: Final = b"\x1a"
UNREACHABLE: Final = b"\0"
RETURN: Final = b"\x0f"
# Blocks without parameters and results, each up to its `end`.
IF: Final = b"\x04\x40"
LOOP: Final = b"\x03\x40"
END: Final = _END


def i32_const(value: int) -> bytes:
    """
    A constant, -2**31 to 2**32 - 1: both readings of 32 bits. Raises ValueError outside them.
    """
    if not -(2**31) <= value < 2**32:
        raise ValueError(f"{value} does not fit 32 bits")
    return b"\x41" + signed(value - 2**32 if value >= 2**31 else value)


def i64_const(value: int) -> bytes:
    """
    A constant, -2**63 to 2**64 - 1: both readings of 64 bits. Raises ValueError outside them.
    """
    if not -(2**63) <= value < 2**64:
        raise ValueError(f"{value} does not fit 64 bits")
    return b"\x42" + signed(value - 2**64 if value >= 2**63 else value)


def local_get(index: int) -> bytes:
    """
    The value of a parameter or local.
    """
    return b"\x20" + unsigned(index)


def local_set(index: int) -> bytes:
    """
    Take a value into a parameter or local.
    """
    return b"\x21" + unsigned(index)


def local_tee(index: int) -> bytes:
    """
    Copy a value into a parameter or local, and leave it.
    """
    return b"\x22" + unsigned(index)


def global_get(index: int) -> bytes:
    """
    The value of a global.
    """
    return b"\x23" + unsigned(index)


def global_set(index: int) -> bytes:
    """
    Take a value into a global.
    """
    return b"\x24" + unsigned(index)


def branch(depth: int) -> bytes:
    """
    Go to the end of the block so many blocks further out, or to the beginning of a loop.
    """
    return b"\x0c" + unsigned(depth)


def call(function: int) -> bytes:
    """
    Call a function of this module or an imported one.
    """
    return b"\x10" + unsigned(function)


def call_indirect(type_index: int, table: int = 0) -> bytes:
    """
    Call the table's function whose index is on the stack, after its arguments; traps where the
    table holds none, or one of another type.
    """
    return b"\x11" + unsigned(type_index) + unsigned(table)


@dataclass(frozen=True, slots=True)
class Access:
    """
    How a value type is moved to and from memory: opcodes, and the logarithm of its size.
    """

    load_code: int
    store_code: int
    log_size: int

    def load(self, offset: int = 0) -> bytes:
        """
        The value at the address on the stack plus `offset`.
        """
        return bytes((self.load_code, self.log_size)) + unsigned(offset)

    def store(self, offset: int = 0) -> bytes:
        """
        Store the value on the stack at the address below it plus `offset`.
        """
        return bytes((self.store_code, self.log_size)) + unsigned(offset)


ACCESS: Final[dict[ValueType, Access]] = {
    ValueType.I32: Access(0x28, 0x36, 2),
    ValueType.I64: Access(0x29, 0x37, 3),
    ValueType.F32: Access(0x2A, 0x38, 2),
    ValueType.F64: Access(0x2B, 0x39, 3),
}
# A byte of memory, in 32 bits without a sign.
BYTE: Final = Access(0x2D, 0x3A, 0)
