"""
What a side module does by being instantiated: its start function may set up and not act.

The linker instantiates a library before it is wired up, so code of a package must not run then.
Nearly all real side modules have a start function all the same: the static linker makes one that
clears memory and fills in the addresses of its own functions, in one straight line. Exactly such
a line is taken: no call, no branch, nothing but the instructions of `_PLAIN`.

Read after the engine has validated the module, so its form is known to be good; what this reader
does not understand refuses it nevertheless. Source: WebAssembly 3.0, 5.4 and 5.5.
"""

from typing import Final

_MAGIC: Final = b"\0asm\x01\0\0\0"
_START, _CODE = 8, 10
_END: Final = 0x0B
_PREFIXED: Final = 0xFC
_MEMORY_FILL: Final = 11
# Instructions by their byte, and how many numbers (LEB128) follow each.
_PLAIN: Final = {
    0x23: 1,  # global.get
    0x24: 1,  # global.set
    0x41: 1,  # i32.const
    0x6A: 0,  # i32.add
}


class StartError(ValueError):
    """
    A module's start function does more than set up, or cannot be read.
    """


def require_plain_start(code: bytes, imported: int) -> None:
    """
    Raise StartError unless the module has no start function, or a plain one.

    `code` is the whole module, `imported` how many functions it imports: they come first in
    the numbering. Text is refused, which the engine would otherwise accept.
    """
    if not code.startswith(_MAGIC):
        raise StartError("it is not a binary WebAssembly module")
    sections = _sections(code)
    if _START not in sections:
        return
    number = sections[_START].number()
    if number < imported:
        raise StartError("its start function is one that it imports")
    _require_plain(_body(sections.get(_CODE), number - imported))


def _sections(code: bytes) -> "dict[int, _Bytes]":
    reader, found = _Bytes(code[len(_MAGIC) :]), {}
    while reader.left:
        kind = reader.byte()
        found[kind] = reader.part()
    return found


def _body(bodies: "_Bytes | None", number: int) -> "_Bytes":
    if bodies is None or number >= bodies.number():
        raise StartError("it has no such start function")
    for _ in range(number):
        bodies.part()
    return bodies.part()


def _require_plain(body: "_Bytes") -> None:
    if body.number():
        raise StartError("its start function has variables, and may only set up")
    while (instruction := body.byte()) != _END:
        if instruction == _PREFIXED and body.number() == _MEMORY_FILL:
            body.number()
        elif instruction in _PLAIN:
            for _ in range(_PLAIN[instruction]):
                body.number()
        else:
            raise StartError(
                f"its start function has the instruction {instruction:#x}, and may only set up "
                "memory and globals. Build it with constructors, as Emscripten does."
            )


class _Bytes:
    """
    Bytes that are read once from their start; reading past their end is StartError.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def byte(self) -> int:
        if not self.left:
            raise StartError("it ends too early")
        self._at += 1
        return self._data[self._at - 1]

    def number(self) -> int:
        """
        A number in LEB128, of at most 32 bits; of a signed one the bits alone.
        """
        value = 0
        for shift in range(0, 35, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise StartError("it holds a number of more than 32 bits")

    def part(self) -> "_Bytes":
        """
        The bytes whose number comes first.
        """
        length = self.number()
        if length > self.left:
            raise StartError("a part of it is longer than the whole")
        self._at += length
        return _Bytes(self._data[self._at - length : self._at])
