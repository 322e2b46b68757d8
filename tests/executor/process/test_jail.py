"""
Boxes that are refused: by what the host lacks, by a step that fails, by a look from outside.
"""

import errno
import os
import re
import select
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from box_range import Range

from executor.linux.errors import MechanismFailed
from executor.process import status
from executor.process.plan import BoxPlan, Identity, Level, Link, Scratch, View, identity_of
from executor.process.steps import STEPS

HARMLESS = "leak_umask"
NAMES = [step.name for step in STEPS]


@pytest.fixture
def fresh(host):
    """
    A range of its own, for what changes the process for good.
    """
    started = Range()
    yield started
    started.close()


@pytest.fixture
def fresh_unprivileged(host):
    started = Range(user=65533 if os.geteuid() == 0 else None)
    yield started
    started.close()


def test_every_step_has_a_name_of_its_own_and_a_reason():
    assert len(set(NAMES)) == len(NAMES) > 20
    assert all(step.reason for step in STEPS)
    assert NAMES[-3:] == ["seccomp", "first process", "canaries"]


@pytest.mark.parametrize("how", ["raise", "refuse", "die"])
@pytest.mark.parametrize("name", NAMES)
def test_a_step_that_fails_leaves_no_box_and_nothing_of_it(name, how, as_root, host):
    before = as_root.ask(held=True)
    outcome = as_root.run(HARMLESS, host, boxed=True, fail=[name, how])
    assert re.match(f"MechanismFailed: .*at step '{name}'", outcome.said), outcome.said
    assert as_root.ask(held=True) == before
    assert before["children"] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_step_that_fails_without_rights_leaves_nothing_either(name, unprivileged, host):
    before = unprivileged.ask(held=True)
    outcome = unprivileged.run(HARMLESS, host, boxed=True, fail=[name, "raise"])
    assert f"at step '{name}'" in outcome.said
    assert unprivileged.ask(held=True) == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("user", "box|identity|mounts"),
        ("places", "at step 'descriptors': opening /dev/null"),
        ("own places", "not|chdir"),
        ("enter", "at step 'Landlock': adding .*/home/agent"),
        ("descriptors", "holds descriptors"),
        ("rights", "Cap"),
        ("Landlock", "/dev/urandom for writing got an answer"),
        ("seccomp", "got"),
    ],
)
def test_a_step_that_did_nothing_is_noticed_inside_or_from_outside(name, said, as_root, host):
    before = as_root.ask(held=True)
    outcome = as_root.run(HARMLESS, host, boxed=True, fail=[name, "skip"])
    assert outcome.said.startswith("Mechanism"), f"{name} was not missed: {outcome.said}"
    assert re.search(said, outcome.said)
    assert as_root.ask(held=True) == before


@pytest.mark.skipif(
    not Path("/sys/fs/cgroup/memory/tasks").exists(), reason="version 2 is entered by clone3"
)
def test_a_box_that_did_not_enter_its_control_group_is_noticed_from_outside(as_root, host):
    before = as_root.ask(held=True)
    outcome = as_root.run(HARMLESS, host, boxed=True, fail=["control group", "skip"])
    assert "it is not in its control group" in outcome.said
    assert as_root.ask(held=True) == before


@pytest.mark.parametrize("attack", ["mem_anon_exec", "mem_written_exec"])
def test_data_never_becomes_code_where_the_kernel_does_not_see_to_it(attack, as_root, host):
    """
    The filter alone refuses it; `test_attacks.py` has the same attacks with both.
    """
    outcome = as_root.run(attack, host, boxed=True, fail=["no new code", "skip"])
    assert "EACCES" in outcome.said
    bare = as_root.run(attack, host, boxed=False)
    assert bare.said.startswith("!")


def test_a_kernel_without_memory_deny_write_execute_makes_boxes(fresh_unprivileged, host):
    fresh_unprivileged.ask(older=True)
    assert fresh_unprivileged.run(HARMLESS, host, boxed=True).said == "022"
    outcome = fresh_unprivileged.run("mem_anon_exec", host, boxed=True)
    assert "EACCES" in outcome.said


@pytest.mark.parametrize("number", [signal.SIGCONT, signal.SIGTERM, signal.SIGSTOP])
def test_a_box_that_ignores_everything_or_is_stopped_ends(number, as_root, unprivileged, host):
    for started in (as_root, unprivileged):
        before = started.ask(held=True)
        job = {"attack": HARMLESS, "host": asdict(host), "end": int(number)}
        assert started.ask(**job) == {"gone": True}
        assert started.ask(held=True) == before


def test_a_box_that_ran_leaves_nothing_behind(as_root, unprivileged, host):
    for started in (as_root, unprivileged):
        before = started.ask(held=True)
        assert started.run(HARMLESS, host, boxed=True).said == "022"
        assert started.ask(held=True) == before


@pytest.mark.parametrize(
    ("call", "number", "kind"),
    [
        ("clone3", errno.ENOSYS, "Missing"),
        ("clone3", errno.EPERM, "Missing"),
        ("landlock_create_ruleset", errno.ENOSYS, "Missing"),
        ("mount_setattr", errno.EPERM, "Missing"),
        ("open_tree", errno.ENOSYS, "Missing"),
        ("fsopen", errno.EPERM, "Failed"),
        ("pivot_root", errno.EPERM, "Failed"),
        ("setresuid", errno.EPERM, "Failed"),
        ("close_range", errno.ENOSYS, "Missing"),
    ],
)
def test_a_host_that_refuses_a_mechanism_gets_no_box(call, number, kind, fresh_unprivileged, host):
    before = fresh_unprivileged.ask(held=True)
    fresh_unprivileged.ask(refuse=[call, number])
    outcome = fresh_unprivileged.run(HARMLESS, host, boxed=True)
    assert outcome.said.startswith(f"Mechanism{kind}: "), outcome.said
    assert fresh_unprivileged.ask(held=True) == before


def test_level_p4_is_not_to_be_had_without_root(unprivileged, host):
    outcome = unprivileged.run(HARMLESS, host, boxed=True, plan={"minimum": "P4"})
    assert outcome.said.startswith("MechanismMissing: cgroups")


def test_root_without_a_user_for_the_box_is_refused(as_root, host):
    outcome = as_root.run(HARMLESS, host, boxed=True, plan={"identity": None})
    assert "the host's root" in outcome.said


def test_a_user_without_rights_cannot_give_the_box_another_user(unprivileged, host):
    outcome = unprivileged.run(HARMLESS, host, boxed=True, plan={"identity": [4711, 4711]})
    assert outcome.said.startswith("MechanismMissing: box: asked for Identity(uid=4711")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("/nowhere/at/all", "ENOENT"),
        ("/bin", "ELOOP"),
        ("/lib/python3", "ELOOP"),
    ],
)
def test_a_view_of_nothing_or_of_a_link_is_refused(source, said, as_root, host):
    outcome = as_root.run(
        HARMLESS, host, boxed=True, plan={"mounts": [["/usr", "/usr"], [source, "/shown"]]}
    )
    assert outcome.said.startswith("Mechanism")
    assert re.search(said, outcome.said)


def test_a_zygote_that_hides_itself_can_make_boxes(fresh, fresh_unprivileged, host):
    for started in (fresh, fresh_unprivileged):
        started.ask(undumpable=True)
        assert started.run(HARMLESS, host, boxed=True).said == "022"


def test_a_tree_with_a_file_system_of_the_kernel_in_it_is_not_shown(fresh, host):
    Path(host.directory, "with-proc", "inner").mkdir(parents=True, exist_ok=True)
    views = [["/usr", "/usr"], [f"{host.directory}/with-proc", "/shown"]]
    assert fresh.run(HARMLESS, host, boxed=True, plan={"mounts": views}).said == "022"
    fresh.ask(mount_proc=f"{host.directory}/with-proc/inner")
    outcome = fresh.run(HARMLESS, host, boxed=True, plan={"mounts": views})
    assert "a tree that is shown has proc in it" in outcome.said


def test_two_boxes_neither_share_files_nor_chance(as_root, unprivileged, host):
    for started in (as_root, unprivileged):
        first = started.run("leave_traces", host, boxed=True).said
        second = started.run("leave_traces", host, boxed=True).said
        assert first.split()[0] == second.split()[0] == "0"
        assert first.split()[1] != second.split()[1]


def test_a_file_can_be_shown_alone(as_root, host):
    views = [["/usr", "/usr"], [host.canary, "/shown/canary"]]
    outcome = as_root.run(HARMLESS, host, boxed=True, plan={"mounts": views})
    assert outcome.said == "022"


def test_the_self_test_tries_its_attacks_and_all_are_refused(as_root, unprivileged):
    for started in (as_root, unprivileged):
        before = started.ask(held=True)
        names = started.ask(self_test=True)["names"]
        assert len(names) > 25
        assert started.ask(held=True) == before


@pytest.mark.parametrize(
    ("skipped", "said"),
    [
        (["seccomp"], "clone3"),
        (["Landlock"], "writing entropy"),
    ],
)
def test_the_self_test_sees_a_layer_that_is_missing(skipped, said, as_root):
    answer = as_root.ask(self_test=True, skip=skipped)
    assert said in answer["said"]


def test_places_with_odd_names_are_found_as_the_kernel_writes_them(as_root, host):
    plan = {"scratch": [["/a b\\c\td\ne#\u00e9", 1 << 20, 100]]}
    assert as_root.run(HARMLESS, host, boxed=True, plan=plan).said == "022"


def test_a_process_that_is_no_box_is_not_taken_for_one():
    with pytest.raises(MechanismFailed, match="NoNewPrivs is '0'.*it shares"):
        status.verify(os.getpid(), BoxPlan((), identity=identity_of(1)), Level.P4, frozenset())


def test_a_process_that_is_gone_is_not_taken_for_a_box():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with pytest.raises(MechanismFailed, match="reading"):
        status.verify(ended.pid, BoxPlan(()), Level.P4, frozenset())


def test_a_box_ends_with_the_process_that_made_it(fresh, host, tmp_path):
    pid = int(fresh.ask(attack=HARMLESS, host=asdict(host), boxed=True, left=True)["pid"])
    held = os.pidfd_open(pid)
    os.kill(fresh.pid, signal.SIGKILL)
    fresh._process.wait()
    waiting = select.poll()
    waiting.register(held, 1)
    assert waiting.poll(10_000), "the box outlived its zygote"
    os.close(held)
    for directory in Path("/sys/fs/cgroup").glob(f"*/**/codecage-{fresh.pid}-*"):
        directory.rmdir()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mounts": (View("/", "/host"),)}, "source '/'"),
        ({"mounts": (View("/proc/1", "/p"),)}, "would show /proc"),
        ({"mounts": (View("/etc", "/e"),)}, "would show /etc/shadow"),
        ({"mounts": (View("/var", "/v"),)}, "would show /var/run"),
        ({"mounts": (View("/run/docker.sock", "/d"),)}, "would show /run"),
        ({"mounts": (View("/usr/../etc", "/e"),)}, "without '.'"),
        ({"mounts": (View("usr", "/e"),)}, "absolute"),
        ({"mounts": (View("/usr\0", "/e"),)}, "absolute"),
        ({"mounts": (View("/usr", "/"),)}, "mount '/'"),
        (
            {"mounts": (View("/usr", "/work"),), "scratch": (Scratch("/work/a", 4096, 16),)},
            "/work/a is mounted twice or lies below",
        ),
        ({"mounts": (), "served": ("/data", "/data/more")}, "mounts nest in scratch alone"),
        ({"mounts": (), "served": ("/tmp/data",)}, "collides with the box's own /tmp"),
        ({"mounts": (), "scratch": (Scratch("/dev/shm", 4096, 16),)}, "collides"),
        ({"mounts": (), "scratch": (Scratch("/work", 100, 16),)}, "bytes of /work is 100"),
        ({"mounts": (), "scratch": (Scratch("/work", 4096, 1),)}, "files of /work is 1"),
        ({"mounts": (), "directory": "/elsewhere"}, "the guest would start in '/elsewhere'"),
        ({"mounts": (), "served": ("/data",), "directory": "/data"}, "the guest would start in"),
        ({"mounts": (), "ports": (0,)}, "port is 0"),
        ({"mounts": (), "ports": (443, 443)}, "give each once"),
        ({"mounts": (), "ports": tuple(range(1, 66))}, "64 at most"),
        ({"mounts": (), "programs": ("/proc/self/exe",)}, "would show /proc"),
        ({"mounts": (), "programs": ("git",)}, "absolute"),
        ({"mounts": (View("/usr", "/home"),)}, "collides with the box's own /home/agent"),
        ({"mounts": (View("/usr", "/a"), View("/opt", "/a/b"))}, "mounts nest in scratch alone"),
        ({"mounts": (View("/usr", "/a"), View("/opt", "/a"))}, "mounted twice"),
        ({"mounts": (), "links": (Link("/etc/x", "y"),)}, "collides"),
        ({"mounts": (), "memory": 0}, "memory is 0"),
        ({"mounts": (), "memory": 1 << 50}, "memory is"),
        ({"mounts": (), "tasks": 0}, "tasks is 0"),
        ({"mounts": (), "environment": (("A=B", "x"),)}, "environment variable"),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused(change, said):
    with pytest.raises(MechanismFailed, match=re.escape(said)):
        BoxPlan(**change)


def test_a_plan_that_can_be_meant_is_taken():
    plan = BoxPlan((View("/usr", "/usr"),), (Link("/lib", "usr/lib"),), minimum=Level.P4)
    assert plan.kept == frozenset({3})


@pytest.mark.parametrize("slot", [-1, 1 << 20])
def test_a_slot_outside_the_range_has_no_identity(slot):
    with pytest.raises(MechanismFailed, match="slot"):
        identity_of(slot)
    assert identity_of(0) != identity_of(1)


def test_the_hosts_root_is_no_identity():
    for wrong in ((0, 5), (5, 0)):
        with pytest.raises(MechanismFailed, match="1 or more"):
            Identity(*wrong)
