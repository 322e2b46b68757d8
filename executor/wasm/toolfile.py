"""
`/dev/tools`: how the guest calls the client's functions, one call for each time that it is opened.

The guest writes a length, 32 bits, and a frame of so many bytes, and then reads the reply to its
end. The call is made at the first read: a guest that is interrupted before has called nothing.
"""

from collections.abc import Callable
from typing import Final

from executor.kernel.toolframes import LONGEST_FRAME
from executor.kernel.tooling import MOST_RESULT
from executor.wasm.abi import Errno, GuestFault, Open
from executor.wasm.openfiles import OpenFile
from executor.wasm.space import Space

_LENGTH: Final = 4

CallsTool = Callable[[bytes], bytes]


class ToolFile(OpenFile):
    """
    An open `/dev/tools`. What it holds counts in `space` until it is closed.
    """

    def __init__(self, flags: Open, space: Space, call: CallsTool) -> None:
        super().__init__(flags)
        self._space = space
        self._call = call
        self._frame = bytearray()
        self._reply: bytes | None = None
        self._taken = 0

    @property
    def over(self) -> bool:
        """
        Whether it holds nothing any more.
        """
        return self.descriptors == 0

    def write_at(self, data: bytes, offset: int) -> int:  # noqa: ARG002 - there is no place in it
        """
        Take more of the frame. Raises GuestFault: EMSGSIZE, or ENOSPC without memory for it.
        """
        if self._reply is not None:
            raise GuestFault(Errno.EINVAL, "the call was made; open /dev/tools for another")
        if len(self._frame) + len(data) > _LENGTH + LONGEST_FRAME:
            raise GuestFault(Errno.EMSGSIZE, f"a call has {LONGEST_FRAME:,} bytes at most")
        self._take(len(data))
        self._frame += data
        return len(data)

    def read_at(self, view: memoryview, offset: int) -> int:
        """
        The reply, from `offset`.
        """
        if self._reply is None:
            self._reply = self._made()
            self._take(len(self._reply))
        piece = self._reply[offset : offset + len(view)]
        view[: len(piece)] = piece
        return len(piece)

    def read(self, view: memoryview) -> int:
        """
        Read on in the reply.
        """
        if self._reply is None:
            self.position = 0
        return super().read(view)

    def close(self) -> None:
        """
        Give the memory back.
        """
        self._space.give(self._taken)
        self._taken, self._reply = 0, b""
        self._frame.clear()

    def _made(self) -> bytes:
        length = int.from_bytes(self._frame[:_LENGTH], "little")
        frame = bytes(self._frame[_LENGTH:])
        if len(self._frame) < _LENGTH or len(frame) != length:
            raise GuestFault(Errno.EINVAL, "this is no call: it has another length than it says")
        if not self._space.fits(MOST_RESULT):
            raise GuestFault(
                Errno.ENOSPC, f"a result may have {MOST_RESULT:,} bytes, and memory has no room"
            )
        return self._call(frame)

    def _take(self, size: int) -> None:
        self._space.take(size)
        self._taken += size
