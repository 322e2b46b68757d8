"""
How many redirects led to a request, as far as the answers that the guest was given tell.

A client follows a redirect with a new request, which looks like any other. So the addresses in
Location fields are remembered with their depth, for as long as redirects lead on from them: a
request for one of them that is answered otherwise was the end of its chain.

URLs are remembered by their digest, in a form in which clients that write the same URL with other
escapes still meet: nothing of them is kept.

Sources: RFC 9110 10.2.2 (Location), 15.4 (redirects); RFC 3986 5 (relative references).
"""

import hashlib
from collections import OrderedDict
from typing import Final
from urllib.parse import SplitResult, unquote_to_bytes, urljoin, urlsplit

MAX_REMEMBERED: Final = 64
_PORTS: Final = {"http": 80, "https": 443}


class Hops:
    """
    The redirects of one account: at most MAX_REMEMBERED, the oldest forgotten first.
    """

    __slots__ = ("_depths",)

    def __init__(self) -> None:
        self._depths: OrderedDict[bytes, int] = OrderedDict()

    def depth(self, url: str) -> int:
        """
        How many redirects led to `url`, an absolute http or https URL; 0 for none.
        """
        if not self._depths:
            return 0  # as for nearly every account: not worth taking a URL apart
        key = _key(url)
        return self._depths.get(key, 0) if key is not None else 0

    def answered(self, url: str, location: str | None) -> None:
        """
        Note the answer to a request for `url`: a redirect to `location`, as the server wrote it,
        or, with None, something else.
        """
        depth = self.depth(url)
        target = _key(_joined(url, location)) if location is not None else None
        if target is not None:
            self._depths[target] = depth + 1
            self._depths.move_to_end(target)
            if len(self._depths) > MAX_REMEMBERED:
                self._depths.popitem(last=False)
        elif location is None and depth and (key := _key(url)) is not None:
            del self._depths[key]


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        return ""


def _key(url: str) -> bytes | None:
    try:
        parts = urlsplit(url)
        place = _place(parts)
    except ValueError:
        return None
    if place is None:
        return None
    path = unquote_to_bytes(parts.path or "/")
    text = b"\0".join((place.encode("utf-8", "replace"), path, unquote_to_bytes(parts.query)))
    return hashlib.sha256(text).digest()


def _place(parts: SplitResult) -> str | None:
    scheme = parts.scheme
    if scheme not in _PORTS or not parts.hostname:
        return None
    return f"{scheme}://{parts.hostname.removesuffix('.')}:{parts.port or _PORTS[scheme]}"
