import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from executor.linux.checks import Check, Status, checks

ROOT = Path(__file__).resolve().parents[3]
NAMES = ["machine", "kernel", "seccomp", "no_new_privs", "Landlock", "pidfd", "memfd sealing"]


def _status() -> dict[str, str]:
    lines = Path("/proc/self/status").read_text().splitlines()
    return {
        k: v for k, _, v in (line.partition(":\t") for line in lines) if k.startswith(("Sec", "No"))
    }


def test_this_host_passes_and_the_caller_stays_as_it_was():
    before, threads = (_status(), sorted(Path("/").iterdir())), {*threading.enumerate()}
    found = checks()
    assert [check.name for check in found] == NAMES
    assert {check.status for check in found} == {Status.PASSED}
    assert {check.mend for check in found} == {""}
    assert (_status(), sorted(Path("/").iterdir())) == before
    # One of an earlier test may have ended meanwhile.
    assert {*threading.enumerate()} <= threads


# For each mechanism the call that this host is made to lack (by a filter), and what is found.
LACKING = {
    "seccomp": ("seccomp", "ENOSYS", "seccomp: loading a filter answered ENOSYS"),
    "no_new_privs": ("prctl", "EPERM", "no_new_privs: setting it to 1 answered EPERM"),
    "Landlock": ("landlock_create_ruleset", "ENOSYS", "ABI 0, Landlock: this kernel does not"),
    "pidfd": ("pidfd_open", "ENOSYS", "pidfd: opening process "),
    "memfd sealing": ("memfd_create", "ENOSYS", "[Errno 38] Function not implemented"),
}


@pytest.mark.parametrize("lacking", LACKING)
def test_a_host_that_lacks_a_mechanism_is_told_which_and_how_to_mend_it(lacking):
    call, number, found = LACKING[lacking]
    script = f"""
import errno, json, os
from executor.linux import seccomp
from executor.linux.checks import checks
from executor.linux.filters import ALLOW, Action, Filter, Refuse, Verdict, compile_filter
rows = (Refuse("{call}", "x", Action(Verdict.ERRNO, errno.{number})),)
seccomp.install(compile_filter(Filter("x", rows, ALLOW), os.getpid()), tsync=True)
print(json.dumps([[c.name, c.status.value, c.found, c.mend] for c in checks()]))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    said = {name: Check(name, Status(s), f, m) for name, s, f, m in json.loads(done.stdout)}
    assert said[lacking].status is Status.FAILED
    assert said[lacking].found.startswith(found)
    assert said[lacking].mend
    # prctl is also what seccomp and Landlock need.
    alone = call != "prctl"
    failed = [name for name, check in said.items() if check.status is Status.FAILED]
    assert failed == ([lacking] if alone else ["seccomp", "no_new_privs", "Landlock"])


@pytest.mark.parametrize(
    ("attribute", "value", "name"),
    [
        ("platform.machine", "aarch64", "machine"),
        ("os.confstr", "", "machine"),
        ("os.confstr", "glibc 2.17", "machine"),
        ("platform.release", "5.4.0-generic", "kernel"),
        ("platform.release", "unknown", "kernel"),
    ],
)
def test_an_old_or_foreign_host_fails(monkeypatch, attribute, value, name):
    monkeypatch.setattr(attribute, lambda *_: value)
    failed = {check.name: check for check in checks() if check.status is Status.FAILED}
    assert name in failed
    assert failed[name].mend
