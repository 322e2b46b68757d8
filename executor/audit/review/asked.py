"""
What a recorded request was about: its kind, and the path or the host that it named.

A record keeps a request as the one line that `policy.requests` makes of it, so this reads that
line back. Its words are the server's, what follows them is the guest's: a path may hold anything
but decides no more than what it is compared with.
"""

from dataclasses import dataclass
from typing import Final

from executor.audit.record import Cut, Text
from policy.requests import FileAction

CLIENT_KINDS: Final = ("put", "get")
"""What a client does with a session's files has two words of its own, beside `list`, `remove`."""
FILE_KINDS: Final = (*(action.value for action in FileAction), *CLIENT_KINDS, "commit")
PLACE_KINDS: Final = ("connect", "dial", "resolve")
_OTHER_KINDS: Final = ("socket", "run", "image", "import", "call")
KINDS: Final = (*FILE_KINDS, *PLACE_KINDS, "http", *_OTHER_KINDS)
_SCHEMES: Final = ("https://", "http://")


@dataclass(frozen=True, slots=True)
class Asked:
    """
    A request's parts; `kind` is "" where no word of ours begins it, `path` and `host` are None
    where it names none. `port` is None where none was given, `method` is that of HTTP.
    """

    kind: str
    path: str | None = None
    host: str | None = None
    port: int | None = None
    method: str | None = None
    rest: str = ""


def asked_of(text: Text) -> Asked:
    """
    The parts of a recorded request; of a cut one, of its beginning.
    """
    start = text.start if isinstance(text, Cut) else text
    verb, _, rest = start.partition(" ")
    # Words of ours come before a method of HTTP: `run https://x` asks for a program of that name.
    if verb in PLACE_KINDS:
        host, port = _place(rest.partition(" at ")[0], bare=verb == "resolve")
        return Asked(verb, host=host, port=port, rest=rest)
    if verb in FILE_KINDS and rest.startswith("/"):
        return Asked(verb, path=rest, rest=rest)
    if verb in _OTHER_KINDS:
        return Asked(verb, rest=rest)
    return _http(verb, rest) if rest.startswith(_SCHEMES) else Asked("", rest=rest)


def _http(method: str, url: str) -> Asked:
    place, slash, path = url.partition("://")[2].partition("/")
    host, port = _place(place, bare=False)
    return Asked("http", path=slash + path, host=host, port=port, method=method, rest=url)


def _place(place: str, *, bare: bool) -> tuple[str, int | None]:
    """
    The host and the port of `HOST:PORT`, as `policy.requests` writes them: `[::1]:443`.
    """
    if bare:
        return place, None
    host, _, port = place.rpartition(":")
    if not host:
        return place, None
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    return host, int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else None
