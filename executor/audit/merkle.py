"""
The tree over the records: hashes, its growing edge, and proofs that need no trust in the store.

Leaf hashes and node hashes begin with different bytes, so no record can pass for a node. The root
after record n commits to all records up to n, in order; an inclusion proof shows that a record
is under a root, a consistency proof that one root's records are the first of another's.
Source: RFC 9162, section 2.1.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, Self

TILE_LEVELS: Final = 8
"""A tile is a whole subtree of so many levels: the store keeps the hashes of these alone."""
TILE_LEAVES: Final = 1 << TILE_LEVELS

# How the hash of a leaf and that of a node begin: copied for each, which is half of a beginning.
_LEAF: Final = hashlib.sha256(b"\x00")
_NODE: Final = hashlib.sha256(b"\x01")


def leaf_hash(data: bytes) -> bytes:
    """
    The hash of a leaf.
    """
    leaf = _LEAF.copy()
    leaf.update(data)
    return leaf.digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """
    The hash of a node over two subtrees.
    """
    node = _NODE.copy()
    node.update(left + right)
    return node.digest()


@dataclass(frozen=True, slots=True)
class Tile:
    """
    A subtree that is whole: 2**`level` leaves, from leaf `number` * 2**`level` on.
    """

    level: int
    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Edge:
    """
    The right edge of a tree of `size` leaves: the hashes of its whole subtrees, largest first.

    It is all that is needed to add leaves and to know the root.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def push(self, leaf: bytes) -> tuple[Self, tuple[Tile, ...]]:
        """
        The edge with one more leaf (its hash), and the tiles that are whole by it.
        """
        peaks = [*self.peaks]
        tiles = _push(peaks, self.size, leaf)
        return type(self)(self.size + 1, tuple(peaks)), tuple(tiles)

    def grow(self, leaves: Sequence[bytes]) -> tuple[Self, list[bytes], list[Tile]]:
        """
        The edge with more leaves (their hashes), the root after each, and the tiles that are
        whole by them.
        """
        peaks, roots, tiles = [*self.peaks], [], []
        for size, leaf in enumerate(leaves, self.size):
            tiles += _push(peaks, size, leaf)
            roots.append(_root(peaks))
        return type(self)(self.size + len(leaves), tuple(peaks)), roots, tiles

    @property
    def root(self) -> bytes:
        """
        The root hash of the tree; that of an empty tree is the hash of nothing.
        """
        return _root(self.peaks) if self.peaks else hashlib.sha256().digest()


def _push(peaks: list[bytes], size: int, leaf: bytes) -> list[Tile]:
    """
    Add a leaf to the peaks of a tree of `size` leaves; the tiles that are whole by it.
    """
    tiles, top, level = [], leaf, 0
    while size >> level & 1:
        top = node_hash(peaks.pop(), top)
        level += 1
        if level % TILE_LEVELS == 0:
            tiles.append(Tile(level, size >> level, top))
    peaks.append(top)
    return tiles


def _root(peaks: Sequence[bytes]) -> bytes:
    root = peaks[-1]
    for peak in peaks[-2::-1]:
        root = node_hash(peak, root)
    return root


def whole_tiles(size: int) -> int:
    """
    How many tiles, of all levels, are whole in a tree of `size` leaves.
    """
    count = 0
    while size := size >> TILE_LEVELS:
        count += size
    return count


class Subtrees(Protocol):
    """
    Where hashes of whole subtrees come from.
    """

    def subtree(self, level: int, number: int) -> bytes:
        """
        The hash over 2**`level` leaves from leaf `number` * 2**`level` on.
        """


def edge(trees: Subtrees, size: int) -> Edge:
    """
    The edge of the first `size` leaves.
    """
    peaks, start = [], 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            peaks.append(trees.subtree(level, start >> level))
            start += 1 << level
    return Edge(size, tuple(peaks))


def inclusion_proof(trees: Subtrees, index: int, size: int) -> tuple[bytes, ...]:
    """
    What shows that leaf `index` (from 0) is in the tree of the first `size` leaves.

    ValueError when it is not. Source: RFC 9162, section 2.1.3.1.
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not among the first {size}")
    path, start, end = [], 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_hash_of(trees, middle, end))
            end = middle
        else:
            path.append(_hash_of(trees, start, middle))
            start = middle
    return tuple(reversed(path))


def consistency_proof(trees: Subtrees, first: int, second: int) -> tuple[bytes, ...]:
    """
    What shows that the tree of `first` leaves (at least 1) is the beginning of that of `second`.

    ValueError when it cannot be. Source: RFC 9162, section 2.1.4.1.
    """
    if not 1 <= first <= second:
        raise ValueError(f"a tree of {first} leaves is no beginning of one of {second}")
    path: list[bytes] = []
    start, end, known = 0, second, True
    while first != end - start:
        middle = _split(end - start)
        if first <= middle:
            path.append(_hash_of(trees, start + middle, end))
            end = start + middle
        else:
            path.append(_hash_of(trees, start, start + middle))
            start, first, known = start + middle, first - middle, False
    # Where the older tree is a subtree of the newer, whoever checks knows its root already.
    last = () if known else (_hash_of(trees, start, end),)
    return (*last, *reversed(path))


def proves_inclusion(
    proof: Sequence[bytes], leaf: bytes, index: int, size: int, root: bytes
) -> bool:
    """
    Whether the proof shows that `leaf` is leaf `index` of the tree of `size` leaves with `root`.

    Source: RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size:
        return False
    place, last, found = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(step, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, step)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def proves_consistency(
    proof: Sequence[bytes], first: int, first_root: bytes, second: int, second_root: bytes
) -> bool:
    """
    Whether the proof shows that the `first` leaves under one root are the first of `second`
    leaves under the other.

    Source: RFC 9162, section 2.1.4.2.
    """
    if first == second:
        return first >= 1 and not proof and first_root == second_root
    if not 1 <= first < second or not proof:
        return False
    steps = list(proof)
    if first & (first - 1) == 0:
        steps.insert(0, first_root)
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, step)
        place, last = place >> 1, last >> 1
    return last == 0 and (old, new) == (first_root, second_root)


def _split(count: int) -> int:
    """
    The largest power of two below `count`, which is at least 2.
    """
    return 1 << ((count - 1).bit_length() - 1)


def _hash_of(trees: Subtrees, start: int, end: int) -> bytes:
    """
    The hash over the leaves from `start` to before `end`, as they stand in some tree.
    """
    count = end - start
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return trees.subtree(level, start >> level)
    middle = start + _split(count)
    return node_hash(_hash_of(trees, start, middle), _hash_of(trees, middle, end))
