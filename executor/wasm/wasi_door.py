"""
The host's half of `host.call`, the one import of the WASI guest that is not WASI's.

A guest sends frames there whose first byte says what they are. An answer is kept for whoever
called the guest; attempts at programs, for which preview 1 has no call, go to the gate; and while
the guest starts, it may ask to be interrupted. Nothing is sent back: a refusal is told where the
others are, at /dev/denial.
"""

from collections.abc import Callable
from enum import Enum

from executor.wasm.abi import PATH_MAX, Errno, GuestFault
from executor.wasm.memory import GuestMemory
from executor.wasm.process import Process


class Frame(Enum):
    """
    What a frame is, by its first byte.
    """

    CHECK = b"?"
    ANSWER = b"="
    PROGRAM = b"!"


class Door:
    """
    What the guest said last, and what it may ask for.

    `answer_max` is in bytes: a longer answer counts as an empty one. `on_check` interrupts the
    guest; it is None once the guest has started.
    """

    def __init__(self, answer_max: int) -> None:
        self._answer_max = answer_max
        self.answer: bytes | None = None
        self.on_check: Callable[[], None] | None = None

    def knock(self, process: Process, frame: int, length: int, out: int, out_length: int) -> int:
        """
        The act of `host.call`. Raises GuestFault for a frame that is none of those above.

        A cell can knock as well, and is then answered for by what was said last.
        """
        memory = process.memory
        for pointer, size in ((frame, length), (out, 4), (out_length, 4)):
            memory.span(pointer, size)
        kind = memory.read(frame, min(length, 1))
        if kind == Frame.ANSWER.value:
            self.answer = memory.read(frame + 1, length - 1) if length <= self._answer_max else b""
        elif kind == Frame.CHECK.value and self.on_check is not None:
            self.on_check()
        else:
            _attempt(process, kind, memory.read(frame, min(length, PATH_MAX))[1:])
        _give_nothing(memory, out, out_length)
        return 0


def _give_nothing(memory: GuestMemory, out: int, out_length: int) -> None:
    memory.put_u32(out, 0)
    memory.put_u32(out_length, 0)


def _attempt(process: Process, kind: bytes, data: bytes) -> None:
    """
    Have the gate judge what the guest wants and cannot have; the refusal is kept as its reason.
    """
    if kind != Frame.PROGRAM.value:
        raise GuestFault(Errno.EINVAL)
    try:
        process.broker.run(_text(data))
    except GuestFault as fault:
        process.deny(fault)


def _text(data: bytes) -> str:
    # Frames to the broker carry text, and this one is only judged: what is no UTF-8 is escaped.
    return data.decode("utf-8", "backslashreplace")
