"""
The chain: each record's hash covers the hash before it, so no past record can change alone.

`Chain` is fed stored rows in order and raises `Broken` at the first that is not what was
written. It believes only the bodies; sequence, hash and columns are compared with them.
"""

import hashlib
from dataclasses import dataclass
from enum import Enum

from executor.audit.counts import Counts
from executor.audit.encoding import decode
from executor.audit.errors import AuditDamaged, EncodingInvalid
from executor.audit.record import Draft, Head, Record
from executor.audit.schema import Row

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
    COLUMN = "column"
    COUNT = "count"
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


def origin_of(genesis: bytes) -> Head:
    """
    The head of an empty store: bound to its random identity, so that no two stores agree.
    """
    return Head(0, hashlib.sha256(b"codecage audit genesis\0" + genesis).digest())


def link(previous: bytes, encoded: bytes) -> tuple[bytes, bytes]:
    """
    The body to store (the previous hash, then the encoding) and its SHA-256.
    """
    body = previous + encoded
    return body, hashlib.sha256(body).digest()


def open_row(row: Row) -> Record:
    """
    The record that one row holds, its own hash checked, its place in the chain not.
    """
    sequence, body, digest = row[0], row[7], row[6]
    if not isinstance(body, bytes) or not isinstance(digest, bytes):
        raise Broken(Finding(sequence, Fault.CHANGED, "the body or the hash is not bytes"))
    if hashlib.sha256(body).digest() != digest:
        raise Broken(Finding(sequence, Fault.CHANGED, "the content does not have the stored hash"))
    try:
        return decode(body[_HASH:], body[:_HASH], digest)
    except EncodingInvalid as error:
        raise Broken(Finding(sequence, Fault.CHANGED, str(error))) from error


def row_of(draft: Draft, sequence: int, digest: bytes, body: bytes) -> Row:
    """
    The row that stores a record: the search columns, the hash and the body.
    """
    answer = draft.answer.value if draft.answer else None
    session = None if draft.session is None else column_text(draft.session)
    return (
        sequence,
        session,
        draft.cell,
        draft.event.value,
        answer,
        draft.refers,
        digest,
        body,
    )


def column_text(text: str) -> str:
    """
    A text as SQLite can hold it: lone surrogates written as escapes. Only for searching.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class Chain:
    """
    A walk along the chain from a trusted head.

    Started at the origin it also counts each open session's records, against their ordinals; its
    memory grows with the sessions open at once, not with the records. Started elsewhere it
    cannot know the counts and leaves them out.
    """

    __slots__ = ("_counts", "head")

    def __init__(self, head: Head) -> None:
        self.head = head
        self._counts = Counts({}) if head.sequence == 0 else None

    def follow(self, row: Row) -> Record:
        """
        Check the next row and step onto it; Broken says what is wrong, and nothing has moved.
        """
        self._check_sequence(row[0])
        record = open_row(row)
        if record.sequence != row[0]:
            message = f"here stands the record that was written as {record.sequence}"
            raise Broken(Finding(row[0], Fault.MOVED, message))
        if record.previous != self.head.hash:
            message = f"it does not follow the stored record {row[0] - 1}"
            raise Broken(Finding(row[0], Fault.UNLINKED, message))
        _check_columns(row, record)
        self._count(record)
        self.head = record.head
        return record

    def _check_sequence(self, sequence: int) -> None:
        expected = self.head.sequence + 1
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
    right = row_of(record, record.sequence, record.hash, row[7])
    for name, stored, written in zip(names, row, right, strict=False):
        if stored != written or type(stored) is not type(written):
            message = f"column {name} says {stored!r}; the record says {written!r}"
            raise Broken(Finding(record.sequence, Fault.COLUMN, message))
