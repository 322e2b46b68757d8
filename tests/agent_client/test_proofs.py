"""
The client's own check of proofs, against the server's implementation and against lies.
"""

import asyncio
import hashlib
import random

import pytest

import agent_client
from agent_client.proofs import proves_growth, proves_inclusion
from agent_client.records import AuditHead
from codecage.v1 import codecage_pb2 as pb
from executor.audit import merkle

SIZES = range(1, 34)


class Tree:
    """
    A tree of all its leaves, which has the hash of any whole subtree.
    """

    def __init__(self, size):
        self.leaves = [hashlib.sha256(bytes((n,))).digest() for n in range(size)]

    def subtree(self, level, number):
        found = self.leaves[number << level : (number + 1) << level]
        while len(found) > 1:
            found = [merkle.node_hash(a, b) for a, b in zip(found[::2], found[1::2], strict=True)]
        return found[0]

    def root(self, size):
        return merkle.edge(self, size).root


TREE = Tree(max(SIZES))


def variants(path):
    """
    What a liar might send instead.
    """
    for place in range(len(path)):
        yield [*path[:place], bytes(32), *path[place + 1 :]]
        yield [*path[:place], *path[place + 1 :]]
        yield [*path[:place], path[place][:31], *path[place + 1 :]]
    yield [*path, bytes(32)]
    yield [bytes(32), *path]
    if len(path) > 1 and path[0] != path[-1]:
        yield list(reversed(path))


@pytest.mark.parametrize("size", SIZES)
def test_each_leaf_of_each_tree_is_proved_and_nothing_else_is(size):
    root = TREE.root(size)
    for index in range(size):
        path, leaf = merkle.inclusion_proof(TREE, index, size), TREE.leaves[index]
        assert proves_inclusion(path, leaf, index, size, root)
        for wrong in variants(path):
            assert not proves_inclusion(wrong, leaf, index, size, root)
        assert not proves_inclusion(path, bytes(32), index, size, root)
        assert not proves_inclusion(path, leaf, index, size, bytes(32))
        assert not proves_inclusion(path, leaf, -1, size, root)
        assert not proves_inclusion(path, leaf, size, size, root)


@pytest.mark.parametrize("second", SIZES)
def test_each_earlier_tree_is_proved_to_begin_each_later_one_and_nothing_else_is(second):
    new = TREE.root(second)
    for first in range(1, second + 1):
        path, old = merkle.consistency_proof(TREE, first, second), TREE.root(first)
        assert proves_growth(path, first, old, second, new)
        for wrong in variants(path):
            assert not proves_growth(wrong, first, old, second, new)
        assert not proves_growth(path, first, bytes(32), second, new)
        assert not proves_growth(path, first, old, second, bytes(32))
        assert not proves_growth(path, 0, old, second, new)
        assert not proves_growth(path, second + 1, old, second, new)


def test_both_implementations_agree_about_wrong_sizes_and_odd_paths():
    pick = random.Random(8)
    for _ in range(3000):
        first, second = pick.choice(SIZES), pick.choice(SIZES)
        length = pick.randrange(7)
        path = [pick.choice(TREE.leaves) for _ in range(length)]
        if first <= second and pick.random() < 0.5:
            path = list(merkle.consistency_proof(TREE, first, second))
        sizes = first + pick.randrange(-1, 2), second + pick.randrange(-1, 2)
        roots = TREE.root(first), TREE.root(second)
        told = (path, sizes[0], roots[0], sizes[1], roots[1])
        assert proves_growth(*told) == merkle.proves_consistency(*told)


def test_a_path_without_end_is_no_proof():
    endless = [bytes(32)] * 100_000
    assert not proves_growth(endless, 3, bytes(32), 2**63, bytes(32))
    assert not proves_inclusion(endless, bytes(32), 3, 2**63, bytes(32))


HELD = AuditHead(4, TREE.root(5))


@pytest.mark.parametrize(
    "told",
    [
        pb.ReadProofResponse(),
        pb.ReadProofResponse(head=pb.AuditHead(sequence=9, hash=TREE.root(10))),
        pb.ReadProofResponse(head=pb.AuditHead(sequence=3, hash=TREE.root(4))),
        pb.ReadProofResponse(head=pb.AuditHead(sequence=4, hash=bytes(32))),
        pb.ReadProofResponse(head=pb.AuditHead(sequence=2**64 - 1, hash=b"x"), path=[b""] * 9),
    ],
)
def test_a_server_that_proves_nothing_is_not_believed(server, cage, told):
    server.proof = told
    with pytest.raises(agent_client.RecordChanged, match="not shown to extend"):
        cage.verify(HELD)

    async def twin():
        async with agent_client.connect_async(server.address) as again:
            with pytest.raises(agent_client.RecordChanged):
                await again.verify(HELD)

    asyncio.run(twin())


def test_a_server_that_proves_it_is_believed(server, cage):
    path = merkle.consistency_proof(TREE, 5, 10)
    server.proof = pb.ReadProofResponse(
        head=pb.AuditHead(sequence=9, hash=TREE.root(10)), path=path
    )
    now = AuditHead(9, TREE.root(10))
    assert cage.verify(HELD) == now

    async def twin():
        async with agent_client.connect_async(server.address) as again:
            assert await again.verify(HELD) == now

    asyncio.run(twin())


def test_a_server_cannot_leave_a_record_of_the_session_unproved(server, cage, session):
    path = merkle.consistency_proof(TREE, 5, 10)
    server.proof = pb.ReadProofResponse(
        head=pb.AuditHead(sequence=9, hash=TREE.root(10)), path=path
    )
    with pytest.raises(agent_client.RecordChanged, match="record 1 is not shown to be under 9:"):
        session.verify(HELD)


@pytest.mark.parametrize("held", [AuditHead(4, b""), AuditHead(-1, bytes(32))])
def test_what_is_no_head_is_not_asked_about(cage, held):
    with pytest.raises(agent_client.InvalidRequest, match="no head"):
        cage.verify(held)
