"""
A short run of the fuzz target of the imports, and that it would see what it looks for.
"""

import multiprocessing
import random
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import pytest

from executor.wasm.abi import Errno
from executor.wasm.imports import Support
from tests.executor.wasm.tiny_kernel import PAGE, ROWS, Kernel
from tests.fuzz import fuzz_imports
from tests.fuzz.fuzz_imports import TABLES, BrokenPromiseError, Tally, arguments, call, fuzz

ROUNDS = 16
ASKED = {
    "stat", "open", "read_link", "close", "make_directory", "remove_file", "remove_directory",
    "rename", "run",
}  # fmt: skip


def fuzz_apart(seed, rounds):
    """
    The fuzz target in a process of its own, whose descriptors no other test opens or closes.
    """
    apart = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=apart) as process:
        return process.submit(fuzz, seed, iter(range(rounds))).result(timeout=600)


def test_w07_every_import_of_every_table_survives_a_few_thousand_hostile_calls():
    tally = fuzz_apart(1, ROUNDS)
    assert tally.rounds == ROUNDS
    assert tally.calls.total() == ROUNDS * fuzz_imports.CALLS * len(TABLES)
    assert set(tally.calls) == {row.name for table in TABLES for row in table.rows}
    assert tally.ended > 0
    assert tally.refused.total() > 1000
    # The gate was asked for most kinds of things, or the numbers never got past the first check.
    assert len(ASKED & set(tally.asked)) > len(ASKED) / 2, tally.asked


def test_a_seed_gives_the_same_calls_again():
    one, two = fuzz_apart(7, 1), fuzz_apart(7, 1)
    assert one == two
    assert fuzz_apart(8, 1) != one


def test_there_are_three_tables_and_each_has_all_of_its_rows():
    assert [(table.name, len(table.rows)) for table in TABLES] == [
        ("pyodide-3.14", 268),
        ("pyodide-3.13", 253),
        ("wasi", 43),
    ]


def broken(act, name="__syscall_dup"):
    kernel = Kernel()
    row = replace(ROWS[name], act=act, support=Support.FULL)
    given = arguments(row, random.Random(0))
    with pytest.raises(BrokenPromiseError) as caught:
        call(kernel, row, row.bind(kernel.process), given, Tally())
    return str(caught.value)


def raises(_process, *_arguments):
    raise MemoryError("of the host")


def test_an_exception_of_the_host_is_found():
    assert "raised MemoryError('of the host')" in broken(raises)


def test_an_answer_that_does_not_fit_its_type_is_found():
    assert f"answered {-(2**31) - 1}" in broken(lambda _process, *_arguments: -(2**31) - 1)


def test_memory_that_a_failed_call_changed_is_found():
    def changes(process, *_arguments):
        process.memory.write(PAGE - 1, bytes([process.memory.read(PAGE - 1, 1)[0] ^ 1]))
        return -int(Errno.EBADF)

    assert "failed and changed memory" in broken(changes)


def test_memory_that_grew_is_found():
    kernel = Kernel()
    row = replace(ROWS["__syscall_dup"], act=lambda _process, *_arguments: kernel.tiny.grow(1) or 0)
    with pytest.raises(BrokenPromiseError, match="changed the size of memory"):
        call(kernel, row, row.bind(kernel.process), [0], Tally())


PROBE = """
import resource, sys
from tests.executor.wasm.tiny_kernel import PAGE, TinyMemory
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
memory = TinyMemory()
assert memory.guest._view[PAGE - 1] == 0
print("inside", flush=True)
memory.guest._view[int(sys.argv[1])]
print("outside", flush=True)
"""


@pytest.mark.parametrize("address", [PAGE, 2**31, 2**32 - 1])
def test_a_byte_that_was_read_behind_linear_memory_would_end_the_process(address):
    """
    The oracle of the whole: without the check, an address of 32 bits meets no byte of the host.
    """
    probe = [sys.executable, "-c", PROBE]
    ran = subprocess.run([*probe, str(address)], capture_output=True, check=False, timeout=60)
    assert (ran.stdout, ran.returncode) == (b"inside\n", -signal.SIGSEGV)


def test_the_command_tells_what_it_did_and_makes_a_round_again(capsys):
    assert fuzz_imports.main(["--seed", "3", "--round", "5"]) == 0
    first = capsys.readouterr().out.splitlines()
    assert fuzz_imports.main(["--seed", "3", "--round", "5"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == first[1:]
    assert first[0].startswith("seed 3: 1 rounds, 1,200 calls in ")
    assert " asks of the gate: " in first[2]
