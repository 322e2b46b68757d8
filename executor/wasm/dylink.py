"""
The `dylink.0` section of a side module: what it needs of whoever links it.

The format is that of the tool-conventions repository's DynamicLinking.md. It comes from a wheel,
so every length is checked against the section, and anything that is not understood refuses the
module. Subsections that only inform (of exports' flags) are skipped.
"""

from dataclasses import dataclass
from typing import Final

_MAGIC: Final = b"\0asm\x01\0\0\0"
_NAME: Final = "dylink.0"
_MEMORY_INFO, _NEEDED, _EXPORT_INFO, _IMPORT_INFO, _RUNTIME_PATH = range(1, 6)
# Binding of a symbol in an import's flags, and its value for weak ones.
_BINDING_MASK: Final = 3
_BINDING_WEAK: Final = 1
# Bounds of the sizes that a module may ask for; linear memory has 4 GiB.
_MEMORY_MAX: Final = 2**30
_ALIGN_MAX: Final = 16
_TABLE_MAX: Final = 2**17


class DylinkError(ValueError):
    """
    The bytes are no side module, or one whose section is not understood.
    """


@dataclass(frozen=True, slots=True)
class Dylink:
    """
    Bytes of memory with their alignment (a power of two, as its logarithm) and elements of the
    table that the module needs, the libraries that come first, and its weak imports.
    """

    memory_size: int
    memory_align: int
    table_size: int
    needed: tuple[str, ...]
    weak: tuple[str, ...]


def read_dylink(module: bytes) -> Dylink:
    """
    Read the section, which must be the module's first. Raises DylinkError.
    """
    if not module.startswith(_MAGIC):
        raise DylinkError("it is not a WebAssembly module")
    reader = _Reader(module, len(_MAGIC), len(module))
    if reader.byte() != 0:
        raise DylinkError("it is not a side module: its first section is not dylink.0")
    section = reader.part()
    if section.name() != _NAME:
        raise DylinkError("it is not a side module: its first section is not dylink.0")
    found = _Found()
    while section.left:
        found.take(section.byte(), section.part())
    return found.checked()


class _Found:
    def __init__(self) -> None:
        self.memory: tuple[int, int, int] | None = None
        self.needed: list[str] = []
        self.weak: list[str] = []

    def take(self, kind: int, part: "_Reader") -> None:
        if kind == _MEMORY_INFO:
            self.memory = part.number(), part.number(), part.number()
            part.number()
        elif kind == _NEEDED:
            self.needed = [part.name() for _ in range(part.number())]
        elif kind == _IMPORT_INFO:
            self.weak = part.weak_imports()
        elif kind not in {_EXPORT_INFO, _RUNTIME_PATH}:
            raise DylinkError(f"its dylink.0 section has a part of the unknown kind {kind}")

    def checked(self) -> Dylink:
        if self.memory is None:
            raise DylinkError("its dylink.0 section does not say what memory it needs")
        size, align, table = self.memory
        if size > _MEMORY_MAX or align > _ALIGN_MAX or table > _TABLE_MAX:
            raise DylinkError(
                f"it asks for {size} bytes aligned to 2**{align} and {table} elements"
            )
        return Dylink(size, align, table, tuple(self.needed), tuple(sorted(set(self.weak))))


class _Reader:
    """
    A range of bytes that is read once from its start; reading past its end is DylinkError.
    """

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self._data = data
        self._at = start
        self._end = end

    @property
    def left(self) -> int:
        return self._end - self._at

    def byte(self) -> int:
        if not self.left:
            raise DylinkError("its dylink.0 section ends too early")
        self._at += 1
        return self._data[self._at - 1]

    def number(self) -> int:
        """
        An unsigned 32-bit number in LEB128.
        """
        value = 0
        for shift in range(0, 35, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        if byte >= 0x80 or value >= 2**32:
            raise DylinkError("its dylink.0 section holds a number of more than 32 bits")
        return value

    def part(self) -> "_Reader":
        """
        The bytes whose number comes first, as a reader of their own.
        """
        length = self.number()
        if length > self.left:
            raise DylinkError("its dylink.0 section is longer than the module")
        start = self._at
        self._at += length
        return _Reader(self._data, start, self._at)

    def name(self) -> str:
        length = self.number()
        if length > self.left:
            raise DylinkError("its dylink.0 section is longer than the module")
        self._at += length
        try:
            return self._data[self._at - length : self._at].decode()
        except UnicodeDecodeError as error:
            raise DylinkError("its dylink.0 section holds a name that is no UTF-8") from error

    def weak_imports(self) -> list[str]:
        found = []
        for _ in range(self.number()):
            self.name()
            name = self.name()
            if self.number() & _BINDING_MASK == _BINDING_WEAK:
                found.append(name)
        return found
