"""
What a grant changes in the filter of a box, and what no grant may change.
"""

import pytest
from bpf_machine import I386, X32, X86_64, evaluate, expected, samples
from filter_tables import (
    HIGH,
    NAMES,
    NUMBERS_JUDGED,
    ONES,
    PID,
    PROGRAMS,
    TABLES,
    word,
)

from executor.linux.filters import ALLOW, ENOSYS, EPERM, KILL_PROCESS, NOTIFY
from executor.linux.syscalls import NUMBERS
from executor.process.filter import NO_ATTRIBUTES, NO_FAMILY, NO_TERMINAL

PTHREAD = 0x3D_0F00
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
    ("bare, network", "socket", (2, 1, 0), NOTIFY),
    ("bare, network", "socket", (10, 1 | 0o2004000, 6), NOTIFY),
    ("bare, network", "socket", (2, 1, 262), NO_FAMILY),
    ("bare, network", "socket", (2, 2, 17), NO_FAMILY),
    ("bare, network", "socket", (2, 3, 0), NO_FAMILY),
    ("bare, network", "socket", (1, 1, 0), NO_FAMILY),
    ("bare, network", "socket", (16, 3, 0), NO_FAMILY),
    ("bare, network", "socket", (2 | HIGH, 1, 0), NO_FAMILY),
    ("bare, network", "connect", (3,), NOTIFY),
    ("bare, network", "sendto", (3, 0, 0, 0x4000, 0, 0), ALLOW),
    ("bare, network", "sendto", (3, 0, 0, 0, 1, 16), EPERM),
    ("bare, network", "sendto", (3, 0, 0, 0x2000_0000, 0, 0), EPERM),
    ("bare, network", "sendmsg", (3, 0, 0x4000), ALLOW),
    ("bare, network", "sendmsg", (3, 0, 0x2000_0000), EPERM),
    ("bare, network", "sendmsg", (3, 0, HIGH), EPERM),
    ("bare, network", "sendmmsg", (3,), EPERM),
    ("bare, network", "setsockopt", (3, 6, 1), ALLOW),
    ("network", "setsockopt", (3, 1, 13), ALLOW),
    # The server has a copy of such a socket, and its close would wait as long as the guest says.
    ("bare, network", "setsockopt", (3, 1, 13), EPERM),
    ("bare, network", "setsockopt", (3, 1, 9), ALLOW),
    ("bare, network", "setsockopt", (3, 6, 30), EPERM),
    ("bare, network", "setsockopt", (3, 0, 11), EPERM),
    ("bare, network", "getsockopt", (3, 1, 4), ALLOW),
    ("bare, network", "bind", (3,), EPERM),
    ("bare, network", "listen", (3,), EPERM),
    ("bare, network", "accept4", (3,), EPERM),
]


@pytest.mark.parametrize(("variant", "name", "arguments", "action"), GRANTED)
def test_a_grant_changes_the_rows_that_it_needs(variant, name, arguments, action):
    filled = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    found = evaluate(PROGRAMS[variant], NUMBERS[name], X86_64, filled)
    assert word(found) == word(action.encoded)


def test_every_row_that_a_variant_adds_or_takes_away_is_judged():
    judged_there = {name for _, name, _, _ in GRANTED}
    plain = set(TABLES["plain"].rows)
    for table in (TABLES["all"], TABLES["bare"], TABLES["bare, network"]):
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


@pytest.mark.parametrize("variant", sorted(TABLES))
def test_the_program_says_what_the_rows_say_for_every_number_and_near_miss(variant):
    table, program = TABLES[variant], PROGRAMS[variant]
    for number in NUMBERS_JUDGED:
        for arguments in samples(table, PID, number):
            assert evaluate(program, number, X86_64, arguments) == expected(
                table, PID, number, X86_64, arguments
            ), (NAMES.get(number), arguments)
