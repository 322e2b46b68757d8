"""
The smallest policy that would have let a session of audit mode pass: what it needed, and why.

All that the record of the session says was allowed is asked again, of the policy that it ran under.
What the policy itself allows keeps its grant; what only audit mode let pass gets one of its own, of
the directory or the host and path alone. A name that the policy hides inside one of its mounts can
only be shown by leaving out the entry that hides it. Nothing is proposed unchecked: the text is
read as a policy, and every request is asked of that.
"""

import posixpath
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from policy.decide import Decider, compile_policy
from policy.narrow_files import denied_below, source_at, speaker
from policy.paths import is_within
from policy.proposal_text import Needed, Needs, policy_text
from policy.recorded import Recorded, as_allowed, recorded_request, words_of
from policy.requests import (
    CommitRequest,
    FileAction,
    FileRequest,
    HttpRequest,
    NetworkRequest,
    Request,
)
from policy.types import Decision, FileGrant, HttpRule, NetworkGrant, Policy, ToolGrant

_MOST_LEFT_OUT = 64
Reads = Callable[[str], Policy]
"""From a text to the policy that it is where the other one stands. Raises PolicyError."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """
    The policy's text. `asked` requests were allowed in the session; `unasked` of its record could
    not be read back, and `missing` are those that the proposal would still deny.
    """

    text: str
    asked: int
    unasked: int
    missing: tuple[str, ...]


@dataclass(slots=True)
class _Asked:
    """
    What was allowed, in the order of the record, each request once.
    """

    decisions: dict[Request, Decision] = field(default_factory=dict)
    unasked: int = 0


def propose(policy: Policy, image: str, recorded: Iterable[Recorded], reads: Reads) -> Proposal:
    """
    The proposal for sessions like the recorded one, which ran under `policy` with `image`.

    Raises PolicyError where what is proposed is no policy.
    """
    asked = _asked(policy, recorded)
    left_out: frozenset[str] = frozenset()
    for _ in range(_MOST_LEFT_OUT):
        needs = Needs(
            image, [*_mounts(policy, asked)], [*_hosts(asked)], [*_tools(asked)], left_out
        )
        text = policy_text(policy, needs)
        proposed = compile_policy(reads(text))
        denied = _denied(proposed, asked)
        hiding = frozenset(glob for one in denied.values() for glob in _hiding(one, proposed))
        if hiding <= left_out:
            break
        left_out |= hiding
    return Proposal(text, len(asked.decisions), asked.unasked, tuple(map(str, denied)))


def _asked(policy: Policy, recorded: Iterable[Recorded]) -> _Asked:
    asked, decider, words = _Asked(), compile_policy(policy), words_of(policy)
    for one in recorded:
        if not one.allowed:
            continue
        request = recorded_request(one.text, words)
        if request is not None and (decision := decider.decide(as_allowed(request))).allowed:
            asked.decisions.setdefault(as_allowed(request), decision)
        else:
            asked.unasked += 1
    return asked


def _denied(proposed: Decider, asked: _Asked) -> dict[Request, Decision]:
    answers = {request: proposed.decide(request) for request in asked.decisions}
    return {request: answer for request, answer in answers.items() if not answer.allowed}


def _hiding(denied: Decision, proposed: Decider) -> Iterator[str]:
    """
    The globs of the proposal that have denied a request.
    """
    for entry in proposed.policy.deny:
        if entry.rule == denied.rule:
            yield entry.path
    for grant in proposed.policy.filesystem:
        for glob, rule in zip(grant.deny, grant.deny_rules, strict=True):
            if rule == denied.rule:
                yield f"{grant.mount} {glob}"


# Files


def _mounts(policy: Policy, asked: _Asked) -> Iterator[Needed[FileGrant]]:
    """
    The policy's mounts that were used, with as much as was used, and those that are new.
    """
    for grant in policy.filesystem:
        of = [
            one
            for one in asked.decisions
            if isinstance(one, FileRequest | CommitRequest) and is_within(one.path, grant.mount)
        ]
        if grant.source is None:
            yield Needed(grant, (), "memory of the session, which asks nobody")
        elif of:
            writes = any(isinstance(one, CommitRequest) or one.action.changes for one in of)
            yield Needed(grant if writes else grant.for_reading(), tuple(of))
    for directory, looked in _directories(policy, asked).items():
        assert policy.lenient is not None
        above = speaker(policy.lenient, directory)
        assert above is not None
        globs = tuple(sorted(denied_below(above, directory)))
        source = source_at(above, directory)
        made = replace(above, mount=directory, source=source, deny=globs, deny_rules=())
        yield Needed(made, tuple(looked))


def _directories(policy: Policy, asked: _Asked) -> dict[str, list[FileRequest]]:
    """
    The directories outside the policy's mounts that hold what was looked at, none in another.
    """
    outside = [
        one
        for one in asked.decisions
        if isinstance(one, FileRequest)
        and not any(is_within(one.path, grant.mount) for grant in policy.filesystem)
    ]
    listed = {one.path for one in outside if one.action is FileAction.LIST}
    wanted = {one: _directory_of(policy, one, listed) for one in outside}
    outermost = [
        place
        for place in sorted(set(wanted.values()))
        if not any(is_within(place, other) and place != other for other in wanted.values())
    ]
    return {
        place: [one for one, at in wanted.items() if is_within(at, place)] for place in outermost
    }


def _directory_of(policy: Policy, request: FileRequest, listed: set[str]) -> str:
    assert policy.lenient is not None
    above = speaker(policy.lenient, request.path)
    if request.path in listed or above is None or above.mount == request.path:
        return request.path
    return posixpath.dirname(request.path)


# Connections


def _hosts(asked: _Asked) -> Iterator[Needed[NetworkGrant]]:
    """
    Each host and port that was connected to, with the requests that were made there.
    """
    for request, decision in asked.decisions.items():
        grant = decision.network
        if isinstance(request, NetworkRequest) and grant is not None:
            of = [one for one in asked.decisions if _is_at(one, request)]
            exchanges = [one for one in of if isinstance(one, HttpRequest)]
            rules = () if grant.raw else tuple(_rules(exchanges, grant))
            made = replace(grant, host=request.host, ports=(request.port,), http=rules)
            yield Needed(made, tuple(of), "" if exchanges or grant.raw else _NOTHING_ASKED)


_NOTHING_ASKED = "no request was made there"


def _is_at(request: Request, place: NetworkRequest) -> bool:
    if not isinstance(request, HttpRequest | NetworkRequest):
        return False
    return (request.host, request.port) == (place.host, place.port)


def _rules(exchanges: list[HttpRequest], grant: NetworkGrant) -> Iterator[HttpRule]:
    paths: dict[tuple[str, ...], list[str]] = {}
    for path in dict.fromkeys(one.path for one in exchanges):
        methods = tuple(sorted({one.method for one in exchanges if one.path == path}))
        paths.setdefault(methods, []).append(path)
    if not exchanges:
        yield HttpRule(("HEAD",), ("/",), grant.rule)
    for methods, of in paths.items():
        # More than a list may hold are one rule for all; whoever reads it can say it better.
        yield HttpRule(methods, tuple(of) if len(of) <= _MOST_PATHS else ("/**",), grant.rule)


_MOST_PATHS = 32


# Tools


def _tools(asked: _Asked) -> Iterator[Needed[ToolGrant]]:
    used: dict[str, list[Request]] = {}
    grants: dict[str, ToolGrant] = {}
    for request, decision in asked.decisions.items():
        if decision.tool is not None:
            used.setdefault(decision.tool.name, []).append(request)
            grants[decision.tool.name] = decision.tool
    for name, of in used.items():
        yield Needed(grants[name], tuple(of))
