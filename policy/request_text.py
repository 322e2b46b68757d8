"""
Requests as a person writes them: the words of `codecage policy explain`.
"""

import json
import re
from collections.abc import Callable
from ipaddress import IPv6Address

from policy.errors import RequestTextError, shown
from policy.requests import (
    AddressRequest,
    CommitRequest,
    FileAction,
    FileRequest,
    HttpRequest,
    ImageRequest,
    ImportRequest,
    NetworkRequest,
    ProcessRequest,
    Request,
    ResolveRequest,
    SocketRequest,
    ToolRequest,
    tool_request,
)


def parse_request(text: str) -> Request:
    """
    The request that a line of text means: `read /data/x.csv`, `connect HOST:PORT`,
    `resolve HOST`, `dial HOST:PORT at ADDRESS`, `GET https://HOST/PATH?QUERY`, `socket KIND`,
    `run PROGRAM` (or `run fork`), `image NAME`, `import MODULE`, `call TOOL {"argument": 1}`,
    `commit MOUNT` (by the guest).

    The path of a file may hold spaces and is taken as it is. Raises RequestTextError with the
    forms.
    """
    verb, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    if verb == "connect":
        return NetworkRequest(*_place(rest))
    if not rest:
        raise RequestTextError(f"{shown(text)!r} is no request; write {_FORMS}")
    if verb in _WORDS:
        return _WORDS[verb](rest)
    if "://" in rest:
        return _http(verb, rest)
    if verb not in ACTIONS:
        raise RequestTextError(f"there is no act {shown(verb)!r}; write {_FORMS}")
    if not rest.startswith("/"):
        raise RequestTextError(f"{shown(rest)!r} is not absolute; write `{verb} /data/x.csv`")
    return FileRequest(ACTIONS[verb], rest)


ACTIONS = {action.value: action for action in FileAction}
"""The acts on files by their words."""
_FORMS = (
    f"`ACT /path` with ACT one of {', '.join(ACTIONS)}; `connect HOST:PORT`; `resolve HOST`; "
    "`dial HOST:PORT at ADDRESS`; `GET https://HOST/PATH`; `socket KIND`; `run PROGRAM`; "
    '`image NAME`; `import MODULE`; `call TOOL {"argument": 1}`; `commit MOUNT`'
)


def _place(place: str) -> tuple[str, int]:
    host, _, port = place.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = _bracketed(host[1:-1])
    elif ":" in host:
        raise RequestTextError(f"{shown(place)!r} has too many colons; write [::1]:443")
    if not (host and _PORT.fullmatch(port) and int(port) <= 65535):
        raise RequestTextError(f"{shown(place)!r} is no HOST:PORT; write example.org:443")
    return host, int(port)


_PORT = re.compile("[0-9]{1,5}", re.ASCII)


def _bracketed(host: str) -> str:
    try:
        return str(IPv6Address(host))
    except ValueError as error:
        raise RequestTextError(f"{shown(host)!r} is no IPv6 address; write [::1]:443") from error


def _dial(rest: str) -> AddressRequest:
    """
    `HOST:PORT at ADDRESS`, and `own` after it where the address is one of the server's.
    """
    place, _, address = rest.partition(" at ")
    address, _, own = address.strip().partition(" ")
    if not address or own not in {"", "own"}:
        raise RequestTextError(
            f"{shown(rest)!r} names no address; write `dial example.org:443 at 192.0.2.1`, and "
            "`own` after it where it is one of the server's"
        )
    return AddressRequest(*_place(place.strip()), address, own=own == "own")


def _http(method: str, url: str) -> HttpRequest:
    """
    A URL is cut, not understood: what is wrong with its parts is for `decide` to say.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in _PORTS:
        raise RequestTextError(f"there is no scheme {shown(scheme)!r}; write https:// or http://")
    before, mark, query = rest.partition("?")
    place, slash, path = before.partition("/")
    if "@" in place or "#" in rest:
        raise RequestTextError(
            f"{shown(url)!r} has a user or a fragment, which no request carries; remove it"
        )
    has_port = ":" in place.rpartition("]")[2]
    host, port = _place(place if has_port else f"{place}:{_PORTS[scheme]}")
    return HttpRequest(
        host, port, scheme == "https", method, slash + path or "/", query if mark else None
    )


def _call(rest: str) -> ToolRequest:
    """
    A tool's name, and its arguments as one JSON object.
    """
    tool, _, written = rest.partition(" ")
    try:
        arguments = json.loads(written or "{}")
    except (ValueError, RecursionError) as error:
        raise RequestTextError(f"{shown(written)!r} is no JSON; {_CALL_FORM}") from error
    if not isinstance(arguments, dict):
        raise RequestTextError(f"{shown(written)!r} is no object; {_CALL_FORM}")
    return tool_request(tool, arguments)


_CALL_FORM = 'write `call search_orders {"limit": 50}`'
_PORTS = {"https": 443, "http": 80}
_WORDS: dict[str, Callable[[str], Request]] = {
    "call": _call,
    "dial": _dial,
    "image": ImageRequest,
    "import": ImportRequest,
    "commit": CommitRequest,
    "resolve": ResolveRequest,
    "run": ProcessRequest,
    "socket": SocketRequest,
}
