"""
Checking the server's proofs about its record: nothing here trusts the server, or shares its code.

The record is a Merkle tree, and a head its root. Source: RFC 9162, sections 2.1.3.2 and 2.1.4.2.
"""

import hashlib
from collections.abc import Sequence

_HASH = 32
# A tree of 2**64 leaves is no higher.
_LONGEST = 130


def proves_inclusion(
    path: Sequence[bytes], leaf: bytes, index: int, size: int, root: bytes
) -> bool:
    """
    Whether `path` leads from `leaf`, number `index` (from 0) of `size`, to `root`.
    """
    if not (0 <= index < size and _are_hashes([*path, leaf, root])):
        return False
    found, rest = _from_leaf(list(path), leaf, index, size)
    return found == root and not rest


def proves_growth(
    path: Sequence[bytes], first: int, first_root: bytes, second: int, second_root: bytes
) -> bool:
    """
    Whether `path` shows that the `first` leaves under one root begin the `second` under the other.
    """
    if not (1 <= first <= second and _are_hashes([*path, first_root, second_root])):
        return False
    if first == second:
        return not path and first_root == second_root
    roots = _both(list(path), first, second, first_root, whole=True)
    return roots == (first_root, second_root, 0)


def _from_leaf(
    path: list[bytes], leaf: bytes, index: int, size: int
) -> tuple[bytes | None, list[bytes]]:
    """
    The root of a tree of `size` leaves by its leaf and the first hashes of `path`; what is left.
    """
    if size == 1:
        return leaf, path
    left = _left(size)
    if index < left:
        found, rest = _from_leaf(path, leaf, index, left)
    else:
        found, rest = _from_leaf(path, leaf, index - left, size - left)
    if found is None or not rest:
        return None, []
    beside, *rest = rest
    return (_node(found, beside) if index < left else _node(beside, found)), rest


def _both(
    path: list[bytes], first: int, size: int, first_root: bytes, *, whole: bool
) -> tuple[bytes, bytes, int] | None:
    """
    The roots of the `first` leaves and of all `size`, by the hashes of `path`, and how many of
    those were not used; `whole` says that the `first` are all of the older tree.
    """
    if first == size:
        # Where the older tree is all of this one, its root is known and not sent.
        known = first_root if whole else (path.pop(0) if path else None)
        return None if known is None else (known, known, len(path))
    left, beside = _left(size), path.pop() if path else None
    if beside is None:
        return None
    if first <= left:
        found = _both(path, first, left, first_root, whole=whole)
        return found and (found[0], _node(found[1], beside), found[2])
    found = _both(path, first - left, size - left, first_root, whole=False)
    return found and (_node(beside, found[0]), _node(beside, found[1]), found[2])


def _left(size: int) -> int:
    return 1 << ((size - 1).bit_length() - 1)


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _are_hashes(values: Sequence[bytes]) -> bool:
    return len(values) <= _LONGEST and all(len(value) == _HASH for value in values)
