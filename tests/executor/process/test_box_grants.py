"""
What a plan grants is there, and nothing beside it: each grant with its twin that is refused.
"""

import os
import re
import sys
from pathlib import Path

import pytest

PREFIX = "/usr" if sys.base_prefix.startswith("/usr") else sys.base_prefix
LOADER = "/lib64/ld-linux-x86-64.so.2"
SHELL = {"programs": ["/bin/sh"]}
PYTHON = {"programs": ["/usr/bin/python3"]}
FORK = {"fork": True}
NETWORK = {"ports": [443, 80], "names": True}
SERVED = {"served": ["/data/served"]}
# The library of the Python that root's range runs on.
SHOWN = {"mounts": [[place, place] for place in sorted({"/usr", PREFIX})]}
FUSE = os.access("/dev/fuse", os.R_OK | os.W_OK)


@pytest.fixture(params=["root", "a user"])
def started(request, as_root, unprivileged):
    return as_root if request.param == "root" else unprivileged


def shown(plan, started):
    """
    The plan, without trees that the range's user cannot open.
    """
    views = plan.get("mounts", [["/usr", "/usr"]])
    own = [view for view in views if started.user is None or view[0].startswith("/usr")]
    return plan | {"mounts": own}


@pytest.mark.parametrize(
    ("act", "plan", "said"),
    [
        ("fork_and_wait", FORK, "done"),
        ("orphans_are_reaped", FORK, "done"),
        ("signal_everybody", FORK, "done"),
        ("pool", FORK | SHOWN, "done"),
        ("daemon", FORK, "done"),
        ("children_are_held", FORK, "done"),
        ("fork_bomb", FORK, "stopped at 23 by EAGAIN"),
        ("fork_without_a_grant", {}, "EPERM"),
        ("shell", SHELL, "done"),
        ("shell_pipe", SHELL, "done"),
        ("shell_jobs", SHELL, "done"),
        ("spawn", SHELL, "done"),
        ("python", PYTHON, "done"),
        ("no_gain", PYTHON, "done"),
        ("programs_are_held", PYTHON, "done"),
        ("code_in_a_program", PYTHON, "refused"),
        ("git", {"programs": ["/usr/bin/git", "/usr/lib/git-core"]}, "done"),
        ("shell", {"programs": ["/usr/bin"]}, "done"),
        ("another_program", SHELL, "EACCES"),
        ("another_program", FORK, "EPERM"),
        ("another_program", {}, "EPERM"),
        ("shell_runs_another", SHELL, "126 True"),
        ("written_program", SHELL, "EACCES"),
        ("written_program_by_loader", {"programs": [LOADER, "/bin/sh"]}, "127 True"),
        ("program_in_memory", SHELL, "EPERM EPERM"),
        ("connect_anywhere", NETWORK, "done"),
        ("connect_to_the_host", NETWORK, "ECONNREFUSED"),
        ("other_ports", NETWORK, "ECONNREFUSED"),
        ("resolve", NETWORK, "done"),
        ("fetch", NETWORK, "done"),
        ("other_sockets", NETWORK, "done"),
        ("no_network", {}, "EAFNOSUPPORT"),
        ("no_network", FORK | SHELL, "EAFNOSUPPORT"),
        ("descriptors_pass", {}, "done"),
        ("start_elsewhere", {"scratch": []}, "/home/agent"),
        ("start_elsewhere", {"scratch": [["/a/b", 4096, 16], ["/c", 4096, 16]]}, "/a/b"),
        ("start_elsewhere", {"directory": "/tmp"}, "/tmp"),
        ("sizes", {"scratch": [["/a", 1 << 20, 64], ["/b", 2 << 20, 99]]}, "1048576 64 2097152 99"),
    ],
)
def test_a_grant_gives_what_it_says_and_no_more(act, plan, said, started, host):
    assert started.run(act, host, boxed=True, plan=shown(plan, started)).said == said


@pytest.mark.parametrize("act", ["shell", "git", "fork_bomb"])
def test_what_may_be_watched_and_granted_goes_on_as_before(act, started, host):
    granted = {"programs": ["/bin/sh", "/usr/bin/git", "/usr/lib/git-core"], "watched": True}
    outcome = started.run(act, host, boxed=True, plan=granted)
    assert outcome.said in {"done", "stopped at 23 by EAGAIN"}


def test_what_is_granted_together_holds_together(started, host):
    granted = FORK | NETWORK | SHELL | SHOWN | {"watched": True}
    for act in ("fetch", "pool", "shell", "other_sockets"):
        found = started.run(act, host, boxed=True, plan=shown(granted, started))
        assert found.said == "done"


def test_a_box_with_children_leaves_nothing_behind(started, host):
    before = started.ask(held=True)
    for act in ("daemon", "fork_bomb", "fork_and_wait"):
        started.run(act, host, boxed=True, plan=FORK)
    assert started.ask(held=True) == before


def test_an_interrupt_comes_to_the_guest_and_not_to_the_one_that_waits(started, host):
    for plan in ({}, FORK):
        outcome = started.run("be_interrupted", host, boxed=True, plan=plan, interrupt=True)
        assert outcome.said == "done"


def test_how_the_guest_ended_is_told_by_the_one_that_waits(started, host):
    outcome = started.run("end_by_a_signal", host, boxed=True, plan=FORK)
    assert outcome.code == 128 + 9


def test_mounts_may_lie_in_scratch(started, host):
    plan = {
        "scratch": [["/work", 1 << 20, 64], ["/work/inner/deep", 1 << 20, 64]],
        "mounts": [["/usr", "/usr"], [host.directory, "/work/shown"]],
    }
    assert started.run("nested", host, boxed=True, plan=plan).said == "EROFS"
    assert Path(host.canary).read_text() == "tweet"


def test_refused_calls_are_told_and_refused(started, host):
    outcome = started.run("refused_calls", host, boxed=True, plan={"watched": True})
    assert outcome.said == " ".join(["EPERM"] * 5)
    assert outcome.refused == ["mount", "unshare", "bpf", "kill", "clone"]
    assert outcome.holds["audit"] == "enforced"
    silent = started.run("refused_calls", host, boxed=True)
    assert (silent.said, silent.refused) == (outcome.said, [])
    assert silent.holds["audit"] == "absent"


@pytest.mark.skipif(not FUSE, reason="no /dev/fuse that this user may open")
def test_a_served_mount_shows_what_its_server_says(as_root, host):
    plan = SERVED | {"directory": "/home/agent"}
    outcome = as_root.run("read_served", host, boxed=True, plan=plan)
    assert outcome.said == "ENOENT EACCES EACCES"
    assert as_root.run("run_served", host, boxed=True, plan=plan).said == "EPERM"


def test_a_served_mount_without_the_device_is_said_to_be_missing(unprivileged, host):
    if os.geteuid() != 0:
        pytest.skip("this user may open /dev/fuse, or not: only root knows of another one")
    if FUSE and Path("/dev/fuse").stat().st_mode & 0o006 == 0o006:
        pytest.skip("everybody may open /dev/fuse here")
    outcome = unprivileged.run("read_served", host, boxed=True, plan=SERVED)
    assert re.match(r"MechanismMissing: FUSE: at step 'trees': opening /dev/fuse", outcome.said)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("/nowhere/at/all", "ENOENT"),
        ("/usr/bin/python3/x", "ENOTDIR"),
        ("/dev/null", "would show /dev"),
    ],
)
def test_a_program_that_is_not_there_is_refused(program, said, as_root, host):
    outcome = as_root.run("shell", host, boxed=True, plan={"programs": [program]})
    assert outcome.said.startswith("MechanismFailed")
    assert said in outcome.said
