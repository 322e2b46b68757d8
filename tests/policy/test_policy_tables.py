"""
The tables that make answers quick say what the globs themselves say, and hold as many rules.
"""

import random

import pytest

from policy.decide import compile_policy
from policy.glob_sieve import sieve_of
from policy.globs import GlobSet, components_of
from policy.path_globs import compile_glob
from policy.path_table import path_table
from policy.requests import FileAction, FileRequest, HttpRequest, NetworkRequest
from policy.types import Access, Deny, FileGrant, HttpRule, NetworkGrant, Policy, Rule
from tests.policy import reference

PIECES = ["a", "b", "ab", "abc", "*", "**", "a*", "*b", "?b", "a*b", "*.key", "x.key", "??"]
NAMES = ["a", "b", "ab", "abc", "aab", "x.key", ".key", "key", "c"]


def some_globs(chance, most):
    return tuple(
        "/".join(chance.choice(PIECES) for _ in range(chance.randint(1, 3)))
        for _ in range(chance.randint(0, most))
    )


def some_path(chance):
    return "/".join(chance.choice(NAMES) for _ in range(chance.randint(1, 4)))


@pytest.mark.parametrize("most", [1, 3, 40])
def test_a_sieve_lets_through_every_path_that_a_glob_matches(most):
    chance, seen = random.Random(most), {True: 0, False: 0}
    for _ in range(1500):
        globs, path = some_globs(chance, most), some_path(chance)
        matched = any(reference.hides(glob, path.split("/")) for glob in globs)
        sieve = sieve_of([components_of(glob) for glob in globs])
        assert sieve.may_match(path) or not matched, (globs, path)
        assert (GlobSet(globs).match(path) is not None) == matched, (globs, path)
        seen[sieve.may_match(path)] += 1
    assert seen[True] > 100
    assert seen[False] > 100 or most == 40


@pytest.mark.parametrize(
    ("glob", "path"),
    [("**/*.key", "a/b.keys"), (".git/**", "a/git"), ("a*", "ba"), ("a/b", "b"), ("*.key", "key")],
)
def test_a_sieve_stops_what_no_glob_can_match(glob, path):
    assert not sieve_of([components_of(glob)]).may_match(path)


@pytest.mark.parametrize("count", [8, 9, 30])
def test_many_beginnings_and_endings_are_looked_up_as_few_are(count):
    globs = [f"**/*.k{number}" for number in range(count)] + ["**/tmp*"]
    sieve = sieve_of([components_of(glob) for glob in globs])
    assert bool(sieve.found) is (count < 8)
    assert sieve.may_match(f"a/x.k{count - 1}")
    assert sieve.may_match("a/tmpfile/b")
    assert not sieve.may_match("a/k1/x.k1x")
    assert not sieve.may_match("a/xtmp")


@pytest.mark.parametrize("most", [1, 4])
def test_a_table_of_paths_holds_what_its_globs_match(most):
    chance, held = random.Random(most), 0
    pieces = ["a", "b", "*", "**", "a*", "%41", "v1"]
    for _ in range(3000):
        globs = [
            "/" + "/".join(chance.choice(pieces) for _ in range(chance.randint(0, 3)))
            for _ in range(chance.randint(1, most))
        ]
        path = "/" + "/".join(
            chance.choice(["a", "b", "A", "v1", ""]) for _ in range(chance.randint(0, 3))
        )
        matched = any(compile_glob(glob).matches(path) for glob in globs)
        assert path_table(globs).holds(path) == matched, (globs, path)
        held += matched
    assert held > 300


def test_many_rules_answer_as_few_do():
    """
    Far more than a file may have: nothing is looked through one by one where tables are made.
    """
    count = 300
    rules = [Rule(f"filesystem[{n}]", "a.yaml") for n in range(count)]
    files = tuple(
        FileGrant(f"/m{n}/d", f"/srv/{n}", Access.READ, (f"**/*.k{n}",), 0, 0, rules[n])
        for n in range(count)
    )
    network = tuple(
        NetworkGrant(f"h{n}.example", (443,), True, False,
                     (HttpRule(("GET",), tuple(f"/p{m}" for m in range(count)), rules[n]),),
                     1, None, frozenset(), rules[n])
        for n in range(count)
    )  # fmt: skip
    deny = tuple(Deny(f"/m{n}/d/private", "", Rule(f"deny[{n}]", "a.yaml")) for n in range(count))
    decider = compile_policy(
        Policy("p", "", "a.yaml", filesystem=files, network=network, deny=deny)
    )
    for n in range(0, count, 7):
        for name, allowed in (("x", True), (f"a.k{n}", False), ("private/x", False)):
            request = FileRequest(FileAction.READ, f"/m{n}/d/{name}")
            assert decider.decide(request).allowed is allowed
        assert decider.decide(NetworkRequest(f"h{n}.example", 443)).rule is rules[n]
        for path, allowed in (("/p299", True), ("/p300", False)):
            request = HttpRequest(f"h{n}.example", 443, True, "GET", path)
            assert decider.decide(request).allowed is allowed


@pytest.mark.parametrize(
    "glob",
    ["work/out/private/**", "work/*/private", "**/private", "*/out/private", "work/out/*vate"],
)
def test_an_entry_of_deny_hides_below_a_mount_of_several_names(glob):
    rule = Rule("filesystem[0]", "a.yaml")
    grant = FileGrant("/work/out", "/srv", Access.READ, (), 0, 0, rule)
    deny = (Deny(f"/{glob}", "", Rule("deny[0]", "a.yaml")),)
    decider = compile_policy(Policy("p", "", "a.yaml", filesystem=(grant,), deny=deny))
    for path, allowed in (("private", False), ("private/x", False), ("public/x", True)):
        request = FileRequest(FileAction.READ, f"/work/out/{path}")
        assert decider.decide(request).allowed is allowed


def test_a_mount_that_a_glob_matches_is_hidden_as_a_whole():
    rule = Rule("filesystem[0]", "a.yaml")
    grant = FileGrant("/work/out", "/srv", Access.READ, (), 0, 0, rule)
    deny = (Deny("/work/**", "", Rule("deny[0]", "a.yaml")),)
    decider = compile_policy(Policy("p", "", "a.yaml", filesystem=(grant,), deny=deny))
    for path in ("/work/out", "/work/out/x"):
        decision = decider.decide(FileRequest(FileAction.READ, path))
        assert (decision.allowed, decision.rule.name) == (False, "deny[0]")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/data/a\0b", "the path is not absolute and normalised"),
        ("/data/", "the path is not absolute and normalised"),
        ("/data/..", "the path is not absolute and normalised"),
        ("/data/./a", "the path is not absolute and normalised"),
        ("/", "no grant covers the path"),
    ],
)
def test_a_path_without_its_one_form_is_denied_also_where_there_are_no_globs(path, why):
    grant = FileGrant("/data", "/srv", Access.READ, (), 0, 0, Rule("filesystem[0]", "a.yaml"))
    decider = compile_policy(Policy("p", "", "a.yaml", filesystem=(grant,)))
    decision = decider.decide(FileRequest(FileAction.READ, path))
    assert (decision.allowed, decision.reason.endswith(why)) == (False, True)
    for good in ("/data/.a", "/data/..a", "/data/a.", "/data/..."):
        assert decider.decide(FileRequest(FileAction.READ, good)).allowed


@pytest.mark.parametrize("form", ["**/x{}*", "**/*{}x"])
def test_many_beginnings_alone_or_endings_alone_are_looked_up(form):
    globs = [form.format(number) for number in range(10, 30)]
    sieve = sieve_of([components_of(glob) for glob in globs])
    assert not sieve.found
    assert sieve.may_match(f"a/{form[3:].format(29).replace('*', 'y')}/b")
    assert not sieve.may_match("a/x9/9x")
