"""
`after`: once something has happened in a session, rights are gone for the rest of its life.

An event is about what is granted, when it is granted: opening a file whose name matches, and moving
one that could be read under another name afterwards; writing; a connection. What is revoked is the
network as a whole, all tools or one. A session remembers what has happened (`Standing`, in the
kernel); here is what that means.
"""

from collections.abc import Iterable, Iterator

from policy.errors import shown
from policy.globs import GlobSet
from policy.requests import (
    AddressRequest,
    FileAction,
    FileRequest,
    HttpRequest,
    NetworkRequest,
    Request,
    ResolveRequest,
    ToolRequest,
)
from policy.types import Decision, Happening, Policy, Ratchet

NETWORK, TOOLS, TOOL = "network", "tools", "tools."
"""What can be revoked: the network, all tools, or with its name behind `TOOL` one of them."""


def happens(ratchet: Ratchet, request: Request) -> bool:
    """
    Whether granting `request` is the event that the ratchet waits for.
    """
    if ratchet.event is Happening.CONNECT:
        return isinstance(request, NetworkRequest) and _is_host(ratchet.pattern, request.host)
    if not isinstance(request, FileRequest):
        return False
    globs = GlobSet((ratchet.pattern[1:],))
    matches = globs.match(request.path[1:]) is not None
    if ratchet.event is Happening.WRITE:
        return matches and request.action.changes
    if request.action is FileAction.RENAME:
        return matches or globs.may_match_below(request.path[1:])
    return matches and request.action is FileAction.READ


def _is_host(pattern: str, host: str) -> bool:
    host = host.lower().removesuffix(".")
    return host == pattern or (pattern.startswith("*.") and host.endswith(pattern[1:]))


def revoked(fired: Iterable[Ratchet], request: Request) -> Decision | None:
    """
    The denial of what is gone since `fired` have happened; None where the request is not of it.
    """
    for ratchet in fired:
        if any(is_of(request, right) for right in ratchet.revoke):
            reason = f"{_named(request)} is revoked since the session did {ratchet.event_text}"
            remedy = "open a new session, or take the entry out of `after`"
            return Decision(False, ratchet.rule, reason, remedy=remedy)
    return None


def is_of(request: Request, right: str) -> bool:
    """
    Whether a request is of what `right` names: `network`, `tools` or `tools.` and a name.
    """
    if isinstance(request, ToolRequest):
        return right in {TOOLS, TOOL + request.tool}
    return right == NETWORK and isinstance(request, _CONNECTED)


_CONNECTED = NetworkRequest | ResolveRequest | AddressRequest | HttpRequest


def _named(request: Request) -> str:
    return f"calling {shown(request.tool, 64)}" if isinstance(request, ToolRequest) else "network"


def watches(policy: Policy, mount: str) -> bool:
    """
    Whether an event could be the reading or writing of something at the mount or below it.
    """
    return any(
        GlobSet((one.pattern[1:],)).may_match_below(mount[1:])
        for one in policy.after
        if one.event is not Happening.CONNECT
    )


def ratchets_lost(old: Policy, new: Policy) -> Iterator[tuple[str, str]]:
    """
    What `new` no longer takes away, each as a place and a text.
    """
    for ratchet in old.after:
        kept = {right for one in new.after if one.same_event(ratchet) for right in one.revoke}
        for right in sorted(set(ratchet.revoke) - kept):
            if not (right.startswith(TOOL) and TOOLS in kept):
                yield "after", f"{right} stays after {ratchet.event_text}"


def narrowed_ratchets(policy: Policy, ceiling: Policy) -> tuple[Ratchet, ...]:
    """
    Those of both, each once.
    """
    met = {(one.event_text, one.revoke): one for one in (*ceiling.after, *policy.after)}
    return tuple(met.values())
