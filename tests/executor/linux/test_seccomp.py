import subprocess
import sys
from pathlib import Path

import pytest

from executor.linux import seccomp
from executor.linux.errors import MechanismFailed, MechanismMissing, asking
from executor.linux.filters import ALLOW, EPERM, Filter, Refuse, compile_filter

ROOT = Path(__file__).resolve().parents[3]
PROBE = compile_filter(Filter("probe", (Refuse("getppid", "x", EPERM),), ALLOW), 1)


def run(script: str) -> str:
    """
    What a process of its own prints; a filter is for ever, so it is never loaded here.
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + script],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


PRELUDE = """
import errno, os, threading
from executor.linux import prctl, seccomp
from executor.linux.errors import MechanismError
from executor.linux.filters import ALLOW, EPERM, Action, Filter, Refuse, Verdict, compile_filter
from executor.linux.libc import call

def probe(name, action=EPERM):
    return compile_filter(Filter("probe", (Refuse(name, "x", action),), ALLOW), os.getpid())

def refused(name="getppid"):
    try:
        call(name)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "answered"
"""


def test_a_loaded_filter_refuses_what_was_answered_before():
    said = run("print(refused()); seccomp.install(probe('getppid'), tsync=True); print(refused())")
    assert said.split() == ["answered", "EPERM"]


ANOTHER_THREAD = """
go, gone, said = threading.Event(), threading.Event(), []
def other():
    go.wait()
    said.append(refused())
thread = threading.Thread(target=other)
thread.start()
seccomp.install(probe('getppid'), tsync={})
go.set()
thread.join()
print(said[0], refused())
"""


def test_tsync_reaches_a_thread_that_runs_already():
    assert run(ANOTHER_THREAD.format(True)) == "EPERM EPERM"


def test_without_tsync_a_thread_that_runs_already_stays_free():
    assert run(ANOTHER_THREAD.format(False)) == "answered EPERM"


def test_a_thread_with_a_filter_of_its_own_cannot_be_brought_along():
    said = run("""
loaded, done = threading.Event(), threading.Event()
def other():
    seccomp.install(probe('getpgrp'), tsync=False)
    loaded.set()
    done.wait()
thread = threading.Thread(target=other)
thread.start()
loaded.wait()
try:
    seccomp.install(probe('getppid'), tsync=True)
except MechanismError as error:
    print(type(error).__name__, error)
print(refused())
done.set()
""")
    assert said.startswith("MechanismFailed seccomp: thread ")
    assert said.endswith("has filters of its own; lock before threads start\nanswered")


def test_installing_sets_no_new_privs():
    said = run("""
status = lambda: [l for l in open('/proc/self/status') if l.startswith('NoNewPrivs')][0].split()[1]
print(status()); seccomp.install(probe('getppid'), tsync=True); print(status())
""")
    assert said.split() == ["0", "1"]


@pytest.mark.parametrize(
    ("number", "kind"), [("ENOSYS", "MechanismMissing"), ("EINVAL", "MechanismFailed")]
)
def test_a_kernel_that_does_not_load_is_an_error_that_names_it(number, kind):
    said = run(f"""
seccomp.install(probe('seccomp', Action(Verdict.ERRNO, errno.{number})), tsync=True)
try:
    seccomp.install(probe('getppid'), tsync=True)
except MechanismError as error:
    print(type(error).__name__, error.mechanism, refused())
""")
    assert said == f"{kind} seccomp answered"


def test_an_empty_program_is_refused_by_the_kernel_and_said():
    assert len(PROBE) > 0
    said = run("""
try:
    seccomp.install((), tsync=True)
except MechanismError as error:
    print(error)
""")
    assert said.startswith("seccomp: loading a filter answered EINVAL (Invalid argument); ")


def test_another_machine_is_named(monkeypatch):
    seccomp.require_machine()
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(MechanismMissing, match="x86_64 Linux and this is linux aarch64; run the"):
        seccomp.require_machine()


def test_an_error_without_errno_is_a_failure_not_an_absence():
    with pytest.raises(MechanismFailed, match="x: asked answered 0"), asking("x", "asked", "mend"):
        raise OSError
