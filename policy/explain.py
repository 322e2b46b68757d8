"""
A decision in words, for the administrator: what was asked, what was answered, by which line of
the file, and what would have to change.

Nothing is evaluated here. `decide` is asked once, as the gate asks it, and what it returned is
rendered; an explanation that computed its own answer could be wrong where it matters.
"""

import json
from textwrap import wrap

from policy.decide import decide
from policy.errors import pointed, shown
from policy.guards import GUARDS
from policy.offers import bound_text, offered
from policy.request_text import parse_request
from policy.requests import ImageRequest, ImportRequest, Request, ToolRequest
from policy.types import (
    AddressClass,
    Decision,
    FileGrant,
    NetworkGrant,
    Policy,
    Rule,
    ToolGrant,
)
from policy.units import show_size

__all__ = ["explain", "parse_request", "to_json"]


def explain(policy: Policy, request: Request) -> str:
    """
    What `policy` answers to `request` and why, as lines of text.
    """
    decision = decide(policy, request)
    answer = _ANSWERS[isinstance(request, ImportRequest)][decision.allowed]
    lines = [f"{shown(str(request))}: {answer} by policy {policy.name}"]
    lines += _detail("rule", str(decision.rule)) + _place(decision.rule)
    for word, text in _details(policy, request, decision):
        lines += _detail(word, text)
    return "\n".join(lines)


_ANSWERS = (("denied", "allowed"), ("advised against", "advised"))


def _detail(word: str, text: str) -> list[str]:
    """
    A named paragraph, or nothing where there is nothing to say.
    """
    return wrap(
        text,
        width=100,
        initial_indent=f"  {word:<7} ",
        subsequent_indent=" " * 10,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _place(rule: Rule) -> list[str]:
    if rule.line:
        return [f"  {line}" for line in pointed(rule.line, rule.column, rule.text)]
    return [" " * 10 + "(in no line of the file: it holds for every policy)"]


def _details(policy: Policy, request: Request, decision: Decision) -> list[tuple[str, str]]:
    who = "client" if isinstance(request, ImageRequest) else "guest"
    within = "" if decision.allowed or isinstance(request, ImportRequest) else _ceilings(policy)
    return [
        ("reason", decision.reason),
        (who, _seen(request, decision)),
        ("source", _source(decision.grant)),
        ("grant", _grant(decision.network)),
        ("tool", _tool(decision.tool)),
        ("guards", ", ".join(_guards(decision.grant))),
        ("denied", str(decision.would_deny or "")),
        ("change", decision.remedy),
        ("within", within),
    ]


def _ceilings(policy: Policy) -> str:
    if not policy.within:
        return ""
    return f"{', '.join(policy.within)}: what is granted here has to be granted there too"


def _seen(request: Request, decision: Decision) -> str:
    if decision.allowed:
        return ""
    if isinstance(request, ImageRequest):
        return "gets no session (PERMISSION_DENIED)"
    if isinstance(request, ImportRequest):
        return "can import it all the same"
    if isinstance(request, ToolRequest) and decision.awaits_approval:
        return "waits until a person has agreed to this call"
    return "sees no such file (ENOENT)" if decision.absent else "is refused (EACCES)"


def _source(grant: FileGrant | None) -> str:
    if grant is None:
        return ""
    source = "memory of the session" if grant.source is None else shown(grant.source)
    judged = f", judged by {', '.join(one.name for one in grant.gates)}" if grant.gates else ""
    return f"{shown(grant.mount)} is {source}, {grant.access.value}{judged}"


def _grant(grant: NetworkGrant | None) -> str:
    """
    All that a network grant says, secrets by their names.
    """
    if grant is None:
        return ""
    said = [offered(grant), f"{show_size(grant.max_bytes)} a session"]
    if grant.credential:
        said.append(f"{grant.credential.header} from the secret {grant.credential.secret}")
    classes = [one.value for one in AddressClass if one in grant.addresses]
    return "; ".join([*said, f"addresses {', '.join(['public', *classes])}"])


def _tool(grant: ToolGrant | None) -> str:
    if grant is None:
        return ""
    bounds = [f"{one.name} {bound_text(one)}" for one in grant.bounds]
    said = [f"up to {grant.max_calls} calls", f"approval {grant.approval.value}", *bounds]
    return f"{grant.name}: {'; '.join(said)}"


def _guards(grant: FileGrant | None) -> list[str]:
    """
    The names that the grant does not let a session change, where it has any.
    """
    if grant is None or grant.source is None or not grant.access.writes:
        return []
    return [guard.name for guard in GUARDS]


def to_json(policy: Policy, request: Request) -> str:
    """
    The same as JSON, one object: for a program, or for a page of the review.
    """
    decision = decide(policy, request)
    rule = decision.rule
    answer = {
        "policy": policy.name,
        "digest": policy.digest,
        "request": str(request),
        "allowed": decision.allowed,
        "guidance": isinstance(request, ImportRequest),
        "absent": decision.absent,
        "rule": rule.name,
        "file": rule.file,
        "line": rule.line,
        "column": rule.column,
        "text": rule.text,
        "reason": decision.reason,
        "remedy": decision.remedy,
        "mount": decision.grant.mount if decision.grant else None,
        "source": decision.grant.source if decision.grant else None,
        "guards": _guards(decision.grant),
        "network": _grant(decision.network) or None,
        "tool": _tool(decision.tool) or None,
        "awaits_approval": decision.awaits_approval,
        "would_deny": decision.would_deny.name if decision.would_deny else None,
    }
    if decision.grant and decision.grant.gates:
        answer["gates"] = [one.name for one in decision.grant.gates]
    return json.dumps(answer, indent=2, ensure_ascii=True)
