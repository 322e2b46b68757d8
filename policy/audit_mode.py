"""
`mode: audit`: what a policy denies and its ceiling allows may be looked at all the same, and the
record says that the policy would have denied it. It is for finding out what a policy has to grant.

Only looking is relaxed: reading and listing directories of the host, connections to public
addresses, and requests that are safe (RFC 9110, section 9.2.1). Never writes, programs, tools,
images, raw streams, limits, isolation or classes of addresses, and nothing where credentials are
added. What may be looked at is a policy of its own, made when the file is read; `Decider` asks it
where the policy itself denies, so that an explanation says what a session would see.
"""

from collections.abc import Iterator
from dataclasses import replace

from policy.digest import digest_of
from policy.hosts import covers
from policy.lint_network import class_of_host
from policy.narrow import narrow
from policy.narrow_files import denied_below, source_at, speaker
from policy.paths import is_within
from policy.relaxing import SAFE_METHODS
from policy.types import AddressClass, FileGrant, HttpRule, Mode, NetworkGrant, Policy, Rule

_WORK = "/work"


def with_leniency(policy: Policy, ceilings: tuple[Policy, ...]) -> Policy:
    """
    A policy of audit mode with what all its `ceilings` (one at least) let it look at. Raises
    PolicyError where what they have in common has no form.
    """
    first, *others = ceilings
    common = first
    for one in others:
        common = narrow(common, one)
    made = replace(
        common,
        filesystem=(*_loosened(policy, common), *_added(policy, common)),
        network=tuple(_connections(common)),
        tools=(),
        after=(),
        process=None,
        mode=Mode.ENFORCE,
        lenient=None,
    )
    return replace(policy, lenient=replace(made, digest=digest_of(made)))


def _loosened(policy: Policy, ceiling: Policy) -> Iterator[FileGrant]:
    """
    The policy's own mounts, without the names that the ceiling does not deny there.
    """
    for grant in policy.filesystem:
        above = speaker(ceiling, grant.mount)
        if above is None:
            yield grant
            continue
        globs = tuple(sorted(denied_below(above, grant.mount)))
        rule = _rule(above.rule, ceiling)
        yield replace(grant, deny=globs, deny_rules=(rule,) * len(globs))


def _added(policy: Policy, ceiling: Policy) -> Iterator[FileGrant]:
    """
    The ceiling's directories of the host beside all of the policy's mounts, to be read. One that
    holds such a mount, or lies in one, would be two rules for one object.
    """
    taken = [_WORK, *(one.mount for one in policy.filesystem)]
    for grant in ceiling.filesystem:
        apart = not any(is_within(grant.mount, one) or is_within(one, grant.mount) for one in taken)
        if apart and source_at(grant, grant.mount) is not None:
            rule = _rule(grant.rule, ceiling)
            yield replace(grant.for_reading(), rule=rule)


def _connections(ceiling: Policy) -> Iterator[NetworkGrant]:
    """
    The ceiling's connections as far as they are looks. Where a host is left without one, a wildcard
    would speak for it that does not in the ceiling: none of those is relaxed.
    """
    looks = [*_looks(ceiling)]
    without = {one.host for one in ceiling.network} - {one.host for one in looks}
    return (one for one in looks if not any(covers(one.host, host) for host in without))


def _looks(ceiling: Policy) -> Iterator[NetworkGrant]:
    for grant in ceiling.network:
        public = class_of_host(grant.host) is AddressClass.PUBLIC
        if grant.raw or grant.credential is not None or not public:
            continue
        rules = tuple(_safe(grant, ceiling))
        if rules:
            rule = _rule(grant.rule, ceiling)
            yield replace(grant, http=rules, addresses=frozenset(), rule=rule)


def _safe(grant: NetworkGrant, ceiling: Policy) -> Iterator[HttpRule]:
    anything = HttpRule(tuple(sorted(SAFE_METHODS)), ("/**",), grant.rule)
    for one in grant.http or (anything,):
        methods = tuple(method for method in one.methods if method in SAFE_METHODS)
        if methods:
            yield HttpRule(methods, one.paths, _rule(one.rule, ceiling))


def _rule(rule: Rule, ceiling: Policy) -> Rule:
    """
    The rule under a name that none of the policy's own has: budgets are counted by names.
    """
    return replace(rule, name=f"{ceiling.name}/{rule.name}")
