import re
import socket
from pathlib import Path

import pytest
from bpf_machine import AARCH64, I386, X32, X86_64, evaluate, expected, samples
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.linux.filters import (
    ALLOW,
    ENOSYS,
    EPERM,
    KILL_PROCESS,
    Allow,
    Filter,
    MaskedEquals,
    OneOf,
    OwnPid,
    Refuse,
    compile_filter,
    equals,
    only_bits,
)
from executor.linux.syscalls import NUMBERS
from executor.wasm import jail

PID = 4242
EVERY_NUMBER = (*range(601), 1 << 29, X32 - 1, 2**31 - 1, 2**32 - 1)
TABLES = [jail.WORKER_FILTER, jail.WORKER_FINAL_FILTER]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_the_program_says_what_the_rows_say_for_every_number_and_near_miss(table):
    program = compile_filter(table, PID)
    judged = 0
    for number in EVERY_NUMBER:
        for arguments in samples(table, PID, number):
            said = evaluate(program, number, X86_64, arguments)
            assert said == expected(table, PID, number, X86_64, arguments), (number, arguments)
            judged += 1
    assert judged >= 2 * len(EVERY_NUMBER)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
@pytest.mark.parametrize("architecture", [I386, AARCH64, 0, 2**32 - 1])
def test_a_foreign_architecture_is_killed_whatever_the_number(table, architecture):
    program = compile_filter(table, PID)
    said = {evaluate(program, n, architecture, (0,) * 6) for n in EVERY_NUMBER}
    assert said == {KILL_PROCESS.encoded}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_an_x32_number_is_killed_and_its_x86_64_twin_is_not(table):
    program = compile_filter(table, PID)
    said = {evaluate(program, X32 | n, X86_64, (0,) * 6) for n in range(601)}
    assert said == {KILL_PROCESS.encoded}
    assert evaluate(program, NUMBERS["recvmsg"], X86_64, (0,) * 6) == ALLOW.encoded


CONDITIONS = st.one_of(
    st.builds(
        lambda index, mask, value: MaskedEquals(index, mask, value & mask),
        st.integers(0, 5),
        st.integers(0, 2**64 - 1),
        st.integers(0, 2**64 - 1),
    ),
    st.builds(
        OneOf,
        st.integers(0, 5),
        st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3), min_size=1, max_size=40).map(tuple),
    ),
    st.builds(OwnPid, st.integers(0, 5)),
)
ACTIONS = st.sampled_from([ALLOW, EPERM, ENOSYS, KILL_PROCESS])
ALLOWS = st.builds(
    Allow,
    st.sampled_from(sorted(NUMBERS)),
    st.just("drawn"),
    st.lists(CONDITIONS, max_size=4).map(tuple),
    st.none() | ACTIONS,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ALLOWS, max_size=60).map(tuple), ACTIONS)
def test_any_table_compiles_to_what_it_says(rows, default):
    table = Filter("drawn", rows, default)
    program = compile_filter(table, PID)
    for number in {0, 335, 600, *(NUMBERS[row.name] for row in rows)}:
        for arguments in samples(table, PID, number)[:40]:
            assert evaluate(program, number, X86_64, arguments) == expected(
                table, PID, number, X86_64, arguments
            )


def test_rows_of_one_name_are_alternatives_and_the_last_decides_the_rest():
    table = Filter(
        "two",
        (
            Allow("dup2", "low", (equals(0, 1),)),
            Allow("dup2", "high", (equals(0, 2),), otherwise=KILL_PROCESS),
        ),
        EPERM,
    )
    program = compile_filter(table, PID)
    said = [evaluate(program, NUMBERS["dup2"], X86_64, (n, 0, 0, 0, 0, 0)) for n in (1, 2, 3)]
    assert said == [ALLOW.encoded, ALLOW.encoded, KILL_PROCESS.encoded]


@pytest.mark.parametrize("condition", [equals(0, 3), only_bits(0, 3), MaskedEquals(0, 3, 3)])
def test_the_upper_half_of_an_argument_is_read_unless_the_mask_leaves_it_out(condition):
    program = compile_filter(Filter("high", (Allow("dup", "x", (condition,)),), EPERM), PID)
    low = evaluate(program, NUMBERS["dup"], X86_64, (3, 0, 0, 0, 0, 0))
    high = evaluate(program, NUMBERS["dup"], X86_64, (3 | 1 << 40, 0, 0, 0, 0, 0))
    masked = condition == MaskedEquals(0, 3, 3)
    assert (low, high) == (ALLOW.encoded, ALLOW.encoded if masked else EPERM.encoded)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ((Allow("opne", "x"),), "no system call is called 'opne'"),
        ((Allow("open", ""),), "the row open gives no reason"),
        ((Refuse("open", "x", EPERM), Refuse("open", "y", EPERM)), "refused by one row"),
        ((Refuse("open", "x", EPERM), Allow("open", "y")), "refused by one row"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(rows, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        Filter("bad", rows, EPERM)


@pytest.mark.parametrize(
    "build",
    [
        lambda: OneOf(0, ()),
        lambda: OneOf(6, (1,)),
        lambda: OneOf(0, (-1,)),
        lambda: equals(0, 1 << 64),
        lambda: MaskedEquals(0, 1, 2),
        lambda: OwnPid(-1),
    ],
)
def test_a_condition_that_cannot_hold_is_refused(build):
    with pytest.raises(ValueError, match=r"no|not|bits|allows|0 to 5"):
        build()


def test_the_numbers_are_those_of_this_machines_headers():
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        pytest.skip("no kernel headers here to compare with")
    theirs = re.findall(r"#define __NR_(\w+) (\d+)", header.read_text())
    assert len(theirs) > 300
    assert {name: NUMBERS.get(name) for name, _ in theirs} == {n: int(v) for n, v in theirs}


def test_no_number_has_two_names():
    assert len(set(NUMBERS.values())) == len(NUMBERS)


def test_bits_of_an_enumeration_leave_out_all_others_also_those_without_a_name():
    named = socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT
    assert only_bits(0, named) == only_bits(0, int(named))
    assert only_bits(0, named) == MaskedEquals(0, 2**64 - 1 - int(named), 0)
