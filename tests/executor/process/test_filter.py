"""
The filter of a box, judged by a machine of our own against a golden table.

Green does not prove that a Python or a library other than those that were run here needs no
further call.
"""

import errno
from pathlib import Path

import pytest
from bpf_machine import AARCH64, I386, X32, X86_64, evaluate, samples
from filter_tables import HIGH, NAMES, NUMBERS_JUDGED, ONES, PID, PROGRAMS, TABLES, word

from executor.linux.filters import ALLOW, ENOSYS, EPERM, KILL_PROCESS, Action, Allow, Verdict
from executor.linux.syscalls import NUMBERS
from executor.process.filter import NO_FAMILY, NO_TERMINAL

GOLDEN = Path(__file__).parent / "box_filter.txt"
BOX_FILTER, PROGRAM = TABLES["plain"], PROGRAMS["plain"]


def said(name, *arguments):
    filled = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    return evaluate(PROGRAM, NUMBERS[name], X86_64, filled)


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
