"""
The network grants that two policies have in common.

At each host that one of the two names, what speaks for it in the one meets what speaks for it in
the other, port by port. A host that is left without a port must not fall to a wildcard of the
result, which would grant what one of the two denies there: that is an error.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from policy.errors import PolicyError, Problem
from policy.hosts import covers
from policy.path_relations import common
from policy.types import HttpRule, NetworkGrant, Policy
from policy.units import show_size


def narrowed_network(policy: Policy, ceiling: Policy) -> tuple[NetworkGrant, ...]:
    """
    What both grant. Raises PolicyError where that has no form, with a problem for each place.
    """
    met: list[tuple[_Meeting, NetworkGrant]] = []
    problems: list[Problem] = []
    for one in _meetings(policy, ceiling):
        if mismatch := _mismatch(one, ceiling):
            problems.append(mismatch)
            continue
        try:
            rules = _rules(one.own, one.other)
        except ValueError as error:
            problems.append(_no_glob(one, ceiling, str(error)))
            continue
        if rules is not None:
            met.append((one, _grant(one, rules)))
    problems += _fallen(policy, ceiling, [grant for _, grant in met])
    problems += _counted_twice(met, ceiling)
    if problems:
        raise PolicyError(tuple(problems))
    return tuple(grant for _, grant in met)


@dataclass(frozen=True, slots=True)
class _Meeting:
    """
    A host with ports, and the grants of both policies that speak for them.
    """

    host: str
    ports: tuple[int, ...]
    own: NetworkGrant
    other: NetworkGrant


def _meetings(policy: Policy, ceiling: Policy) -> Iterator[_Meeting]:
    for host in _hosts(policy, ceiling):
        for own in speakers(policy, host):
            for other in speakers(ceiling, host):
                if ports := tuple(sorted({*own.ports} & {*other.ports})):
                    yield _Meeting(host, ports, own, other)


def _hosts(policy: Policy, ceiling: Policy) -> list[str]:
    return list(dict.fromkeys(one.host for one in (*policy.network, *ceiling.network)))


def speakers(policy: Policy, host: str) -> list[NetworkGrant]:
    """
    The grants of the most specific host that covers `host`, which may be a wildcard itself.
    """
    covering = [one.host for one in policy.network if covers(one.host, host)]
    nearest = max(covering, key=lambda one: (one == host, len(one)), default=None)
    return [one for one in policy.network if one.host == nearest]


def _mismatch(one: _Meeting, ceiling: Policy) -> Problem | None:
    """
    The same place under two meanings.
    """
    own, other = one.own, one.other
    if (own.raw, own.tls) != (other.raw, other.tls):
        message = f"{_place(one)} is {kind_of(own)} here and {kind_of(other)} in {ceiling.name}"
        return _problem(own, message, "grant what the ceiling grants there, or another port")
    if own.credential not in {None, other.credential}:
        said = "no credentials" if other.credential is None else "other credentials"
        message = f"{_place(one)} has {said} in {ceiling.name}"
        return _problem(own, message, "remove `credentials`, or write those of the ceiling")
    return None


def kind_of(grant: NetworkGrant) -> str:
    """
    What is spoken under a grant, in words.
    """
    if grant.raw:
        return "a raw stream over TLS" if grant.tls else "a raw stream"
    return "https" if grant.tls else "http"


def _grant(one: _Meeting, rules: tuple[HttpRule, ...]) -> NetworkGrant:
    return replace(
        one.own,
        host=one.host,
        ports=one.ports,
        http=rules,
        max_bytes=min(one.own.max_bytes, one.other.max_bytes),
        addresses=one.own.addresses & one.other.addresses,
    )


def _rules(own: NetworkGrant, other: NetworkGrant) -> tuple[HttpRule, ...] | None:
    """
    The requests that both allow: () where both allow all, None where there is none. Raises
    ValueError where no globs say it.
    """
    if not own.http or not other.http:
        return own.http or other.http
    if _meaning(own.http) == _meaning(other.http):
        return own.http
    met = [rule for one in own.http for two in other.http if (rule := _common_rule(one, two))]
    distinct = {_meaning((rule,)): rule for rule in reversed(met)}
    return tuple(reversed(distinct.values())) or None


def _meaning(rules: tuple[HttpRule, ...]) -> frozenset[tuple[frozenset[str], frozenset[str]]]:
    return frozenset((frozenset(one.methods), frozenset(one.paths)) for one in rules)


def _common_rule(one: HttpRule, two: HttpRule) -> HttpRule | None:
    methods = tuple(method for method in one.methods if method in two.methods)
    if not methods:
        return None
    met = (common(first, second) for first in one.paths for second in two.paths)
    paths = tuple(dict.fromkeys(path for path in met if path is not None))
    return HttpRule(methods, paths, one.rule) if paths else None


def _no_glob(one: _Meeting, ceiling: Policy, reason: str) -> Problem:
    message = f"no glob says which paths of {_place(one)} {ceiling.name} allows too: {reason}"
    return _problem(one.own, message, "write paths that the ceiling's hold, or that hold those")


def _fallen(policy: Policy, ceiling: Policy, met: list[NetworkGrant]) -> Iterator[Problem]:
    """
    Hosts of which nothing is left, and for which a wildcard of the result would speak; and ports
    of which nothing is left are denied by the host that keeps others.
    """
    left = {one.host for one in met}
    for host in _hosts(policy, ceiling):
        wider = [one for one in left if covers(one, host)]
        if host in left or not wider:
            continue
        (own, *_), name = speakers(policy, host), max(wider, key=len)
        yield _problem(
            own,
            f"nothing is left of {host} within {ceiling.name}, and {name}, of which something is, "
            "would speak for it",
            f"grant {host} what the ceiling grants it, or do not grant {name}",
        )


def _counted_twice(met: list[tuple[_Meeting, NetworkGrant]], ceiling: Policy) -> Iterator[Problem]:
    """
    Where one grant meets several of the other policy, each has a budget of its own; all together
    they must not be more than the one allowed.
    """
    for origin in dict.fromkeys(grant for one, _ in met for grant in (one.own, one.other)):
        parts = [(one.own, grant) for one, grant in met if origin in (one.own, one.other)]
        total = sum(grant.max_bytes for _, grant in parts)
        if len(parts) > 1 and total > origin.max_bytes:
            yield _problem(
                parts[0][0],
                f"{origin.host} may move {show_size(origin.max_bytes)} in a session, and "
                f"{len(parts)} grants within {ceiling.name} share it: they could move "
                f"{show_size(total)}",
                "lower `max_bytes` of these grants, so that their sum is no more",
            )


def _place(one: _Meeting) -> str:
    return f"{one.host}:{','.join(map(str, one.ports))}"


def _problem(grant: NetworkGrant, message: str, hint: str) -> Problem:
    return Problem.of(grant.rule, f"{grant.rule.name}: {message}", hint)
