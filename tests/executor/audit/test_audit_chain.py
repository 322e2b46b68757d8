"""
A02 for every position of a log: the first bad sequence is named, and so is what was done.

The walk is done once; at each position the altered rows are fed to a chain that stands there, so
that all positions of a long log can be tried. `test_audit_verify.py` does the same to real files.
"""

import pytest
from audit_world import filled, rows_of, session_drafts

from executor.audit.chain import Broken, Chain, End, Fault, origin_leaf
from executor.audit.counts import Counts
from executor.audit.errors import AuditDamaged
from executor.audit.merkle import Edge, leaf_hash
from executor.audit.record import Event

LENGTH = 1000
HASH, BODY, ROOT = 6, 7, 8


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "state" / "audit.sqlite3"
    filled(path, session_drafts(LENGTH))
    found = rows_of(path)
    assert len(found) == LENGTH
    return found


@pytest.fixture(scope="module")
def start(rows):
    leaf = rows[0][BODY][:32]
    return End(Edge().push(leaf)[0], leaf)


def changed(row, column, value):
    return (*row[:column], value, *row[column + 1 :])


def resealed(chain, row, body):
    """
    The row with another body, and hashes that fit as far as those before it are concerned.
    """
    leaf = leaf_hash(body)
    root = chain.end.add(leaf)[0].edge.root
    return changed(changed(changed(row, BODY, body), HASH, leaf), ROOT, root)


def renumbered(rows, by):
    return [changed(row, 0, row[0] + by) for row in rows]


def flip(body, place):
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


def standing_at(chain):
    twin = Chain(chain.end)
    twin._counts = Counts(dict(chain._counts._open))
    return twin


def each_position(rows, start):
    chain = Chain(start)
    for row in rows:
        yield row[0], standing_at(chain)
        chain.follow(row)
    assert chain.head.sequence == LENGTH


def first_fault(chain, rows):
    for row in rows:
        try:
            chain.follow(row)
        except Broken as error:
            return error.finding.sequence, error.finding.fault
    return None


def test_the_untouched_log_is_whole_from_every_position(rows, start):
    for seq, chain in each_position(rows, start):
        assert first_fault(chain, rows[seq - 1 : seq + 2]) is None


def test_a_changed_byte_is_found_at_every_record(rows, start):
    for seq, chain in each_position(rows, start):
        row = rows[seq - 1]
        altered = changed(row, BODY, flip(row[BODY], (seq * 31) % len(row[BODY])))
        assert first_fault(chain, [altered, *rows[seq : seq + 2]]) == (seq, Fault.CHANGED)


def test_a_changed_hash_is_found_at_every_record(rows, start):
    for seq, chain in each_position(rows, start):
        altered = changed(rows[seq - 1], HASH, flip(rows[seq - 1][HASH], seq % 32))
        assert first_fault(chain, [altered]) == (seq, Fault.CHANGED)


def test_a02_a_deleted_record_is_found_at_every_record_but_the_last(rows, start):
    for seq, chain in each_position(rows, start):
        wanted = (seq, Fault.MISSING) if seq < LENGTH else None
        assert first_fault(chain, rows[seq : seq + 2]) == wanted


def test_a_deleted_record_whose_gap_was_closed_is_found_at_every_record(rows, start):
    for seq, chain in each_position(rows, start):
        wanted = (seq, Fault.MOVED) if seq < LENGTH else None
        assert first_fault(chain, renumbered(rows[seq : seq + 2], -1)) == wanted


def test_a_repeated_record_is_found_at_every_record(rows, start):
    for seq, chain in each_position(rows, start):
        twice = [rows[seq - 1], *renumbered(rows[seq - 1 : seq + 2], 1)]
        assert first_fault(chain, twice) == (seq + 1, Fault.MOVED)


def test_an_inserted_copy_of_another_record_is_found_at_every_record(rows, start):
    for seq, chain in each_position(rows, start):
        foreign = changed(rows[(seq + 500) % LENGTH], 0, seq)
        inserted = [foreign, *renumbered(rows[seq - 1 : seq + 1], 1)]
        assert first_fault(chain, inserted) == (seq, Fault.MOVED)


def test_two_exchanged_records_are_found_at_the_first_of_them(rows, start):
    for seq, chain in each_position(rows, start):
        if seq == LENGTH:
            continue
        first, second = rows[seq - 1 : seq + 1]
        swapped = [changed(second, 0, seq), changed(first, 0, seq + 1)]
        assert first_fault(chain, swapped) == (seq, Fault.MOVED)


def test_a_record_written_anew_no_longer_fits_the_next_one(rows, start):
    for seq, chain in each_position(rows, start):
        row = rows[seq - 1]
        # The last byte of the wall time: a record that is valid in itself.
        forged = resealed(chain, row, flip(row[BODY], 32 + 1 + 9 + 8))
        wanted = (seq + 1, Fault.UNLINKED) if seq < LENGTH else None
        assert first_fault(chain, [forged, *rows[seq : seq + 1]]) == wanted


@pytest.mark.parametrize(
    ("column", "value"),
    [(1, "another"), (1, None), (2, 99), (3, "outcome!"), (4, "deny!"), (5, -1), (2, "1")],
)
def test_a_search_column_that_differs_from_the_record_is_found_everywhere(
    rows, start, column, value
):
    for seq, chain in each_position(rows, start):
        altered = changed(rows[seq - 1], column, value)
        if altered == rows[seq - 1]:
            continue
        assert first_fault(chain, [altered]) == (seq, Fault.COLUMN)


def test_a_column_of_another_type_is_not_taken_for_equal(rows, start):
    row = rows[0]
    assert first_fault(Chain(start), [changed(row, BODY, "text")]) == (1, Fault.CHANGED)
    assert first_fault(Chain(start), [changed(row, 0, -5)]) == (-5, Fault.INSERTED)


def test_a_session_whose_sealed_count_is_wrong_is_found(rows, start):
    chain = Chain(start)
    for row in rows[:-1]:
        chain.follow(row)
    last = rows[-1]
    # The ordinal stands behind the version byte and three integers; its last byte.
    forged = resealed(chain, last, flip(last[BODY], 32 + 1 + 4 * 9 - 1))
    assert first_fault(chain, [forged]) == (LENGTH, Fault.COUNT)
    assert chain.follow(last).ordinal == LENGTH


def test_a_broken_row_leaves_the_chain_where_it_was(rows, start):
    chain = Chain(start)
    chain.follow(rows[0])
    with pytest.raises(AuditDamaged):
        chain.follow(rows[2])
    assert chain.head.sequence == 1
    assert chain.follow(rows[1]).sequence == 2


def test_stores_with_different_identities_have_different_origins():
    assert origin_leaf(bytes(32)) != origin_leaf(b"\x01" + bytes(31))


def test_counts_number_each_session_and_can_be_taken_back():
    counts = Counts({})
    assert counts.number("a", Event.DECISION) is None
    assert counts.number(None, Event.SERVER_START) is None
    assert [counts.number("a", Event.SESSION_CREATE), counts.number("a", Event.DECISION)] == [1, 2]
    counts.keep()
    assert counts.number("a", Event.SESSION_END) == 3
    counts.forget()
    assert counts.number("a", Event.DECISION) == 3
    assert counts.number("a", Event.SESSION_END) == 4
    assert counts.number("a", Event.WORKER_LOST) is None
    counts.keep()
    assert counts._open == {}
