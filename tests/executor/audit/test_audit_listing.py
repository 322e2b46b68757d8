"""
What a commit has changed, as details of its record and back.
"""

import pytest
from audit_world import draft, filled

from executor.audit.listing import MOST_DETAILS, listed, listing, seen
from executor.audit.read import records
from executor.audit.record import TEXT_CAP, Event


def change(path, kind="added", **fields):
    given = {"directory": False, "size": 7, "before": "", "after": "a" * 64, **fields}
    return seen(kind, path, **given)


CHANGES = (
    change("old", "deleted", directory=True, size=0, after=""),
    change("a b/c.txt", "modified", before="b" * 64),
    change("no\nadded file 1 - - forged"),
    change("\u202egpj.exe"),
    change("back\\slash"),
    change("-"),
)


def test_what_is_listed_is_read_again_through_the_record(path):
    filled(path, [draft(Event.OUTCOME, detail=(("changes", 6), *listing(CHANGES)))])
    assert listed(records(path)[0].detail) == CHANGES


def test_a_path_forges_no_line_and_no_character_of_it_acts():
    (text,) = [value for _, value in listing(CHANGES)]
    assert len(text.split("\n")) == len(CHANGES)
    assert all(line.isprintable() for line in text.split("\n"))


def test_many_changes_are_in_several_details_each_short_enough():
    details = listing(change(f"{number:04}.txt") for number in range(5000))
    assert len(details) == MOST_DETAILS
    assert all(len(text.encode()) <= TEXT_CAP for _, text in details)
    found = listed(details)
    assert [one.path for one in found] == [f"{number:04}.txt" for number in range(len(found))]
    assert 700 <= len(found) < 5000


def test_a_path_that_does_not_fit_ends_the_list():
    details = listing([change("first"), change("x" * TEXT_CAP), change("third")])
    assert [one.path for one in listed(details)] == ["first"]


@pytest.mark.parametrize(
    "detail",
    [
        (("changed_00", 7),),
        (("changed_00", "added file x - - a"),),
        (("changed_00", "added file 1 - a"),),
        (("reason", "added file 1 - - a"),),
        (("changed_0", "added file 1 - - a"),),
    ],
)
def test_what_is_no_listing_lists_nothing(detail):
    assert listed(detail) == ()
