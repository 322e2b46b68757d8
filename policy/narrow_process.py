"""
What two policies have in common of the process cage: the cage itself, the stricter isolation, and
what both let a session do with processes.
"""

from policy.errors import PolicyError, Problem
from policy.paths import is_within
from policy.types import CageKind, Isolation, Policy, ProcessGrant, Rule


def narrowed_cage(policy: Policy, ceiling: Policy) -> CageKind:
    """
    The cage of both. Raises PolicyError where they have none in common.
    """
    if ceiling.cage in {CageKind.ANY, policy.cage}:
        return policy.cage
    if policy.cage is CageKind.ANY:
        return ceiling.cage
    message = f"cage: {policy.cage.value} here and {ceiling.cage.value} in {ceiling.name}"
    hint = f"write cage: {ceiling.cage.value} with an image of it, or another ceiling"
    raise PolicyError((Problem.of(policy.rule("cage"), message, hint),))


def narrowed_isolation(policy: Policy, ceiling: Policy) -> Isolation:
    """
    The stricter level, and all that either requires.
    """
    own, other = policy.isolation, ceiling.isolation
    stricter = own if own.minimum.holds(other.minimum) else other
    return Isolation(stricter.minimum, own.require | other.require)


def narrowed_process(policy: Policy, ceiling: Policy) -> ProcessGrant | None:
    """
    What both allow; it stands where the policy says it.
    """
    own, other = policy.process, ceiling.process
    if own is None or other is None:
        return None
    programs = common_programs(own, other)
    return ProcessGrant(
        fork=own.fork and other.fork,
        programs=tuple(programs),
        new_code=own.new_code and other.new_code,
        rule=own.rule,
        program_rules=tuple(programs.values()),
    )


def common_programs(own: ProcessGrant, other: ProcessGrant) -> dict[str, Rule]:
    """
    The programs that both run, each with its place in `own`: of two paths, one of which holds the
    other, the longer.
    """
    programs: dict[str, Rule] = {}
    for path, rule in own.places().items():
        for ceiling in other.programs:
            if is_within(path, ceiling):
                programs[path] = rule
            elif is_within(ceiling, path):
                programs[ceiling] = rule
    return programs
