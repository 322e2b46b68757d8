"""
Guest memory, touched in this class and nowhere else.

The guest chooses every pointer and every length, so each access is checked against the size of
linear memory before a byte moves. wasmtime's guard pages protect compiled code, not us: host
code that adds a guest's integers to the base can walk past four gigabytes of reservation into
the host's own heap. Here a pointer and a length are Python integers without a width, masked to
32 bits where they enter, and one comparison is the whole check.

The base never moves (`memory_may_move` is off, and the reservation holds every 32-bit address),
and linear memory never shrinks. So a size seen once is a lower bound for ever: an access within
it needs no second look, and one beyond it reads the size again before it is refused.
"""

import ctypes
import struct
from collections.abc import Callable
from typing import Final

import wasmtime

from executor.kernel.errors import InternalError
from executor.wasm.abi import Errno, GuestFault

_WIDTH_32: Final = 0xFFFFFFFF
_I32: Final = struct.Struct("<I")
_I64: Final = struct.Struct("<Q")
# No string that the guest passes by pointer may be longer, terminator excluded (PATH_MAX).
STRING_MAX: Final = 4096
# What one operation copies at most; longer transfers are made of several (short reads, writes).
TRANSFER_MAX: Final = 2**20
# IOV_MAX of Linux; readv(2).
VECTOR_MAX: Final = 1024


class GuestMemory:
    """
    The linear memory of one instance, with every access checked.

    Every method raises GuestFault(EFAULT) when the range is not wholly inside memory, before
    anything is read or written.
    """

    __slots__ = ("_base", "_known", "_read_base", "_read_size", "_view")

    def __init__(self, store: wasmtime.Store, memory: wasmtime.Memory, reservation: int) -> None:
        self._read_size: Callable[[], int] = lambda: memory.data_len(store)
        self._read_base: Callable[[], int] = lambda: _address(memory, store)
        self._base = self._read_base()
        self._known = self._read_size()
        # A view over the whole reservation: the bounds check decides, not the view.
        window = (ctypes.c_char * reservation).from_address(self._base)
        self._view = memoryview(window).cast("B")

    @property
    def size(self) -> int:
        """
        The size of linear memory now, in bytes.
        """
        self._known = self._read_size()
        return self._known

    def check_base(self) -> None:
        """
        Raise InternalError if the memory has moved, which its configuration forbids.
        """
        if self._read_base() != self._base:
            raise InternalError("linear memory moved although memory_may_move is off")

    def span(self, pointer: int, length: int) -> slice:
        """
        The checked range of `length` bytes at `pointer`: what every access goes through.
        """
        start = pointer & _WIDTH_32
        length &= _WIDTH_32
        if start + length > self._known and start + length > self.size:
            raise GuestFault(Errno.EFAULT)
        return slice(start, start + length)

    def read(self, pointer: int, length: int) -> bytes:
        """
        A copy of `length` bytes.
        """
        return bytes(self._view[self.span(pointer, length)])

    def write(self, pointer: int, data: bytes | bytearray | memoryview) -> None:
        """
        Copy `data` into the guest.
        """
        self._view[self.span(pointer, len(data))] = data

    def window(self, pointer: int, length: int) -> memoryview:
        """
        A view of `length` bytes, for one copy within the same host call and never kept.
        """
        return self._view[self.span(pointer, length)]

    def u32(self, pointer: int) -> int:
        """
        The unsigned 32-bit integer at `pointer`.
        """
        return int(_I32.unpack_from(self._view, self.span(pointer, 4).start)[0])

    def put_u32(self, pointer: int, value: int) -> None:
        """
        Store the low 32 bits of `value`.
        """
        _I32.pack_into(self._view, self.span(pointer, 4).start, value & _WIDTH_32)

    def put_u64(self, pointer: int, value: int) -> None:
        """
        Store the low 64 bits of `value`.
        """
        _I64.pack_into(self._view, self.span(pointer, 8).start, value & 0xFFFFFFFFFFFFFFFF)

    def string(self, pointer: int, limit: int = STRING_MAX) -> bytes:
        """
        The NUL-terminated string at `pointer`, without its terminator.

        Raises GuestFault: ENAMETOOLONG when `limit` bytes hold no terminator, EFAULT when
        memory ends first. At most `limit` + 1 bytes are looked at.
        """
        start = pointer & _WIDTH_32
        room = self.size - start
        if room <= 0:
            raise GuestFault(Errno.EFAULT)
        found = bytes(self._view[start : start + min(room, limit + 1)])
        end = found.find(b"\0")
        if end < 0:
            raise GuestFault(Errno.ENAMETOOLONG if room > limit else Errno.EFAULT)
        return found[:end]

    def vectors(self, pointer: int, count: int) -> list[tuple[int, int]]:
        """
        An array of `count` iovecs, each (pointer, length), checked, cut at TRANSFER_MAX in all.

        Raises GuestFault: EINVAL above VECTOR_MAX vectors, EFAULT when one lies outside. The
        array is read once, so vectors that overlap it change nothing.
        """
        if count > VECTOR_MAX:
            raise GuestFault(Errno.EINVAL)
        words = struct.unpack(f"<{2 * count}I", self.read(pointer, 8 * count))
        pairs = list(zip(words[::2], words[1::2], strict=True))
        for start, length in pairs:
            self.span(start, length)
        return _cut(pairs)


def _cut(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    room = TRANSFER_MAX
    kept = []
    for start, length in pairs:
        kept.append((start, min(length, room)))
        room -= kept[-1][1]
    return kept


def _address(memory: wasmtime.Memory, store: wasmtime.Store) -> int:
    return ctypes.addressof(memory.data_ptr(store).contents)
