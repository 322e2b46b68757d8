"""
A secret is taken out of what a server says: each of its bytes becomes a `*`.

The secret is looked for in its spellings (`hidden.py`), without regard to case and to the two
alphabets of base64, across the pieces in which bytes arrive. So bytes have to be held back until
it is known whether a spelling begins with them. How many is the same whatever they are, one less
than the longest spelling: were only what looks like the beginning of the secret held back, a
guest could have its guesses echoed and see in the rhythm of the answer how many characters are
right, and so learn the secret one character after another.

When a server pauses, what is held is let go after a while, or an answer that never ends would
never be seen whole; what follows is still compared with it. That leaves one way: a server that
shows the secret and pauses in the middle of it shows the part before the pause.
"""

from collections.abc import Iterable, Iterator
from typing import Final

# One form for each byte: lower case, and the characters in which base64's alphabets differ.
_FOLDED: Final = bytes(
    {ord("-"): ord("+"), ord("_"): ord("/")}.get(byte, bytes([byte]).lower()[0])
    for byte in range(256)
)


class Needles:
    """
    Hidden strings, ready to be looked for.
    """

    __slots__ = ("_all", "_within_all", "longest")

    def __init__(self, hidden: Iterable[bytes]) -> None:
        folded = sorted({form.translate(_FOLDED) for form in hidden if form}, key=len)
        within: list[bytes] = []
        for form in folded:
            if not any(shorter in form for shorter in within):
                within.append(form)
        self._all = tuple(folded)
        # Where none of these occurs, none of the longer ones that contain them does.
        self._within_all = tuple(within)
        self.longest = len(folded[-1]) if folded else 0

    def cover(self, data: bytes) -> bytes:
        """
        `data` with every occurrence of a hidden string as stars, of the same length.
        """
        covered = bytearray(data)
        for start, end in self.spans(data.translate(_FOLDED)):
            covered[start:end] = b"*" * (end - start)
        return bytes(covered)

    def spans(self, folded: bytes) -> Iterator[tuple[int, int]]:
        """
        Where hidden strings are in folded bytes, as start and end; they may overlap.
        """
        if not any(form in folded for form in self._within_all):
            return
        for form in self._all:
            at = folded.find(form)
            while at >= 0:
                yield at, at + len(form)
                at = folded.find(form, at + 1)


class Scrubber:
    """
    Takes hidden strings out of one stream of bytes, in whatever pieces it comes.
    """

    __slots__ = ("_held", "_needles", "_recent", "_reserve")

    def __init__(self, needles: Needles) -> None:
        self._needles = needles
        self._reserve = max(0, needles.longest - 1)
        # The last bytes of the stream, folded; of these, those not passed on yet, covered.
        self._recent = b""
        self._held = b""

    @property
    def holds(self) -> bool:
        """
        Whether bytes wait to be passed on.
        """
        return bool(self._held)

    def feed(self, data: bytes) -> bytes:
        """
        Take the next bytes; what may be passed on of them and of those held back.
        """
        folded = self._recent + data.translate(_FOLDED)
        covered = bytearray(self._held)
        covered += data
        passed = len(folded) - len(covered)
        for start, end in self._needles.spans(folded):
            if end > passed:
                first = max(start, passed)
                covered[first - passed : end - passed] = b"*" * (end - first)
        keep = max(0, len(covered) - self._reserve)
        self._recent = folded[max(0, len(folded) - self._reserve) :]
        self._held = bytes(covered[keep:])
        del covered[keep:]
        return bytes(covered)

    def release(self) -> bytes:
        """
        What is held back: at the end of the stream, or because the server pauses.
        """
        held, self._held = self._held, b""
        return held
