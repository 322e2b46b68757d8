"""
The acts that make, remove and move names of the host, and beside each what it may not.
"""

import errno
import stat as modes
from dataclasses import replace

import pytest
from host_world import acting, move, refusal, refused

from executor.kernel import hostfiles
from policy.requests import FileAction


def test_a_directory_is_made_once(world):
    mkdir = FileAction.MAKE_DIRECTORY
    acting(world, mkdir, "/data/d", hostfiles.make_directory, world.quota)
    assert modes.S_IMODE((world.inside / "d").stat().st_mode) & ~0o755 == 0
    (world.inside / "dangling").symlink_to("e")
    for name in ("/data/d", "/data/dangling", "/data"):
        assert refused(world, mkdir, name, hostfiles.make_directory, world.quota) == errno.EEXIST
    assert world.quota.files_left == 9
    assert not (world.inside / "e").exists()


def test_a_name_is_removed_and_never_what_a_link_points_to(world):
    (world.inside / "f").write_text("text")
    (world.inside / "d").mkdir()
    (world.inside / "link").symlink_to("d")
    (world.inside / "out").symlink_to("../outside/secret")
    for name in ("f", "link", "out"):
        acting(world, FileAction.REMOVE, f"/data/{name}", hostfiles.remove)
    assert [path.name for path in world.inside.iterdir()] == ["d"]
    assert refused(world, FileAction.REMOVE, "/data/d", hostfiles.remove) == errno.EISDIR
    assert refused(world, FileAction.REMOVE, "/data/f", hostfiles.remove) == errno.ENOENT


def test_a_directory_is_removed_when_it_is_empty(world):
    (world.inside / "d" / "e").mkdir(parents=True)
    (world.inside / "link").symlink_to("d")
    (world.inside / "f").write_text("text")
    rmdir = FileAction.REMOVE_DIRECTORY
    assert refused(world, rmdir, "/data/d", hostfiles.remove_directory) == errno.ENOTEMPTY
    assert refused(world, rmdir, "/data/link", hostfiles.remove_directory) == errno.ENOTDIR
    assert refused(world, rmdir, "/data/f", hostfiles.remove_directory) == errno.ENOTDIR
    acting(world, rmdir, "/data/d/e", hostfiles.remove_directory)
    acting(world, rmdir, "/data/d", hostfiles.remove_directory)
    assert not (world.inside / "d").exists()


def test_the_root_of_a_mount_stays_where_it_is(world):
    (world.inside / "root").symlink_to("/data")
    (world.inside / "f").write_text("text")
    with world.locate("/data", FileAction.STAT) as place:
        root = replace(
            place,
            actions=(FileAction.REMOVE_DIRECTORY, FileAction.RENAME, FileAction.CREATE),
        )
        assert refusal(hostfiles.remove_directory, root) == errno.EBUSY
        with world.locate("/data/f", FileAction.RENAME, follow=False) as file:
            assert refusal(hostfiles.rename, file, root, world.decides) == errno.EBUSY


def test_a_file_moves_and_replaces_what_may_be_removed(world):
    (world.inside / "a").write_text("a")
    (world.inside / "b").write_text("b")
    (world.inside / "d").mkdir()
    move(world, "/data/a", "/data/b")
    move(world, "/data/b", "/data/d/c")
    assert (world.inside / "d" / "c").read_text() == "a"
    assert refusal(move, world, "/data/missing", "/data/x") == errno.ENOENT
    (world.inside / "e").mkdir()
    assert refusal(move, world, "/data/d/c", "/data/e") == errno.EISDIR


def test_a_file_replaces_nothing_that_may_not_be_removed(world):
    (world.inside / "a").write_text("a")
    (world.inside / "b").write_text("b")
    kept = NoRemoval(world.decides)
    assert refusal(move, world, "/data/a", "/data/b", kept) == errno.EACCES
    assert (world.inside / "b").read_text() == "b"
    move(world, "/data/a", "/data/c", kept)


class NoRemoval:
    """
    The world's policy, but nothing can be removed, and nothing is ever hidden.
    """

    def __init__(self, decider):
        self._decider = decider

    def decide(self, request):
        decision = self._decider.decide(request)
        if request.action in {FileAction.REMOVE, FileAction.REMOVE_DIRECTORY}:
            return replace(decision, allowed=False, reason="nothing can be removed")
        return decision

    def may_hide(self, path):
        return path.startswith("/data/hiding")


def test_a_link_is_moved_itself(world):
    (world.inside / "out").symlink_to("../outside/secret")
    (world.inside / "f").write_text("text")
    move(world, "/data/out", "/data/moved")
    assert (world.inside / "moved").is_symlink()
    move(world, "/data/f", "/data/moved")
    assert (world.inside / "moved").read_text() == "text"


def test_a_directory_keeps_its_name_where_names_below_it_could_be_denied(world):
    decides = NoRemoval(world.decides)
    for name in ("d", "hiding"):
        (world.inside / name).mkdir()
    move(world, "/data/d", "/data/e", decides)
    assert refusal(move, world, "/data/e", "/data/hiding2", decides) == errno.EACCES
    assert refusal(move, world, "/data/hiding", "/data/f", decides) == errno.EACCES
    # The names guarded in every writable host grant count: nothing is planted by way of a rename.
    assert refusal(move, world, "/data/e", "/data/.git") == errno.EACCES
    assert sorted(path.name for path in world.inside.iterdir()) == ["e", "hiding"]


def test_a_file_moves_to_no_denied_name_and_from_none(make_world):
    world = make_world(deny=("*.key",))
    (world.inside / "a").write_text("a")
    (world.inside / "x.key").write_text("hidden")
    assert refusal(move, world, "/data/a", "/data/y.key") == errno.ENOENT
    assert refusal(move, world, "/data/x.key", "/data/y") == errno.ENOENT
    move(world, "/data/a", "/data/b")


def test_nothing_moves_between_grants(world, make_world):
    (world.inside / "a").write_text("a")
    other = make_world(mount="/other")
    with (
        world.locate("/data/a", FileAction.RENAME, follow=False) as source,
        other.locate("/other/b", FileAction.CREATE, follow=False) as destination,
    ):
        assert refusal(hostfiles.rename, source, destination, world.decides) == errno.EXDEV


@pytest.mark.parametrize("changed", ["a", "b"])
def test_a_name_that_another_session_changed_meanwhile_is_busy(world, changed):
    (world.inside / "a").write_text("a")
    (world.inside / "b").write_text("b")
    with (
        world.locate("/data/a", FileAction.RENAME, follow=False) as source,
        world.locate("/data/b", FileAction.CREATE, follow=False) as destination,
    ):
        (world.inside / changed).unlink()
        (world.inside / changed).mkdir()
        assert refusal(hostfiles.rename, source, destination, world.decides) == errno.EBUSY
        (world.inside / changed).rmdir()
        assert refusal(hostfiles.rename, source, destination, world.decides) == errno.EBUSY
