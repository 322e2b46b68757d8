"""
Control groups of this host, used for real where it lets us make any.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from executor.linux import cgroups
from executor.linux.cgroups import Allowance
from executor.linux.errors import MechanismFailed, MechanismMissing
from tests.executor.waiting import until

MIB = 1 << 20
# Waits until it is told to go on, then touches as many MiB as its argument says.
GREEDY = "import sys; sys.stdin.read(1); held = bytearray(int(sys.argv[1]) << 20); print('had it')"
FORKING = "import os, sys; sys.stdin.read(1)\nif os.fork() == 0: os._exit(0)\nprint('forked')"


def ours():
    try:
        return cgroups.own()
    except MechanismMissing as error:
        return str(error)


AVAILABLE = isinstance(ours(), dict) and os.geteuid() == 0
needs_groups = pytest.mark.skipif(not AVAILABLE, reason="no control groups of ours on this host")


@pytest.fixture
def group():
    made = cgroups.create(f"codecage-test-{os.getpid()}", Allowance(64 * MIB, 4))
    yield made
    made.kill()
    made.remove()


def started(program, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


@needs_groups
def test_a_group_is_below_our_own_and_limited(group):
    parents = cgroups.own()
    for key, directory in group.directories:
        assert directory.parent == parents[key]
        assert directory.is_dir()
    assert group.members() == frozenset()


@needs_groups
@pytest.mark.parametrize(("mebibytes", "ends"), [(16, 0), (200, -signal.SIGKILL)])
def test_memory_beyond_the_allowance_ends_the_process(group, mebibytes, ends):
    process = started(GREEDY, str(mebibytes))
    group.join(process.pid)
    assert group.members() == frozenset({process.pid})
    said, _ = process.communicate(b"x")
    assert (process.returncode, bool(said)) == (ends, ends == 0)
    used = group.used()
    assert (used.out_of_memory > 0) == (ends != 0)
    assert min(mebibytes, 48) * MIB <= used.memory_peak <= 64 * MIB


def in_a_child(act):
    """
    The number of a child that has done `act` and stands still, and how it is let go.
    """
    done, told = os.pipe()
    waiting, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            act()
            os.write(told, b"x")
            os.read(waiting, 1)
        finally:
            os._exit(0)
    os.close(told)
    assert os.read(done, 1) == b"x"

    def end():
        os.write(go, b"x")
        os.waitpid(pid, 0)
        for file in (done, waiting, go):
            os.close(file)

    return pid, end


@needs_groups
@pytest.mark.parametrize("enters", [True, False])
def test_a_process_moves_itself_by_the_way_in_and_is_nowhere_without(group, enters):
    old = cgroups.Group(group.directories, unified=False)
    way_in = old.way_in()
    pid, end = in_a_child(way_in.enter if enters else lambda: None)
    seen = {place.parent.name: str(pid) in members(place) for place in old.distinct()}
    assert [inside for inside in seen.values() if inside] == [True] * len(way_in.tasks) * enters
    # What version 2 has is entered by clone3(2) alone, which the jail's tests see to.
    assert old.holds(pid) == (enters and way_in.unified is None)
    end()
    way_in.close()


@needs_groups
def test_a_group_holds_what_is_in_each_of_its_directories_only(group):
    pid, end = in_a_child(lambda: None)
    first, *others = group.distinct()
    (first / "cgroup.procs").write_text(str(pid))
    assert group.holds(pid) == (not others)
    group.join(pid)
    assert group.holds(pid)
    assert not group.holds(os.getpid())
    end()


def members(directory):
    return (directory / "cgroup.procs").read_text().split()


@needs_groups
@pytest.mark.parametrize(("tasks", "forks"), [(1, False), (2, True)])
def test_no_more_tasks_than_the_allowance(tasks, forks):
    group = cgroups.create(f"codecage-test-{os.getpid()}-t", Allowance(64 * MIB, tasks))
    process = started(FORKING)
    group.join(process.pid)
    said, _ = process.communicate(b"x")
    assert (b"forked" in said) == forks
    group.remove()


@needs_groups
def test_a_group_with_processes_cannot_go_and_a_killed_one_can(group):
    process = started(GREEDY, "1")
    group.join(process.pid)
    with pytest.raises(MechanismFailed, match="still has processes"):
        group.remove()
    process.kill()
    process.communicate()
    group.remove()
    group.remove()
    assert not any(directory.exists() for directory in group.distinct())


@needs_groups
def test_a_name_that_is_taken_is_not_taken_again(group):
    name = group.distinct()[0].name
    with pytest.raises(MechanismFailed, match="exists"):
        cgroups.create(name, Allowance(64 * MIB, 4))
    assert all(directory.is_dir() for directory in group.distinct())


@needs_groups
def test_a_limit_that_cannot_be_set_leaves_no_group():
    name = f"codecage-test-{os.getpid()}-n"
    with pytest.raises(MechanismFailed, match=r"pids\.max"):
        cgroups.create(name, Allowance(64 * MIB, -2))
    assert not any((parent / name).exists() for parent in cgroups.own().values())


@pytest.mark.parametrize("name", ["", "a/b", ".", ".."])
def test_a_name_that_is_a_path_is_refused(name):
    with pytest.raises(MechanismFailed, match="one path component"):
        cgroups.create(name, Allowance(64 * MIB, 4))


@needs_groups
def test_what_a_dead_process_left_is_removed_and_the_rest_stays():
    ended = started("pass")
    ended.communicate()
    left = cgroups.create(f"codecage-left-{ended.pid}-1", Allowance(64 * MIB, 4))
    living = cgroups.create(f"codecage-left-{os.getpid()}-1", Allowance(64 * MIB, 4))
    cgroups.remove_left("codecage-left-")
    assert not any(directory.exists() for directory in left.distinct())
    assert all(directory.is_dir() for directory in living.distinct())
    living.remove()


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_a_user_without_rights_is_told_what_is_missing(tmp_path):
    program = (
        "from executor.linux import cgroups\n"
        "from executor.linux.errors import MechanismMissing\n"
        "try:\n    cgroups.create('codecage-test-no', cgroups.Allowance(1 << 26, 4))\n"
        "except MechanismMissing as error:\n    print('missing:', error)\n"
    )
    root = str(Path(cgroups.__file__).parents[2])
    said = subprocess.run(
        ["/usr/bin/python3", "-B", "-c", program],
        env={"PYTHONPATH": root},
        user=65533,
        group=65533,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.startswith("missing: cgroups: ")
    assert "run as root, or delegate" in said.stdout


@needs_groups
def test_a_group_counts_the_cpu_time_of_those_that_ended(group):
    assert group.cpu_time() == 0
    busy = started("import sys; sys.stdin.read(1); sum(range(10**6))")
    group.join(busy.pid)
    busy.communicate(b"x")
    used = group.cpu_time()
    assert used is not None
    assert 0 < used < 60


@needs_groups
def test_a_group_that_is_frozen_does_not_go_on_until_it_is_thawed(group):
    held = started("import sys; sys.stdin.read(1); print('went on', flush=True)")
    group.join(held.pid)
    assert group.freeze()
    unified = dict(group.directories)["unified"]
    until(lambda: "frozen 1" in (unified / "cgroup.events").read_text())
    held.stdin.write(b"x")
    held.stdin.flush()
    assert held.poll() is None
    assert "frozen 1" in (unified / "cgroup.events").read_text()
    assert group.thaw()
    assert held.communicate()[0] == b"went on\n"


def share_is_ours():
    return AVAILABLE and "cpu" in ours()


needs_shares = pytest.mark.skipif(not share_is_ours(), reason="no controller cpu of ours here")


@needs_shares
@pytest.mark.parametrize("percent", [1, 5, 100, 225, 102_400])
def test_a_group_has_the_share_of_the_processors_that_it_was_given(percent):
    name = f"codecage-test-{os.getpid()}-s"
    group = cgroups.create(name, Allowance(64 * MIB, 4, percent))
    assert group.cpu_percent() == percent
    group.remove()


def test_a_share_is_said_in_the_words_of_version_two_where_that_has_the_controller(tmp_path):
    """
    On plain files, for a host whose version 2 has no controllers.
    """
    (tmp_path / "cpu.max").write_text("max 100000\n")
    group = cgroups.Group((("cpu", tmp_path),), unified=True)
    assert group.cpu_percent() is None
    cgroups._limit_share(tmp_path, 225)
    assert (tmp_path / "cpu.max").read_text().strip() == "225000 100000"
    assert group.cpu_percent() == 225


@needs_shares
def test_a_share_below_what_the_kernel_takes_leaves_no_group():
    name = f"codecage-test-{os.getpid()}-s"
    with pytest.raises(MechanismFailed, match=r"cpu\.(max|cfs_quota_us)"):
        cgroups.create(name, Allowance(64 * MIB, 4, -700))
    assert not any((parent / name).exists() for parent in cgroups.own().values())


@pytest.mark.skipif(
    not (share_is_ours() and Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").exists()),
    reason="version 2 has the less of two shares by itself",
)
@pytest.mark.parametrize(("above", "asked", "given"), [(50, 100, 50), (200, 100, 100)])
def test_a_share_above_keeps_binding_in_version_one(above, asked, given):
    name = f"codecage-test-{os.getpid()}-u"
    upper = cgroups.create(name, Allowance(64 * MIB, 8, above))
    program = (
        "import sys\nsys.stdin.read(1)\nfrom executor.linux import cgroups\n"
        f"made = cgroups.create('lower', cgroups.Allowance({64 * MIB}, 4, {asked}))\n"
        "print(made.cpu_percent())\nmade.remove()"
    )
    asking = started(program)
    upper.join(asking.pid)
    said, _ = asking.communicate(b"x")
    assert said == b"%d\n" % given
    upper.remove()


def in_version_one(group, tmp_path):
    """
    The same group where nothing of version 2 is mounted: with the controllers that it then has.
    """
    parents = {
        name: Path("/sys/fs/cgroup", name) for name in ("cpuacct", "freezer") if one_is_here(name)
    }
    if len(parents) < 2:
        pytest.skip("this host has no version 1 to try")
    added = []
    for name, parent in parents.items():
        made = parent / f"codecage-test-{os.getpid()}"
        made.mkdir()
        added.append((name, made))
    kept = [(key, place) for key, place in group.directories if key != "unified"]
    return cgroups.Group((*kept, *added), unified=False), added


def one_is_here(name):
    return Path("/sys/fs/cgroup", name, "cgroup.procs").exists()


@needs_groups
def test_version_one_freezes_kills_and_counts_as_well(group, tmp_path):
    old, added = in_version_one(group, tmp_path)
    try:
        # One that starts others as fast as it can, and ignores what can be ignored.
        program = (
            "import os, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "print('x', flush=True)\nwhile True:\n    pid = os.fork()\n"
            "    if pid == 0: os._exit(0)\n    os.waitpid(pid, 0)\n"
        )
        forking = started(program)
        forking.stdout.read(1)
        old.join(forking.pid)
        old.kill()
        forking.communicate(timeout=20)
        assert forking.returncode == -signal.SIGKILL
        assert (old.cpu_time() or 0) > 0
        until(lambda: not old.members())
    finally:
        for _, directory in added:
            directory.rmdir()


def test_a_group_with_neither_freezer_nor_counter_says_so():
    bare = cgroups.Group((), unified=False)
    assert (bare.freeze(), bare.thaw()) == (False, False)
    assert (bare.cpu_time(), bare.cpu_percent()) == (None, None)
