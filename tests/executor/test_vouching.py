"""
A process is believed when the kernel names it, the launcher started it and a filter holds it.

What green does not prove: that the filter is the right one; the locks' own tests do.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from executor.children.vouching import ROOM, vouched
from executor.errors import ProtocolBroken

ROOT = Path(__file__).resolve().parents[2]
LOCK = """
import os, socket, sys, threading
from executor.linux import prctl, seccomp
from executor.linux.filters import ALLOW, Filter, compile_filter

def lock(tsync=True):
    prctl.set_no_new_privs()
    seccomp.install(compile_filter(Filter("any", (), ALLOW), os.getpid()), tsync=tsync)

def speak():
    socket.socket(fileno=int(sys.argv[1])).send(b"ready")
    sys.stdin.read()
"""
LOCKED = "lock()\nspeak()\n"
CASES = {
    "without a filter": ("prctl.set_no_new_privs()\nspeak()\n", "its threads show"),
    "with a thread that has none": (
        "threading.Thread(target=sys.stdin.read).start()\nlock(tsync=False)\nspeak()\n",
        "its threads show",
    ),
    "through a child of its own": (
        "lock()\nspeak() if os.fork() == 0 else os.wait()\n",
        "which the launcher did not start",
    ),
}

Ancillary = list[tuple[int, int, bytes]]


@contextmanager
def speaking(
    code: str, *, asked: bool = True
) -> Iterator[tuple[subprocess.Popen[bytes], Ancillary]]:
    """
    A child of ours that runs `code`, and what the kernel said with its first word.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(20)
    if asked:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", LOCK + code, str(theirs.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/proto"},
        )
        with process:
            data, ancillary, _, _ = ours.recvmsg(100, ROOM)
            assert data == b"ready"
            yield process, ancillary


def test_a_locked_child_is_vouched_for_and_held():
    before = _held()
    with speaking(LOCKED) as (process, ancillary), vouched(ancillary, os.getpid()) as found:
        assert _held() == before + 1
        assert found.pid == process.pid
        assert not found.ended()
        process.kill()
        assert found.ended(20)


@pytest.mark.parametrize("case", sorted(CASES))
def test_one_that_is_not_locked_or_not_ours_is_not_believed(case):
    code, said = CASES[case]
    with (
        speaking(code) as (_, ancillary),
        held_as_before(),
        pytest.raises(ProtocolBroken, match=said),
    ):
        vouched(ancillary, os.getpid())


END: dict[str, Callable[[subprocess.Popen[bytes]], object]] = {
    "waits to be reaped": lambda process: os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT),
    "is reaped": lambda process: process.wait(20),
}


@pytest.mark.parametrize("state", sorted(END))
def test_one_that_has_ended_since_is_not_believed(state):
    with speaking(LOCKED) as (process, ancillary):
        process.kill()
        END[state](process)
        with held_as_before(), pytest.raises(ProtocolBroken):
            vouched(ancillary, os.getpid())


def test_a_word_of_which_the_kernel_names_no_sender_is_not_believed():
    with (
        speaking(LOCKED, asked=False) as (_, ancillary),
        pytest.raises(ProtocolBroken, match="the kernel does not say who sent"),
    ):
        vouched(ancillary, os.getpid())


@contextmanager
def held_as_before() -> Iterator[None]:
    """
    No descriptor of a process stays open.
    """
    before = _held()
    yield
    assert _held() == before


def _held() -> int:
    links = (os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink())
    return sum("pidfd" in link for link in links)
