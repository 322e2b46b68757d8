"""
What a policy grants of the network and of tools, in the words that agents are told.
"""

import json

from policy.types import (
    Approval,
    ArgumentBound,
    FileGrant,
    HttpRule,
    NetworkGrant,
    Policy,
    Rule,
    ToolGrant,
)

_OFFERED = 8
"""Grants that are listed at most: a reason has to fit where a guest reads its errors."""


def network_offer(policy: Policy) -> str:
    """
    The end of a denial's reason: what is granted instead, where the policy discloses it.
    """
    if not policy.disclose or not policy.network:
        return ""
    places = sorted(map(offered, policy.network))
    more = len(places) - _OFFERED
    rest = f" and {more} more" if more > 0 else ""
    return f"; you may connect to {', '.join(places[:_OFFERED])}{rest}"


def offered(grant: NetworkGrant) -> str:
    """
    A grant in few words: `api.example.com:443 (GET, HEAD below /v1/prices/**)`.
    """
    place = offered_place(grant)
    if grant.raw:
        return f"{place} ({'TLS' if grant.tls else 'TCP'})"
    details = [] if grant.tls else ["http"]
    details += map(_offered_rule, grant.http)
    return f"{place} ({'; '.join(details)})" if details else place


def offered_place(grant: NetworkGrant) -> str:
    """
    A grant's host and ports: `api.example.com:443`, `[::1]:80,8080`.
    """
    host = f"[{grant.host}]" if ":" in grant.host else grant.host
    return f"{host}:{','.join(map(str, sorted(grant.ports)))}"


def _offered_rule(rule: HttpRule) -> str:
    methods = ", ".join(rule.methods)
    if "/**" in rule.paths:
        return methods
    word = "below" if all(path.endswith("/**") for path in rule.paths) else "at"
    return f"{methods} {word} {', '.join(rule.paths)}"


def tool_offer(policy: Policy) -> str:
    """
    The end of a denial's reason: which tools there are, where the policy discloses it.
    """
    if not policy.disclose or not policy.tools:
        return ""
    names = sorted(one.name for one in policy.tools)
    more = len(names) - _OFFERED
    rest = f" and {more} more" if more > 0 else ""
    return f"; you may call {', '.join(names[:_OFFERED])}{rest}"


def bound_text(bound: ArgumentBound) -> str:
    """
    What an argument has to be: `a number from 1 to 100`, `a text of up to 80 characters`.
    """
    if bound.allowed is not None:
        return f"one of {', '.join(json.dumps(one) for one in bound.allowed)}"
    if bound.longest is not None:
        return f"a text of up to {bound.longest} characters"
    if bound.most is None:
        return f"a number from {bound.least}"
    start = "" if bound.least is None else f" from {bound.least}"
    return f"a number{start} up to {bound.most}"


def wants_approval(policy: Policy) -> Rule | None:
    """
    The first rule of the policy that grants something only with an approval; None where none does.
    """
    grants: tuple[ToolGrant | FileGrant, ...] = (*policy.tools, *policy.filesystem)
    return next((one.rule for one in grants if one.approval is Approval.REQUIRED), None)
