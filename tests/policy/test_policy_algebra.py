"""
What holds for all policies: the answers are those of a second, slow reading; narrowing allows only
what both allow; removing a grant never widens; a removed restriction shows; order is nothing.

A hundred thousand pairs are compared with the second reading; CODECAGE_PAIRS asks for more of all.
"""

import os
import random
from dataclasses import replace

import pytest

from policy.audit_mode import with_leniency
from policy.compare import compare
from policy.decide import compile_policy
from policy.digest import digest_of
from policy.errors import PolicyError
from policy.narrow import narrow
from policy.path_globs import compile_glob
from policy.path_relations import holds, meet
from policy.relaxing import relaxes
from policy.types import (
    Access,
    Approval,
    AuditLevel,
    CageKind,
    CommitBy,
    Isolation,
    IsolationLevel,
    Limits,
    Mode,
)
from tests.policy import reference

PAIRS = int(os.environ.get("CODECAGE_PAIRS", "12000"))
ASKED = 20


def policies(seed, count=PAIRS // ASKED):
    chance = random.Random(seed)
    return [(reference.random_policy(chance), chance) for _ in range(count)]


def requests(chance, count=ASKED):
    return [reference.random_request(chance) for _ in range(count)]


def test_decide_agrees_with_a_second_reading():
    seen = {True: 0, False: 0}
    for policy, chance in policies(1, max(PAIRS, 100_000) // ASKED):
        decider = compile_policy(policy)
        for request in [*requests(chance), reference.random_commit(chance)]:
            allowed = decider.decide(request).allowed
            assert allowed == reference.allows(policy, request), (policy, request)
            seen[allowed] += 1
    assert min(seen.values()) > PAIRS // 20


def narrowed_pairs(seed, count):
    chance = random.Random(seed)
    for _ in range(count):
        one, two = reference.random_policy(chance), reference.random_policy(chance, "top")
        try:
            yield one, two, narrow(one, two), chance
        except PolicyError as error:
            assert all(problem.message for problem in error.problems)


def test_narrowing_allows_only_what_both_allow_and_all_of_it():
    """
    All of it: but for connections of which no request is left, and names that lead to those.
    """
    made = allowed = missed = 0
    for one, two, both, chance in narrowed_pairs(2, PAIRS // ASKED):
        made += 1
        deciders = [compile_policy(policy) for policy in (one, two, both)]
        for request in requests(chance, 40):
            first, second, result = (decider.decide(request).allowed for decider in deciders)
            assert not result or (first and second), (one, two, request)
            allowed += result
            file = isinstance(request, reference.FileRequest | reference.HttpRequest)
            assert result or not (file and first and second) or is_mount(both, request)
            missed += first and second and not result
    assert made > PAIRS // ASKED // 10
    assert allowed > 50
    assert missed < allowed


def test_audit_mode_lets_pass_only_looks_that_the_ceiling_allows_and_keeps_every_other_answer():
    relaxed = 0
    for _, top, both, chance in narrowed_pairs(11, PAIRS // ASKED):
        if both.cage is CageKind.PROCESS:
            continue
        audited = with_leniency(replace(both, mode=Mode.AUDIT), (top,))
        strict, ceiling, decider = (compile_policy(one) for one in (both, top, audited))
        for request in requests(chance, 40):
            answer = decider.decide(request)
            if answer.would_deny is None:
                assert answer == strict.decide(request)
                continue
            relaxed += 1
            assert answer.would_deny == strict.decide(request).rule
            assert relaxes(request), request
            assert ceiling.decide(request).allowed, (both, top, request)
            assert not strict.decide(request).allowed, (both, request)
            assert not carries_credentials(strict, request), (both, request)
    assert relaxed > 50


def carries_credentials(decider, request):
    """
    Whether the request would be made on a connection to which the policy adds credentials.
    """
    if not isinstance(request, reference.HttpRequest):
        return False
    own = decider.decide(reference.NetworkRequest(request.host, request.port)).network
    return own is not None and own.credential is not None


def is_mount(policy, request):
    """
    A mount of the one is a mount point of the result, which the other may not unseat either.
    """
    path = getattr(request, "path", "")
    return any(one.mount == path or one.mount.startswith(path + "/") for one in policy.filesystem)


def test_narrowing_gives_the_smaller_of_all_limits_and_budgets():
    for one, two, both, _ in narrowed_pairs(3, PAIRS // ASKED):
        for name in Limits.__slots__:
            least = min(getattr(one.limits, name), getattr(two.limits, name))
            assert getattr(both.limits, name) <= least
        for policy in (one, two):
            assert sum(grant.max_bytes for grant in both.network) <= sum(
                grant.max_bytes for grant in policy.network
            )
            assert sum(grant.quota for grant in both.filesystem) <= sum(
                grant.quota for grant in policy.filesystem
            )
        assert set(both.images) <= set(one.images) & set(two.images)
        assert not (both.disclose and not (one.disclose and two.disclose))
        if both.cage is not CageKind.WASM:
            for policy in (one, two):
                assert both.isolation.minimum.holds(policy.isolation.minimum)
                assert both.isolation.require >= policy.isolation.require


def test_narrowing_is_never_looser():
    for one, two, both, _ in narrowed_pairs(4, PAIRS // ASKED):
        for policy in (one, two):
            looser = compare(policy, both).looser
            assert [one for one in looser if "GET" not in one.text and "POST" not in one.text] == []


def test_narrowing_to_itself_changes_nothing():
    for policy, _ in policies(5, 200):
        sane = replace(
            policy,
            filesystem=tuple(replace(one, quota=min(one.quota, 2000)) for one in policy.filesystem),
        )
        assert narrow(sane, sane).digest == digest_of(sane)


def test_removing_a_grant_never_widens():
    """
    A grant whose mount lies in another's, or whose host in another's wildcard, holds the other
    back there: without it the other speaks. Such a grant is a restriction too, and `diff` says so.
    """
    for policy, chance in policies(6):
        for less in without_a_grant(policy):
            before, after = compile_policy(policy), compile_policy(less)
            for request in requests(chance, 10):
                if after.decide(request).allowed and not before.decide(request).allowed:
                    assert compare(policy, less).looser, request


def without_a_grant(policy):
    for index in range(len(policy.filesystem)):
        rest = policy.filesystem[:index] + policy.filesystem[index + 1 :]
        yield replace(policy, filesystem=rest)
    for index in range(len(policy.network)):
        yield replace(policy, network=policy.network[:index] + policy.network[index + 1 :])
    for index in range(len(policy.tools)):
        yield replace(policy, tools=policy.tools[:index] + policy.tools[index + 1 :])
    grant = policy.process
    if grant is not None:
        yield replace(policy, process=None)
        for index in range(len(grant.programs)):
            rest = grant.programs[:index] + grant.programs[index + 1 :]
            yield replace(policy, process=replace(grant, programs=rest))


def test_what_a_change_allows_anew_shows_as_looser():
    chance, found = random.Random(7), 0
    for _ in range(PAIRS // ASKED):
        old, new = reference.random_policy(chance), reference.random_policy(chance)
        before, after = compile_policy(old), compile_policy(new)
        for request in requests(chance):
            if after.decide(request).allowed and not before.decide(request).allowed:
                found += 1
                assert compare(old, new).looser, request
    assert found > 100


def test_a_removed_restriction_shows_as_looser_and_an_added_one_as_tighter():
    removed = 0
    for policy, _ in policies(8):
        for less in without_a_restriction(policy):
            removed += 1
            assert compare(policy, less).looser, (policy, less)
            assert compare(less, policy).tighter == compare(policy, less).looser
    assert removed > 100


def without_a_restriction(policy):
    if policy.deny:
        yield replace(policy, deny=policy.deny[1:])
    if policy.seed is not None:
        yield replace(policy, seed=None)
    if not policy.disclose:
        yield replace(policy, disclose=True)
    if policy.cage is not CageKind.WASM:
        yield from without_a_hold(policy)
    if policy.imports is not None:
        yield replace(policy, imports=None)
    yield from with_another_record(policy)
    yield from with_a_freer_tool(policy)
    yield replace(policy, limits=replace(policy.limits, cells=policy.limits.cells + 1))
    for index, grant in enumerate(policy.filesystem):
        around = policy.filesystem[:index], policy.filesystem[index + 1 :]
        if grant.deny:
            yield replace(
                policy, filesystem=(*around[0], replace(grant, deny=grant.deny[1:]), *around[1])
            )
        if grant.access is Access.READ:
            looser = replace(grant, access=Access.READ_WRITE, quota=1, max_files=1)
            yield replace(policy, filesystem=(*around[0], looser, *around[1]))
        if grant.access is Access.TRANSACTION:
            looser = replace(grant, access=Access.READ_WRITE, commit_by=None)
            yield replace(policy, filesystem=(*around[0], looser, *around[1]))
        if grant.commit_by is CommitBy.CLIENT:
            looser = replace(grant, commit_by=CommitBy.GUEST)
            yield replace(policy, filesystem=(*around[0], looser, *around[1]))
    for index, grant in enumerate(policy.network):
        around = policy.network[:index], policy.network[index + 1 :]
        more = replace(grant, max_bytes=grant.max_bytes + 1)
        yield replace(policy, network=(*around[0], more, *around[1]))


def with_another_record(policy):
    if policy.audit.level is AuditLevel.REPLAY:
        yield replace(policy, audit=replace(policy.audit, level=AuditLevel.DECISIONS))
    if policy.audit.redact:
        yield replace(policy, audit=replace(policy.audit, redact=policy.audit.redact[1:]))


def with_a_freer_tool(policy):
    for index, tool in enumerate(policy.tools):
        freer = [replace(tool, max_calls=tool.max_calls + 1)]
        if tool.approval is Approval.REQUIRED:
            freer.append(replace(tool, approval=Approval.NONE))
        if tool.bounds:
            freer.append(replace(tool, bounds=tool.bounds[1:]))
        for one in freer:
            yield replace(policy, tools=(*policy.tools[:index], one, *policy.tools[index + 1 :]))


def without_a_hold(policy):
    level, required = policy.isolation.minimum, policy.isolation.require
    if level is not IsolationLevel.P2:
        yield replace(policy, isolation=Isolation(IsolationLevel.P2, required))
    if required:
        yield replace(policy, isolation=Isolation(level))
    if policy.process and not policy.process.fork:
        yield replace(policy, process=replace(policy.process, fork=True))
    if policy.process and not policy.process.new_code:
        yield replace(policy, process=replace(policy.process, new_code=True))


def test_order_never_matters():
    for policy, chance in policies(9):
        turned = shuffled(policy, chance)
        before, after = compile_policy(policy), compile_policy(turned)
        for request in requests(chance, 10):
            assert before.decide(request).allowed == after.decide(request).allowed
        assert digest_of(policy) == digest_of(turned)
        assert compare(policy, turned) == compare(policy, policy)


def shuffled(policy, chance):
    def turned(values):
        return tuple(chance.sample(values, len(values)))

    grants = [replace(one, deny=turned(one.deny), deny_rules=()) for one in policy.filesystem]
    network = [replace(one, http=turned(one.http)) for one in policy.network]
    images = (policy.images[0], *turned(policy.images[1:]))
    return replace(
        policy,
        filesystem=turned(grants),
        network=turned(network),
        deny=turned(policy.deny),
        images=images,
        imports=policy.imports and turned(policy.imports),
        audit=replace(policy.audit, redact=turned(policy.audit.redact)),
        tools=turned([replace(one, bounds=turned(one.bounds)) for one in policy.tools]),
        process=policy.process
        and replace(policy.process, programs=turned(policy.process.programs), program_rules=()),
    )


def test_a_policy_is_neither_looser_nor_tighter_than_itself():
    for policy, _ in policies(10, 200):
        found = compare(policy, policy)
        assert (found.looser, found.tighter) == ((), ())


@pytest.mark.parametrize("seed", range(3))
def test_globs_lie_to_each_other_as_the_paths_that_they_match(seed):
    chance, held, met = random.Random(seed), 0, 0
    pieces = ["a", "b", "*", "**", "a*", "*b", "a*b", ""]
    paths = [
        "/" + "/".join(chance.choice(["a", "b", "ab", ""]) for _ in range(chance.randint(1, 4)))
        for _ in range(60)
    ]
    for _ in range(300):
        first, second = (
            "/" + "/".join(chance.choice(pieces) for _ in range(chance.randint(1, 3)))
            for _ in range(2)
        )
        one, two = compile_glob(first), compile_glob(second)
        if holds(first, second):
            held += 1
            assert all(one.matches(path) for path in paths if two.matches(path)), (first, second)
        if any(one.matches(path) and two.matches(path) for path in paths):
            met += 1
            assert meet(first, second), (first, second)
    assert held > 10
    assert met > 10
