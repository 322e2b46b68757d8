"""
The words of the audit record: what happened, who says so, and what was decided.

A `Draft` is what the server wants written. The store gives it a place in the tree and makes it
a `Record`. `encoding.py` turns both into the bytes that are hashed and stored.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

TEXT_CAP = 4096
OK = "ok"
UNKNOWN = "unknown"
ABORTED_BY_RESTART = "aborted_by_restart"


class Event(Enum):
    """
    What a record is about; the value is the word in reports. The last two are those of the
    record that the review page keeps of its own readers.
    """

    SERVER_START = "server.start"
    SERVER_STOP = "server.stop"
    SERVER_RECOVERED = "server.recovered"
    PRUNED = "record.pruned"
    POLICY_LOAD = "policy.load"
    SESSION_CREATE = "session.create"
    SESSION_END = "session.end"
    SESSION_ERASED = "session.erased"
    CELL_START = "cell.start"
    CELL_END = "cell.end"
    DECISION = "decision"
    OUTCOME = "outcome"
    APPROVAL = "approval"
    FILE_RPC = "file.rpc"
    WORKER_NOTE = "worker.note"
    WORKER_LOST = "worker.lost"
    DROPPED = "dropped"
    REVIEW_LOGIN = "review.login"
    REVIEW_READ = "review.read"


class Origin(Enum):
    """
    Who says so. A worker's word is a suspect's: only the first two prove that something was not.
    The supervisor tells of calls that the kernel has refused; it is ours, and hears the guest.
    """

    SERVER = "server"
    BROKER = "broker"
    WORKER = "worker"
    SUPERVISOR = "supervisor"


class Answer(Enum):
    """
    What the policy said.
    """

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Cut:
    """
    The start of a text that was over the cap, with the length in bytes and SHA-256 of the whole.

    It is a type, not a mark inside a string: no guest can write a string that looks cut.
    """

    start: str
    length: int
    sha256: bytes

    def __str__(self) -> str:
        return self.start + self.mark

    @property
    def mark(self) -> str:
        """
        What follows the start where only a string can be shown.
        """
        return f"\\cut{{{self.length} bytes, sha256 {self.sha256.hex()}}}"


Text = str | Cut
Detail = tuple[tuple[str, Text | int], ...]


def bounded(text: Text) -> Text:
    """
    The text itself when it is at most `TEXT_CAP` bytes of UTF-8, else its beginning as a `Cut`.
    """
    if isinstance(text, Cut) or len(text) * 4 <= TEXT_CAP:
        return text
    data = text.encode("utf-8", "surrogatepass")
    if len(data) <= TEXT_CAP:
        return text
    return Cut(_start(data), len(data), hashlib.sha256(data).digest())


def _start(data: bytes) -> str:
    # Step back to the first byte of a character, or the rest would not decode.
    end = TEXT_CAP
    while data[end] & 0xC0 == 0x80:
        end -= 1
    return data[:end].decode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """
    What is to be recorded. A field that does not apply is None, which is not the empty string.

    `refers` is the sequence of the record that this one completes (an outcome its decision);
    `cell` counts from 1; `size` is in bytes and `digest` the SHA-256 of the content meant;
    `detail` holds pairs of an identifier and a text or integer, at most 32, in any order.
    Texts over 4 KiB are cut by the encoder, which keeps their length and digest.
    """

    event: Event
    origin: Origin = Origin.SERVER
    session: str | None = None
    cell: int | None = None
    refers: int | None = None
    request: Text | None = None
    answer: Answer | None = None
    rule: Text | None = None
    rule_place: Text | None = None
    policy_digest: str | None = None
    outcome: Text | None = None
    size: int | None = None
    digest: bytes | None = None
    detail: Detail = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Draft):
    """
    A draft in its place. `sequence` counts from 1 without gaps and alone gives the order; the
    clocks are evidence, not order. `ordinal` counts the records of one open session, so that
    the ordinal of `session.end` seals how many there were. `hash` is that of its leaf in the tree,
    over `previous` (the hash of the record before it) and what `leaf.py` says; `root` is the tree's
    when this is its last record. Of one that is `erased` the texts, size, digest and details are
    no longer known.
    """

    sequence: int
    wall_ns: int
    monotonic_ns: int
    ordinal: int | None
    previous: bytes
    hash: bytes
    root: bytes
    erased: bool = False

    @property
    def head(self) -> "Head":
        """
        The tree's head when this is its last record.
        """
        return Head(self.sequence, self.root)


@dataclass(frozen=True, slots=True)
class Head:
    """
    The last record's sequence and the tree's root: held outside, it proves that nothing up to it
    was removed or changed.
    """

    sequence: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """
        Read `SEQUENCE:HASH` (decimal, 64 hex digits); ValueError says what is wrong.
        """
        sequence, _, digest = text.partition(":")
        if not (sequence.isascii() and sequence.isdecimal() and len(sequence) <= 18):
            raise ValueError(f"head {text!r}: the sequence is not a number; write SEQUENCE:HASH")
        try:
            parsed = bytes.fromhex(digest)
        except ValueError:
            parsed = b""
        if len(parsed) != 32:
            raise ValueError(f"head {text!r}: the hash is not 64 hex digits; write SEQUENCE:HASH")
        return cls(int(sequence), parsed)


@dataclass(frozen=True, slots=True)
class Clocks:
    """
    Where the two times of a record come from, both in nanoseconds.
    """

    wall_ns: Callable[[], int] = time.time_ns
    monotonic_ns: Callable[[], int] = time.monotonic_ns
