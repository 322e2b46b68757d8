"""
Where a file of the record starts: at its origin, or where the file before it ended.

A record that was rotated is one tree over several files. Each file but the first carries what it
needs of those before it: the store's identity, the hashes of all whole tiles, the leaf hashes of
the tile that was not whole, and the root at that moment. So a file can be added to, and proofs
be made, without the files before it; and a file that was exchanged does not fit its neighbours.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from executor.audit.chain import End, origin_leaf
from executor.audit.errors import AuditDamaged
from executor.audit.merkle import TILE_LEAVES, Edge
from executor.audit.record import Head
from executor.audit.schema import meta
from executor.audit.tiles import StoredTree

Earlier = Callable[[int, int], list[bytes]]

_HASH: Final = 32
_NUMBER: Final = 8


@dataclass(frozen=True, slots=True)
class Start:
    """
    The end of what is before a file: the last head there (`sequence` 0: nothing), the hash of its
    leaf, and the leaf hashes of the tile that was not whole then.
    """

    head: Head
    leaf: bytes
    leaves: tuple[bytes, ...]

    def encode(self) -> bytes:
        """
        As the file's table `meta` holds it.
        """
        number = self.head.sequence.to_bytes(_NUMBER, "big")
        return b"".join((number, self.head.hash, self.leaf, *self.leaves))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """
        Read what `encode` writes. Raises AuditDamaged.
        """
        sequence, rest = int.from_bytes(data[:_NUMBER], "big"), data[_NUMBER:]
        hashes = [rest[place : place + _HASH] for place in range(0, len(rest), _HASH)]
        if len(rest) != _HASH * (2 + (sequence + 1) % TILE_LEAVES) or not 0 < sequence < 2**62:
            raise AuditDamaged("the audit file's start, in its meta table, is not one")
        return cls(Head(sequence, hashes[0]), hashes[1], tuple(hashes[2:]))


def start_of(db: sqlite3.Connection) -> Start:
    """
    Where this file starts, its schema checked. Raises AuditDamaged.
    """
    genesis, data = meta(db)
    if data is not None:
        return Start.parse(data)
    leaf = origin_leaf(genesis)
    return Start(Head(0, Edge().push(leaf)[0].root), leaf, (leaf,))


def tree_of(db: sqlite3.Connection, start: Start, earlier: Earlier | None = None) -> StoredTree:
    """
    The tree of a file that starts there; `earlier` finds leaf hashes of the files before it.
    """
    size = start.head.sequence + 1
    return StoredTree(db, size - len(start.leaves), start.leaves, earlier)


def end_of(db: sqlite3.Connection, start: Start) -> End:
    """
    The record's end where this file starts. Raises AuditDamaged where its hashes do not agree.
    """
    return End(tree_of(db, start).edge(start.head), start.leaf)
