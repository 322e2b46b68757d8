import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.glob_sieve import sieve_of
from policy.globs import GlobSet, components_of, glob_problem


def component_matches(pattern: str, name: str) -> bool:
    """
    The reference for one component: the definition of `*` and `?`, by recursion.
    """
    if not pattern:
        return not name
    if pattern[0] == "*":
        return component_matches(pattern[1:], name) or (
            name != "" and component_matches(pattern, name[1:])
        )
    return name != "" and pattern[0] in {"?", name[0]} and component_matches(pattern[1:], name[1:])


def path_matches(pattern: list[str], path: list[str]) -> bool:
    if not pattern:
        return True  # what lies beneath a match matches
    if pattern[0] == "**":
        return path_matches(pattern[1:], path) or (path != [] and path_matches(pattern, path[1:]))
    return (
        path != []
        and component_matches(pattern[0], path[0])
        and path_matches(pattern[1:], path[1:])
    )


def reference(pattern: str, path: str) -> bool:
    return path_matches(pattern.split("/"), path.split("/") if path else [])


COMPONENTS = st.text("ab.*?", min_size=1, max_size=4).filter(
    lambda text: "**" not in text and text not in {".", ".."}
)
GLOBS = st.lists(COMPONENTS | st.just("**"), min_size=1, max_size=5).map("/".join)
NAMES = st.text("ab.", min_size=1, max_size=4).filter(lambda text: text not in {".", ".."})
PATHS = st.lists(NAMES, max_size=6).map("/".join)


@given(st.lists(GLOBS, max_size=4), PATHS)
def test_the_automaton_agrees_with_the_definition(patterns, path):
    found = GlobSet(tuple(patterns)).match(path)
    matching = [index for index, pattern in enumerate(patterns) if reference(pattern, path)]
    assert (found is None) == (not matching)
    assert found is None or found in matching


@given(st.lists(GLOBS, max_size=3), PATHS, PATHS)
def test_a_match_makes_everything_beneath_match(patterns, path, below):
    globs = GlobSet(tuple(patterns))
    longer = f"{path}/{below}".strip("/")
    if globs.match(path) is not None:
        assert globs.match(longer) is not None
    if globs.match(longer) is not None:
        assert globs.may_match_below(path)


@given(GLOBS, PATHS)
def test_what_may_match_below_really_can(pattern, path):
    globs = GlobSet((pattern,))
    if not globs.may_match_below(path):
        return
    rest = [part.replace("*", "a").replace("?", "a") for part in pattern.split("/") if part != "**"]
    tails = ["/".join(rest[start:]) for start in range(len(rest) + 1)]
    assert any(globs.match(f"{path}/{tail}".strip("/")) is not None for tail in tails)


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("**/*.key", "x.key", "x.keys"),
        ("**/*.key", "a/b/.key", "a/b/key"),
        ("**/*.key", "dir.key/readme", "dir.KEY/readme"),
        (".git/**", ".git", "a/.git"),
        (".git/**", ".git/hooks/x", ".github"),
        ("*", "anything/below", ""),
        ("**", "", None),
        ("a/**/b", "a/b", "ab"),
        ("a/**/b", "a/x/y/b/below", "a/x/yb"),
        ("a?c", "abc", "a/c"),
        ("*a*", "bab", "bbb"),
        ("a**b", "axxb", "a/b"),
        ("a***b", "ab", "a"),
        ("caf\u00e9", "caf\u00e9", "cafe\u0301"),
    ],
)
def test_a_glob_matches_this_and_not_that(pattern, inside, outside):
    globs = GlobSet((pattern,))
    assert globs.match(inside) == 0
    assert outside is None or globs.match(outside) is None


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 5000 + "b", "a" * 10_240),
        ("a*" * 5000 + "b", "a" * 10_240),
        ("?*" * 2500 + "b", "a" * 10_240),
        ("**/" + "a/" * 5000 + "b", "a/" * 5119 + "c"),
        ("**/*a/" * 1500 + "b", "a/" * 5119 + "c"),
    ],
)
def test_a_glob_bomb_takes_one_step_for_each_character(pattern, path):
    """
    Row W31. A matcher that backtracks does not come back from here. What is not measured is the
    time: a step is a few operations on integers as long as the pattern.
    """
    globs = GlobSet((pattern,))
    assert globs.match(path) is None
    assert globs.match(path.removesuffix("c") + "b") == 0


def test_a_glob_has_a_largest_length():
    assert glob_problem("a" * 1024) is None
    assert glob_problem("a" * 1025) == "a glob has 1 to 1024 characters"


def test_no_globs_match_nothing():
    assert GlobSet(()).match("a") is None
    assert not GlobSet(()).may_match_below("")
    assert not GlobSet(()).may_match_below("a")


@pytest.mark.parametrize(
    "pattern", ["**/*.key", ".git/**", "a b", "x~", "a!b", "*", "**", "...", "-"]
)
def test_a_glob_of_the_language_has_no_problem(pattern):
    assert glob_problem(pattern) is None


@pytest.mark.parametrize(
    "pattern",
    ["", "/a", "a/", "a//b", "../a", "a/./b", "~a", "!a", "a**", "{a}", "a]", "a\\b", "$a"],
)
def test_what_is_not_of_the_language_has_one(pattern):
    assert glob_problem(pattern) is not None


# To the last character


@pytest.mark.parametrize(
    ("patterns", "path", "index"),
    [
        (("a*bb",), "axbb", 0),
        (("a*bb",), "bxbb", None),
        (("zzz", "a"), "a/b", 1),
        (("zzz", "a", "*"), "a/b", 1),
        (("a/**/**/b",), "a/b", 0),
        (("a/**/**/b",), "a/x/y/b", 0),
        (("a**b",), "axb", 0),
    ],
)
def test_the_first_pattern_that_matches_is_told(patterns, path, index):
    assert GlobSet(patterns).match(path) == index


@pytest.mark.parametrize(
    ("patterns", "path", "below"),
    [
        (("a",), "", True),
        ((), "", False),
        ((), "a", False),
        (("**",), "x", True),
        (("a/b",), "a", True),
        (("a/b",), "b", False),
        (("a",), "a/x", True),
    ],
)
def test_what_may_lie_below_a_directory_is_a_yes_or_a_no(patterns, path, below):
    assert GlobSet(patterns).may_match_below(path) is below


def test_a_pattern_says_each_crossing_once():
    assert components_of("a/**/**/b") == ["a", "**", "b"]
    assert components_of("**/**") == []
    assert components_of("a/**") == ["a"]


def test_a_sieve_looks_for_names_beginnings_and_ends():
    seen = sieve_of([["name", "*"], ["start*"], ["*end"], ["?y"]])
    assert (seen.always, seen.names, seen.starts, seen.ends) == (False, {"name"}, (), ())
    assert sorted(seen.found) == ["/start", "end/", "y/"]
    assert sieve_of([["*"]]).always


@pytest.mark.parametrize("count", [1, 8, 9, 20])
def test_a_sieve_of_many_parts_looks_them_up_and_finds_the_same(count):
    starts = [[f"{chr(97 + index)}{'x' * (index % 3)}*"] for index in range(count)]
    seen = sieve_of(starts)
    assert bool(seen.found) == (count <= 8)
    assert bool(seen.starts) == (count > 8)
    ends = sieve_of([[f"*{one[0][:-1]}"] for one in starts])
    for index in range(count):
        text = starts[index][0][:-1]
        assert seen.may_match(f"0/{text}9/0") is True
        assert ends.may_match(f"0/9{text}/0") is True
    assert seen.may_match("0/1/2") is False
    assert ends.may_match("0/1/2") is False
