"""
Trees of the host that paths are resolved in: which directories may be one, what is mounted below
them, what is held of them and for how long.
"""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from host_world import grant_of, open_descriptors

from executor.kernel.descriptors import open_root
from executor.kernel.errors import ExecutorError, GuestError, InternalError, SourceUnavailable
from executor.kernel.paths import HostTrees
from policy.decide import compile_policy
from policy.requests import FileAction
from policy.types import Policy

MOUNTED = """
import ctypes, errno, os, sys
sys.path[:0] = sys.argv[2:]
from host_world import grant_of
from executor.kernel.errors import GuestError
from executor.kernel.hostfiles import list_directory
from executor.kernel.paths import HostTrees
from pathlib import Path
from policy.decide import compile_policy
from policy.requests import FileAction
from policy.types import Policy

root = Path(sys.argv[1])
user = 0 if os.geteuid() == 0 else 0x10000000
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x00020000 | user):
    sys.exit("unshare refused")
private, bind = 0x44000, 0x1000
for arguments in ((b"none", b"/", None, private, None),
                  (os.fsencode(root / "source"), os.fsencode(root / "bound"), None, bind, None),
                  (b"none", os.fsencode(root / "tmpfs"), b"tmpfs", 0, None)):
    if libc.mount(*arguments):
        sys.exit("mount refused")
(root / "tmpfs" / "f").write_text("x")
grant = grant_of(root)
decides = compile_policy(Policy("test", "", "test.yaml", filesystem=(grant,)))
with HostTrees((grant,)) as trees:
    def look(path, action=FileAction.STAT):
        return trees.locate(path, follow=True, decides=decides, action=action)
    for path in ("bound", "bound/f", "tmpfs", "tmpfs/f", "link"):
        try:
            look("/data/" + path)
        except GuestError as error:
            print(path, errno.errorcode[error.errno])
    with look("/data/source/f") as place:
        print("source/f", place.kind.value)
    with look("/data", FileAction.LIST) as place:
        print(*[entry.name for entry in list_directory(place, decides)])
"""


def test_a_file_system_mounted_below_the_root_is_absent_also_a_bind_mount(world, tmp_path):
    root = tmp_path / "mounts"
    for name in ("source", "bound", "tmpfs"):
        (root / name).mkdir(parents=True)
    (root / "source" / "f").write_text("x")
    (root / "link").symlink_to("bound/f")
    paths = [path for path in sys.path if path]
    done = subprocess.run(
        [sys.executable, "-c", MOUNTED, str(root), *paths],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode and "refused" in done.stderr:
        pytest.skip("this host lets nobody make a mount namespace")
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "bound ENOENT",
        "bound/f ENOENT",
        "tmpfs ENOENT",
        "tmpfs/f ENOENT",
        "link ENOENT",
        "source/f regular file",
        "link source",
    ]


def test_a_source_that_is_missing_or_no_directory_names_mount_and_source(tmp_path):
    (tmp_path / "file").write_text("x")
    for name in ("missing", "file", "file/below"):
        source = tmp_path / name
        with pytest.raises(SourceUnavailable) as caught:
            HostTrees((grant_of(source),))
        assert caught.value.metadata == {
            "mount": "/data",
            "rule": "filesystem[0] (test.yaml:4)",
        }
        assert str(source) in caught.value.detail
        assert str(tmp_path) not in str(caught.value)
    HostTrees((grant_of(tmp_path),)).close()


def test_nothing_stays_open_when_a_later_source_fails(tmp_path):
    before = open_descriptors()
    grants = (grant_of(tmp_path), grant_of(tmp_path / "missing", mount="/other"))
    with pytest.raises(SourceUnavailable):
        HostTrees(grants)
    assert open_descriptors() == before


def test_a_mount_below_a_host_grant_is_refused_and_below_scratch_it_is_not(tmp_path):
    outer, inner = grant_of(tmp_path, mount="/work"), grant_of(None, mount="/work/out")
    for grants in ((outer, inner), (inner, outer), (outer, grant_of(tmp_path, mount="/work"))):
        with pytest.raises(SourceUnavailable):
            HostTrees(grants)
    scratch, host = grant_of(None, mount="/work"), grant_of(tmp_path, mount="/work/out")
    HostTrees((scratch, host)).close()


def test_scratch_memory_is_not_on_the_host_and_hides_nothing_below_it(tmp_path):
    (tmp_path / "f").write_text("text")
    grants = (grant_of(None, mount="/work"), grant_of(tmp_path, mount="/work/out"))
    decides = compile_policy(Policy("test", "", "test.yaml", filesystem=grants))
    with HostTrees(grants) as trees:
        with trees.locate(
            "/work/out/f", follow=True, decides=decides, action=FileAction.READ
        ) as place:
            assert place.grant.mount == "/work/out"
        with pytest.raises(GuestError) as caught:
            trees.locate("/work/f", follow=True, decides=decides, action=FileAction.READ)
        assert caught.value.errno == errno.ENOENT


def test_closed_trees_answer_no_more_and_located_places_still_do(world):
    (world.inside / "f").write_text("text")
    place = world.locate("/data/f")
    world.trees.close()
    world.trees.close()
    with pytest.raises(InternalError):
        world.locate("/data/f")
    assert place.target.status().st_size == 4
    place.close()
    place.close()
    with pytest.raises(InternalError):
        place.target.status()


def test_a_step_is_one_name_and_nothing_else(world):
    with open_root(str(world.inside)) as root:
        for name in (b"", b".", b"..", b"a/b", b"/", b"a\0b", b"../outside"):
            with pytest.raises(InternalError):
                root.step(name)
        with pytest.raises(FileNotFoundError):
            root.step(b"missing")


NO_OPENAT2 = """
import ctypes, struct, sys
sys.path[:0] = sys.argv[2:]
from executor.kernel.descriptors import open_root
from executor.kernel.errors import ExecutorError

libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)
rows = [(0x20, 0, 0, 0), (0x15, 0, 1, 437), (6, 0, 0, 0x50001), (6, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in rows))
program = struct.pack("HxxxxxxP", len(rows), ctypes.addressof(code))
if libc.prctl(22, 2, program, 0, 0):
    sys.exit("seccomp refused")
try:
    open_root(sys.argv[1])
except ExecutorError as error:
    print(error.reason)
"""


def test_a_kernel_that_refuses_openat2_is_an_error_and_not_a_weaker_walk(world):
    paths = [path for path in sys.path if path]
    done = subprocess.run(
        [sys.executable, "-c", NO_OPENAT2, str(world.inside), *paths],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("OPENAT2_MISSING\n", "")
    assert issubclass(ExecutorError, Exception)
    open_root(str(world.inside)).close()


def test_descriptors_are_as_many_after_a_thousand_walks_good_and_bad(make_world):
    world = make_world(deny=("private/**",))
    (world.inside / "a/b/c").mkdir(parents=True)
    (world.inside / "loop").symlink_to("loop")
    (world.inside / "out").symlink_to("../outside/secret")
    (world.inside / "bad").symlink_to("a/b/../../private/x")
    (world.inside / "up").symlink_to("a/b/c/../../..")
    before = open_descriptors()
    paths = ["a/b/c", "loop", "out", "bad", "up", "private/x", "a/b/c/d", "a/x/y", "../x", "up/a"]
    failed = 0
    for number in range(1000):
        try:
            world.locate(f"/data/{paths[number % len(paths)]}").close()
        except GuestError:
            failed += 1
    assert failed == 600
    assert open_descriptors() == before


def test_the_hosts_own_mount_points_are_absent():
    grant = grant_of(Path("/"))
    decides = compile_policy(Policy("test", "", "test.yaml", filesystem=(grant,)))
    with HostTrees((grant,)) as trees:
        for path in ("/data/proc", "/data/proc/self/fd/0", "/data/proc/self/root/etc"):
            with pytest.raises(GuestError) as caught:
                trees.locate(path, follow=True, decides=decides, action=FileAction.STAT)
            assert caught.value.errno == errno.ENOENT
        trees.locate("/data/etc", follow=True, decides=decides, action=FileAction.STAT).close()
