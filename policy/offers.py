"""
What a policy grants of the network, in the words that agents are told.
"""

from policy.types import HttpRule, NetworkGrant, Policy

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
