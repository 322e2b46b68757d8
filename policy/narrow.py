"""
The one derivation of a policy from two: what both allow, and nothing else.

Files and connections are compared place by place: at each mount, and at each host, that one of
the two names, what speaks for it in the one meets what speaks for it in the other. So the result
is a policy like any other, and `decide` needs no second question. What has no such form is an
error and never a guess: the two grant different things under one name, or a budget would count
twice.

Nothing is added: whatever only one of the two says, a restriction is kept and a right is dropped.
"""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import TypeVar

from policy.cages import cage_gaps
from policy.digest import digest_of
from policy.errors import PolicyError, Problem
from policy.guidance import narrowed_imports
from policy.narrow_audit import narrowed_audit
from policy.narrow_files import narrowed_files
from policy.narrow_network import narrowed_network
from policy.narrow_process import narrowed_cage, narrowed_isolation, narrowed_process
from policy.narrow_tools import narrowed_tools
from policy.paths import is_within
from policy.ratchets import narrowed_ratchets
from policy.types import (
    CageKind,
    Clock,
    Deny,
    FileGrant,
    Isolation,
    Limits,
    Policy,
    Rule,
)

Value = TypeVar("Value")


def narrow(policy: Policy, ceiling: Policy) -> Policy:
    """
    What both policies allow: the name, the description and the variables of `policy`, whose rights
    are cut and whose limits are lowered to those of `ceiling`.

    Raises PolicyError, pointing at the rules of `policy`, where that has no form, or no cage that
    can keep it; the problems of all parts are reported together.
    """
    problems: list[Problem] = []
    cage = _part(problems, lambda: narrowed_cage(policy, ceiling), policy.cage)
    files = _part(problems, lambda: narrowed_files(policy, ceiling), policy.filesystem)
    network = _part(problems, lambda: narrowed_network(policy, ceiling), policy.network)
    images = _part(problems, lambda: _images(policy, ceiling), policy.images)
    clock = _part(problems, lambda: _clock(policy, ceiling), policy.clock)
    seed = _part(problems, lambda: _seed(policy, ceiling), policy.seed)
    if problems:
        raise PolicyError(tuple(problems))
    limits = _limits(policy, ceiling)
    narrowed = replace(
        policy,
        images=images,
        filesystem=tuple(_within_scratch(grant, limits) for grant in files),
        deny=_denies(policy, ceiling),
        network=network,
        limits=limits,
        clock=clock,
        seed=seed,
        disclose=policy.disclose and ceiling.disclose,
        within=tuple(dict.fromkeys((*policy.within, ceiling.name, *ceiling.within))),
        cage=cage,
        imports=narrowed_imports(policy, ceiling),
        tools=narrowed_tools(policy, ceiling),
        after=narrowed_ratchets(policy, ceiling),
        lenient=None,
        audit=narrowed_audit(policy.audit, ceiling.audit),
    )
    narrowed = _with_processes(narrowed, policy, ceiling)
    narrowed = replace(narrowed, rules=_rules(policy, ceiling, narrowed))
    if gaps := cage_gaps(narrowed, cage):
        raise PolicyError(gaps)
    return replace(narrowed, digest=digest_of(narrowed))


def _with_processes(narrowed: Policy, policy: Policy, ceiling: Policy) -> Policy:
    """
    With what both say of the process cage; nothing where it is none of the result's.
    """
    if narrowed.cage is CageKind.WASM:
        return replace(narrowed, isolation=Isolation(), process=None)
    return replace(
        narrowed,
        isolation=narrowed_isolation(policy, ceiling),
        process=narrowed_process(policy, ceiling),
    )


def _part(problems: list[Problem], made: Callable[[], Value], otherwise: Value) -> Value:
    try:
        return made()
    except PolicyError as error:
        problems += error.problems
        return otherwise


def _images(policy: Policy, ceiling: Policy) -> tuple[str, ...]:
    common = tuple(image for image in policy.images if image in ceiling.images)
    if not common and {policy.cage, ceiling.cage} == {CageKind.WASM, CageKind.PROCESS}:
        # The cages have been complained about, and no image is of both.
        return policy.images
    if not common:
        message = f"image: {ceiling.name} allows none of {', '.join(policy.images)}"
        hint = f"{ceiling.name} has {', '.join(ceiling.images)}; a file that says nothing has core"
        raise _refusal(policy.rule("image"), message, hint)
    return common


def _clock(policy: Policy, ceiling: Policy) -> Clock:
    """
    The real time tells the guest most; of the others neither holds the other.
    """
    if ceiling.clock in {Clock.REAL, policy.clock}:
        return policy.clock
    if policy.clock is Clock.REAL:
        return ceiling.clock
    message = f"clock: {policy.clock.value} here and {ceiling.clock.value} in {ceiling.name}"
    hint = f"write clock: {ceiling.clock.value}, or leave it out"
    raise _refusal(policy.rule("clock"), message, hint)


def _seed(policy: Policy, ceiling: Policy) -> int | None:
    if ceiling.seed in {None, policy.seed}:
        return policy.seed
    if policy.seed is None:
        return ceiling.seed
    message = f"random: the seed is {policy.seed} here and {ceiling.seed} in {ceiling.name}"
    hint = f"write random: {{seed: {ceiling.seed}}}, or leave it out"
    raise _refusal(policy.rule("random"), message, hint)


def _refusal(rule: Rule, message: str, hint: str) -> PolicyError:
    return PolicyError((Problem.of(rule, message, hint),))


def _limits(policy: Policy, ceiling: Policy) -> Limits:
    """
    The smaller of each. A dropped grant of memory at the working directory leaves the memory that
    every session has there, which may not be more than was granted.
    """
    limits = Limits(
        **{
            one.name: min(getattr(policy.limits, one.name), getattr(ceiling.limits, one.name))
            for one in fields(Limits)
        }
    )
    for first, second in ((policy, ceiling), (ceiling, policy)):
        grant = next((one for one in first.filesystem if one.mount == _WORK), None)
        if grant and grant.source is None and not _covers_work(second):
            scratch, files = min(limits.scratch, grant.quota), min(limits.files, grant.max_files)
            limits = replace(limits, scratch=scratch, files=files)
    return limits


_WORK = "/work"


def _covers_work(policy: Policy) -> bool:
    return any(is_within(_WORK, grant.mount) for grant in policy.filesystem)


def _within_scratch(grant: FileGrant, limits: Limits) -> FileGrant:
    if grant.source is not None:
        return grant
    return replace(grant, quota=min(grant.quota, limits.scratch))


def _denies(policy: Policy, ceiling: Policy) -> tuple[Deny, ...]:
    """
    All of both, each path once: the reason is the policy's own where it has one.
    """
    denies = {one.path: one for one in ceiling.deny}
    denies |= {one.path: one for one in policy.deny}
    return tuple(denies.values())


def _rules(policy: Policy, ceiling: Policy, narrowed: Policy) -> tuple[Rule, ...]:
    """
    The policy's places, but for what the ceiling has lowered or set: that stands there.
    """
    taken = {
        f"limits.{one.name}"
        for one in fields(Limits)
        if getattr(ceiling.limits, one.name) < getattr(policy.limits, one.name)
    }
    taken |= {"clock"} if narrowed.clock is not policy.clock else set()
    taken |= {"random", "random.seed"} if narrowed.seed != policy.seed else set()
    if narrowed.isolation.minimum is not policy.isolation.minimum:
        taken |= {"isolation", "isolation.min"}
    if narrowed.audit.level is not policy.audit.level:
        taken |= {"audit.level"}
    kept = (rule for rule in policy.rules if rule.name not in taken)
    return (*kept, *(rule for rule in ceiling.rules if rule.name in taken))
