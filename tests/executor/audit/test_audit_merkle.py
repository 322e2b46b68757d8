"""
The tree against the published vectors, against a slow reference, and against forged proofs.
"""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.audit.merkle import (
    Edge,
    Tile,
    consistency_proof,
    edge,
    inclusion_proof,
    leaf_hash,
    node_hash,
    proves_consistency,
    proves_inclusion,
)

# The eight leaves and the roots over the first n of them that implementations of RFC 6962 and
# RFC 9162 (whose trees are the same) test with.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


class Slow:
    """
    A tree that computes everything from its leaves' hashes, as the RFC defines it.
    """

    def __init__(self, leaves):
        self.leaves = leaves

    def subtree(self, level, number):
        return slow_root(self.leaves[number << level : (number + 1) << level])


def slow_root(leaves):
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(slow_root(leaves[:split]), slow_root(leaves[split:]))


def numbered(count):
    return [leaf_hash(b"%d" % number) for number in range(count)]


def pushed(leaves):
    grown, tiles = Edge(), []
    for leaf in leaves:
        grown, more = grown.push(leaf)
        tiles += more
    return grown, tiles


def test_the_roots_over_the_published_leaves_are_the_published_ones():
    grown = Edge()
    assert grown.root == hashlib.sha256().digest()
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        grown, _ = grown.push(leaf_hash(leaf))
        assert grown.root.hex() == root


def test_a_leaf_and_a_node_over_the_same_bytes_differ():
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)


@pytest.mark.parametrize("count", [*range(1, 40), 255, 256, 257, 1000])
def test_the_edge_has_the_root_of_the_definition_and_can_be_found_again(count):
    leaves = numbered(count)
    grown, _ = pushed(leaves)
    assert (grown.size, grown.root) == (count, slow_root(leaves))
    assert edge(Slow(leaves), count) == grown


@pytest.mark.parametrize("before", [0, 1, 7, 255, 300])
def test_many_leaves_at_once_grow_the_edge_as_one_after_another_do(before):
    leaves = numbered(before + 600)
    start, _ = pushed(leaves[:before])
    grown, roots, tiles = start.grow(leaves[before:])
    assert (grown, tiles) == (pushed(leaves)[0], pushed(leaves)[1][before // 256 :])
    assert roots[::50] == [
        slow_root(leaves[:count]) for count in range(before + 1, before + 601, 50)
    ]
    assert start.grow([]) == (start, [], [])


def test_tiles_are_told_when_they_are_whole_and_only_then():
    leaves = numbered(1000)
    _, tiles = pushed(leaves)
    assert tiles == [Tile(8, n, slow_root(leaves[n * 256 : n * 256 + 256])) for n in range(3)]


def test_a_tile_of_the_next_level_comes_with_the_last_one_below_it():
    # The edge is all that counts: one that stands just before the end of a tile of level 16.
    peaks = tuple(leaf_hash(b"%d" % level) for level in range(16))
    grown, tiles = Edge(2**16 - 1, peaks).push(leaf_hash(b"last"))
    assert [(tile.level, tile.number) for tile in tiles] == [(8, 255), (16, 0)]
    assert tiles[1].hash == grown.root == grown.peaks[0]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 33, 100])
def test_every_leaf_of_every_tree_is_proved_and_no_other_in_its_place(size):
    leaves = numbered(size)
    root, tree = slow_root(leaves), Slow(leaves)
    for index in range(size):
        proof = inclusion_proof(tree, index, size)
        assert proves_inclusion(proof, leaves[index], index, size, root)
        assert not proves_inclusion(proof, leaf_hash(b"other"), index, size, root)
        assert not proves_inclusion(proof, leaves[index], index + 1, size, root)
        assert not proves_inclusion(proof, leaves[index], index, size, leaf_hash(b"root"))
        assert not proves_inclusion((*proof, root), leaves[index], index, size, root)
        assert not proof or not proves_inclusion(proof[:-1], leaves[index], index, size, root)


@pytest.mark.parametrize("second", [1, 2, 3, 7, 8, 9, 33, 70])
def test_every_tree_is_proved_to_begin_with_every_smaller_one_and_with_no_other(second):
    leaves = numbered(second)
    tree, root = Slow(leaves), slow_root(leaves)
    for first in range(1, second + 1):
        old = slow_root(leaves[:first])
        other = slow_root([*leaves[: first - 1], leaf_hash(b"other")])
        proof = consistency_proof(tree, first, second)
        assert proves_consistency(proof, first, old, second, root)
        assert not proves_consistency(proof, first, other, second, root)
        assert not proves_consistency(proof, first, old, second, other)
        assert not proves_consistency((*proof, root), first, old, second, root)
        assert not proves_consistency(proof[:-1], first, old, second, root) or not proof


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 200), st.data())
def test_a_proof_with_one_bit_changed_proves_nothing(size, data):
    leaves = numbered(size)
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(Slow(leaves), index, size)
    if not proof:
        return
    step = data.draw(st.integers(0, len(proof) - 1))
    bit = data.draw(st.integers(0, 255))
    changed = bytearray(proof[step])
    changed[bit // 8] ^= 1 << bit % 8
    forged = (*proof[:step], bytes(changed), *proof[step + 1 :])
    assert not proves_inclusion(forged, leaves[index], index, size, slow_root(leaves))


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_no_proof_is_made_for_a_leaf_that_is_not_there(index, size):
    with pytest.raises(ValueError, match="not among the first"):
        inclusion_proof(Slow(numbered(3)), index, size)
    assert not proves_inclusion((), leaf_hash(b""), index, size, leaf_hash(b""))


@pytest.mark.parametrize(("first", "second"), [(0, 3), (3, 2), (-1, 1)])
def test_no_proof_is_made_for_a_tree_that_is_no_beginning(first, second):
    with pytest.raises(ValueError, match="no beginning"):
        consistency_proof(Slow(numbered(3)), first, second)
    assert not proves_consistency((), first, b"", second, b"")
