"""
The score by which the kernel chooses whom to end, as a process that root has given up sees it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PRELUDE = """
import os
from pathlib import Path
from executor.linux import oom, prctl
from executor.linux.errors import MechanismError
from executor.linux.libc import call

def become_nobody():
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    prctl.set_not_dumpable()

def score():
    return int(Path("/proc/self/oom_score_adj").read_text())

def of_child(fork, act=score):
    read, write = os.pipe()
    pid = fork()
    if not pid:
        try:
            said = act()
        except MechanismError as error:
            said = error
        os.write(write, str(said).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    return os.read(read, 999).decode()

before = score()
"""


def run(script: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + script],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.splitlines()


def test_a_child_is_born_with_the_highest_score_and_its_parent_keeps_its_own():
    assert run("""
own = oom.own()
become_nobody()
print(of_child(own.fork), of_child(own.fork), score() == before == own.kept)
""") == ["1000 1000 True"]


def test_a_plain_fork_leaves_the_score():
    assert run("""
own = oom.own()
become_nobody()
print(int(of_child(os.fork)) == before)
""") == ["True"]


def test_neither_of_them_is_dumpable_meanwhile():
    assert run("""
own = oom.own()
become_nobody()
print(of_child(own.fork, lambda: call("prctl", 3)), call("prctl", 3))
""") == ["0 0"]


def test_a_fork_that_fails_leaves_the_score_too():
    assert run("""
import errno
from executor.linux import seccomp
from executor.linux.filters import ALLOW, EPERM, Filter, Refuse, compile_filter
rows = tuple(Refuse(name, "the test says so", EPERM) for name in ("clone", "clone3", "fork"))
own = oom.own()
seccomp.install(compile_filter(Filter("no fork", rows, ALLOW), os.getpid()), tsync=True)
try:
    own.fork()
except PermissionError as error:
    print(errno.errorcode[error.errno], score() == before)
""") == ["EPERM True"]


@pytest.mark.parametrize("fork", ["own.fork", "os.fork"])
def test_what_is_required_is_inherited_and_else_refused(fork):
    said = run(f"""
own = oom.own()
become_nobody()
print(of_child({fork}, lambda: oom.require_highest() or score()))
""")
    refused = (
        "oom_score_adj: being 1000 answered EACCES (Permission denied); "
        "fork with Score.fork, or mount /proc writable"
    )
    assert said == ["1000" if fork == "own.fork" else refused]


def test_who_may_still_write_takes_the_highest():
    assert run("oom.require_highest()\nprint(score())") == ["1000"]


def test_the_file_cannot_be_opened_when_it_is_roots():
    assert run("""
become_nobody()
try:
    oom.own()
except MechanismError as error:
    print(error)
""") == [
        "oom_score_adj: opening /proc/self/oom_score_adj answered EACCES (Permission denied); "
        "mount /proc writable"
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be root")
def test_root_needs_no_dumpable_process():
    assert run("prctl.set_not_dumpable()\nprint(oom.own().kept == before)") == ["True"]
