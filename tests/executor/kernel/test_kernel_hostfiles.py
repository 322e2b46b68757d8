"""
The acts on host files: each that works, and beside it the same act one step beyond its right.

Here what is read, listed and told, and what holds for all of them.
"""

import errno
import fcntl
import os
import socket
import stat as modes
from dataclasses import replace
from pathlib import Path

import pytest
from host_world import (
    APPEND,
    CANARY,
    CREATE,
    EXCLUSIVE,
    REPLACE,
    acting,
    listed,
    move,
    open_descriptors,
    refusal,
    refused,
)

from executor.kernel import hostfiles
from executor.kernel.descriptors import Descriptor
from executor.kernel.errors import GuestError, InternalError
from executor.kernel.hostfiles import Entry, Opening, Right
from executor.kernel.paths import Kind
from policy.requests import FileAction
from policy.types import Access


def test_a_file_opens_for_reading_with_a_descriptor_that_cannot_write(world):
    (world.inside / "f").write_text("text")
    with Descriptor(acting(world, FileAction.READ, "/data/f", hostfiles.open_for_reading)) as held:
        assert os.read(held.number, 10) == b"text"
        assert fcntl.fcntl(held.number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
        assert not fcntl.fcntl(held.number, fcntl.F_GETFL) & os.O_PATH
        assert not os.get_inheritable(held.number)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(held.number, b"x")


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("missing", errno.ENOENT),
        ("directory", errno.EISDIR),
        ("link", errno.ELOOP),
        ("fifo", errno.EACCES),
        ("socket", errno.EACCES),
    ],
)
def test_what_is_no_regular_file_does_not_open_and_a_fifo_does_not_hang(world, name, number):
    (world.inside / "directory").mkdir()
    (world.inside / "link").symlink_to("f")
    os.mkfifo(world.inside / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(world.inside / "socket"))
    path = f"/data/{name}"
    assert refused(world, FileAction.READ, path, hostfiles.open_for_reading) == number
    with world.locate(path, *Opening().actions, follow=False) as place:
        assert refusal(hostfiles.open_for_writing, place, Opening(), world.quota) == number
    assert refused(world, FileAction.TRUNCATE, path, hostfiles.truncate, 0, world.quota) == number


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_shows_its_kind_and_does_not_open(world):
    os.mknod(world.inside / "null", 0o666 | modes.S_IFCHR, os.makedev(1, 3))
    assert acting(world, FileAction.STAT, "/data/null", hostfiles.stat).kind is Kind.DEVICE
    assert refused(world, FileAction.READ, "/data/null", hostfiles.open_for_reading) == errno.EACCES


def test_the_object_located_is_the_object_opened_whatever_its_name_means_by_then(world):
    (world.inside / "f").write_text("inside")
    with world.locate("/data/f", FileAction.READ) as place:
        (world.inside / "f").rename(world.inside / "g")
        (world.inside / "f").symlink_to("../outside/secret")
        with Descriptor(hostfiles.open_for_reading(place)) as held:
            assert os.read(held.number, 100) == b"inside"


def test_an_object_that_changed_identity_is_busy(world):
    (world.inside / "f").write_text("text")
    with world.locate("/data/f", FileAction.READ) as place:
        other = replace(place, status=(world.outside / "secret").stat())
        assert refusal(hostfiles.open_for_reading, other) == errno.EBUSY


def test_a_file_with_a_name_elsewhere_is_read_and_not_changed(world):
    (world.inside / "hard").hardlink_to(world.outside / "secret")
    with Descriptor(
        acting(world, FileAction.READ, "/data/hard", hostfiles.open_for_reading)
    ) as held:
        assert os.read(held.number, 100).decode() == CANARY
    for opening in (Opening(), REPLACE, APPEND):
        assert refusal(world.open, "/data/hard", opening) == errno.EACCES
    quota = world.quota
    assert refused(world, FileAction.TRUNCATE, "/data/hard", hostfiles.truncate, 0, quota) == 13
    assert refused(world, FileAction.SET_TIMES, "/data/hard", hostfiles.set_times, 1, 1) == 13
    with world.open("/data/new", CREATE) as handle:
        handle.write_at(b"mine", 0)
    move(world, "/data/new", "/data/hard")
    assert (world.inside / "hard").read_text() == "mine"


def test_stat_tells_the_kind_size_time_and_owner_bits_and_nothing_of_the_host(make_world):
    world = make_world()
    (world.inside / "f").write_text("text")
    (world.inside / "f").chmod(0o6777)
    os.utime(world.inside / "f", ns=(1, 123_456_789))
    told = acting(world, FileAction.STAT, "/data/f", hostfiles.stat)
    assert told == hostfiles.FileStat(Kind.FILE, 4, 123_456_789, 0o700)
    read_only = make_world(access=Access.READ)
    told = acting(read_only, FileAction.STAT, "/data/f", hostfiles.stat)
    assert told == hostfiles.FileStat(Kind.FILE, 4, 123_456_789, 0o500)
    (world.inside / "link").symlink_to("/some/host/path")
    assert acting(world, FileAction.STAT, "/data/link", hostfiles.stat).size == 0
    assert acting(world, FileAction.STAT, "/data", hostfiles.stat).size == 0
    assert refused(world, FileAction.STAT, "/data/missing", hostfiles.stat) == errno.ENOENT


def test_a_links_text_is_told_only_when_it_leads_to_something_granted(make_world):
    world = make_world(deny=("private/**",))
    (world.inside / "f").write_text("text")
    for name, target in {
        "in": "./f",
        "dangling": "nothing",
        "host": f"{world.inside}/f",
        "out": "../outside/secret",
        "denied": "private/x",
    }.items():
        (world.inside / name).symlink_to(target)

    def text(name):
        with world.locate(f"/data/{name}") as place:
            return hostfiles.read_link(place)

    assert (text("in"), text("dangling")) == ("./f", "nothing")
    assert [refusal(text, name) for name in ("host", "out", "denied")] == [errno.ENOENT] * 3
    assert refusal(text, "f") == errno.EINVAL
    (world.inside / "here").symlink_to(".")
    assert text("here/in") == "./f"
    (world.inside / "chain").symlink_to("in")
    assert text("chain") == "in"
    assert refusal(text, "here/f") == errno.EINVAL
    assert refusal(text, "missing") == errno.ENOENT


def test_a_listing_is_sorted_and_leaves_out_denied_and_undecodable_names(make_world):
    world = make_world(deny=("**/*.key", "private/**"))
    for name in ("b", "a", "x.key", "é", "-rf", "line\nfeed"):
        (world.inside / name).write_text("x")
    (world.inside / "private").mkdir()
    (world.inside / "d").mkdir()
    (world.inside / "link").symlink_to("private/x")
    os.mkfifo(world.inside / "fifo")
    Path(os.fsdecode(os.fsencode(world.inside) + b"/\xff")).write_text("x")
    assert listed(world) == [
        Entry("-rf", Kind.FILE),
        Entry("a", Kind.FILE),
        Entry("b", Kind.FILE),
        Entry("d", Kind.DIRECTORY),
        Entry("fifo", Kind.FIFO),
        Entry("line\nfeed", Kind.FILE),
        Entry("link", Kind.LINK),
        Entry("é", Kind.FILE),
    ]
    assert listed(world, "/data/d") == []
    assert refusal(listed, world, "/data/a") == errno.ENOTDIR
    assert refusal(listed, world, "/data/missing") == errno.ENOENT


def test_a_listing_is_whole_or_refused(world, monkeypatch):
    monkeypatch.setattr(hostfiles, "MAX_ENTRIES", 3)
    for name in "abc":
        (world.inside / name).write_text("x")
    assert [entry.name for entry in listed(world)] == ["a", "b", "c"]
    (world.inside / "d").write_text("x")
    before = open_descriptors()
    assert refusal(listed, world) == errno.EOVERFLOW
    assert open_descriptors() == before


def test_a_listing_looks_at_a_bounded_number_of_names(make_world, monkeypatch):
    monkeypatch.setattr(hostfiles, "MAX_SCANNED", 3)
    world = make_world(deny=("*.key",))
    for name in "abc":
        (world.inside / f"{name}.key").write_text("x")
    assert listed(world) == []
    (world.inside / "d.key").write_text("x")
    assert refusal(listed, world) == errno.EOVERFLOW


ACTS = {
    # The world is for those acts that need more than a place.
    "stat": lambda place, _: hostfiles.stat(place),
    "readlink": lambda place, _: hostfiles.read_link(place),
    "list": lambda place, world: hostfiles.list_directory(place, world.decides),
    "read": lambda place, _: hostfiles.open_for_reading(place),
    "write": lambda place, world: hostfiles.open_for_writing(place, Opening(), world.quota),
    "truncate": lambda place, world: hostfiles.truncate(place, 0, world.quota),
    "times": lambda place, _: hostfiles.set_times(place, 1, 1),
    "mkdir": lambda place, world: hostfiles.make_directory(place, world.quota),
    "remove": lambda place, _: hostfiles.remove(place),
    "rmdir": lambda place, _: hostfiles.remove_directory(place),
    "rename": lambda place, world: hostfiles.rename(place, place, world.decides),
}


@pytest.mark.parametrize("act", ACTS)
def test_no_act_is_done_on_a_place_that_was_allowed_for_another(world, act):
    (world.inside / "f").write_text("text")
    with world.locate("/data/f", FileAction.LIST, follow=False) as place:
        wrong = place if act != "list" else replace(place, actions=(FileAction.STAT,))
        with pytest.raises(InternalError):
            ACTS[act](wrong, world)
    assert (world.inside / "f").read_text() == "text"


def test_every_way_of_opening_needs_its_acts():
    both = {FileAction.WRITE, FileAction.CREATE, FileAction.TRUNCATE, FileAction.READ}
    assert set(REPLACE.actions) == both
    assert Opening().actions == (FileAction.WRITE,)
    assert (CREATE.follow, EXCLUSIVE.follow) == (True, False)


def test_errors_of_the_hosts_state_are_eio_and_carry_no_host_name(world):
    for number, told in ((errno.EMFILE, errno.EIO), (errno.ENOSPC, errno.ENOSPC)):
        error = GuestError.from_host(OSError(number, "x", str(world.inside)), "write /data/f")
        assert error.errno == told
        assert str(world.inside) not in str(error)


def test_a_failed_read_of_an_open_file_is_an_errno(world):
    descriptor = Descriptor(os.open(world.inside, os.O_RDONLY))
    with hostfiles.WriteHandle(
        descriptor, "/data", world.grant, Right.READ | Right.WRITE, world.quota
    ) as handle:
        assert refusal(handle.read_at, 1, 0) == errno.EISDIR


def test_no_descriptor_of_a_directory_can_come_out(world):
    (world.inside / "d").mkdir()
    (world.inside / "f").write_text("x")
    number = refused(world, FileAction.READ, "/data/d", hostfiles.open_for_reading)
    assert number == errno.EISDIR
    with (
        Descriptor(acting(world, FileAction.READ, "/data/f", hostfiles.open_for_reading)) as held,
        pytest.raises(NotADirectoryError),
    ):
        os.open("..", os.O_PATH, dir_fd=held.number)


def test_descriptors_are_as_many_after_a_thousand_acts_good_and_bad(make_world):
    world = make_world(max_files=10_000, quota=10_000)
    (world.inside / "d").mkdir()
    (world.inside / "hard").hardlink_to(world.outside / "secret")
    before = open_descriptors()
    for number in range(250):
        with world.open("/data/f", REPLACE) as handle:
            handle.write_at(b"text", 0)
        os.close(acting(world, FileAction.READ, "/data/f", hostfiles.open_for_reading))
        assert refusal(world.open, "/data/hard", CREATE) == errno.EACCES
        assert refusal(world.open, "/data/f", EXCLUSIVE) == errno.EEXIST
        if number % 50 == 0:
            listed(world)
            assert refusal(move, world, "/data/d", "/data/e") == errno.EACCES
    assert open_descriptors() == before
