"""
Resolution of guest paths on a real tree: what resolves, and for each of it what does not.
"""

import errno
import os
import socket
from pathlib import Path

import pytest
from host_world import CANARY

from executor.kernel.descriptors import Descriptor
from executor.kernel.errors import GuestError
from executor.kernel.paths import Kind, check_path
from policy.requests import FileAction
from policy.types import Access, Decision


def test_a_file_is_held_with_its_directory_and_both_are_path_only(world):
    (world.inside / "a").mkdir()
    (world.inside / "a" / "f").write_text("text")
    with world.locate("/data/a/f", FileAction.READ) as place:
        assert (place.requested, place.final, place.name) == ("/data/a/f", "/data/a/f", b"f")
        assert place.kind is Kind.FILE
        assert [decision.allowed for decision in place.decisions] == [True]
        for held in (place.parent, place.target):
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.read(held.number, 1)
            assert not os.get_inheritable(held.number)


def test_a_missing_last_component_is_a_place_and_a_missing_directory_is_not(world):
    with world.locate("/data/new", FileAction.CREATE) as place:
        assert (place.target, place.status, place.kind) == (None, None, None)
        assert place.parent is not None
    assert world.errno_of("/data/no/new", FileAction.CREATE) == errno.ENOENT


def test_the_root_of_the_mount_resolves_and_has_no_directory(world):
    with world.locate("/data", FileAction.LIST) as place:
        assert (place.parent, place.name, place.kind) == (None, b"", Kind.DIRECTORY)


@pytest.mark.parametrize("depth", [1, 2, 3, 17, 200])
@pytest.mark.parametrize("form", ["/data{}/etc/passwd", "/data/a{}", "{}/data"])
def test_dots_are_refused_at_any_depth(world, depth, form):
    path = form.format("/.." * depth)
    assert world.errno_of(path) == errno.EINVAL


@pytest.mark.parametrize("action", list(FileAction))
@pytest.mark.parametrize(
    "path",
    [
        "",
        "data",
        "/",
        "//data",
        "/data/",
        "/data//f",
        "/data/.",
        "/data/./f",
        "/data/a/../f",
        "/data/f/",
        "/data/f/..",
        "/data/f\0",
        "/data/\0/f",
        "/data/\ud800",
    ],
)
def test_a_path_that_is_not_normalised_is_invalid_for_every_act(world, action, path):
    (world.inside / "f").write_text("text")
    assert world.errno_of(path, action) == errno.EINVAL


@pytest.mark.parametrize(
    ("fits", "does_not"),
    [
        ("/data/" + "n" * 255, "/data/" + "n" * 256),
        ("/data/" + "é" * 127, "/data/" + "é" * 128),
        ("/data" + "/d" * 63, "/data" + "/d" * 64),
        ("/" + "/".join(["n" * 63] * 64), "/" + "/".join(["n" * 64] * 64)),
    ],
    ids=["component", "bytes, not characters", "depth", "whole path"],
)
def test_limits_of_length_hold_to_the_byte(world, fits, does_not):
    check_path(fits)
    with pytest.raises(GuestError) as caught:
        check_path(does_not)
    assert caught.value.errno == errno.ENAMETOOLONG


def test_a_sibling_with_the_mounts_name_as_prefix_is_another_path(world, tmp_path):
    (tmp_path / "granted-secret").mkdir()
    (tmp_path / "granted-secret" / "f").write_text("x")
    (world.inside / "f").write_text("text")
    world.locate("/data/f").close()
    assert world.errno_of("/data-secret/f") == errno.ENOENT
    assert world.errno_of("/dat") == errno.ENOENT


class AllowsAll:
    """
    A policy without any rule, to see what the boundary refuses by itself.
    """

    def __init__(self, grant):
        self._decision = Decision(True, grant.rule, "everything is allowed", grant=grant)

    def decide(self, _):
        return self._decision

    def may_hide(self, _):
        return False


def test_mounts_are_compared_by_whole_names_also_without_a_policys_help(world):
    (world.inside / "-secret").mkdir()
    (world.inside / "-secret" / "f").write_text("x")
    (world.inside / "alias").symlink_to("/data-secret/f")
    (world.inside / "good").symlink_to("/data/-secret/f")
    decides = AllowsAll(world.grant)

    def locate(path):
        return world.trees.locate(path, follow=True, decides=decides, action=FileAction.READ)

    for path in ("/data/-secret/f", "/data/good"):
        with locate(path) as place:
            assert place.final == "/data/-secret/f"
    for path in ("/data-secret/f", "/data/alias", "/dat/a", "/", "/other/f"):
        with pytest.raises(GuestError):
            locate(path)


@pytest.mark.parametrize("name", ["-rf", "*", "a\nb", "$(x)", "a\\b", "?", "[a]", "é", "e\u0301"])
def test_names_are_literal(world, name):
    (world.inside / name).write_text(name)
    (world.inside / "other").write_text("other")
    with world.locate(f"/data/{name}") as place:
        assert place.status.st_ino == (world.inside / name).stat().st_ino


@pytest.mark.parametrize(("made", "asked"), [("File", "file"), ("é", "e\u0301"), ("a", "a\\")])
def test_no_case_form_or_separator_is_folded(world, made, asked):
    (world.inside / made).write_text("x")
    with world.locate(f"/data/{asked}") as place:
        assert place.status is None


def test_a_link_inside_is_followed_and_its_final_name_told(world):
    (world.inside / "d").mkdir()
    (world.inside / "d" / "f").write_text("text")
    (world.inside / "link").symlink_to("d/../d/./f")
    with world.locate("/data/link") as place:
        assert (place.final, place.kind, place.link) == ("/data/d/f", Kind.FILE, "d/../d/./f")
        assert len(place.decisions) == 2
    with world.locate("/data/link", follow=False) as place:
        assert (place.final, place.kind, place.link) == ("/data/link", Kind.LINK, None)


def test_an_absolute_target_counts_from_the_guests_root(world):
    (world.inside / "f").write_text("text")
    (world.inside / "guest").symlink_to("/data//./f")
    (world.inside / "root").symlink_to("/data")
    (world.inside / "host").symlink_to(world.inside / "f")
    with world.locate("/data/guest") as place:
        assert place.final == "/data/f"
    with world.locate("/data/root") as place:
        assert (place.final, place.parent) == ("/data", None)
    assert world.errno_of("/data/host") == errno.ENOENT


@pytest.mark.parametrize(
    "target",
    [
        "/etc/passwd",
        "/",
        "..",
        "../outside/secret",
        "d/../../outside/secret",
        "/data/../outside/secret",
        "/data-secret/f",
        "/proc/self/root/etc/passwd",
        "/proc/self/fd/0",
        "/proc/self/cwd",
        "/dev/fd/0",
        b"\xff\xfe",
    ],
)
@pytest.mark.parametrize("action", [FileAction.READ, FileAction.CREATE, FileAction.TRUNCATE])
def test_a_link_that_leads_out_is_absent_also_behind_other_links(world, target, action):
    (world.inside / "d").mkdir()
    (world.inside / "out").symlink_to(os.fsdecode(target))
    (world.inside / "chain").symlink_to("d/../out")
    for path in ("/data/out", "/data/chain", "/data/out/passwd", "/data/chain/x"):
        assert world.errno_of(path, action) == errno.ENOENT
    with world.locate("/data/out", action, follow=False) as place:
        assert place.kind is Kind.LINK


def test_a_dangling_link_creates_only_inside(world):
    (world.inside / "d").mkdir()
    (world.inside / "in").symlink_to("d/new")
    (world.inside / "out").symlink_to("../outside/new")
    with world.locate("/data/in", FileAction.CREATE) as place:
        assert (place.final, place.status) == ("/data/d/new", None)
    assert world.errno_of("/data/out", FileAction.CREATE) == errno.ENOENT


def test_a_loop_ends_as_eloop_and_forty_links_still_resolve(world):
    (world.inside / "loop").symlink_to("loop")
    (world.inside / "link0").write_text("text")
    for number in range(1, 42):
        (world.inside / f"link{number}").symlink_to(f"link{number - 1}")
    assert world.errno_of("/data/loop") == errno.ELOOP
    world.locate("/data/link40").close()
    assert world.errno_of("/data/link41") == errno.ELOOP


def test_links_of_many_names_end_after_a_bounded_number_of_steps(world):
    (world.inside / "d").mkdir()
    (world.inside / "few").symlink_to("d/../" * 400 + "d")
    (world.inside / "many").symlink_to("d/../" * 800 + "d")
    world.locate("/data/few").close()
    assert world.errno_of("/data/many") == errno.ELOOP


def test_links_cannot_walk_deeper_than_a_path_may_be(world):
    deep = "/".join(["d"] * 60)
    (world.inside / deep / "e/e/e/e/e").mkdir(parents=True)
    (world.inside / "deep").symlink_to(deep)
    world.locate("/data/deep/e/e/e/e").close()
    assert world.errno_of("/data/deep/e/e/e/e/e") == errno.ENAMETOOLONG


def test_a_slash_or_dots_after_a_files_name_in_a_target_are_enotdir(world):
    (world.inside / "f").write_text("text")
    (world.inside / "d").mkdir()
    for number, tail in enumerate(["/", "/.", "/..", "/../f"]):
        (world.inside / f"file{number}").symlink_to(f"f{tail}")
        (world.inside / f"absolute{number}").symlink_to(f"/data/f{tail}")
        (world.inside / f"directory{number}").symlink_to(f"d{tail}")
        assert world.errno_of(f"/data/file{number}") == errno.ENOTDIR
        assert world.errno_of(f"/data/absolute{number}") == errno.ENOTDIR
        world.locate(f"/data/directory{number}").close()
    assert world.errno_of("/data/f/x") == errno.ENOTDIR


def test_a_link_in_the_middle_is_followed_also_when_the_last_one_is_not(world):
    (world.inside / "d").mkdir()
    (world.inside / "d" / "last").symlink_to("missing")
    (world.inside / "middle").symlink_to("d")
    with world.locate("/data/middle/last", follow=False) as place:
        assert (place.final, place.kind) == ("/data/d/last", Kind.LINK)


def test_a_denied_name_gives_the_very_error_of_a_missing_one(make_world):
    world = make_world(deny=("**/*.key", "private/**"))
    (world.inside / "private").mkdir()
    (world.inside / "private" / "f").write_text("hidden")
    (world.inside / "x.key").write_text("hidden")
    for denied in ("/data/x.key", "/data/y.key", "/data/x.key/y", "/data/private/f/z"):
        for action in FileAction:
            with pytest.raises(GuestError) as caught:
                world.locate(denied, action)
            assert caught.value.errno == errno.ENOENT
            assert caught.value.message == f"{action.value} {denied}: no such file or directory"
            assert not caught.value.decision.allowed


def test_an_alias_does_not_walk_around_a_denial(make_world):
    world = make_world(deny=("private/**",))
    (world.inside / "private").mkdir()
    (world.inside / "private" / "x.key").write_text("hidden")
    (world.inside / "private" / "file").write_text("hidden")
    (world.inside / "open").write_text("shown")
    (world.inside / "readme").symlink_to("private/x.key")
    (world.inside / "missing").symlink_to("private/missing")
    (world.inside / "beneath").symlink_to("private/file/below")
    (world.inside / "shown").symlink_to("open")
    world.locate("/data/shown", FileAction.READ).close()
    seen = set()
    for alias in ("readme", "missing", "beneath"):
        with pytest.raises(GuestError) as caught:
            world.locate(f"/data/{alias}", FileAction.READ)
        seen.add((caught.value.errno, caught.value.message.replace(alias, "NAME")))
        assert not caught.value.decision.allowed
    # One answer for what is there, what is not, and what has the wrong type.
    assert seen == {(errno.ENOENT, "read /data/NAME: no such file or directory")}


def test_a_link_that_only_passes_a_denied_directory_shows_nothing_of_it(make_world):
    world = make_world(deny=("private/**",))
    (world.inside / "private" / "there").mkdir(parents=True)
    (world.inside / "open").write_text("shown")
    (world.inside / "there").symlink_to("private/there/../../open")
    (world.inside / "gone").symlink_to("private/gone/../../open")
    assert world.errno_of("/data/there") == errno.ENOENT
    assert world.errno_of("/data/gone") == errno.ENOENT
    world.locate("/data/open").close()


@pytest.mark.parametrize("action", [action for action in FileAction if action.changes])
def test_a_change_in_a_read_grant_is_erofs_whether_or_not_the_name_exists(make_world, action):
    world = make_world(access=Access.READ)
    (world.inside / "f").write_text("text")
    assert world.errno_of("/data/f", action) == errno.EROFS
    assert world.errno_of("/data/missing", action) == errno.EROFS
    world.locate("/data/f", FileAction.READ, FileAction.STAT).close()


def test_every_further_act_must_be_allowed_too(make_world):
    world = make_world(access=Access.READ)
    (world.inside / "f").write_text("text")
    with pytest.raises(GuestError) as caught:
        world.locate("/data/f", FileAction.READ, FileAction.WRITE)
    assert caught.value.errno == errno.EROFS


def test_a_refusal_that_is_not_by_grant_is_eacces_with_the_decisions_reason(world):
    with pytest.raises(GuestError) as caught:
        world.locate("/data/.git/hooks/pre-commit", FileAction.CREATE)
    assert caught.value.errno == errno.EACCES
    assert caught.value.message == caught.value.decision.reason
    assert world.errno_of("/data", FileAction.REMOVE_DIRECTORY) == errno.EACCES


def test_a_root_replaced_by_a_link_is_still_the_directory_it_was(world, tmp_path):
    (world.inside / "f").write_text("original")
    inode = (world.inside / "f").stat().st_ino
    world.inside.rename(tmp_path / "moved")
    world.inside.symlink_to(world.outside)
    with world.locate("/data/f") as place:
        assert place.status.st_ino == inode
    with world.locate("/data/secret") as place:
        assert place.status is None


def test_a_directory_moved_out_while_held_does_not_lead_further_out(world):
    (world.inside / "d").mkdir()
    (world.inside / "d" / "up").symlink_to("../f")
    (world.inside / "f").write_text("inside")
    (world.outside / "f").write_text("outside")
    with world.locate("/data/d/up") as place:
        assert place.final == "/data/f"
    (world.inside / "d").rename(world.outside / "d")
    assert world.errno_of("/data/d/up") == errno.ENOENT
    (world.outside / "d" / "up").unlink()
    (world.outside / "d").rmdir()
    (world.outside / "f").unlink()


def test_special_files_show_their_kind(world):
    os.mkfifo(world.inside / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(world.inside / "socket"))
    with world.locate("/data/fifo") as place:
        assert place.kind is Kind.FIFO
    with world.locate("/data/socket") as place:
        assert place.kind is Kind.SOCKET
    assert Kind.of(Path("/dev/null").stat()) is Kind.DEVICE


@pytest.mark.skipif(os.geteuid() == 0, reason="root may search every directory")
def test_a_directory_that_the_server_may_not_search_is_eacces(world):
    (world.inside / "d").mkdir(mode=0)
    assert world.errno_of("/data/d/f") == errno.EACCES
    world.locate("/data/d").close()


def test_a_canary_test_can_fail(world):
    assert world.canary() == CANARY
    with Descriptor(os.open(world.outside / "secret", os.O_RDONLY)) as opened:
        assert os.read(opened.release(), 100).decode() == CANARY
