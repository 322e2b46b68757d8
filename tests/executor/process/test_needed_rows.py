"""
No row of the filter allows what nothing needs: each is made by work that is recorded here, or says
what else needs it.

Green does not prove that a guest's program needs no further call, only that none is there for free.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from box_work import WORK

from executor.linux.filters import Allow, Refuse
from executor.process.filter import Variant, box_filter

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
ALL = box_filter(Variant(network=True, children=True, programs=True))
ALLOWED = {row.name for row in ALL.rows if isinstance(row, Allow)}

# The same as a call that is recorded, by the name that other releases of libc and Python use:
# whoever takes one away takes it from a guest with another Python.
OTHER_NAMES = {
    "openat": "open creat",
    "newfstatat": "stat fstat lstat statx",
    "faccessat2": "access faccessat",
    "utimensat": "utime utimes futimesat",
    "epoll_wait": "epoll_pwait epoll_pwait2",
    "epoll_create1": "epoll_create",
    "pselect6": "select",
    "poll": "ppoll",
    "pipe2": "pipe",
    "dup2": "dup dup3",
    "mkdir": "mkdirat",
    "readlink": "readlinkat",
    "symlink": "symlinkat",
    "link": "linkat",
    "rename": "renameat renameat2",
    "chmod": "fchmodat fchmodat2",
    "clock_nanosleep": "nanosleep",
    "prlimit64": "getrlimit",
    "pwrite64": "pwritev pwritev2",
    "pread64": "preadv preadv2",
    "clock_gettime": "time gettimeofday clock_getres",
    "listxattr": "flistxattr llistxattr",
    "sched_getaffinity": "getcpu",
    "wait4": "waitid",
    "exit_group": "exit",
}
# Made by tests that name them, in boxes: what no recorded work does.
BY_TESTS = {
    "box_grants.fork_and_wait": "clone wait4",
    "box_grants.shell": "vfork execve arch_prctl set_tid_address",
    "box_grants.shell_jobs": "setpgid kill",
    "box_grants.shell_pipe": "setsid",
    "box_grants.fetch": "socket connect setsockopt getsockopt",
    "box_grants.resolve": "sendmmsg",
    "box_grants.be_interrupted": "pause",
    "test_filter.ARGUMENTS": "personality prctl",
}
# Not made by any program on purpose: the kernel has a stopped call continued by it, libc starts a
# signal's stack with it, wakes a loop through it, or waits in it.
BY_THE_MACHINE = {
    "restart_syscall": "after SIGCONT",
    "sigaltstack": "faulthandler's stack for SIGSEGV",
    "eventfd2": "os.eventfd, and loops of other libraries",
    "rt_sigsuspend": "sigsuspend of shells, which wait for children in it",
    "rt_sigtimedwait": "the first process of a box with children waits in it",
}


@pytest.fixture(scope="module")
def recorded():
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{HERE}"}
    seen = set()
    for name in WORK:
        done = subprocess.run(
            [sys.executable, str(HERE / "call_recorder.py"), name],
            check=False,
            capture_output=True,
            text=True,
            env=environment,
        )
        assert done.returncode == 0, (name, done.stderr)
        seen |= set(json.loads(done.stdout.splitlines()[-1]))
    return seen


def test_each_row_is_needed_by_work_or_says_by_what(recorded):
    said = {name for names in (*OTHER_NAMES.values(), *BY_TESTS.values()) for name in names.split()}
    assert ALLOWED - recorded - said - set(BY_THE_MACHINE) == set()


def test_without_namespaces_no_call_is_let_through_that_is_not_needed_with_them():
    bare = box_filter(Variant(network=True, bare=True))
    assert {row.name for row in bare.rows if not isinstance(row, Refuse)} <= ALLOWED


def test_what_is_said_to_be_needed_is_allowed(recorded):
    said = {name for names in (*OTHER_NAMES.values(), *BY_TESTS.values()) for name in names.split()}
    assert said | set(BY_THE_MACHINE) <= ALLOWED
    assert set(OTHER_NAMES) <= ALLOWED


def test_the_record_is_one_of_calls_that_are_refused_as_well(recorded):
    """
    The recorder sees what is asked and not what is allowed, or it would prove nothing.
    """
    assert "clone3" in recorded - ALLOWED
