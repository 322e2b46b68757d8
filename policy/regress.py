"""
What another policy would have decided about the requests of past sessions.

Each recorded request is asked again, alike ones once. What is not the policy's own answer is left
out: denials by a limit of the session, by `after` or by a cell that was run with less, and by a
budget where the grant itself allows. A record does not say whether the guest or its client has
asked for a commit: where that matters, it is not asked again. Whether a request would have come at
all under the other policy, nobody knows.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from policy.cases import rules_of
from policy.decide import Decider, compile_policy
from policy.recorded import Recorded, recorded_request, words_of
from policy.requests import CommitRequest, Request, ToolRequest
from policy.types import Decision, Mode, Policy


@dataclass(frozen=True, slots=True)
class Change:
    """
    A request with another answer than it had: how often it was made, the rule that answered then,
    and the rule, its place and the reason now.
    """

    request: str
    times: int
    was: str
    rule: str
    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class Regression:
    """
    What would be different, each in the order of the record; `asked` requests could be asked again
    and `unasked` could not; `unused` are rules that no request came to.
    """

    asked: int
    unasked: int
    newly_denied: tuple[Change, ...]
    newly_allowed: tuple[Change, ...]
    rules: tuple[str, ...]
    unused: tuple[str, ...]


@dataclass(slots=True)
class _Count:
    asked: int = 0
    unasked: int = 0
    used: set[str] = field(default_factory=set)
    changes: Counter[tuple[bool, Change]] = field(default_factory=Counter)
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)


def regress(policy: Policy, recorded: Iterable[Recorded]) -> Regression:
    """
    What `policy` would have decided, as if it were enforced.
    """
    decider = compile_policy(replace(policy, mode=Mode.ENFORCE, lenient=None))
    words, count = words_of(policy), _Count()
    for one in recorded:
        if one.rule.startswith(_OF_THE_SESSION):
            continue
        request = recorded_request(one.text, words)
        if request is None or _is_by_whom(decider, request):
            count.unasked += 1
        else:
            _ask(decider, one, request, count)
    rules = tuple(rules_of(policy))
    return Regression(
        asked=count.asked,
        unasked=count.unasked,
        newly_denied=_changes(count, allowed=False),
        newly_allowed=_changes(count, allowed=True),
        rules=rules,
        unused=tuple(rule for rule in rules if rule not in count.used),
    )


# How the rules begin by which a session is denied what its policy allows.
_OF_THE_SESSION = ("limits", "after[", "narrow")


def _is_by_whom(decider: Decider, request: Request) -> bool:
    """
    Whether the answer is one for the guest and another for its client.
    """
    if not isinstance(request, CommitRequest):
        return False
    approved = replace(request, approved=True)
    by_client = decider.decide(replace(approved, by_client=True))
    return by_client.allowed != decider.decide(approved).allowed


def _ask(decider: Decider, one: Recorded, request: Request, count: _Count) -> None:
    if isinstance(request, ToolRequest):
        calls = (one.session, request.tool)
        request = replace(request, earlier=count.calls[calls], approved=one.allowed)
        count.calls[calls] += one.allowed
    if isinstance(request, CommitRequest):
        request = replace(request, approved=one.allowed)
    decision = decider.decide(request)
    count.asked += 1
    count.used.add(decision.rule.name)
    if decision.allowed != one.allowed and not _is_of_a_budget(one, decision):
        count.changes[decision.allowed, _change(one, decision)] += 1


def _is_of_a_budget(one: Recorded, decision: Decision) -> bool:
    """
    Whether the grant that allows is the one that the denial of then was of: its bytes, or its
    redirects, were used up.
    """
    if decision.network is None or one.allowed:
        return False
    return one.rule in {decision.rule.name, f"{decision.network.rule.name}.max_bytes"}


def _change(one: Recorded, decision: Decision) -> Change:
    rule = decision.rule
    was = one.would_deny or one.rule
    place = f"{rule.file}:{rule.line}" if rule.line else rule.file
    return Change(one.text, 1, was, rule.name, place, decision.reason)


def _changes(count: _Count, *, allowed: bool) -> tuple[Change, ...]:
    found = count.changes.items()
    return tuple(replace(one, times=times) for (now, one), times in found if now is allowed)
