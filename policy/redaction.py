"""
What is called something a policy names is not kept: whose values leave the record, by their names.

A name matches without regard to case, as fields of HTTP have theirs (RFC 9110, section 5.1), and
`*` is any run of characters, also none. Each pattern is cut at its stars when the policy is loaded;
a match looks for the pieces one after the other, in time that is linear in the name.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_plus

from policy.requests import REDACTED, HttpRequest, Request, ToolRequest


class Redaction:
    """
    The names of one policy's `audit.redact`; false where there are none.
    """

    __slots__ = ("_patterns", "pieces")

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._patterns = tuple(tuple(one.lower().split("*")) for one in patterns)
        # One of them is in every text, in lower case, that holds a name which matches.
        self.pieces: Final = tuple({max(pieces, key=len) for pieces in self._patterns})

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def hides(self, name: str) -> bool:
        """
        Whether the value of what is called `name` is not to be recorded.
        """
        low = name.lower()
        return any(_fits(pieces, low) for pieces in self._patterns)

    def values(self, named: Mapping[str, str]) -> dict[str, str]:
        """
        The same names, each with its value or with what stands for it.
        """
        return {name: REDACTED if self.hides(name) else value for name, value in named.items()}

    def request_text(self, request: Request) -> str:
        """
        The request as it is recorded: of a call without the arguments that are hidden, of an HTTP
        request without its query's length and digest where a field of it is, as a short value
        could be guessed by these.
        """
        match request:
            case ToolRequest():
                return request.text(self.hidden_arguments(request))
            case HttpRequest() if request.query is not None and self._in_query(request.query):
                return f"{request.without_query()}?{REDACTED}"
        return str(request)

    def hidden_arguments(self, request: ToolRequest) -> frozenset[str]:
        """
        The names of the call's arguments whose values are hidden.
        """
        return frozenset(name for name, _ in request.arguments if self.hides(name))

    def _in_query(self, query: str) -> bool:
        fields = query.replace(";", "&").split("&")
        return any(self.hides(unquote_plus(one.partition("=")[0])) for one in fields)


NO_REDACTION: Final = Redaction(())


def _fits(pieces: tuple[str, ...], name: str) -> bool:
    first, *middle = pieces
    if not middle:
        return name == first
    last = middle.pop()
    if not (name.startswith(first) and name.endswith(last)):
        return False
    at, end = len(first), len(name) - len(last)
    for piece in middle:
        found = name.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return at <= end
