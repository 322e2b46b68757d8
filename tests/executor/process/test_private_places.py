"""
Directories of boxes without namespaces, and what becomes of them when their maker is killed.

Everything lies in a directory of the test's own, which makers are told by TMPDIR. Green does not
prove that another user cannot fill the host's directory for temporary files.
"""

import contextlib
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from box_range import ROOT, SLOT

from executor.process import private_places
from executor.process.plan import BoxPlan, identity_of
from tests.e2e.serving import private_directory

OTHER = 65533
# Makes a directory, leaves in it what a guest may, says where it is and waits.
MAKER = f"""
import os, sys
from pathlib import Path
from executor.process import private_places
from executor.process.plan import BoxPlan, Identity, identity_of
user = identity_of({SLOT}) if os.geteuid() == 0 else Identity(os.geteuid(), os.getegid())
made = private_places.make(BoxPlan(()), user)
for _, place in made.places:
    Path(place, "link").symlink_to(sys.argv[1])
    Path(place, "file").write_text("x")
    Path(place, "deep/deeper/deepest").mkdir(parents=True)
    Path(place, "deep/deeper").chmod(0)
print(made.directory, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """
    An empty directory, where everything is made and looked for.
    """
    made = tmp_path / "temporary"
    made.mkdir()
    monkeypatch.setenv("TMPDIR", str(made))
    monkeypatch.setattr(private_places.tempfile, "tempdir", None)
    return made


@pytest.fixture
def outside(tmp_path):
    """
    A directory with a file, both of which have to stay as they are.
    """
    made = tmp_path / "outside"
    made.mkdir()
    made.chmod(0o755)
    (made / "canary").write_text("tweet")
    yield made
    assert (made / "canary").read_text() == "tweet"
    assert made.stat().st_mode & 0o777 == 0o755


@pytest.fixture
def maker(place, outside):
    started = subprocess.Popen(
        [sys.executable, "-B", "-c", MAKER, str(outside)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT), "TMPDIR": str(place)},
        text=True,
    )
    yield started
    started.kill()
    started.communicate()


def opened():
    """
    What the descriptors of this process lead to; one that has just been closed leads nowhere.
    """
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            yield str(Path(f"/proc/self/fd/{number}").readlink())


def left_by(maker):
    directory = Path(maker.stdout.readline().strip())
    maker.kill()
    maker.wait()
    assert directory.is_dir()
    return directory


def test_what_a_killed_maker_left_is_removed(maker, place):
    left_by(maker)
    private_places.remove_left()
    assert os.listdir(place) == []


def test_what_a_living_maker_has_made_stays(maker, place):
    directory = maker.stdout.readline().strip()
    private_places.remove_left()
    assert os.listdir(place) == [Path(directory).name]
    assert Path(directory, "0/file").exists()


def test_what_this_process_has_made_stays_until_it_is_removed(place):
    made = private_places.make(BoxPlan(()), identity_of(SLOT))
    private_places.remove_left()
    assert len(os.listdir(made.directory)) == len(BoxPlan(()).own_places)
    private_places.remove(made)
    assert os.listdir(place) == []
    assert not any(made.directory in where for where in opened())


def test_of_a_copy_of_the_maker_too_it_is_in_use(place):
    """
    Whoever has the same open file has the lock, and a box closes it: that is what lets go of it.
    """
    made = private_places.make(BoxPlan(()), identity_of(SLOT))
    copy = os.dup(made.claim)
    os.close(made.claim)
    private_places.remove_left()
    assert len(os.listdir(place)) == 1
    os.close(copy)
    private_places.remove_left()
    assert os.listdir(place) == []


def test_what_another_has_locked_before_its_maker_could_is_not_taken_for_ones_own(place):
    left = place / "codecage-box-of-nobody"
    left.mkdir(0o700)
    other = os.open(left, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    private_places.remove_left()
    assert left.is_dir()
    os.close(other)
    private_places.remove_left()
    assert not left.exists()


def test_a_link_with_such_a_name_is_left_alone(place, outside):
    outside.chmod(0o700)
    (place / "codecage-box-link").symlink_to(outside)
    private_places.remove_left()
    assert os.listdir(place) == ["codecage-box-link"]
    assert os.listdir(outside) == ["canary"]
    outside.chmod(0o755)


@pytest.mark.parametrize("mode", [0o711, 0o770, 0o1700])
def test_a_directory_that_others_may_enter_is_left_alone(mode, place):
    """
    One that they may write in they can have moved here from elsewhere.
    """
    (place / "codecage-box-open").mkdir()
    (place / "codecage-box-open").chmod(mode)
    private_places.remove_left()
    assert os.listdir(place) == ["codecage-box-open"]


def test_what_is_no_directory_or_has_another_name_is_left_alone(place):
    os.mkfifo(place / "codecage-box-fifo", 0o700)
    (place / "codecage-box-file").touch(0o700)
    (place / "codecage-test-x").mkdir(0o700)
    private_places.remove_left()
    assert len(os.listdir(place)) == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's directory")
def test_another_users_directory_is_left_alone(place):
    theirs = place / "codecage-box-theirs"
    theirs.mkdir(0o700)
    (theirs / "file").touch()
    os.chown(theirs, OTHER, OTHER)
    private_places.remove_left()
    assert (theirs / "file").exists()
    os.chown(theirs, identity_of(SLOT).uid, OTHER)
    private_places.remove_left()
    assert os.listdir(place) == []


SWEEP = "from executor.process import private_places as it; it.remove_left()"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_removes_its_own_alone():
    # Not below pytest's, which only its own user can enter.
    with private_directory() as place:
        place.chmod(0o777)
        for name, owner in (("box", identity_of(SLOT).uid), ("own", OTHER), ("root", 0)):
            (place / f"codecage-box-{name}").mkdir(0o700)
            os.chown(place / f"codecage-box-{name}", owner, owner)
        subprocess.run(
            ["/usr/bin/python3", "-B", "-c", SWEEP],
            check=True,
            cwd="/",
            env={"PYTHONPATH": str(ROOT), "TMPDIR": str(place)},
            user=OTHER,
            group=OTHER,
            extra_groups=[],
        )
        assert sorted(os.listdir(place)) == ["codecage-box-box", "codecage-box-root"]


MOUNTED = """
import os, sys
from pathlib import Path
from executor.linux import mounts, unshare
from executor.linux.errors import MechanismError
from executor.linux.namespaces import Namespace
from executor.process import private_places
try:
    unshare.leave_mapped(Namespace.MOUNT, [(os.geteuid(), 1)], [(os.getegid(), 1)])
    mounts.isolate()
    for place in ("codecage-box-a", "codecage-box-b/0"):
        tree = mounts.copy_tree(sys.argv[1])
        mounts.attach(tree, None, str(Path(place).absolute()))
except MechanismError as error:
    print("missing:", error)
    sys.exit()
private_places.remove_left()
print(*sorted(os.listdir(".")), *os.listdir("codecage-box-b/0"))
"""


def test_where_something_is_mounted_nothing_is_touched(place, outside):
    for one in ("codecage-box-a", "codecage-box-b", "codecage-box-b/0", "codecage-box-c"):
        (place / one).mkdir(0o700)
    done = subprocess.run(
        [sys.executable, "-B", "-c", MOUNTED, str(outside)],
        check=True,
        capture_output=True,
        cwd=place,
        env={"PYTHONPATH": str(ROOT), "TMPDIR": str(place)},
        text=True,
    )
    if done.stdout.startswith("missing:"):
        pytest.skip(done.stdout)
    assert done.stdout.split() == ["codecage-box-a", "codecage-box-b", "canary"]


def test_where_temporary_files_lie_is_not_kept_in_mind(place):
    (place / "codecage-box-left").mkdir(0o700)
    private_places.remove_left()
    assert private_places.tempfile.tempdir is None
    assert os.listdir(place) == []
