"""
The kernel's requests as bytes: each shape is taken apart as it is, and nothing else is.
"""

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codecage.worker.v1 import worker_pb2 as wire
from executor.process import fuse_protocol as fuse
from executor.process.fuse_acts import ACTS, Passed, Tree
from executor.process.fuse_nodes import (
    FILES_MAX,
    Fault,
    Files,
    Nodes,
    OpenFile,
    Room,
    inode_of,
    path_of,
)
from executor.process.fuse_protocol import SHAPES, Malformed, Opcode, Request
from executor.process.fuse_refusals import REFUSED
from executor.process.supervisor_attach import Attach, ServedMount

HEADER = struct.Struct("<IIQQIIIHH")


def request(opcode, body=b"", *, node=1, unique=7, length=None, extensions=0):
    size = HEADER.size + len(body) if length is None else length
    return memoryview(HEADER.pack(size, opcode, unique, node, 0, 0, 0, extensions, 0) + body)


def tree(limit=100):
    return Tree(Nodes("/data", Room(None, limit), wire.KIND_DIRECTORY), Files(), 1000, 2**20, 10)


def test_every_opcode_of_the_kernel_has_a_row_that_acts_or_refuses():
    own = {Opcode.INIT, Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT, Opcode.DESTROY}
    assert set(ACTS) | set(REFUSED) | own == set(Opcode)
    assert not set(ACTS) & set(REFUSED)
    assert set(ACTS) <= set(SHAPES)
    assert all(reason for _, reason in REFUSED.values())


def test_a_request_of_each_shape_is_taken_apart():
    for opcode, shape in SHAPES.items():
        body = bytes(shape.fixed.size) + b"n\0" * shape.names
        found = fuse.parse(request(opcode, body))
        assert (found.opcode, found.unique, found.node) == (opcode, 7, 1)
        assert found.names == (b"n",) * shape.names


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 39,
        request(Opcode.LOOKUP, b"a\0", length=41),
        request(Opcode.LOOKUP, b"a\0", extensions=1),
        request(Opcode.LOOKUP, b"a"),
        request(Opcode.LOOKUP, b"a\0b\0"),
        request(Opcode.LOOKUP, b"\0"),
        request(Opcode.LOOKUP, b""),
        request(Opcode.RENAME, bytes(8) + b"a\0"),
        request(Opcode.READ, bytes(39)),
        request(Opcode.READ, bytes(41)),
        request(Opcode.GETATTR, bytes(17)),
    ],
)
def test_a_request_that_is_not_of_its_shape_is_malformed(data):
    with pytest.raises(Malformed):
        fuse.parse(memoryview(data))


@given(st.binary(max_size=200), st.integers(0, 60))
def test_any_bytes_are_a_request_or_malformed_and_never_another_error(body, opcode):
    for data in (memoryview(body), request(opcode, body)):
        try:
            found = fuse.parse(data)
        except Malformed:
            continue
        assert isinstance(found, Request)


@given(
    st.sampled_from(sorted(ACTS)),
    st.binary(max_size=100),
    st.lists(
        st.one_of(
            st.just(wire.Answer()),
            st.builds(lambda n: wire.Answer(data=bytes(n)), st.integers(0, 300)),
            st.just(wire.Answer(status=wire.FileStatus(kind=wire.KIND_FILE, mode=0o600))),
            st.just(wire.Answer(opened=wire.Opened(handle=3))),
            st.just(Fault(errno.ENOENT)),
        ),
        min_size=12,
        max_size=12,
    ),
)
def test_an_act_on_any_request_and_any_answers_ends_in_a_result_or_a_refusal(opcode, body, answers):
    shape = SHAPES[opcode]
    body = (body + bytes(shape.fixed.size))[: shape.fixed.size] + b"n\0" * shape.names
    served = tree()
    served.nodes.found(served.nodes.get(1), "n", wire.KIND_FILE)
    try:
        steps = ACTS[opcode](served, fuse.parse(request(opcode, body, node=1 + len(body) % 3)))
        asked = next(steps)
        for answer in answers:
            assert asked.WhichOneof("ask"), "it waits, and has asked for nothing"
            refused = isinstance(answer, Fault)
            asked = steps.throw(answer) if refused else steps.send(Passed(answer))
    except StopIteration as over:
        assert len(over.value.data) <= fuse.READ_MAX
        assert len(served.files) == bool(over.value.handle)
    except (Fault, Malformed):
        assert not len(served.files)
    else:
        steps.close()


@pytest.mark.parametrize(
    ("opcode", "size", "brings"),
    [
        (Opcode.WRITE, 5, 4),
        (Opcode.WRITE, 3, 4),
        (Opcode.WRITE, fuse.WRITE_MAX + 1, fuse.WRITE_MAX + 1),
        (Opcode.READ, fuse.READ_MAX + 1, 0),
    ],
)
def test_more_than_was_agreed_on_or_than_is_there_is_neither_read_nor_written(opcode, size, brings):
    served = tree()
    served.files.add(OpenFile(served.nodes.get(1), handle=3, writes=True))
    body = struct.pack("<QQIIQII", 1, 0, size, 0, 0, 0, 0) + bytes(brings)
    with pytest.raises(Malformed):
        next(ACTS[opcode](served, fuse.parse(request(opcode, body))))


@pytest.mark.parametrize(
    ("opcode", "body"),
    [(Opcode.OPENDIR, bytes(8)), (Opcode.OPEN, bytes(8)), (Opcode.CREATE, bytes(16) + b"n\0")],
)
def test_no_more_files_and_directories_are_open_than_the_table_holds(opcode, body):
    served = tree()
    for _ in range(FILES_MAX - 1):
        served.files.add(OpenFile(served.nodes.get(1)))
    served.files.require_room()
    served.files.add(OpenFile(served.nodes.get(1)))
    with pytest.raises(Fault, match=f"{FILES_MAX} served files are open"):
        next(ACTS[opcode](served, fuse.parse(request(opcode, body))))


def test_forgetting_takes_a_node_and_its_room_away_and_lookups_keep_them():
    served = tree(limit=2)
    root = served.nodes.get(1)
    one = served.nodes.found(root, "a", wire.KIND_FILE)
    assert served.nodes.found(root, "a", wire.KIND_FILE) is one
    served.nodes.found(root, "b", wire.KIND_FILE)
    with pytest.raises(Fault):
        served.nodes.found(root, "c", wire.KIND_FILE)
    served.nodes.forget(one.number, 1)
    with pytest.raises(Fault):
        served.nodes.found(root, "c", wire.KIND_FILE)
    served.nodes.forget(one.number, 1)
    assert served.nodes.found(root, "c", wire.KIND_FILE).number not in {1, one.number}
    pairs = fuse.parse(request(Opcode.BATCH_FORGET, struct.pack("<IIQQ", 1, 0, 5, 2)))
    assert fuse.forgotten(pairs) == [(5, 2)]
    with pytest.raises(Malformed):
        fuse.forgotten(fuse.parse(request(Opcode.BATCH_FORGET, struct.pack("<IIQQ", 2, 0, 5, 2))))


def test_room_is_taken_of_a_session_and_of_all_and_given_back_with_the_mount():
    everybody = Room(None, 3)
    one, other = (Nodes("/data", Room(everybody, 2), wire.KIND_DIRECTORY) for _ in range(2))
    for name in ("a", "b"):
        one.found(one.get(1), name, wire.KIND_FILE)
    with pytest.raises(Fault, match="too many names"):
        one.found(one.get(1), "c", wire.KIND_FILE)
    other.found(other.get(1), "a", wire.KIND_FILE)
    with pytest.raises(Fault, match="too many names"):
        other.found(other.get(1), "b", wire.KIND_FILE)
    one.close()
    other.found(other.get(1), "b", wire.KIND_FILE)
    assert everybody.taken == 2


def test_a_name_that_becomes_another_kind_of_object_is_another_node():
    served = tree()
    root = served.nodes.get(1)
    file = served.nodes.found(root, "a", wire.KIND_FILE)
    directory = served.nodes.found(root, "a", wire.KIND_DIRECTORY)
    assert file is not directory
    assert path_of(directory) == "/data/a"
    with pytest.raises(Fault):
        path_of(file)


def test_renaming_a_directory_moves_what_is_below_it():
    served = tree()
    root = served.nodes.get(1)
    directory = served.nodes.found(root, "a", wire.KIND_DIRECTORY)
    below = served.nodes.found(directory, "f", wire.KIND_FILE)
    replaced = served.nodes.found(root, "b", wire.KIND_FILE)
    served.nodes.renamed(root, "a", root, "b")
    assert path_of(below) == "/data/b/f"
    with pytest.raises(Fault):
        path_of(replaced)


def test_a_kernel_older_than_ours_is_refused_and_ours_gets_only_what_we_know():
    body = struct.pack("<4I", 7, 30, 4096, 0xFFFF_FFFF)
    with pytest.raises(Malformed):
        fuse.agreed(fuse.parse(request(Opcode.INIT, body)))
    body = struct.pack("<4I", 7, 45, 4096, 0xFFFF_FFFF) + bytes(48)
    answer = fuse.agreed(fuse.parse(request(Opcode.INIT, body)))
    assert len(answer) == 64
    flags = struct.unpack_from("<4I", answer)[3]
    assert flags == sum(fuse.Feature)
    assert not flags & (1 << 1 | 1 << 10 | 1 << 16)  # no locks of the host's, no writeback


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"mounts": [["data", 1, 1]], "watched": true}',
        b'{"mounts": [["/data", -1, 1]], "watched": true}',
        b'{"mounts": [["/data", 1]], "watched": true}',
        b'{"mounts": [], "watched": 1}',
        b'{"mounts": [], "watched": true, "more": 1}',
    ],
)
def test_a_session_that_is_handed_over_in_another_form_is_refused(data):
    good = Attach((ServedMount("/data", 5, 6),), watched=True)
    assert Attach.unpack(good.pack()) == good
    assert good.descriptors == 3
    with pytest.raises(ValueError):  # noqa: PT011 - JSON has its own subclass
        Attach.unpack(data)


def test_numbers_of_objects_are_a_function_of_the_path_and_never_zero():
    assert inode_of("/data/a") == inode_of("/data/a") != inode_of("/data/b")
    assert 0 < inode_of("/") < 2**63
