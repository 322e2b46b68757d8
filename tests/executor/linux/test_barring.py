"""
The tables of barred calls: each row acts on a real kernel, and what no row names passes.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bpf_machine import X86_64, evaluate, expected, samples

from executor.linux.barring import all_but, barred, forks, host_rows
from executor.linux.confine import OFFLINE_FILTER, ONLINE_FILTER
from executor.linux.filters import (
    ALLOW,
    ENOSYS,
    EPERM,
    KILL_PROCESS,
    Allow,
    Refuse,
    compile_filter,
)
from executor.linux.syscalls import NUMBERS
from executor.wasm.zygote_lock import ZYGOTE_FILTER

ROOT = Path(__file__).resolve().parents[3]
PID = 4242
TABLES = [OFFLINE_FILTER, ONLINE_FILTER, ZYGOTE_FILTER]
by_name = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
NEW_NAMESPACE = 0x1000_0000
THREAD = 0x3D_0F00
FORK = 0x120_0011


@by_name
def test_the_program_says_what_the_rows_say_for_every_number_and_near_miss(table):
    program = compile_filter(table, PID)
    judged = 0
    for number in range(601):
        for arguments in samples(table, PID, number):
            said = evaluate(program, number, X86_64, arguments)
            assert said == expected(table, PID, number, X86_64, arguments), (number, arguments)
            judged += 1
    assert judged > 601


@by_name
def test_a_call_of_a_later_kernel_answers_as_on_an_older_one(table):
    program = compile_filter(table, PID)
    unknown = set(range(1000)) - set(NUMBERS.values())
    assert {evaluate(program, number, X86_64, (0,) * 6) for number in unknown} == {ENOSYS.encoded}


def test_every_other_call_passes():
    table = all_but("one", barred("reboot mount", "a reason", KILL_PROCESS))
    program = compile_filter(table, PID)
    said = {name: evaluate(program, NUMBERS[name], X86_64, (0,) * 6) for name in NUMBERS}
    assert {name for name in said if said[name] != ALLOW.encoded} == {"reboot", "mount"}


@by_name
def test_a_process_is_made_in_no_other_namespace(table):
    program = compile_filter(table, PID)
    for flags in (THREAD | NEW_NAMESPACE, FORK | NEW_NAMESPACE, NEW_NAMESPACE, 0x2_0000):
        assert evaluate(program, NUMBERS["clone"], X86_64, (flags, *(0,) * 5)) != ALLOW.encoded
    assert evaluate(program, NUMBERS["clone"], X86_64, (THREAD, *(0,) * 5)) == ALLOW.encoded


@by_name
def test_only_a_tool_without_network_cannot_fork(table):
    program = compile_filter(table, PID)
    forked = evaluate(program, NUMBERS["clone"], X86_64, (FORK, *(0,) * 5))
    assert forked == (EPERM if table is OFFLINE_FILTER else ALLOW).encoded


def test_every_row_has_one_reason_and_no_name_twice():
    for table in TABLES:
        named = [row.name for row in table.rows if isinstance(row, Refuse)]
        assert len(named) == len(set(named))
    rows = (*host_rows(EPERM), *forks(EPERM))
    assert all(row.reason for row in rows)


# In one process that has the filter, a child for each barred call, with arguments that mean
# nothing; what each met is printed in order.
EACH_ROW = """
import errno, importlib, os, sys
from executor.linux import seccomp
from executor.linux.filters import Refuse, compile_filter
from executor.linux.libc import call

table = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])
forked = table.name != "tool without network"

def met(name):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        if not forked:
            seccomp.install(compile_filter(table, os.getpid()), tsync=True)
        try:
            call(name, *[-1] * 6)
            said = "done"
        except OSError as error:
            said = errno.errorcode[error.errno]
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    _, status = os.waitpid(pid, 0)
    said = os.read(read, 99).decode()
    os.close(read)
    return f"signal {status}" if os.WIFSIGNALED(status) else said

if forked:
    seccomp.install(compile_filter(table, os.getpid()), tsync=True)
for row in table.rows:
    if isinstance(row, Refuse):
        print(row.name, met(row.name))
"""
SAID = {EPERM: "EPERM", ENOSYS: "ENOSYS", KILL_PROCESS: "signal 31"}


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("executor.linux.confine", "OFFLINE_FILTER"),
        ("executor.linux.confine", "ONLINE_FILTER"),
        ("executor.wasm.zygote_lock", "ZYGOTE_FILTER"),
    ],
)
def test_every_barred_call_is_refused_by_the_kernel(module, name):
    done = subprocess.run(
        [sys.executable, "-c", EACH_ROW, module, name],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    table = vars(sys.modules[module])[name]
    met = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert met == {row.name: SAID[row.action] for row in table.rows if isinstance(row, Refuse)}
    assert len(met) > 60


def test_what_is_conditional_names_what_happens_otherwise():
    for table in TABLES:
        conditional = [row for row in table.rows if isinstance(row, Allow) and row.arguments]
        last = {row.name: row.otherwise for row in conditional}
        assert None not in last.values(), last
