"""
An answer's body on its way to the guest: read in the server's framing, searched, framed anew.
"""

import errno

from executor.network.errors import Ending
from executor.network.http.answer import Answer
from executor.network.http.body import framed
from executor.network.http.scrub import Needles, Scrubber


class Passage:
    """
    One body's way, without I/O: bytes of the server in, bytes for the guest out.

    `needles` are what may not reach the guest, None where no secret was sent.
    """

    __slots__ = ("_body", "_rechunked", "_scrubber")

    def __init__(self, answer: Answer, needles: Needles | None) -> None:
        self._body = answer.body()
        self._rechunked = answer.rechunked
        self._scrubber = Scrubber(needles) if needles is not None else None

    @property
    def done(self) -> bool:
        """
        Whether the body has ended and all of it has been given out.
        """
        return self._body.done

    @property
    def surplus(self) -> bytes:
        """
        What the server sent behind the end of the body.
        """
        return self._body.surplus

    @property
    def holds(self) -> bool:
        """
        Whether bytes are held back that a pause of the server may let go.
        """
        return self._scrubber is not None and self._scrubber.holds

    def feed(self, data: bytes) -> bytes:
        """
        What the guest gets of the server's next bytes. Raises BadAnswer.
        """
        payload = self._body.feed(data)
        if self._scrubber is not None:
            payload = self._scrubber.feed(payload)
            if self._body.done:
                payload += self._scrubber.release()
        return framed(payload, chunked=self._rechunked, done=self._body.done)

    def pause(self) -> bytes:
        """
        What the guest gets because the server pauses.
        """
        held = self._scrubber.release() if self._scrubber is not None else b""
        return framed(held, chunked=self._rechunked, done=False)

    def end(self) -> bytes:
        """
        What the guest gets when the server's stream ends. Raises Ending where the body has not.
        """
        if not self._body.ends_with_stream:
            raise Ending(errno.ECONNRESET, "the server closed in the middle of its answer")
        self._body.done = True
        held = self._scrubber.release() if self._scrubber is not None else b""
        return framed(held, chunked=self._rechunked, done=True)
