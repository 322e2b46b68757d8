"""
The filter of a box, judged by a machine of our own against a golden table, and by libseccomp.

Green does not prove that a Python or a library other than those that were run here needs no
further call.
"""

import errno
import struct
from itertools import product
from pathlib import Path
from typing import ClassVar

import pytest
from bpf_machine import AARCH64, I386, X32, X86_64, evaluate, expected, samples

from executor.linux.bpf import encode
from executor.linux.filters import (
    ALLOW,
    ENOSYS,
    EPERM,
    KILL_PROCESS,
    NOTIFY,
    Action,
    Allow,
    MaskedEquals,
    OneOf,
    OwnPid,
    Refuse,
    Verdict,
    compile_filter,
)
from executor.linux.syscalls import NUMBERS
from executor.process.filter import (
    NO_ATTRIBUTES,
    NO_FAMILY,
    NO_TERMINAL,
    Variant,
    box_filter,
)

GOLDEN = Path(__file__).parent / "box_filter.txt"
PID = 1
NUMBERS_JUDGED = range(601)
NAMES = {number: name for name, number in NUMBERS.items()}
BOX_FILTER = box_filter(Variant())
PROGRAM = compile_filter(BOX_FILTER, PID)
VARIANTS = {
    "plain": Variant(),
    "network": Variant(network=True),
    "children": Variant(children=True),
    "programs": Variant(children=True, programs=True),
    "all": Variant(network=True, children=True, programs=True),
    "watched": Variant(network=True, children=True, programs=True, watched=True),
    "new code": Variant(new_code=True),
    "bare": Variant(bare=True),
    "bare, watched": Variant(bare=True, watched=True),
}
TABLES = {name: box_filter(variant) for name, variant in VARIANTS.items()}
PROGRAMS = {name: compile_filter(table, PID) for name, table in TABLES.items()}
HIGH = 1 << 40
ONES = 2**64 - 1


def said(name, *arguments):
    filled = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    return evaluate(PROGRAM, NUMBERS[name], X86_64, filled)


def word(answer):
    if answer == ALLOW.encoded:
        return "allow"
    if answer == KILL_PROCESS.encoded:
        return "kill"
    if answer == NOTIFY.encoded:
        return "notify"
    # Without a number the kernel is not asked, and the caller told that all went well.
    number = answer & 0xFFFF
    return {0: "done", errno.EOPNOTSUPP: "EOPNOTSUPP"}.get(number) or errno.errorcode[number]


def judged(number):
    """
    What is answered over the samples of one number: one word, or those of its alternatives.
    """
    found = {
        word(evaluate(PROGRAM, number, X86_64, arguments))
        for arguments in samples(BOX_FILTER, PID, number)
    }
    return " or ".join(sorted(found))


def golden():
    lines = [line.split(" ", 2) for line in GOLDEN.read_text().splitlines()]
    return {int(number): (name, answer) for number, name, answer in lines}


def test_every_number_is_answered_as_the_golden_table_says():
    found = {number: (NAMES.get(number, "-"), judged(number)) for number in NUMBERS_JUDGED}
    wanted = golden()
    assert {n: a for n, a in found.items() if wanted.get(n) != a} == {}
    assert len(wanted) == len(found)


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_the_program_says_what_the_rows_say_for_every_number_and_near_miss(variant):
    table, program = TABLES[variant], PROGRAMS[variant]
    for number in NUMBERS_JUDGED:
        for arguments in samples(table, PID, number):
            assert evaluate(program, number, X86_64, arguments) == expected(
                table, PID, number, X86_64, arguments
            ), (NAMES.get(number), arguments)


@pytest.mark.parametrize("architecture", [I386, AARCH64, 0, 2**32 - 1])
def test_another_architecture_is_killed_whatever_the_number_and_its_arguments(architecture):
    found = {
        evaluate(PROGRAM, number, architecture, arguments)
        for number in NUMBERS_JUDGED
        for arguments in ((0,) * 6, (1,) * 6, (ONES,) * 6)
    }
    assert found == {KILL_PROCESS.encoded}


def test_every_x32_number_is_killed():
    found = {
        evaluate(PROGRAM, X32 | number, X86_64, arguments)
        for number in NUMBERS_JUDGED
        for arguments in ((0,) * 6, (1,) * 6, (ONES,) * 6)
    }
    assert found == {KILL_PROCESS.encoded}


def test_what_has_no_name_is_said_not_to_exist_and_what_has_one_is_refused():
    unknown = {judged(number) for number in NUMBERS_JUDGED if number not in NAMES}
    assert unknown == {"ENOSYS"}
    assert {judged(NUMBERS[name]) for name in ("mount", "bpf", "execve")} == {"EPERM"}


PTHREAD = 0x3D_0F00
NO_CODE = Action(Verdict.ERRNO, errno.EACCES)
ARGUMENTS = [
    ("clone", (PTHREAD,), ALLOW),
    ("clone", (PTHREAD | HIGH,), EPERM),
    ("clone", (PTHREAD | 0x1000_0000,), EPERM),
    ("clone", (17,), EPERM),
    ("open", (0, 0o101, 0o644), ALLOW),
    ("open", (0, 0o101, 0o4755), EPERM),
    ("open", (0, 0o101, 0o2755), EPERM),
    ("openat", (0, 0, 0o101, 0o777), ALLOW),
    ("openat", (0, 0, 0o101, 0o6777), EPERM),
    ("creat", (0, 0o4000), EPERM),
    ("mkdir", (0, 0o2777), EPERM),
    ("mkdirat", (0, 0, 0o2777), EPERM),
    ("chmod", (0, 0o755), ALLOW),
    ("chmod", (0, 0o4755), EPERM),
    ("fchmod", (0, 0o2755), EPERM),
    ("fchmodat", (0, 0, 0o4755), EPERM),
    ("fchmodat2", (0, 0, 0o4755), EPERM),
    ("ioctl", (0, 0x5401), ALLOW),
    ("ioctl", (0, 0x5412), NO_TERMINAL),
    ("ioctl", (0, 0x541C), NO_TERMINAL),
    ("ioctl", (0, 0x5401 | HIGH), NO_TERMINAL),
    ("fcntl", (0, 3), ALLOW),
    ("fcntl", (0, 8), EPERM),
    ("fcntl", (0, 1024), EPERM),
    ("fcntl", (0, 1031), EPERM),
    ("prctl", (15,), ALLOW),
    ("prctl", (4, 0), ALLOW),
    ("prctl", (4, 1), EPERM),
    ("prctl", (4, HIGH), EPERM),
    ("preadv2", (3, 0, 1, 0, 0, 0), ALLOW),
    ("preadv2", (3, 0, 1, 0, 0, 0x17), ALLOW),
    ("preadv2", (3, 0, 1, 0, 0, 8), Action(Verdict.ERRNO, errno.EOPNOTSUPP)),
    ("pwritev2", (3, 0, 1, 0, 0, 0x20), Action(Verdict.ERRNO, errno.EOPNOTSUPP)),
    ("fadvise64", (3, 0, 0, 2), ALLOW),
    ("fadvise64", (3, 0, 0, 4), Action(Verdict.ERRNO, 0)),
    ("prctl", (1,), EPERM),
    ("prctl", (22,), EPERM),
    ("prctl", (15 | HIGH,), EPERM),
    ("mmap", (0, 0, 3, 0x22), ALLOW),
    ("mmap", (0, 0, 3, 0x4_0022), NO_CODE),
    ("mmap", (0, 0, 5, 0x2), ALLOW),
    ("mmap", (0, 0, 5, 0x4_0002), NO_CODE),
    ("mmap", (0, 0, 7, 0x22), NO_CODE),
    ("mmap", (0, 0, 6, 0x2), NO_CODE),
    ("mprotect", (0, 4096, 3), ALLOW),
    ("mprotect", (0, 4096, 0), ALLOW),
    ("mprotect", (0, 4096, 5), NO_CODE),
    ("mprotect", (0, 4096, 7), NO_CODE),
    ("mprotect", (0, 4096, HIGH | 4), NO_CODE),
    ("madvise", (0, 0, 4), ALLOW),
    ("madvise", (0, 0, 12), EPERM),
    ("madvise", (0, 0, 100), EPERM),
    ("futex", (0, 0x80), ALLOW),
    ("futex", (0, 0x89), ALLOW),
    ("futex", (0, 0x189), ALLOW),
    ("futex", (0, 6), EPERM),
    ("futex", (0, 0x8B), EPERM),
    ("clock_gettime", (1,), ALLOW),
    ("clock_gettime", (ONES & ~7,), EPERM),
    ("clock_nanosleep", (2,), EPERM),
    ("getrandom", (0, 0, 1), ALLOW),
    ("getrandom", (0, 0, 8), EPERM),
    ("prlimit64", (0,), ALLOW),
    ("prlimit64", (2,), EPERM),
    ("kill", (PID,), ALLOW),
    ("kill", (ONES,), EPERM),
    ("kill", (0,), EPERM),
    ("kill", (PID | HIGH,), EPERM),
    ("tgkill", (PID, 5), ALLOW),
    ("tgkill", (2, 2), EPERM),
    ("personality", (0xFFFF_FFFF,), ALLOW),
    ("personality", (0x4_0000,), EPERM),
    ("getsockopt", (0, 1, 3), ALLOW),
    ("getsockopt", (0, 1, 77), EPERM),
    ("getsockopt", (0, 1, 31), EPERM),
    ("getsockopt", (0, 1, 26), EPERM),
    ("getsockopt", (0, 6), EPERM),
    ("sendto", (0, 0, 0, 0, 0, 0), ALLOW),
    ("sendto", (0, 0, 0, 0, 1, 16), EPERM),
    ("socketpair", (1, 1), ALLOW),
    ("socketpair", (1, 1 | 0o2004000), ALLOW),
    ("socketpair", (1, 5), ALLOW),
    ("socketpair", (1, 2), EPERM),
    ("socketpair", (1, 2 | 0o2004000), EPERM),
    ("socketpair", (2, 1), EPERM),
    ("socket", (1, 1), NO_FAMILY),
    ("socket", (2, 1), NO_FAMILY),
    ("clone3", (0, 88), ENOSYS),
    ("openat2", (0, 0, 0, 24), ENOSYS),
    ("io_uring_setup", (1, 0), ENOSYS),
]


@pytest.mark.parametrize(("name", "arguments", "action"), ARGUMENTS)
def test_arguments_decide_where_a_row_says_so(name, arguments, action):
    assert word(said(name, *arguments)) == word(action.encoded)


THREAD, FORK, SPAWN = PTHREAD, 0x0120_0011, 0x4111
GRANTED = [
    ("network", "socket", (2, 1, 0), ALLOW),
    ("network", "socket", (2, 1 | 0o2004000, 6), ALLOW),
    ("network", "socket", (10, 1, 6), ALLOW),
    ("network", "socket", (2, 2, 17), ALLOW),
    ("network", "socket", (2, 1, 262), NO_FAMILY),
    ("network", "socket", (2, 3, 0), NO_FAMILY),
    ("network", "socket", (10, 2, 0), NO_FAMILY),
    ("network", "socket", (1, 1, 0), NO_FAMILY),
    ("network", "socket", (16, 3, 0), NO_FAMILY),
    ("network", "socket", (2 | HIGH, 1, 0), NO_FAMILY),
    ("network", "connect", (3,), ALLOW),
    ("plain", "connect", (3,), EPERM),
    ("network", "sendto", (3, 0, 0, 0, 1, 16), ALLOW),
    ("network", "sendmmsg", (3,), ALLOW),
    ("plain", "sendmmsg", (3,), EPERM),
    ("network", "setsockopt", (3, 1, 9), ALLOW),
    ("network", "setsockopt", (3, 1, 26), EPERM),
    ("network", "setsockopt", (3, 1, 50), EPERM),
    ("network", "setsockopt", (3, 6, 1), ALLOW),
    ("network", "setsockopt", (3, 6, 31), EPERM),
    ("network", "setsockopt", (3, 6, 30), EPERM),
    ("network", "setsockopt", (3, 0, 11), ALLOW),
    ("network", "setsockopt", (3, 0, 19), EPERM),
    ("network", "setsockopt", (3, 0, 4), EPERM),
    ("network", "setsockopt", (3, 41, 26), EPERM),
    ("network", "setsockopt", (3, 255, 1), EPERM),
    ("plain", "setsockopt", (3, 6, 1), EPERM),
    ("network", "getsockopt", (3, 1, 4), ALLOW),
    ("network", "getsockopt", (3, 6, 11), ALLOW),
    ("network", "getsockopt", (3, 6, 35), EPERM),
    ("network", "getsockopt", (3, 0, 20), EPERM),
    ("network", "bind", (3,), EPERM),
    ("network", "listen", (3,), EPERM),
    ("network", "accept4", (3,), EPERM),
    ("children", "clone", (THREAD,), ALLOW),
    ("children", "clone", (FORK,), ALLOW),
    ("children", "clone", (SPAWN,), ALLOW),
    ("children", "clone", (FORK | 0x1000_0000,), EPERM),
    ("children", "clone", (FORK | 0x2000_0000,), EPERM),
    ("children", "clone", (SPAWN | HIGH,), EPERM),
    ("children", "clone", (17,), EPERM),
    ("children", "clone3", (0, 88), ENOSYS),
    ("children", "vfork", (), ALLOW),
    ("children", "kill", (ONES,), ALLOW),
    ("children", "tgkill", (2, 2), ALLOW),
    ("children", "setsid", (), ALLOW),
    ("children", "setpgid", (), ALLOW),
    ("children", "execve", (), EPERM),
    ("children", "ptrace", (), EPERM),
    ("plain", "vfork", (), EPERM),
    ("plain", "setsid", (), EPERM),
    ("programs", "execve", (), ALLOW),
    ("programs", "execveat", (), EPERM),
    ("programs", "memfd_create", (), EPERM),
    ("programs", "arch_prctl", (0x1002,), ALLOW),
    ("programs", "arch_prctl", (0x1001,), EPERM),
    ("programs", "set_tid_address", (), ALLOW),
    ("plain", "arch_prctl", (0x1002,), EPERM),
    ("watched", "mount", (), NOTIFY),
    ("watched", "clone", (17,), NOTIFY),
    ("watched", "socket", (1, 1, 0), NO_FAMILY),
    ("watched", "clone3", (0, 88), ENOSYS),
    ("watched", "io_uring_setup", (), ENOSYS),
    ("watched", "ioctl", (0, 0x5412), NO_TERMINAL),
    ("new code", "mmap", (0, 0, 7, 0x22), ALLOW),
    ("new code", "mmap", (0, 0, 7, 0x4_0022), EPERM),
    ("new code", "mprotect", (0, 4096, 5), ALLOW),
    ("bare", "kill", (PID,), ALLOW),
    ("bare", "kill", (2,), EPERM),
    ("bare", "chmod", (0, 0o644), EPERM),
    ("bare", "fchmod", (0, 0o644), EPERM),
    ("bare", "utimensat", (), EPERM),
    ("bare", "flock", (), EPERM),
    ("bare", "truncate", (), EPERM),
    ("bare", "getxattr", (), NO_ATTRIBUTES),
    ("bare", "getpgid", (0,), ALLOW),
    ("bare", "getpgid", (PID,), ALLOW),
    ("bare", "getpgid", (2,), EPERM),
    ("bare", "sched_getaffinity", (2,), EPERM),
    ("bare", "getpriority", (0, 0), ALLOW),
    ("bare", "getpriority", (0, 2), EPERM),
    ("bare", "getpriority", (2, 0), EPERM),
    ("bare", "socket", (2, 1, 0), NO_FAMILY),
]


@pytest.mark.parametrize(("variant", "name", "arguments", "action"), GRANTED)
def test_a_grant_changes_the_rows_that_it_needs(variant, name, arguments, action):
    filled = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    found = evaluate(PROGRAMS[variant], NUMBERS[name], X86_64, filled)
    assert word(found) == word(action.encoded)


def test_every_row_that_a_variant_adds_or_takes_away_is_judged():
    judged_there = {name for _, name, _, _ in GRANTED}
    plain = set(BOX_FILTER.rows)
    for table in (TABLES["all"], TABLES["bare"]):
        changed = {row.name for row in plain ^ set(table.rows)}
        families = {"chmod", "utimensat", "getxattr", "sched_getaffinity"}
        assert families <= judged_there
        assert changed - judged_there <= OF_FAMILIES


# Each answered as one that is judged: chmod, utimensat, getxattr, sched_getaffinity.
OF_FAMILIES = {
    *("fchmodat", "fchmodat2", "utime", "utimes", "futimesat"),
    *("lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr"),
    *("getsid", "sched_getparam", "sched_getscheduler"),
}


def test_a_watched_box_differs_in_notifications_alone():
    for watched, silent in (("watched", "all"), ("bare, watched", "bare")):
        for number in NUMBERS_JUDGED:
            for arguments in samples(TABLES[silent], PID, number):
                told = evaluate(PROGRAMS[watched], number, X86_64, arguments)
                plain = evaluate(PROGRAMS[silent], number, X86_64, arguments)
                assert told == (NOTIFY.encoded if plain == EPERM.encoded else plain)


def test_every_variant_kills_foreign_calls_and_is_small():
    for name, program in PROGRAMS.items():
        for number in NUMBERS_JUDGED:
            assert evaluate(program, number, I386, (0,) * 6) == KILL_PROCESS.encoded
            assert evaluate(program, X32 | number, X86_64, (0,) * 6) == KILL_PROCESS.encoded
        assert len(program) < 800, name


def test_every_row_with_arguments_is_judged_above():
    conditional = {r.name for r in BOX_FILTER.rows if isinstance(r, Allow) and r.arguments}
    assert conditional <= {name for name, _, _ in ARGUMENTS}
    refused = {name for name, _, action in ARGUMENTS if action != ALLOW}
    assert conditional <= refused


def test_every_row_says_why_and_the_whole_is_small():
    assert all(row.reason for row in BOX_FILTER.rows)
    assert {row.name for row in BOX_FILTER.rows} == set(NUMBERS)
    allowed = {row.name for row in BOX_FILTER.rows if isinstance(row, Allow)}
    assert len(allowed) < 210
    assert len(PROGRAM) < 600


def test_nothing_that_reaches_further_than_the_box_is_allowed():
    allowed = {row.name for row in BOX_FILTER.rows if isinstance(row, Allow)}
    never = (
        "execve execveat fork vfork ptrace mount umount2 unshare setns bpf keyctl add_key"
        " connect bind listen accept accept4 setsockopt memfd_create io_uring_setup pidfd_open"
        " setuid setresuid capset inotify_init1 inotify_add_watch mincore cachestat splice"
        " process_vm_readv perf_event_open userfaultfd open_by_handle_at mknod mknodat sync"
    )
    assert allowed & set(never.split()) == set()


class Judge:
    """
    A machine for what libseccomp writes: a few more instructions than ours.
    """

    JUMPS: ClassVar = {
        0x15: lambda a, k: a == k,
        0x25: lambda a, k: a > k,
        0x35: lambda a, k: a >= k,
        0x45: lambda a, k: bool(a & k),
    }

    def __init__(self, code):
        self._code = list(struct.iter_unpack("=HBBI", code))

    def evaluate(self, number, arguments):
        data = struct.pack("=IIQ6Q", number, X86_64, 0, *arguments)
        accumulator, memory, at = 0, [0] * 16, 0
        while True:
            code, yes, no, k = self._code[at]
            at += 1
            if code == 0x20:
                (accumulator,) = struct.unpack_from("=I", data, k)
            elif code == 0x54:
                accumulator &= k
            elif code == 0x05:
                at += k
            elif code == 0x02:
                memory[k] = accumulator
            elif code == 0x60:
                accumulator = memory[k]
            elif code == 0x06:
                return k
            else:
                at += yes if self.JUMPS[code](accumulator, k) else no


def _theirs(seccomp, table):
    """
    The allowing half of the table as libseccomp compiles it, and the names that it knows.
    """
    made = seccomp.SyscallFilter(defaction=seccomp.ERRNO(1))
    known = set()
    for row in table.rows:
        number = seccomp.resolve_syscall(seccomp.Arch.X86_64, row.name)
        if isinstance(row, Refuse) or number < 0:
            continue
        known.add(NUMBERS[row.name])
        for choice in product(*(_alternatives(seccomp, c) for c in row.arguments)):
            made.add_rule(seccomp.ALLOW, number, *choice)
    return made, known


def _alternatives(seccomp, condition):
    match condition:
        case MaskedEquals(index, mask, value):
            return [seccomp.Arg(index, seccomp.MASKED_EQ, mask, value)]
        case OneOf(index, values):
            return [seccomp.Arg(index, seccomp.EQ, value) for value in values]
        case OwnPid(index):
            return [seccomp.Arg(index, seccomp.EQ, PID)]


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_libseccomp_lets_the_same_calls_pass(variant, tmp_path):
    seccomp = pytest.importorskip("pyseccomp", exc_type=(ImportError, RuntimeError))
    table, program = TABLES[variant], PROGRAMS[variant]
    made, known = _theirs(seccomp, table)
    path = tmp_path / "filter.bpf"
    with path.open("wb") as file:
        made.export_bpf(file)
    judge = Judge(path.read_bytes())
    compared = 0
    for number in NUMBERS_JUDGED:
        if number in NAMES and number not in known:
            continue
        for arguments in samples(table, PID, number):
            ours = evaluate(program, number, X86_64, arguments) == ALLOW.encoded
            theirs = judge.evaluate(number, arguments) == ALLOW.encoded
            assert ours == theirs, (NAMES.get(number), arguments)
            compared += 1
    assert compared > 5000
    assert len(encode(program)) < path.stat().st_size * 2
