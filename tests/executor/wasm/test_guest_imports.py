"""
The table of imports is total, and every row keeps its word whatever integers it is given.

Each row is called with hostile integers (W07, W18, W19, W20): the answer must fit the row's
type, an error must leave memory as it was, and the only exception that may come out is the
guest's own end. What green does not prove: that the answers are the right ones; the tests by
topic do.
"""

import itertools
import os
import random
import struct

import pytest
import wasmtime

from executor.images import sealed
from executor.images.manifest import PYTHON
from executor.wasm import engine, imports, jsffi
from executor.wasm.abi import Errno
from executor.wasm.imports import Failure, Support
from executor.wasm.linkage import signature_of
from executor.wasm.memory import TRANSFER_MAX
from executor.wasm.process import Exited
from tests.executor.wasm.tiny_kernel import PAGE, ROWS, Gate, Kernel

ENDS_THE_GUEST = {"proc_exit", "exit", "_abort_js", "__assert_fail"}
HOSTILE_32 = (0, 1, 5, PAGE - 1, PAGE, 2**31 - 1, 2**31, 2**32 - 100, 2**32 - 1)
HOSTILE_64 = (0, 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
HOSTILE_DOUBLE = (0.0, -1.0, float("nan"), float("inf"), 1e308)
RANDOM_CALLS = 60


def hostile(kind):
    return {"i": HOSTILE_32, "I": HOSTILE_64, "d": HOSTILE_DOUBLE, "r": (0,)}[kind]


def argument_lists(row):
    """
    Every argument alike, each argument hostile while the others are harmless, and random ones.
    """
    kinds = row.signature.partition(">")[0]
    dice = random.Random(row.name)
    yield from zip(*map(hostile, kinds), strict=False) if kinds else [()]
    for index, kind in enumerate(kinds):
        for value in hostile(kind):
            yield tuple(value if i == index else 3 for i in range(len(kinds)))
    for _ in range(RANDOM_CALLS):
        yield tuple(
            dice.choice(hostile(kind)) if dice.random() < 0.5 else dice.randrange(2**16)
            for kind in kinds
        )


def fits(row, answer):
    result = row.signature.partition(">")[2]
    if result in {"", "r"}:
        return True
    if result == "d":
        return isinstance(answer, float)
    low, high = (-(2**31), 2**32) if result == "i" else (-(2**63), 2**64)
    return isinstance(answer, int) and low <= answer < high


@pytest.mark.parametrize("name", sorted(ROWS))
def test_w07_every_row_survives_hostile_integers(name):
    row, kernel = ROWS[name], Kernel()
    bound = row.bind(kernel.process)
    kernel.tiny.guest.write(0, random.Random(7).randbytes(PAGE))
    ended = 0
    for arguments in argument_lists(row):
        before = kernel.tiny.bytes()
        try:
            answer = bound(*arguments)
        except Exited as exited:
            assert name in ENDS_THE_GUEST
            assert 0 <= exited.code <= 255
            ended += 1
            continue
        assert fits(row, answer), (arguments, answer)
        if failed(row, answer):
            assert kernel.tiny.bytes() == before, (arguments, answer)
    assert (ended > 0) == (name in ENDS_THE_GUEST)


def failed(row, answer):
    if row.failure is Failure.NEGATED:
        return isinstance(answer, int) and answer < 0
    return row.failure is Failure.POSITIVE and answer != 0


def test_there_is_a_row_for_each_of_254_and_14_functions():
    modules = [row.module for row in imports.ROWS]
    assert (modules.count(imports.ENV), modules.count(imports.WASI)) == (254, 14)
    assert len(ROWS) == len(imports.ROWS) == imports.FUNCTIONS == 268


@pytest.mark.image
def test_the_compiled_module_wants_exactly_the_rows_with_their_signatures(image):
    """
    S01, and totality in both directions, without booting.
    """
    descriptor = sealed.open_module(image, PYTHON)
    try:
        module = wasmtime.Module.deserialize_file(
            engine.new_engine(), f"/proc/self/fd/{descriptor}"
        )
    finally:
        os.close(descriptor)
    functions = {
        (wanted.module, wanted.name): signature_of(wanted.type)
        for wanted in module.imports
        if isinstance(wanted.type, wasmtime.FuncType)
    }
    others = [w for w in module.imports if not isinstance(w.type, wasmtime.FuncType)]
    assert functions == {(row.module, row.name): row.signature for row in imports.ROWS}
    assert len(others) == imports.GOT_GLOBALS == 280
    assert {wanted.module for wanted in others} == {imports.GOT}


def test_every_row_that_is_not_whole_says_why():
    for row in imports.ROWS:
        assert bool(row.note) == (row.support is not Support.FULL) or row.failure is Failure.VALUE
        if row.support in {Support.PARTIAL, Support.CONSTANT, Support.REFUSED}:
            assert row.note, row.name


# Refused, and judged first.
JUDGED = {"__syscall_accept4", "__syscall_bind", "__syscall_listen"}


def test_a_row_with_a_handler_is_never_called_refused_and_one_without_never_supported():
    for row in imports.ROWS:
        refused = row.support in {Support.REFUSED, Support.CONSTANT}
        assert (row.act is None) == (refused and row.name not in JUDGED), row.name


def test_errors_are_answered_by_the_convention_of_the_module():
    for row in imports.ROWS:
        if row.act is not None and row.module == imports.WASI and ">i" in row.signature:
            assert row.failure is Failure.POSITIVE, row.name
        if row.name.startswith("__syscall_") and row.act is not None:
            assert row.failure in {Failure.NEGATED, Failure.VALUE}, row.name


@pytest.mark.parametrize(
    "row",
    [row for row in imports.ROWS if row.support is Support.REFUSED and row.name not in JUDGED],
    ids=lambda row: row.name,
)
def test_a_refused_row_answers_its_value_and_leaves_a_note(row):
    kernel = Kernel()
    kinds = row.signature.partition(">")[0]
    assert row.bind(kernel.process)(*([7] * len(kinds))) == row.value
    errno = Errno(-row.value) if -row.value in set(Errno) else Errno.ENOSYS
    assert kernel.notes == [(row.name, errno)]
    assert kernel.gate.asked == []


@pytest.mark.parametrize(
    "row",
    [row for row in imports.ROWS if row.support is Support.CONSTANT],
    ids=lambda row: row.name,
)
def test_a_constant_row_answers_its_value_and_leaves_no_note(row):
    kernel = Kernel()
    assert row.bind(kernel.process)() == row.value
    assert kernel.notes == []


REFUSED_WITH = {
    "__syscall_mknodat": Errno.EPERM, "__syscall_fchownat": Errno.EPERM,
    "__syscall_fchown32": Errno.EPERM, "_mmap_js": Errno.ENODEV,
    "_munmap_js": Errno.EINVAL, "_msync_js": Errno.EINVAL,
}  # fmt: skip


@pytest.mark.parametrize(("name", "errno"), [*REFUSED_WITH.items()])
def test_the_refused_system_calls_have_these_errors(name, errno):
    """
    F15 (mknod), W28 (no mapping of files): written out, not read from the table.
    """
    assert ROWS[name].bind(Kernel().process)(*range(9)) == -errno


def test_no_javascript_import_reads_an_argument_or_answers_anything_but_nothing():
    for name, signature in jsffi.ROWS:
        row = ROWS[name]
        assert (row.signature, row.act, row.value) == (signature, None, 0)


# ---- W19: pointers and lengths ------------------------------------------------------------------

POINTERS = (-1, -4, PAGE - 1, PAGE, 2**31, 2**32 - 1)
LENGTHS = (1, 2**31 - 1, 2**32 - 1)
# Calls that fill a buffer (pointer, length) once all before it is in order: arguments before it.
FILLS = {
    "__syscall_readlinkat": (-100, "/work/link"),
    "__syscall_getdents64": ("directory",),
    "random_get": (),
}


@pytest.mark.parametrize(
    ("name", "pointer", "length"), [*itertools.product(FILLS, POINTERS, (300, 2**31, 2**32 - 1))]
)
def test_w19_a_buffer_outside_memory_is_efault_and_nothing_moves(name, pointer, length):
    kernel = Kernel()
    kernel.call("__syscall_symlinkat", "x" * 300, -100, "/work/link")
    directory = kernel.open("/lib", 0o200000)
    before = [directory if value == "directory" else value for value in FILLS[name]]
    # What a call places in memory for its arguments is there before, too.
    kernel.call(name, *before, 0, 0)
    memory = kernel.tiny.bytes()
    answer = kernel.call(name, *before, pointer, length)
    assert abs(answer) == Errno.EFAULT
    assert kernel.tiny.bytes() == memory


@pytest.mark.parametrize(
    ("pointer", "length"),
    # One byte at the last address lies inside.
    [pair for pair in itertools.product(POINTERS, LENGTHS) if pair != (PAGE - 1, 1)],
)
@pytest.mark.parametrize("name", ["fd_read", "fd_write", "fd_pread", "fd_pwrite"])
def test_w19_an_iovec_outside_memory_is_efault_and_nothing_moves(name, pointer, length):
    kernel = Kernel()
    file = kernel.open("/work/f", 0o102)
    assert kernel.write(file, b"content") == 7
    assert kernel.seek(file, 0) == 0
    memory = kernel.tiny.guest
    memory.write(0, struct.pack("<4I", 0x100, 4, pointer % 2**32, length))
    before = kernel.tiny.bytes()
    offset = (0,) if name in {"fd_pread", "fd_pwrite"} else ()
    assert kernel.call(name, file, 0, 2, *offset, 0x200) == Errno.EFAULT
    assert kernel.tiny.bytes() == before
    assert kernel.read(file, 100) == b"content"


def test_w20_overlapping_and_self_referencing_vectors_are_read_once():
    kernel = Kernel()
    file = kernel.open("/work/f", 0o102)
    kernel.write(file, bytes(range(200, 216)))
    kernel.seek(file, 0)
    memory = kernel.tiny.guest
    # The first vector's target is the array itself.
    memory.write(0, struct.pack("<4I", 0, 8, 4, 8))
    assert kernel.call("fd_read", file, 0, 2, 0x200) == 0
    assert memory.u32(0x200) == 16
    assert memory.read(0, 12) == bytes([*range(200, 204), *range(208, 216)])


@pytest.mark.parametrize("count", [1025, 2**31, 2**32 - 1])
def test_w20_more_than_1024_vectors_are_einval(count):
    kernel = Kernel()
    assert kernel.call("fd_write", 1, 0, count, 0x200) == Errno.EINVAL
    assert kernel.written == []


def test_w21_random_bytes_come_a_mebibyte_at_most():
    kernel = Kernel()
    kernel.tiny.grow(17)
    assert kernel.call("random_get", 0, TRANSFER_MAX) == 0
    assert kernel.call("random_get", 0, TRANSFER_MAX + 1) == Errno.EINVAL
    assert kernel.call("random_get", 0, 2**32 - 1) == Errno.EFAULT


@pytest.mark.parametrize("count", [1025, 2**24, 2**32 - 1])
def test_w22_poll_takes_1024_descriptors_at_most(count):
    kernel = Kernel()
    assert kernel.call("__syscall_poll", 0, count, 0) == -Errno.EINVAL
    assert kernel.waited == []


def test_w18_a_result_beyond_an_int_is_eoverflow(monkeypatch):
    row = imports.Row("env", "big", "i>i", Support.FULL, lambda *_: 2**31, Failure.NEGATED, 0, "")
    assert row.bind(Kernel().process)(0) == -Errno.EOVERFLOW


def test_a_seek_past_two_gibibytes_is_told_in_64_bits():
    kernel = Kernel()
    file = kernel.open("/work/f", 0o102)
    assert kernel.seek(file, 3 * 2**30) == 3 * 2**30
    assert kernel.seek(file, 2**63 - 1) == 2**63 - 1
    assert kernel.seek(file, 1, 1) == -Errno.EOVERFLOW
    assert kernel.seek(file, -1) == -Errno.EINVAL


def test_a_refusal_by_the_gate_reaches_the_guest_with_its_reason():
    kernel = Kernel(Gate())
    assert kernel.open("/etc/passwd") == -Errno.ENOENT
    assert kernel.readlink("/dev/denial") == b"44 not granted"
    assert kernel.readlink("/dev/denial") == b"0 "
    assert kernel.gate.kinds == ["open"]
