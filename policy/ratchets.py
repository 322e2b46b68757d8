"""
`after`: once something has happened in a session, rights are gone for the rest of its life.

An event is about what is granted, when it is granted: opening a file whose name matches, and moving
one that could be read under another name afterwards; writing; a connection. What is revoked is the
network as a whole, all tools or one. A session remembers what has happened (`Standing`, in the
kernel); here is what that means.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from policy.errors import shown
from policy.globs import GlobSet
from policy.hosts import canonical_host, covers
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
RIGHT = re.compile("network|tools|tools[.][A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
"""The form of what can be revoked."""


def happens(ratchet: Ratchet, request: Request) -> bool:
    """
    Whether granting `request` is the event that the ratchet waits for.
    """
    if ratchet.event is Happening.CONNECT:
        return isinstance(request, NetworkRequest) and _is_host(ratchet.pattern, request.host)
    if not isinstance(request, FileRequest):
        return False
    globs, path = _globs(ratchet.pattern), request.path[1:]
    if ratchet.event is Happening.WRITE:
        return request.action.changes and globs.match(path) is not None
    if request.action is FileAction.RENAME:
        return globs.may_match_below(path)
    return request.action is FileAction.READ and globs.match(path) is not None


@lru_cache(maxsize=256)
def _globs(pattern: str) -> GlobSet:
    """
    Every request that is granted is compared with it.
    """
    return GlobSet((pattern[1:],))


def _is_host(pattern: str, host: str) -> bool:
    name = canonical_host(host)
    return name is not None and covers(pattern, name)


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
    return any(may_happen_below(one, mount) for one in policy.after)


def may_happen_below(ratchet: Ratchet, mount: str) -> bool:
    """
    Whether the event could be the reading or writing of something at the mount or below it.
    """
    watched = ratchet.event is not Happening.CONNECT
    return watched and _globs(ratchet.pattern).may_match_below(mount[1:])


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
