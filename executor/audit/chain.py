"""
A walk along the record, in which each row must be what was written, where it was written.

`Chain` is fed stored rows in order and raises `Broken` at the first that is not. It believes only
the bodies; sequence, hash, root and columns are compared with them. The tree (`merkle.py`) is
what holds the record together; each body also names the hash of the record before it, so that
of two records that do not fit the wrong one can be told.
"""

from dataclasses import dataclass
from enum import Enum

from executor.audit.counts import Counts
from executor.audit.encoding import Hashes
from executor.audit.errors import AuditDamaged, EncodingInvalid
from executor.audit.leaf import KeyDropped, open_body
from executor.audit.merkle import Edge, Tile, leaf_hash
from executor.audit.record import Draft, Head, Record
from executor.audit.schema import Columns, Row

_HASH = 32


class Fault(Enum):
    """
    What is wrong with a stored record; the value is the word in reports.
    """

    MISSING = "missing"
    INSERTED = "inserted"
    CHANGED = "changed"
    MOVED = "moved"
    UNLINKED = "unlinked"
    ROOT = "root"
    TILE = "tile"
    COLUMN = "column"
    COUNT = "count"
    BLANKED = "blanked"
    KEY = "key"
    TRUNCATED = "truncated"
    REPLACED = "replaced"
    UNREADABLE = "unreadable"
    SCHEMA = "schema"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    The first bad sequence (0: the file as a whole), the kind of fault, and a sentence.
    """

    sequence: int
    fault: Fault
    message: str

    def __str__(self) -> str:
        return f"record {self.sequence}: {self.fault.value}: {self.message}"


class Broken(AuditDamaged):
    """
    A row that breaks the chain, with the finding.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


@dataclass(frozen=True, slots=True)
class End:
    """
    Where the record ends: the edge of its tree, and the hash of its last leaf.
    """

    edge: Edge
    leaf: bytes

    @property
    def head(self) -> Head:
        """
        The last record's sequence, and the root.
        """
        return Head(self.edge.size - 1, self.edge.root)

    def add(self, leaf: bytes) -> tuple["End", tuple[Tile, ...]]:
        """
        The end after one more record, and the tiles that are whole by it.
        """
        edge, tiles = self.edge.push(leaf)
        return End(edge, leaf), tiles


def origin_leaf(genesis: bytes) -> bytes:
    """
    Leaf 0: the store's random identity, so that no two stores agree.
    """
    return leaf_hash(b"codecage audit genesis\0" + genesis)


def open_row(row: Row) -> Record:
    """
    The record that one row holds, its own hash and its texts checked, its place and root not.
    """
    sequence, digest, body, root, texts, key = row[0], *row[6:]
    if not all(isinstance(value, bytes) for value in (digest, body, root)):
        raise Broken(Finding(sequence, Fault.CHANGED, "the body or a hash is not bytes"))
    if not isinstance(texts, bytes | None) or not isinstance(key, bytes | None):
        raise Broken(Finding(sequence, Fault.CHANGED, "its texts or its key are not bytes"))
    try:
        return open_body(body, texts, key, Hashes(body[:_HASH], digest, root))
    except KeyDropped as error:
        raise Broken(Finding(sequence, Fault.KEY, str(error))) from error
    except EncodingInvalid as error:
        raise Broken(Finding(sequence, Fault.CHANGED, str(error))) from error


def columns_of(draft: Draft, sequence: int) -> Columns:
    """
    The columns of a record's row that searches use.
    """
    # `value` is a call of Python each time.
    answer = draft.answer._value_ if draft.answer else None
    session = None if draft.session is None else column_text(draft.session)
    return sequence, session, draft.cell, draft.event._value_, answer, draft.refers


def column_text(text: str) -> str:
    """
    A text as SQLite can hold it: lone surrogates written as escapes. Only for searching.
    """
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class Chain:
    """
    A walk along the record from a trusted end; `end` is where it is.

    Started at the origin, or at the start of a file (`of_file`), where no session is open either,
    it also counts each open session's records, against their ordinals; its memory grows with the
    sessions open at once, not with the records. Started elsewhere it cannot know the counts and
    leaves them out. `tiles` are those that its last step made whole.
    """

    __slots__ = ("_counts", "end", "tiles")

    def __init__(self, end: End, *, of_file: bool = False) -> None:
        self.end = end
        self.tiles: tuple[Tile, ...] = ()
        self._counts = Counts({}) if of_file or end.edge.size == 1 else None

    @property
    def head(self) -> Head:
        """
        The head of the record as far as it was followed.
        """
        return self.end.head

    @property
    def sequence(self) -> int:
        """
        The last record that was followed.
        """
        return self.end.edge.size - 1

    def follow(self, row: Row) -> Record:
        """
        Check the next row and step onto it; Broken says what is wrong, and nothing has moved.
        """
        self._check_sequence(row[0])
        record = open_row(row)
        if record.sequence != row[0]:
            message = f"here stands the record that was written as {record.sequence}"
            raise Broken(Finding(row[0], Fault.MOVED, message))
        if record.previous != self.end.leaf:
            message = f"it does not follow the stored record {row[0] - 1}"
            raise Broken(Finding(row[0], Fault.UNLINKED, message))
        end, tiles = self.end.add(record.hash)
        _check_columns(row, record)
        if record.root != end.edge.root:
            message = "the records up to it do not have the root that is stored with it"
            raise Broken(Finding(row[0], Fault.ROOT, message))
        self._count(record)
        self.end, self.tiles = end, tiles
        return record

    def _check_sequence(self, sequence: int) -> None:
        expected = self.sequence + 1
        if sequence > expected:
            message = f"records {expected} to {sequence - 1} are not there"
            raise Broken(Finding(expected, Fault.MISSING, message))
        if sequence < expected:
            raise Broken(Finding(sequence, Fault.INSERTED, "no record has this sequence"))

    def _count(self, record: Record) -> None:
        if self._counts is None:
            return
        expected = self._counts.number(record.session, record.event)
        if record.ordinal != expected:
            self._counts.forget()
            message = f"it is number {record.ordinal} of its session; {expected} was expected"
            raise Broken(Finding(record.sequence, Fault.COUNT, message))
        self._counts.keep()


def _check_columns(row: Row, record: Record) -> None:
    names = ("sequence", "session", "cell", "event", "answer", "refers")
    right = columns_of(record, record.sequence)
    for name, stored, written in zip(names, row, right, strict=False):  # a row goes on with hashes
        if stored != written or type(stored) is not type(written):
            message = f"column {name} says {stored!r}; the record says {written!r}"
            raise Broken(Finding(record.sequence, Fault.COLUMN, message))
