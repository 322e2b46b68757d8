"""
The tree as the store has it: leaf hashes in the rows, hashes of whole tiles in a table of theirs.

Everything else is computed: at most 255 hashes are read for each eight levels. Nothing here is
believed because it is stored; `verify` computes every tile anew, and a proof is checked by whoever
gets it. Source: C2SP tlog-tiles, whose tiles have as many levels.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from executor.audit.errors import AuditDamaged
from executor.audit.merkle import TILE_LEVELS, Edge, Tile, edge, node_hash
from executor.audit.record import Head


@dataclass(frozen=True, slots=True)
class StoredTree:
    """
    The tree in `db`: leaf 0 is the hash of the store's identity, leaf n is record n. Leaves from
    number `base` on that are before the file's own records are in `carried`; older ones are found
    by `earlier`, which gets the first and the last number, where there is such a thing.
    """

    db: sqlite3.Connection
    base: int
    carried: tuple[bytes, ...]
    earlier: Callable[[int, int], list[bytes]] | None = None

    def subtree(self, level: int, number: int) -> bytes:
        """
        As `merkle.Subtrees` says. Raises AuditDamaged when the hashes are not all there.
        """
        stored = level - level % TILE_LEVELS
        count = 1 << (level - stored)
        hashes = self._stored(stored, number * count, count)
        while len(hashes) > 1:
            pairs = zip(hashes[::2], hashes[1::2], strict=True)
            hashes = [node_hash(left, right) for left, right in pairs]
        return hashes[0]

    def edge(self, head: Head) -> Edge:
        """
        The edge of the tree that ends with record `head.sequence`.

        Raises AuditDamaged when its root is not the head's.
        """
        found = edge(self, head.sequence + 1)
        if found.root != head.hash:
            raise AuditDamaged(
                f"audit store: the records up to {head.sequence} do not have the root that is "
                "stored with the last of them"
            )
        return found

    def _stored(self, level: int, first: int, count: int) -> list[bytes]:
        if level == 0:
            found = self._leaves(first, first + count - 1)
        else:
            query = (
                "SELECT hash FROM tile WHERE level = ? AND number BETWEEN ? AND ? ORDER BY number"
            )
            rows = self.db.execute(query, (level, first, first + count - 1)).fetchall()
            found = [value for (value,) in rows]
        if len(found) != count or not all(type(value) is bytes for value in found):
            raise AuditDamaged(
                f"audit store: {count} hashes of level {level} were looked for, from number "
                f"{first} on; {len(found)} are there"
            )
        return found

    def _leaves(self, first: int, last: int) -> list[bytes]:
        found: list[bytes] = []
        if first < self.base:
            if self.earlier is None:
                raise AuditDamaged(f"audit store: leaf {first} is in an earlier file")
            found += self.earlier(first, min(last, self.base - 1))
        own = self.base + len(self.carried)
        found += self.carried[max(0, first - self.base) : max(0, last + 1 - self.base)]
        query = "SELECT hash FROM record WHERE sequence BETWEEN ? AND ? ORDER BY sequence"
        rows = self.db.execute(query, (max(first, own), last)).fetchall()
        return [*found, *(value for (value,) in rows)]


def stored_tile(db: sqlite3.Connection, tile: Tile) -> bytes | None:
    """
    The hash that the store has for this tile, if any.
    """
    row = db.execute(
        "SELECT hash FROM tile WHERE level = ? AND number = ?", (tile.level, tile.number)
    ).fetchone()
    return None if row is None else row[0]


def count_tiles(db: sqlite3.Connection) -> int:
    """
    How many tiles the store has.
    """
    (count,) = db.execute("SELECT count(*) FROM tile").fetchone()
    return int(count)
