"""
Boxes without namespaces, on a host that gives none, as containers with their usual profile do.

The host is made such a one by a filter that refuses clone3 and unshare, for a user without rights
and for root. Green does not prove that no name, size or time of a host's file can be asked for:
they can, and the report says so.
"""

import errno
import os
import re
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import test_attacks
from box_range import ROOT, Range
from box_work import WORK

from executor.linux.errors import MechanismMissing
from executor.process.bare import require_possible
from executor.process.plan import BoxPlan

BARE = {"minimum": "P2", "scratch": [["/work", 16 << 20, 500]]}
# Told of, and seen: what a mount namespace would hide. The rest is blocked as elsewhere.
TOLD = {
    "md_stat_outside": "!",
    "md_chdir_outside": "!",
    "md_statfs_outside": "!",
    # There is no mount without execution for what it writes, no name of its own for the host, no
    # number of its own for the user; and without root nothing that counts this user's threads.
    "fs_mmap_exec_file": "!loaded",
    "leak_hostname": "!named",
    "leak_user": "![",
    "pr_thread_bomb": "stopped before",
}
# Its own places are directories of the host: files of them are limited one by one.
UNLIMITED = {"fs_many_files", "fs_tmp_fill", "fs_home_fill", "fs_inode_fill"}
REFUSED = {"EPERM", "EACCES", "EAFNOSUPPORT", "ENOSYS", "EOPNOTSUPP", "EROFS", "ENOENT", "EXDEV"}


def _started(user):
    started = Range(user=user)
    started.ask(refuse=["unshare", errno.EPERM])
    started.ask(refuse=["clone3", errno.ENOSYS])
    return started


@pytest.fixture(scope="module")
def bare_user(host):
    started = _started(65533 if os.geteuid() == 0 else None)
    started.ask(hold=host.canary)
    yield started
    started.close()


@pytest.fixture(scope="module")
def bare_root(host):
    if os.geteuid() != 0:
        pytest.skip("only root gives each box a host user of its own")
    started = _started(None)
    started.ask(hold=host.canary)
    yield started
    started.close()


@pytest.fixture(params=["root", "a user"])
def bare(request, bare_root, bare_user):
    return bare_root if request.param == "root" else bare_user


def test_a_plan_that_asks_for_more_gets_no_box(bare, host):
    outcome = bare.run("leak_umask", host, boxed=True)
    assert outcome.said.startswith("MechanismMissing: clone3")


def test_a_box_without_namespaces_says_what_it_lacks(bare_root, bare_user, host):
    outcome = bare_user.run("leak_umask", host, boxed=True, plan=BARE)
    assert (outcome.said, outcome.level) == ("022", "P2")
    assert outcome.holds == {
        "files": "partial",
        "access": "enforced",
        "calls": "enforced",
        "processes": "partial",
        "network": "partial",
        "ipc": "partial",
        "rights": "enforced",
        "user": "partial",
        "memory": "partial",
        "tasks": "absent",
        "cpu": "enforced",
        "cpus": "absent",
        "disk": "partial",
        "kill": "enforced",
        "audit": "absent",
    }
    root = bare_root.run("leak_umask", host, boxed=True, plan=BARE).holds
    raised = {name for name in root if root[name] != outcome.holds[name]}
    assert raised == {"user", "memory", "tasks", "cpus"}


def test_a_network_without_namespaces_is_told_of_as_what_it_is(bare, host):
    plan = BARE | {"ports": [443], "names": True, "watched": True}
    outcome = bare.run("leak_umask", host, boxed=True, plan=plan)
    assert (outcome.said, outcome.level) == ("022", "P2")
    assert (outcome.holds["network"], outcome.holds["audit"]) == ("partial", "enforced")


# Whoever would have to hear of its sockets hears of nothing in a box that is not watched.
@pytest.mark.parametrize("plan", [{"fork": True}, {"ports": [443]}, {"names": True}])
def test_what_needs_namespaces_is_not_to_be_had(plan, bare, host):
    outcome = bare.run("leak_umask", host, boxed=True, plan=BARE | plan)
    assert re.match(r"MechanismMissing: box: .* cannot be had without namespaces", outcome.said)


def test_a_view_at_another_place_is_not_to_be_had(bare, host):
    outcome = bare.run("leak_umask", host, boxed=True, plan=BARE | {"mounts": [["/usr", "/u"]]})
    assert "/usr seen as /u cannot be had" in outcome.said


@pytest.mark.parametrize("name", sorted(set(test_attacks.ALL) - UNLIMITED))
def test_without_namespaces_the_attack_is_blocked_or_told_of(name, bare, host):
    attack = test_attacks.ALL[name]
    plan = BARE | {key: value for key, value in attack.plan.items() if key != "scratch"}
    outcome = bare.run(name, host, boxed=True, plan=plan)
    assert Path(host.canary).read_text() == "tweet"
    if name in TOLD:
        assert outcome.said.startswith(TOLD[name])
    else:
        assert outcome.said in attack.answers | REFUSED


@pytest.mark.parametrize("name", ["texts", "threads", "event_loop", "memory", "database"])
def test_work_is_done_without_namespaces(name, bare_user, host):
    assert name in WORK
    assert bare_user.run(name, host, boxed=True, plan=BARE).said == "done"


def test_its_own_places_are_directories_of_its_own_and_go_with_it(bare, host):
    before = bare.ask(held=True)
    for _ in range(2):
        assert bare.run("private", host, boxed=True, plan=BARE).said == "done"
    assert bare.ask(held=True) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGSTOP])
def test_a_bare_box_that_wants_to_live_ends(number, bare, host):
    job = {"attack": "leak_umask", "host": asdict(host), "end": int(number), "plan": BARE}
    assert bare.ask(**job) == {"gone": True}


EMPTIES = """
import os, sys
from executor.linux import landlock
directory, version = sys.argv[1], int(sys.argv[2])
handled = landlock.handled_by(version)
landlock.restrict([landlock.beneath(directory, landlock.Reach.READ, handled)], handled=handled)
os.close(os.open(f"{directory}/file", os.O_RDONLY | os.O_TRUNC))
"""


@pytest.mark.parametrize(("version", "left"), [(2, ""), (3, "tweet")])
def test_before_linux_6_2_a_right_to_read_was_enough_to_empty_a_file(tmp_path, version, left):
    (tmp_path / "file").write_text("tweet")
    ended = subprocess.run(
        [sys.executable, "-c", EMPTIES, str(tmp_path), str(version)],
        check=False,
        capture_output=True,
        cwd=ROOT,
    )
    assert (ended.returncode == 0) == (left == ""), ended.stderr
    assert (tmp_path / "file").read_text() == left


def test_so_an_older_kernel_gets_no_box_without_namespaces():
    with pytest.raises(MechanismMissing, match="Linux 6.2"):
        require_possible(BoxPlan(()), 2)
    require_possible(BoxPlan(()), 3)
