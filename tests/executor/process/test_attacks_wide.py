"""
Attacks by way of what is shown, by children, on oneself and on another box: without a box, in one
of root, in one of a user without rights, and in one without namespaces.

A name that ends in a number says which of the numbered attacks it is for (`test_process_rows`).
"""

import ctypes
import errno
import hashlib
import mmap
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest
from attack_tree import SHOWN, outside, set_id_copy
from attacks import Control
from box_calls import BOX_FILTER
from wide_range import FAMILIES, WideRange

from executor.linux import libc
from executor.linux.filters import Refuse
from executor.process import bare
from executor.process.filter import REFUSED
from executor.process.plan import FIRST_HOST_ID
from executor.process.steps import STEPS

ALL = {
    name: attack
    for family in FAMILIES
    for name, attack in __import__(f"attack_{family}").ATTACKS.items()
}
TESTER = 65533
# A host user that no other box has, nor another run of these tests.
OTHER = FIRST_HOST_ID + (1 << 19) + os.getpid() % (1 << 18)
IS_ROOT = os.geteuid() == 0
FUSE = os.access("/dev/fuse", os.R_OK | os.W_OK)
EVERYTHING = {
    "fork": True,
    "programs": ["/bin/sh"],
    "ports": [443, 80],
    "names": True,
    "watched": True,
}
SERVED = {"served": ["/data/served"]} if FUSE else {}


def tree_digest(directory: Path) -> str:
    """
    All that can be said of what lies in a directory, but for times of access.
    """
    told = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        found = path.lstat()
        told.update(
            repr(
                (str(path), found.st_mode, found.st_uid, found.st_nlink, found.st_mtime_ns)
            ).encode()
        )
        if path.is_file() and not path.is_symlink():
            told.update(path.read_bytes())
    return told.hexdigest()


@pytest.fixture(scope="module")
def directory(host):
    made = outside(host)
    made.mkdir()
    made.chmod(0o777)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def trap(host, directory):
    """
    A tree of the host that is shown: with links that lead out, a socket, and what to change.
    """
    made = directory / "trap"
    (made / "empty").mkdir(parents=True)
    for name in ("file", "second"):
        (made / name).write_text("x")
        (made / name).chmod(0o666)
    os.setxattr(made / "file", "user.x", b"0")
    (made / "absolute").symlink_to(host.canary)
    (made / "relative").symlink_to(os.path.relpath(host.canary, made))
    (made / "through").symlink_to(host.directory)
    os.mkfifo(made / "fifo")
    for path in (made, made / "empty", made / "fifo"):
        path.chmod(0o777)
    reader = os.open(made / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(made / "socket"))
        (made / "socket").chmod(0o777)
        listener.listen()
        yield made
    os.close(reader)
    shutil.rmtree(made)


@pytest.fixture
def set_id(host, directory):
    path = Path(set_id_copy(host))
    shutil.copyfile("/usr/bin/id", path)
    path.chmod(0o4755)
    yield str(path)
    path.unlink()


def _started(host, *, user=None, without_namespaces=False):
    started = WideRange(user=user)
    if without_namespaces:
        started.ask(refuse=["unshare", errno.EPERM])
        started.ask(refuse=["clone3", errno.ENOSYS])
    started.ask(hold=host.canary)
    return started


@pytest.fixture(scope="module")
def root(host):
    if not IS_ROOT:
        pytest.skip("only root gives each box a host user of its own")
    started = _started(host)
    yield started
    started.close()


@pytest.fixture(scope="module")
def user(host):
    started = _started(host, user=TESTER if IS_ROOT else None)
    yield started
    started.close()


@pytest.fixture(scope="module")
def without(host):
    started = _started(host, user=TESTER if IS_ROOT else None, without_namespaces=True)
    yield started
    started.close()


@pytest.fixture(params=["root", "user"])
def held(request):
    return request.getfixturevalue(request.param)


def showing(trap, **plan):
    return {"mounts": [["/usr", "/usr"], [str(trap), SHOWN]], **plan}


def as_it_lies(trap):
    """
    A plan for a box that cannot show a tree anywhere but where the host has it.
    """
    return {"minimum": "P2", "mounts": [["/usr", "/usr"], [str(trap), str(trap)]]}


# The other of a pair, and what is told or checked rather than reached, have tests of their own.
ALONE = {"fs_hold_lock", "fs_see_lock", "find_of_others", "fs_set_id_program"}
ALONE |= {"child_unnamed", "res_sockets"}
SEEN = {name for name, attack in ALL.items() if attack.control is Control.REACHES} - ALONE
BOXED = sorted(SEEN - {"fs_thousand_seen"} | {"fs_exec_set_id"})


@pytest.mark.parametrize("name", sorted(SEEN))
def test_without_a_box_the_attack_reaches_its_target(name, root, host, trap):
    outcome = root.run(name, host, boxed=False)
    assert outcome.reached, f"{name} proves nothing: {outcome.said}"


@pytest.mark.parametrize("name", BOXED)
def test_in_a_box_the_attack_is_blocked(name, held, host, trap):
    before = tree_digest(trap)
    outcome = held.run(name, host, boxed=True, plan=showing(trap, **ALL[name].plan))
    assert outcome.said in ALL[name].answers
    assert tree_digest(trap) == before


@pytest.mark.parametrize("name", BOXED)
def test_without_namespaces_the_attack_is_blocked(name, without, host, trap):
    before = tree_digest(trap)
    outcome = without.run(name, host, boxed=True, plan=as_it_lies(trap))
    told = TOLD.get(name)
    assert outcome.said.startswith(told) if told else outcome.said in ALL[name].answers, (
        outcome.said
    )
    assert outcome.level == "P2"
    assert tree_digest(trap) == before


# Without a mount namespace a process has parents and the host's limits of tasks.
TOLD = {"self_beside": "!children, limit"}


def test_a_thousand_names_of_the_host_are_absent_and_elsewhere_only_closed_p04(
    held, without, host, trap
):
    """
    That names can be seen where there is no mount namespace is what its report says.
    """
    assert held.run("fs_thousand_seen", host, boxed=True).said == "none"
    bare_box = without.run("fs_thousand_seen", host, boxed=True, plan=as_it_lies(trap))
    assert bare_box.said.startswith("!saw")
    assert bare_box.holds["files"] == "partial"


# ---- what others do with what is shown, and what a crash leaves ----------------------------------


def is_cached(path: Path) -> bool:
    """
    Whether the first page of a file is in the memory that all share, without a read: mincore(2).

    Only its owner is told.
    """
    state = ctypes.c_ubyte()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 1, access=mmap.ACCESS_COPY) as mapped:
        first = ctypes.c_char.from_buffer(mapped)
        libc.call("mincore", ctypes.addressof(first), mmap.PAGESIZE, ctypes.addressof(state))
        del first
    return bool(state.value & 1)


def test_a_box_takes_no_file_out_of_the_memory_that_all_share(root, user, without, host, trap):
    path = trap / "file"
    with path.open("rb") as file:
        # What is not yet on the disk is never taken out.
        os.fsync(file.fileno())
    assert is_cached(path)
    assert root.run("look_take_out", host, boxed=False).said == "asked"
    assert not is_cached(path)
    for started, plan in (
        (root, showing(trap)),
        (user, showing(trap)),
        (without, as_it_lies(trap)),
    ):
        path.read_bytes()
        assert started.run("look_take_out", host, boxed=True, plan=plan).said == "asked"
        assert is_cached(path)


def test_one_of_a_pair_reaches_no_socket_of_the_host_where_connecting_is_granted_e216(
    held, host, trap
):
    plan = showing(trap, **ALL["look_reconnect"].plan)
    assert held.run("look_reconnect", host, boxed=True, plan=plan).said == "EISCONN"


CRASH = "import ctypes, os; ctypes.CDLL(None).prctl(4, {}, 0, 0, 0); os.abort()"


@pytest.mark.skipif(not IS_ROOT, reason="a limit of 0 is raised again")
@pytest.mark.parametrize("dumpable", [0, 1])
def test_a_process_that_is_not_dumpable_leaves_no_core_whatever_its_limit(dumpable, tmp_path):
    """
    Where core dumps are given to a program, the limit of their size is not asked at all: core(5).
    """
    command = ["/usr/bin/prlimit", "--core=unlimited", sys.executable, "-c", CRASH.format(dumpable)]
    crashed = subprocess.Popen(command, cwd=tmp_path)
    _, status = os.waitpid(crashed.pid, 0)
    crashed.returncode = os.waitstatus_to_exitcode(status)
    assert crashed.returncode == -signal.SIGABRT
    assert os.WCOREDUMP(status) == bool(dumpable)


# ---- programs with the set-id bit, files without names -------------------------------------------


@pytest.mark.skipif(not IS_ROOT, reason="only root can make a set-id program of root's")
def test_a_set_id_program_gives_nothing_e027(user, held, without, host, set_id):
    there = replace(host, directory=str(outside(host)))
    assert user.run("fs_set_id_program", there, boxed=False).said == "!root"
    granted = {"programs": [set_id]}
    assert held.run("fs_set_id_program", host, boxed=True, plan=granted).said == "user 1000"
    views = {"mounts": [["/usr", "/usr"], [str(outside(host))] * 2]}
    assert held.run("fs_exec_set_id", host, boxed=True, plan=views).said == "EPERM"
    bare_box = without.run("fs_exec_set_id", host, boxed=True, plan=views | {"minimum": "P2"})
    assert bare_box.said == "EPERM"


def test_a_file_without_a_name_is_not_executed_e210(held, host):
    if held.user is None:
        assert held.run("child_unnamed", host, boxed=False).said.startswith("!executed")
    for plan in (ALL["child_unnamed"].plan, EVERYTHING):
        assert held.run("child_unnamed", host, boxed=True, plan=plan).said == "refused"


# ---- too many children ---------------------------------------------------------------------------


def test_a_storm_of_processes_that_left_everything_ends_with_its_box_e194(held, host):
    before = held.ask(held=True)
    outcome = held.run("child_storm", host, boxed=True, plan={"fork": True} | second(held))
    assert outcome.said == "stopped"
    assert held.ask(held=True) == before
    if second(held):
        users = [one.info["uids"] or () for one in psutil.process_iter(["uids"])]
        assert not [ids for ids in users if OTHER in ids]


def test_orphans_make_room_again_e195(held, host):
    assert held.run("child_zombies", host, boxed=True, plan={"fork": True}).said == "150 reaped"


# ---- memory that no limit of a process counts ----------------------------------------------------


@pytest.mark.parametrize("name", ["res_sockets", "res_shared"])
def test_memory_of_any_kind_counts_where_the_report_says_so_e193(name, root, user, without, host):
    if name == "res_sockets":
        assert root.run(name, host, boxed=False).reached
    plan = ALL[name].plan
    held = root.run(name, host, boxed=True, plan=plan)
    assert (held.said, held.holds["memory"]) == ("SIGKILL", "enforced")
    for started, more in ((user, {}), (without, {"minimum": "P2"})):
        outcome = started.run(name, host, boxed=True, plan=plan | more)
        assert outcome.reached
        assert outcome.holds["memory"] == "partial"


# ---- two boxes -----------------------------------------------------------------------------------


def second(held):
    """
    What the first of two boxes has otherwise: a user of its own, where there is one.
    """
    if held.user is None and IS_ROOT:
        return {"identity": [OTHER] * 2}
    return {}


def test_a_box_finds_nothing_that_another_has_left_e203(held, root, host):
    root.run("leave_for_others", host, boxed=False)
    assert root.run("find_of_others", host, boxed=False).reached
    for plan in ({}, {"fork": True}):
        found = held.pair("leave_for_others", "find_of_others", host, plan=plan, other=second(held))
        assert found.said == "none"


def test_without_namespaces_a_box_finds_nothing_of_another_either_e203(without, host):
    plan = {"minimum": "P2"}
    assert without.pair("leave_for_others", "find_of_others", host, plan=plan).said == "none"


def test_locks_on_what_two_boxes_are_shown_are_told_and_nothing_else_e203(held, host, trap):
    """
    A lock on a shared file is the one thing that two boxes can tell each other.
    """
    pair = {"plan": showing(trap), "other": second(held)}
    assert held.pair("fs_hold_lock", "fs_see_lock", host, **pair).said == "!sees another's lock"
    assert held.run("fs_see_lock", host, boxed=True, plan=showing(trap)).said == "none"


# ---- seen from outside ---------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [{}, {"fork": True}], ids=["alone", "with children"])
def test_a_box_has_no_way_out_and_no_descriptor_but_its_own_p06_p07(plan, held, host):
    seen = held.ask(attack="leave_for_others", host=asdict(host), seen=True, plan=plan)
    assert "lo" in seen["interfaces"]
    assert not {name for name in seen["interfaces"] if name.startswith(("eth", "en", "wl", "veth"))}
    assert (seen["routes"], seen["sockets"]) == ([], [])
    assert not [line for line in seen["addresses"] if "host LOCAL" in line]
    assert seen["core"] == ["0", "0"]
    if not plan and not (IS_ROOT and held.user is None):
        # It is for nobody of its own user to look at; its maker did, before it was let go on.
        assert seen["descriptors"] is None
        return
    # The one that waits for children has no channel either.
    assert set(seen["descriptors"]) == ({"0", "1", "2"} if plan else {"0", "1", "2", "3"})
    assert {seen["descriptors"].get(number, "/dev/null") for number in "012"} == {"/dev/null"}


# ---- refused calls -------------------------------------------------------------------------------


def test_every_refused_call_is_told_exactly_once_e214(held, host):
    rows = (row for row in BOX_FILTER.rows if isinstance(row, Refuse) and row.action == REFUSED)
    wanted = [row.name for row in rows]
    watched = held.run("sys_every_refused", host, boxed=True, plan={"watched": True})
    assert watched.said == "none"
    assert len(watched.refused) == len(set(watched.refused)) > 100
    assert set(wanted) - set(watched.refused) <= {"uretprobe"}
    assert set(watched.refused) <= set(wanted)


def test_what_nobody_answers_is_not_let_through_e215(held, without, host):
    plan = {"watched": True, "minimum": "P2"}
    bare_job = {"abandoned": "sys_unanswered", "host": asdict(host), "plan": plan}
    # The filter that makes this host one without namespaces refuses `unshare` itself.
    assert without.ask(**bare_job)["said"] == "ENOSYS EPERM"
    job = {"abandoned": "sys_unanswered", "host": asdict(host), "plan": {"watched": True}}
    assert held.ask(**job)["said"] == "ENOSYS"
    answered = held.run("sys_unanswered", host, boxed=True, plan={"watched": True})
    assert (answered.said, len(answered.refused)) == ("EPERM", 5)


# ---- what is shown is what was granted -----------------------------------------------------------


def test_another_object_at_the_place_of_a_grant_is_not_shown_e207(held, without, host, trap):
    found = trap.stat()
    for started, mount, plan in (
        (held, SHOWN, {}),
        (without, str(trap), {"minimum": "P2"}),
    ):
        before = started.ask(held=True)
        right = [str(trap), mount, found.st_dev, found.st_ino]
        assert started.ask(swapped=right, plan=plan)["said"] == "a box"
        wrong = [str(trap), mount, found.st_dev, found.st_ino + 1]
        assert started.ask(swapped=wrong, plan=plan)["said"].startswith("MechanismFailed")
        assert started.ask(held=True) == before


# ---- failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["raise", "die"])
@pytest.mark.parametrize("name", [step.name for step in STEPS])
def test_a_step_that_fails_with_everything_granted_leaves_nothing_e197_e198(name, how, root, host):
    before = root.ask(held=True)
    plan = EVERYTHING | SERVED | {"directory": "/work"}
    outcome = root.run("self_beside", host, boxed=True, plan=plan, fail=[name, how])
    assert f"at step '{name}'" in outcome.said
    assert root.ask(held=True) == before


@pytest.mark.parametrize("how", ["raise", "die"])
@pytest.mark.parametrize("name", [step.name for step in bare.STEPS])
def test_a_step_that_fails_without_namespaces_leaves_nothing_e197_e198(name, how, without, host):
    before = without.ask(held=True)
    job = {"attack": "self_beside", "host": asdict(host), "boxed": True, "plan": {"minimum": "P2"}}
    outcome = without.ask(**job, fail_bare=[name, how])
    assert f"at step '{name}'" in outcome["said"]
    assert outcome["left"] == []
    assert without.ask(held=True) == before


# ---- the report of a container -------------------------------------------------------------------

# For each part that a box without namespaces does not hold wholly: an attack that shows it.
SHOWS = {
    "files": "md_stat_outside",
    "network": "leak_hostname",
    "user": "leak_user",
    "tasks": "pr_thread_bomb",
    "disk": "fs_many_files",
    "processes": "self_beside",
    "memory": "res_shared",
}
LITTLE = {"tmp_bytes": 4 << 20, "tmp_files": 500, "minimum": "P2"}
HELD = {
    "access": "fs_read_canary_abs",
    "calls": "sys_bpf",
    "rights": "pr_setuid0",
    "kill": "pr_fork",
    "cpu": "pr_raise_rlimit",
}


def test_what_a_container_says_is_absent_is_absent_and_the_rest_holds_e220(without, host):
    outcomes = {
        part: without.run(name, host, boxed=True, plan=LITTLE)
        for part, name in {**SHOWS, **HELD}.items()
    }
    holds = outcomes["files"].holds
    assert {one.level for one in outcomes.values()} == {"P2"}
    for part in SHOWS:
        assert holds[part] in {"partial", "absent"}, part
    for part in set(SHOWS) - {"tasks"}:
        assert outcomes[part].reached, part
    assert (holds["audit"], outcomes["calls"].refused) == ("absent", [])
    for part in HELD:
        assert holds[part] == "enforced", part
        assert not outcomes[part].reached, part
