"""
A decision in words, for the administrator: what was asked, what was answered, by which line of
the file, and what would have to change.

Nothing is evaluated here. `decide` is asked once, as the gate asks it, and what it returned is
rendered; an explanation that computed its own answer could be wrong where it matters.
"""

import json
from ipaddress import IPv6Address
from textwrap import wrap

from policy.decide import decide
from policy.errors import RequestTextError, pointed, shown
from policy.guards import GUARDS
from policy.requests import (
    FileAction,
    FileRequest,
    ImageRequest,
    NetworkRequest,
    ProcessRequest,
    Request,
)
from policy.types import Access, Decision, FileGrant, Policy, Rule


def parse_request(text: str) -> Request:
    """
    The request that a line of text means: `read /data/x.csv`, `connect HOST:PORT`, `run PROGRAM`,
    `image NAME`.

    The path may hold spaces and is taken as it is. Raises RequestTextError with the forms.
    """
    verb, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    if verb == "connect":
        return _connection(rest)
    if not rest:
        raise RequestTextError(f"{shown(text)!r} is no request; write {_FORMS}")
    if verb == "run":
        return ProcessRequest(rest)
    if verb == "image":
        return ImageRequest(rest)
    if verb not in _ACTIONS:
        raise RequestTextError(f"there is no act {shown(verb)!r}; write {_FORMS}")
    if not rest.startswith("/"):
        raise RequestTextError(f"{shown(rest)!r} is not absolute; write `{verb} /data/x.csv`")
    return FileRequest(_ACTIONS[verb], rest)


_ACTIONS = {action.value: action for action in FileAction}
_FORMS = (
    f"`ACT /path` with ACT one of {', '.join(_ACTIONS)}; `connect HOST:PORT`; `run PROGRAM`; "
    "`image NAME`"
)


def _connection(place: str) -> NetworkRequest:
    host, colon, port = place.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = _bracketed(host[1:-1])
    elif ":" in host:
        raise RequestTextError(f"{shown(place)!r} has too many colons; write [::1]:443")
    if not (host and colon and port.isascii() and port.isdigit() and int(port[:6]) <= 65535):
        raise RequestTextError(f"{shown(place)!r} is no HOST:PORT; write example.org:443")
    return NetworkRequest(host, int(port[:6]))


def _bracketed(host: str) -> str:
    try:
        return str(IPv6Address(host))
    except ValueError as error:
        raise RequestTextError(f"{shown(host)!r} is no IPv6 address; write [::1]:443") from error


def explain(policy: Policy, request: Request) -> str:
    """
    What `policy` answers to `request` and why, as lines of text.
    """
    decision = decide(policy, request)
    answer = "allowed" if decision.allowed else "denied"
    lines = [f"{shown(str(request))}: {answer} by policy {policy.name}"]
    lines += _detail("rule", str(decision.rule)) + _place(decision.rule)
    for word, text in _details(request, decision):
        lines += _detail(word, text)
    return "\n".join(lines)


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


def _details(request: Request, decision: Decision) -> list[tuple[str, str]]:
    who = "client" if isinstance(request, ImageRequest) else "guest"
    return [
        ("reason", decision.reason),
        (who, _seen(request, decision)),
        ("source", _source(decision.grant)),
        ("guards", ", ".join(_guards(decision.grant))),
        ("change", decision.remedy),
    ]


def _seen(request: Request, decision: Decision) -> str:
    if decision.allowed:
        return ""
    if isinstance(request, ImageRequest):
        return "gets no session (PERMISSION_DENIED)"
    return "sees no such file (ENOENT)" if decision.absent else "is refused (EACCES)"


def _source(grant: FileGrant | None) -> str:
    if grant is None:
        return ""
    source = "memory of the session" if grant.source is None else shown(grant.source)
    return f"{shown(grant.mount)} is {source}, {grant.access.value}"


def _guards(grant: FileGrant | None) -> list[str]:
    """
    The names that the grant does not let a session change, where it has any.
    """
    if grant is None or grant.source is None or grant.access is Access.READ:
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
    }
    return json.dumps(answer, indent=2, ensure_ascii=True)
