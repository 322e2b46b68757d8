"""
Interrupting a CPython that has no door for signals: the words that its own handler would set.

`signal` marks the one signal (`tripped`) and that there is any (`is_tripped`), and asks the
evaluation loop to look (a bit of `eval_breaker`). CPython clears all three when it calls the
Python handler. Their addresses are found when the image is built, by having the guest interrupt
itself (`images/wasi.py`), and hold for that module alone.

The order of the writes is that of CPython's handler. The evaluation loop's word has other bits,
and the interpreter changes it too, without a lock: so only the byte with our bit is written, and
it is written again if the interpreter was just storing that byte and the bit was lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from executor.kernel.errors import InternalError
from executor.wasm.memory import GuestMemory

# How often a lost bit is looked for: some tens of microseconds in all, without a system call, of
# which a worker has few.
_LOOKS: Final = 64


@dataclass(frozen=True, slots=True)
class SignalWords:
    """
    Guest addresses: two words that are 0 or 1, and a byte with the mask of our bit in it.
    """

    tripped: int
    is_tripped: int
    eval_breaker: int
    eval_breaker_mask: int

    @classmethod
    def found(cls, facts: Mapping[str, int]) -> Self:
        """
        The addresses among an image's facts. Raises InternalError where one is missing.
        """
        try:
            return cls(**{name: facts[name] for name in cls.__slots__})
        except KeyError as error:
            raise InternalError(f"the image does not say where the guest's {error} is") from error

    def facts(self) -> dict[str, int]:
        """
        The same by name, for an image's manifest.
        """
        return {name: getattr(self, name) for name in self.__slots__}

    def set(self, memory: GuestMemory, *, pending: bool) -> None:
        """
        Have an interrupt pending, or none. From another thread while the guest runs, or from the
        one that runs it while it does not.
        """
        memory.put_u32(self.tripped, int(pending))
        memory.put_u32(self.is_tripped, int(pending))
        self._put_bit(memory, on=pending)
        for _ in range(_LOOKS if pending else 0):
            if not self.pending(memory):
                return
            self._put_bit(memory, on=True)

    def pending(self, memory: GuestMemory) -> bool:
        """
        Whether CPython has still to call the handler. (It leaves `is_tripped` set when the handler
        raises, to look for other signals later.)
        """
        return memory.u32(self.tripped) != 0

    def _put_bit(self, memory: GuestMemory, *, on: bool) -> None:
        byte = memory.read(self.eval_breaker, 1)[0]
        wanted = byte | self.eval_breaker_mask if on else byte & ~self.eval_breaker_mask
        if wanted != byte:
            memory.write(self.eval_breaker, bytes((wanted,)))
