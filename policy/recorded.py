"""
Requests as the audit record has them: a text that `str(request)` made, read back.

What a record holds by its digest alone cannot be read back: a query is left out, which no rule
looks at, and of a tool's arguments a text is known by its length and SHA-256. Where a policy names
texts, the one that has both is what was given.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from policy.errors import RequestTextError
from policy.request_text import ACTIONS, parse_request
from policy.requests import (
    REDACTED,
    Argument,
    CommitRequest,
    Composite,
    FileRequest,
    Request,
    ToolRequest,
)
from policy.types import Policy

_QUERY = re.compile(rf"\?(?:\([0-9]+ bytes, sha256 [0-9a-f]{{16}}\)|{re.escape(REDACTED)})$")
_CALL = re.compile(r"call ([A-Za-z_][A-Za-z0-9_]{0,63})\((.*)\)", re.DOTALL)
_ARGUMENT = re.compile(r"(\w+)=(<[^<>]*>|[^,<>]+)(?:, |$)")
_TEXT = re.compile(r"<([0-9]{1,12}) characters, sha256 ([0-9a-f]{16})>")
_LONGEST = 2_000_000


@dataclass(frozen=True, slots=True)
class Recorded:
    """
    A decision of the past: the request's text, whether it was allowed, and by which rule of which
    policy's digest. `would_deny` names the rule that denied what only audit mode allowed.
    """

    session: str
    text: str
    allowed: bool
    rule: str
    digest: str
    would_deny: str = ""


def words_of(policy: Policy) -> frozenset[str]:
    """
    The texts that the policy's tools may be given by name.
    """
    bounds = (bound for tool in policy.tools for bound in tool.bounds)
    return frozenset(
        value for bound in bounds for value in bound.allowed or () if isinstance(value, str)
    )


def recorded_request(text: str, words: Iterable[str] = ()) -> Request | None:
    """
    The request that `text` is of, None where it cannot be asked again; `words` are texts that an
    argument may have been.
    """
    if call := _CALL.fullmatch(text):
        return _call(call[1], call[2], words)
    act, _, path = text.partition(" ")
    if act in ACTIONS and path.startswith("/"):
        return FileRequest(ACTIONS[act], path)  # a person's request ends where its last word does
    try:
        return parse_request(_QUERY.sub("", text))
    except RequestTextError:
        return None


def as_allowed(request: Request) -> Request:
    """
    A request that was allowed, with what its text does not say: a person had approved the call, or
    the client had asked for the commit.
    """
    if isinstance(request, ToolRequest):
        return replace(request, approved=True)
    if isinstance(request, CommitRequest):
        return replace(request, by_client=True, approved=True)
    return request


def _call(tool: str, written: str, words: Iterable[str]) -> ToolRequest | None:
    arguments: list[tuple[str, Argument]] = []
    end = 0
    for found in _ARGUMENT.finditer(written):
        if found.start() != end:
            return None
        try:
            arguments.append((found[1], _argument(found[2], words)))
        except ValueError:
            return None
        end = found.end()
    return ToolRequest(tool, tuple(arguments)) if end == len(written) else None


def _argument(written: str, words: Iterable[str]) -> Argument:
    """
    Raises ValueError for what no record holds.
    """
    if text := _TEXT.fullmatch(written):
        return _given(int(text[1]), text[2], words)
    if written.startswith("<a number") or written == REDACTED:
        raise ValueError("a value that is not there")
    if written.startswith("<"):
        return Composite(written[1:-1])
    if written in _CONSTANTS:
        return _CONSTANTS[written]
    if written in _NUMBERS or not written.lstrip("-").isdigit():
        return float(written)
    return int(written)


_CONSTANTS: dict[str, Argument] = {"None": None, "True": True, "False": False}
_NUMBERS = frozenset({"nan", "inf", "-inf"})


def _given(length: int, digest: str, words: Iterable[str]) -> str:
    if length > _LONGEST:
        raise ValueError(f"a text of {length} characters")
    for word in words:
        if len(word) == length and _digest(word) == digest:
            return word
    return "\0" * length


def _digest(word: str) -> str:
    return hashlib.sha256(word.encode("utf-8", "surrogatepass")).hexdigest()[:16]
