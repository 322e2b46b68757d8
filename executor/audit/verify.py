"""
Walk the whole record and name the first place where it is not what was written.

What this proves: a change, deletion, insertion, repetition or reordering of records by someone
who did not compute the tree anew is found at its sequence. Someone who can compute it anew (the
algorithm is no secret) can only be found against a head that was kept outside: `head`. Records
after that head, or all records without one, are reported as unanchored.

`prove` and `extends` answer about one record, or about what was added since a head, from the
stored hashes alone, in a time that does not grow with the record; what they give back can be
checked by anybody with `merkle.py` or another implementation of RFC 9162.
"""

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from executor.audit.chain import (
    Broken,
    Chain,
    End,
    Fault,
    Finding,
    open_row,
)
from executor.audit.erasures import Erased, Erasures
from executor.audit.errors import AuditDamaged
from executor.audit.ledger import stored_head
from executor.audit.merkle import (
    consistency_proof,
    inclusion_proof,
    proves_consistency,
    proves_inclusion,
    whole_tiles,
)
from executor.audit.read import snapshot
from executor.audit.record import Event, Head
from executor.audit.schema import SELECT, Row, connect_reader, genesis
from executor.audit.segments import closed_files, earlier_leaves
from executor.audit.start import end_of, start_of, tree_of
from executor.audit.tiles import StoredTree, count_tiles, stored_tile

_PROGRESS_EVERY = 10_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What the walk found: how many records follow one another, the last of them, the first fault
    (None: none), from which sequence no outside head vouches (None: all are vouched for), the
    first record that was looked at: not 1 where the files before it are not there; which record
    says that those were removed on purpose (None: none does); and the sessions whose texts were
    erased on purpose.
    """

    records: int
    head: Head
    finding: Finding | None
    unanchored_since: int | None
    first: int = 1
    pruned_by: int | None = None
    erased: tuple[Erased, ...] = ()

    @property
    def whole(self) -> bool:
        """
        Whether nothing is wrong.
        """
        return self.finding is None


def verify(
    path: Path,
    *,
    head: Head | None = None,
    heads: Sequence[Head] = (),
    progress: Callable[[int], None] | None = None,
) -> Verdict:
    """
    Check every record of the store at `path` in one snapshot, also while a server writes to it.

    `head` and `heads` are kept outside. Where somebody computed the tree anew, the finding is the
    first of them that does not fit, and tells the last that does: between the two the record was
    changed. `progress` is called with the sequence every 10,000 records. Time
    is linear in the records; memory grows only with the sessions open at once. Raises
    FileNotFoundError when there is no store. Everything wrong inside it is a finding.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no audit store at {path}")
    anchors = {*heads} if head is None else {*heads, head}
    walk = _Walk(sorted(anchors, key=lambda one: one.sequence), progress)
    try:
        with ExitStack() as opened:
            files = [_snapshot(opened, path)]
            # Those that came before what this one says of its start: it may be closed meanwhile.
            before = start_of(files[0]).head.sequence
            closed = [one for one in closed_files(path) if one.last <= before]
            files[:0] = [_snapshot(opened, one.path) for one in closed]
            return walk.verdict(walk.first_fault(files))
    except sqlite3.Error as error:
        return walk.verdict(Finding(walk.expected, Fault.UNREADABLE, str(error)))
    except AuditDamaged as error:
        return walk.verdict(Finding(0, Fault.SCHEMA, str(error)))


def _snapshot(opened: ExitStack, path: Path) -> sqlite3.Connection:
    db = opened.enter_context(closing(connect_reader(path)))
    db.execute("BEGIN")
    return db


@dataclass(frozen=True, slots=True)
class Proof:
    """
    Hashes that lead from what somebody holds to `head`: RFC 9162, sections 2.1.3 and 2.1.4.

    `leaf` is the hash of the record it is about, None where it is about an older head. Leaf n is
    record n, and leaf 0 the store's identity: the tree of a head has one leaf more than its
    sequence says.
    """

    sequence: int
    head: Head
    leaf: bytes | None
    path: tuple[bytes, ...]


def prove(path: Path, sequence: int, head: Head | None = None) -> Proof:
    """
    The proof that record `sequence` is among those that `head`, or the last one, vouches for.

    Raises FileNotFoundError, LookupError where there is no such record, and AuditDamaged where
    the stored hashes prove nothing.
    """
    with _opened(path) as (tree, last):
        head = head or last
        if not 1 <= sequence <= head.sequence <= last.sequence:
            raise LookupError(
                f"record {sequence} below head {head.sequence}: the store has 1 to {last.sequence}"
            )
        leaf = tree.subtree(0, sequence)
        proof = inclusion_proof(tree, sequence, head.sequence + 1)
        if not proves_inclusion(proof, leaf, sequence, head.sequence + 1, head.hash):
            raise AuditDamaged(
                f"the stored hashes do not lead from record {sequence} to the head {head}: the "
                "record was changed, or the head is another store's; run `codecage audit verify`"
            )
        return Proof(sequence, head, leaf, proof)


def extends(path: Path, since: Head) -> Proof:
    """
    The proof that the record as it is now only adds to what `since` vouched for.

    Raises FileNotFoundError, and AuditDamaged where it does not.
    """
    with _opened(path) as (tree, last):
        sizes = since.sequence + 1, last.sequence + 1
        proof: tuple[bytes, ...] = ()
        if since.sequence <= last.sequence:
            proof = consistency_proof(tree, *sizes)
        if not proves_consistency(proof, sizes[0], since.hash, sizes[1], last.hash):
            raise AuditDamaged(
                f"the record, which ends at {last}, is not what {since} vouched for with more "
                "added: it was cut or changed since; run `codecage audit verify --head`"
            )
        return Proof(since.sequence, last, None, proof)


def last_head(path: Path) -> Head:
    """
    The head of the store as it is stored, for whoever compares it.

    Raises FileNotFoundError, AuditDamaged.
    """
    with _opened(path) as (_, last):
        return last


@contextmanager
def _opened(path: Path) -> Iterator[tuple[StoredTree, Head]]:
    with snapshot(path) as db:
        yield tree_of(db, start_of(db), earlier_leaves(path)), stored_head(db)


class _Walk:
    """
    One verification under way: where it is, and which of the outside heads it has passed.
    """

    def __init__(self, anchors: Sequence[Head], progress: Callable[[int], None] | None) -> None:
        self._anchors = deque(anchors)
        self._passed: Head | None = None
        self._progress = progress
        self._chain: Chain | None = None
        self._first = 1
        self._before = ""
        self._pruned_by: int | None = None
        self._tiles = 0
        self._erasures = Erasures()

    @property
    def at(self) -> int:
        return 0 if self._chain is None else self._chain.sequence

    @property
    def expected(self) -> int:
        return 0 if self._chain is None else self.at + 1

    def first_fault(self, files: Sequence[sqlite3.Connection]) -> Finding | None:
        for before, db in zip([None, *files], files, strict=False):
            fault = self._enter(db, before) or self._fault_in(db)
            if fault is not None:
                return fault
        return self._truncated() or self._erasures.unexplained()

    def _enter(self, db: sqlite3.Connection, before: sqlite3.Connection | None) -> Finding | None:
        """
        Step onto the next file: it has to go on where the one before it ended.
        """
        start = start_of(db)
        self._tiles = whole_tiles(start.head.sequence + 1)
        if before is not None and self._chain is not None:
            return _unfitting(self._chain.end, before, db)
        self._chain = Chain(end_of(db, start), of_file=True)
        self._first = start.head.sequence + 1
        self._before = str(start.head)
        while self._anchors and self._anchors[0].sequence < start.head.sequence:
            # It vouches for what is not here.
            self._anchors.popleft()
        return self._check_anchor()

    def _fault_in(self, db: sqlite3.Connection) -> Finding | None:
        assert self._chain is not None
        rows: Iterator[Row] = db.execute(f"{SELECT} ORDER BY sequence")
        for row in rows:
            try:
                record = self._chain.follow(row)
            except Broken as error:
                return _blame(error.finding, row, next(rows, None))
            if record.event is Event.PRUNED and dict(record.detail).get("head") == self._before:
                self._pruned_by = record.sequence
            self._erasures.pass_by(record, self._first)
            fault = self._check_tiles(db) or self._check_anchor()
            if fault is not None:
                return fault
            if self._progress is not None and row[0] % _PROGRESS_EVERY == 0:
                self._progress(row[0])
        return self._count_tiles(db) or _check_indexes(db)

    def _check_tiles(self, db: sqlite3.Connection) -> Finding | None:
        tiles = self._chain.tiles if self._chain is not None else ()
        for tile in tiles:
            self._tiles += 1
            if stored_tile(db, tile) != tile.hash:
                message = f"the stored hash of tile {tile.number} of level {tile.level} is not its"
                return Finding(self.at, Fault.TILE, f"{message} records'")
        return None

    def _count_tiles(self, db: sqlite3.Connection) -> Finding | None:
        if (found := count_tiles(db)) == self._tiles:
            return None
        return Finding(0, Fault.TILE, f"{found} tiles are stored; the records have {self._tiles}")

    def verdict(self, finding: Finding | None) -> Verdict:
        head = Head(0, b"") if self._chain is None else self._chain.head
        since: int | None = self._first if self._passed is None else self._passed.sequence + 1
        if finding is None and self._passed == head:
            since = None
        records = max(0, self.at - self._first + 1)
        erased = self._erasures.erased
        return Verdict(records, head, finding, since, self._first, self._pruned_by, erased)

    def _check_anchor(self) -> Finding | None:
        while self._chain is not None and self._anchors:
            anchor = self._anchors[0]
            if self._chain.sequence != anchor.sequence:
                break
            head = self._chain.head
            if head.hash != anchor.hash:
                message = (
                    f"its root is {head.hash.hex()}, the head kept outside says "
                    f"{anchor.hash.hex()}: {self._where_changed()}, or this is another store"
                )
                return Finding(head.sequence, Fault.REPLACED, message)
            self._passed = self._anchors.popleft()
        return None

    def _where_changed(self) -> str:
        if self._passed is None:
            return "this record or one before it was written anew"
        return f"one of the records {self._passed.sequence + 1} to {self.at} was written anew"

    def _truncated(self) -> Finding | None:
        if not self._anchors:
            return None
        last = self._anchors[-1]
        message = (
            f"the store ends at {self.at}, the head kept outside is {last.sequence}: "
            f"{last.sequence - self.at} records are missing"
        )
        return Finding(self.at + 1, Fault.TRUNCATED, message)


def _unfitting(end: End, before: sqlite3.Connection, db: sqlite3.Connection) -> Finding | None:
    """
    Why the file `db` does not go on where the one before it, which was walked to its `end`, ended.
    """
    start, expected = start_of(db), end.head.sequence + 1
    if start.head.sequence >= expected:
        message = f"the file of records {expected} to {start.head.sequence} is not here"
        return Finding(expected, Fault.MISSING, message)
    same = (genesis(before), end.head, end.leaf) == (genesis(db), start.head, start.leaf)
    if same and end_of(db, start) == end and _carries(before, db):
        return None
    message = "the file that begins with it does not go on where the one before it ended"
    return Finding(min(expected, start.head.sequence + 1), Fault.REPLACED, message)


def _carries(before: sqlite3.Connection, db: sqlite3.Connection) -> bool:
    held = "SELECT level, number, hash FROM tile"
    return set(before.execute(held)) <= set(db.execute(held))


def _blame(finding: Finding, row: Row, following: Row | None) -> Finding:
    """
    Which of two records that do not fit is the wrong one? The one after them is the witness: if
    it follows the later, then the earlier was put in its place.
    """
    if finding.fault is not Fault.UNLINKED or finding.sequence == 1:
        return finding
    try:
        witness = following is None or open_row(following).previous == row[6]
    except Broken:
        witness = False
    if not witness:
        return finding
    message = f"record {finding.sequence} is whole, but follows another record than this one"
    return Finding(finding.sequence - 1, Fault.REPLACED, message)


def _check_indexes(db: sqlite3.Connection) -> Finding | None:
    """
    A row left out of an index is in the chain, and yet no reader sees it.
    """
    (verdict,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    return None if verdict == "ok" else Finding(0, Fault.UNREADABLE, str(verdict))
