"""
`/dev/display`: what the guest wants shown, as one bundle of forms, on its way to the server.

The guest writes one line of JSON, a list of pairs of media type and length, and then the bytes of
the forms in this order. With the last byte the bundle is handed on, whole or not at all; one that
is never finished, because its cell was interrupted, is dropped when the file is closed. What
breaks the format is refused at the write that shows it, and the file then takes nothing more.
"""

import json
from collections.abc import Callable, Mapping
from typing import Final

from executor.kernel.bundles import BUNDLE_MAX, FORMS_MAX, is_media_type
from executor.wasm.abi import Errno, GuestFault, Open
from executor.wasm.openfiles import OutputStream
from executor.wasm.space import Space

# Sixteen of the longest media types, their lengths and the JSON around them.
HEADER_MAX: Final = 8192

Show = Callable[[Mapping[str, bytes]], None]


class DisplayFile(OutputStream):
    """
    An open `/dev/display`, for one bundle. Its bytes count in `space` until it is closed.
    """

    def __init__(self, flags: Open, space: Space, show: Show) -> None:
        super().__init__(self._take)
        self.flags = flags
        self._space = space
        self._show = show
        self._header = bytearray()
        self._lengths: dict[str, int] | None = None
        self._data = bytearray()
        self._taken = 0
        self._over = False

    @property
    def over(self) -> bool:
        """
        Whether nothing more can come of it: shown, refused or closed.
        """
        return self._over

    def _take(self, data: bytes) -> None:
        """
        Take the next bytes. Raises GuestFault: EINVAL, or ENOSPC without memory for the bundle.
        """
        if self._over:
            raise GuestFault(Errno.EINVAL, "the display is complete; open /dev/display for another")
        try:
            self._continue(data)
        except GuestFault:
            self.close()
            raise

    def _continue(self, data: bytes) -> None:
        if self._lengths is None:
            line, ended, data = data.partition(b"\n")
            self._header += line
            if len(self._header) > HEADER_MAX:
                raise _malformed(f"its first line has more than {HEADER_MAX:,} bytes")
            if not ended:
                return
            self._begin(_lengths(bytes(self._header)))
        if len(self._data) + len(data) > self._taken:
            raise _malformed("more bytes follow than its first line says")
        self._data += data
        if len(self._data) == self._taken:
            self._finish()

    def _begin(self, lengths: dict[str, int]) -> None:
        total = sum(lengths.values())
        self._space.take(total)
        self._lengths, self._taken = lengths, total

    def _finish(self) -> None:
        self._over = True
        forms, at = {}, 0
        for kind, length in (self._lengths or {}).items():
            forms[kind] = bytes(self._data[at : at + length])
            at += length
        self._show(forms)
        self.close()

    def close(self) -> None:
        """
        Give the memory back; an unfinished bundle is dropped.
        """
        self._space.give(self._taken)
        self._taken, self._over = 0, True
        self._data.clear()


def _lengths(header: bytes) -> dict[str, int]:
    """
    The forms that a header announces. Raises GuestFault(EINVAL).
    """
    try:
        # Decoded here: json would look for other encodings, whose codecs a worker cannot load.
        pairs = json.loads(header.decode())
    except (ValueError, RecursionError):
        raise _malformed("its first line is no JSON") from None
    if not isinstance(pairs, list) or not 1 <= len(pairs) <= FORMS_MAX:
        raise _malformed(f"its first line is no list of 1 to {FORMS_MAX} forms")
    lengths: dict[str, int] = {}
    for pair in pairs:
        kind, length = _pair(pair)
        if kind in lengths:
            raise _malformed(f"{kind} comes twice")
        lengths[kind] = length
    if (total := sum(lengths.values())) > BUNDLE_MAX:
        raise GuestFault(
            Errno.EFBIG,
            f"the display has {total:,} bytes and {BUNDLE_MAX:,} are allowed; "
            "make it smaller, or save it as a file",
        )
    return lengths


def _pair(pair: object) -> tuple[str, int]:
    match pair:
        case [str() as kind, int() as length] if type(length) is int and length >= 0:
            if is_media_type(kind):
                return kind, length
            raise _malformed("a form's name is no media type such as image/png")
        case _:
            raise _malformed("a form is no pair of a media type and a length")


def _malformed(why: str) -> GuestFault:
    return GuestFault(Errno.EINVAL, f"this is no display: {why}")
