"""
One decision of the record, told in sentences.

Nothing is decided again: what the record says is told, and the policy's line is looked up by the
rule's name. That needs the policy as it was; its digest says whether a file is that.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

from executor.audit.escape import visible
from executor.audit.record import ABORTED_BY_RESTART, OK, UNKNOWN, Answer, Event, Origin, Record
from executor.audit.report import dump, moment, value_json
from executor.audit.review.filters import Outside
from executor.audit.review.rows import ERASED, shown, value_text, would_deny
from executor.audit.review.search import one
from policy.errors import pointed
from policy.types import Policy, Rule

_MOVED = ("status", "address", "sent", "received")


@dataclass(frozen=True, slots=True)
class Told:
    """
    A decision and what came of it. `policy` is the name it goes by, "" where it is not known;
    `rule` is the policy's own line, None without the policy, and `same` says whether the policy
    that was given is the one that decided (None: none was given).
    """

    decision: Record
    outcome: Record | None
    policy: str
    same: bool | None
    rule: Rule | None
    given: str


def tell(
    path: Path, session: str | Outside, sequence: int, start: Record | None, policy: Policy | None
) -> Told:
    """
    The decision that record `sequence` is, or is the outcome of.

    `start` is the record of the session's creation. Raises LookupError where it is of another
    session, or about no decision; FileNotFoundError, AuditDamaged.
    """
    step = one(path, sequence)
    decision = None if step is None else step.decision or step.record
    if step is None or decision is None or not _belongs(decision, session):
        of = "outside of sessions" if session is Outside.SESSIONS else f"of session {session}"
        raise LookupError(f"there is no record {sequence} {of}; `codecage audit show` has them")
    if decision.event is not Event.DECISION:
        raise LookupError(
            f"record {sequence} is a {decision.event.value}, which nobody decided; give the number "
            "of a decision or of an outcome"
        )
    outcome = step.record if step.decision is not None else step.outcome
    same = None if policy is None else policy.digest == decision.policy_digest
    rule = _rule(policy, decision) if policy is not None and same else None
    given = "" if policy is None else policy.digest
    return Told(decision, outcome, _policy_name(decision, start), same, rule, given)


def lines(told: Told) -> list[str]:
    """
    The sentences, and the policy's line with a caret.
    """
    decision = told.decision
    return [
        f"Record {decision.sequence}, {moment(decision.wall_ns)}.",
        f"Asked:   {ERASED if decision.erased else shown(decision.request)}, by {_who(decision)}.",
        f"Decided: {_answer(told)}.",
        *_where(told),
        *_relaxed(decision),
        f"Reason:  {_reason(decision)}",
        f"Then:    {_outcome(told)}",
    ]


def to_json(told: Told) -> str:
    """
    The same as one line of JSON.
    """
    decision, rule, outcome = told.decision, told.rule, told.outcome
    line = {
        "sequence": decision.sequence,
        "session": decision.session,
        "cell": decision.cell,
        "origin": decision.origin.value,
        "request": value_json(decision.request),
        "decision": decision.answer.value if decision.answer else None,
        "rule": value_json(decision.rule),
        "rule_place": value_json(decision.rule_place),
        "policy": told.policy or None,
        "policy_digest": decision.policy_digest,
        "policy_is_the_recorded_one": told.same,
        "line": None if rule is None else rule.line or None,
        "column": None if rule is None else rule.column or None,
        "text": None if rule is None else rule.text or None,
        "would_deny": value_json(would_deny(decision)),
        "reason": value_json(dict(decision.detail).get("reason")),
        "outcome": None if outcome is None else value_json(outcome.outcome),
        "outcome_sequence": None if outcome is None else outcome.sequence,
        "bytes": None if outcome is None else outcome.size,
        "outcome_detail": None
        if outcome is None
        else {key: value_json(value) for key, value in outcome.detail},
    }
    return dump(line)


def rules_of(value: object) -> Iterator[Rule]:
    """
    Every rule that a policy, or a part of one, holds.
    """
    if isinstance(value, Rule):
        yield value
    elif isinstance(value, tuple | list | frozenset):
        for part in value:
            yield from rules_of(part)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from rules_of(getattr(value, field.name))


def _belongs(decision: Record, session: str | Outside) -> bool:
    if session is Outside.SESSIONS:
        return decision.session is None
    return decision.session == session


def _rule(policy: Policy, decision: Record) -> Rule | None:
    """
    The rule that the decision names: of several of that name the one at the recorded place.
    """
    named = [rule for rule in rules_of(policy) if rule.name == decision.rule]
    at = [rule for rule in named if f"{rule.file}:{rule.line or rule.name}" == decision.rule_place]
    return next(iter([*at, *named]), None)


def _policy_name(decision: Record, start: Record | None) -> str:
    for record in (decision, start):
        if record is not None and (name := dict(record.detail).get("policy")) is not None:
            return value_text(name)
    return ""


def _who(decision: Record) -> str:
    if decision.session is None:
        return "a client that wanted a session, and got none"
    session = f"session {visible(decision.session)}"
    who = f"cell {decision.cell} of {session}" if decision.cell else f"{session}, between cells"
    return f"{who} ({_ORIGINS[decision.origin]})" if decision.origin in _ORIGINS else who


_ORIGINS = {
    Origin.WORKER: "by its own word",
    Origin.SUPERVISOR: "as the supervisor of the box says",
}


def _answer(told: Told) -> str:
    decision = told.decision
    word = "allowed" if decision.answer is Answer.ALLOW else "denied"
    named = f"policy {told.policy} " if told.policy else "the policy "
    rule, place = shown(decision.rule) or "no rule", shown(decision.rule_place)
    at = f" at {place}" if place else ""
    return (
        f"{word}, by rule {rule}{at}, of {named}(digest {visible(decision.policy_digest or '-')})"
    )


def _where(told: Told) -> list[str]:
    if told.same is None:
        return []
    if not told.same:
        other = f"The policy that was given is another version (digest {told.given})"
        return [f"         {other}: what its lines say is not what was decided by."]
    if told.rule is None or not told.rule.line:
        return ["         (in no line of the file: it holds for every policy)"]
    moved = f"{told.rule.file}:{told.rule.line}" != told.decision.rule_place
    note = [f"         (it stands at {told.rule.file}:{told.rule.line} now)"] if moved else []
    shown_lines = pointed(told.rule.line, told.rule.column, told.rule.text)
    return [*(f"         {line}" for line in shown_lines), *note]


def _relaxed(decision: Record) -> list[str]:
    rule = would_deny(decision)
    if rule is None:
        return []
    return [f"         Only audit mode let it pass: rule {value_text(rule)} denies it."]


def _reason(decision: Record) -> str:
    reason = dict(decision.detail).get("reason")
    if reason is None:
        return "none is in the record."
    if decision.answer is Answer.ALLOW or decision.session is None:
        return value_text(reason)
    return f"the agent was told: {value_text(reason)}"


def _outcome(told: Told) -> str:
    decision, outcome = told.decision, told.outcome
    if decision.answer is not Answer.ALLOW:
        return "nothing was done, for it was denied."
    if outcome is None or outcome.outcome is None:
        return "what came of it is not in the record: it goes on, or its session was never closed."
    found = dict(outcome.detail)
    moved = [f"{key} {value_text(found[key])}" for key in _MOVED if key in found]
    moved += [] if outcome.size is None else [f"{outcome.size} bytes"]
    more = f" ({', '.join(moved)})" if moved else ""
    said = _ENDS.get(outcome.outcome) if isinstance(outcome.outcome, str) else None
    said = said or f"it failed with {visible(outcome.outcome)}"
    because = f": {value_text(found['reason'])}" if "reason" in found else ""
    return f"{said}{more}{because}, record {outcome.sequence}."


_ENDS = {
    OK: "it was done",
    UNKNOWN: "nobody knows, for the server or the connection ended before it was told",
    ABORTED_BY_RESTART: "the server was started anew before it was done",
}
