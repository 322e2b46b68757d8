"""
The acts on host files: each that works, and beside it the same act one step beyond its right.
"""

import errno
import fcntl
import os
import socket
import stat as modes
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
from host_world import CANARY, open_descriptors

from executor.kernel import hostfiles
from executor.kernel.descriptors import Descriptor
from executor.kernel.errors import GuestError, InternalError
from executor.kernel.hostfiles import Creation, Entry, Opening, Quota, Right
from executor.kernel.limits import Quota as LimitsQuota
from executor.kernel.paths import Kind
from policy.requests import FileAction
from policy.types import Access

CREATE = Opening(creation=Creation.IF_MISSING)
EXCLUSIVE = Opening(creation=Creation.EXCLUSIVE)
REPLACE = Opening(creation=Creation.IF_MISSING, truncate=True, read=True)
APPEND = Opening(creation=Creation.IF_MISSING, append=True)


def refusal(act, *arguments):
    with pytest.raises(GuestError) as caught:
        act(*arguments)
    return caught.value.errno


def acting(world, action, path, act, *arguments):
    with world.locate(path, action, follow=False) as place:
        return act(place, *arguments)


def refused(world, action, path, act, *arguments):
    return refusal(acting, world, action, path, act, *arguments)


# Reading


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


# Listing


def listed(world, path="/data"):
    with world.locate(path, FileAction.LIST) as place:
        return hostfiles.list_directory(place, world.decides)


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


# Writing


def test_a_new_file_is_plain_and_costs_one_file(world):
    with world.open("/data/new", EXCLUSIVE) as handle:
        assert handle.write_at(b"text", 0) == 4
        assert (handle.rights, handle.grant, handle.written) == (Right.WRITE, world.grant, 4)
        handle.sync()
        assert handle.stat().size == 4
    status = (world.inside / "new").stat()
    assert modes.S_IMODE(status.st_mode) & ~0o644 == 0
    assert (world.quota.files_left, world.quota.bytes_left) == (9, 996)


def test_an_existing_file_is_opened_kept_or_emptied_as_asked(world):
    (world.inside / "f").write_text("text")
    assert refusal(world.open, "/data/f", EXCLUSIVE) == errno.EEXIST
    assert refusal(world.open, "/data/missing", Opening()) == errno.ENOENT
    with world.open("/data/f", CREATE) as handle:
        handle.write_at(b"X", 1)
    assert (world.inside / "f").read_text() == "tXxt"
    with world.open("/data/f", REPLACE) as handle:
        assert handle.read_at(10, 0) == b""
    assert (world.inside / "f").read_text() == ""
    assert (world.quota.files_left, world.quota.bytes_left) == (10, 1000)


def test_exclusive_creation_does_not_follow_a_dangling_link(world):
    (world.inside / "link").symlink_to("new")
    assert refusal(world.open, "/data/link", EXCLUSIVE) == errno.EEXIST
    world.open("/data/link", CREATE).close()
    assert sorted(path.name for path in world.inside.iterdir()) == ["link", "new"]


def test_a_handle_does_only_what_it_was_opened_for(world):
    with world.open("/data/f", CREATE) as handle:
        assert refusal(handle.read_at, 1, 0) == errno.EBADF
        assert refusal(handle.append, b"x") == errno.EBADF
    with world.open("/data/f", APPEND) as handle:
        assert handle.append(b"one") == 3
        assert refusal(handle.write_at, b"x", 0) == errno.EBADF
        assert refusal(handle.read_at, 1, 0) == errno.EBADF
    with world.open("/data/f", Opening(read=True)) as handle:
        assert handle.read_at(10, 1) == b"ne"
    with pytest.raises(InternalError):
        handle.write_at(b"x", 0)
    with pytest.raises(InternalError):
        handle.stat()
    assert (world.inside / "f").read_text() == "one"


@pytest.mark.parametrize("offset", [-1, 2**62 + 1, 2**63, 2**64])
def test_offsets_and_sizes_out_of_range_are_invalid(world, offset):
    with world.open("/data/f", REPLACE) as handle:
        assert refusal(handle.write_at, b"x", offset) == errno.EINVAL
        assert refusal(handle.read_at, 1, offset) == errno.EINVAL
        assert refusal(handle.truncate, offset) == errno.EINVAL
        assert refusal(handle.write_at, bytes(2**20 + 1), 0) == errno.EINVAL
        assert refusal(handle.read_at, 2**20 + 1, 0) == errno.EINVAL
        assert handle.read_at(2**20, 2**62) == b""
    assert world.quota.bytes_left == 1000


def test_growth_is_charged_and_nothing_else(world):
    (world.inside / "f").write_bytes(bytes(100))
    with world.open("/data/f", Opening()) as handle:
        handle.write_at(bytes(100), 0)
        assert world.quota.bytes_left == 1000
        handle.write_at(bytes(20), 90)
        assert world.quota.bytes_left == 990
        handle.write_at(b"", 2**40)
        assert world.quota.bytes_left == 990
        handle.truncate(0)
        assert world.quota.bytes_left == 990
        handle.truncate(990)
        assert world.quota.bytes_left == 0
        assert refusal(handle.truncate, 991) == errno.EDQUOT
        assert refusal(handle.write_at, b"xx", 989) == errno.EDQUOT
        assert refusal(handle.write_at, b"x", 2**40) == errno.EDQUOT
        handle.write_at(b"x", 989)
    assert (world.inside / "f").stat().st_size == 990


def test_what_the_host_refuses_or_cuts_short_is_given_back(world):
    descriptor = Descriptor(os.open("/dev/full", os.O_WRONLY))
    with hostfiles.WriteHandle(
        descriptor, "/data/full", world.grant, Right.WRITE, world.quota
    ) as handle:
        assert refusal(handle.write_at, bytes(10), 0) == errno.ENOSPC
        assert refusal(handle.truncate, 10) == errno.EINVAL
        assert refusal(handle.sync) == errno.EINVAL
    assert (world.quota.bytes_left, handle.written) == (1000, 0)
    reader, writer = os.pipe2(os.O_NONBLOCK)
    with (
        Descriptor(reader),
        hostfiles.WriteHandle(
            Descriptor(writer),
            "/data/pipe",
            world.grant,
            Right.WRITE | Right.APPEND,
            quota_of(world),
        ) as handle,
    ):
        count = handle.append(bytes(2**20))
        assert 0 < count < 2**20
        assert handle._quota.bytes_left == 2**20 - count
        assert refusal(handle.append, b"x") == errno.EAGAIN
        assert handle._quota.bytes_left == 2**20 - count


def quota_of(world, quota=2**20):
    return Quota(replace(world.grant, quota=quota))


def test_a_hundred_parallel_appends_stay_within_the_quota(make_world):
    world = make_world(quota=555)
    handles = [world.open("/data/f", APPEND) for _ in range(10)]

    def appends(handle):
        for _ in range(10):
            try:
                handle.append(bytes(10))
            except GuestError as error:
                refusals.append(error.errno)

    refusals = []
    threads = [Thread(target=appends, args=(handle,)) for handle in handles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for handle in handles:
        handle.close()
    assert (world.inside / "f").stat().st_size == 550
    assert refusals == [errno.EDQUOT] * 45
    assert world.quota.bytes_left == 5


def test_files_and_directories_count_and_failed_ones_do_not(make_world):
    world = make_world(max_files=2)
    acting(world, FileAction.MAKE_DIRECTORY, "/data/d", hostfiles.make_directory, world.quota)
    with world.locate("/data/d/missing", *EXCLUSIVE.actions) as place:
        (world.inside / "d").rmdir()
        assert refusal(hostfiles.open_for_writing, place, EXCLUSIVE, world.quota) == errno.ENOENT
    assert world.quota.files_left == 1
    world.open("/data/f", CREATE).close()
    world.open("/data/f", CREATE).close()
    assert refusal(world.open, "/data/g", CREATE) == errno.EDQUOT
    mkdir = FileAction.MAKE_DIRECTORY
    assert refused(world, mkdir, "/data/e", hostfiles.make_directory, world.quota) == errno.EDQUOT
    assert [path.name for path in world.inside.iterdir()] == ["f"]


def test_a_budget_does_not_take_less_than_nothing_nor_get_more_than_it_gave(world):
    assert Quota is LimitsQuota
    with pytest.raises(InternalError):
        world.quota.take_bytes(-1, "/data/f")
    with pytest.raises(InternalError):
        world.quota.give_back_bytes(-1)
    with pytest.raises(InternalError):
        quota_of(world).give_back_bytes(1)
    with pytest.raises(InternalError):
        quota_of(world).give_back_file()


def test_a_set_id_file_is_not_written(world):
    (world.inside / "f").write_text("text")
    (world.inside / "f").chmod(0o4755)
    assert refusal(world.open, "/data/f", Opening()) == errno.EACCES
    (world.inside / "f").chmod(0o755)
    world.open("/data/f", Opening()).close()


def test_a_file_that_appears_between_look_and_creation_is_used_or_refused(world):
    for name, opening, number in (
        ("a", CREATE, None),
        ("b", EXCLUSIVE, errno.EEXIST),
    ):
        with world.locate(f"/data/{name}", *opening.actions, follow=False) as place:
            (world.inside / name).write_text("theirs")
            if number is None:
                hostfiles.open_for_writing(place, opening, world.quota).close()
            else:
                assert refusal(hostfiles.open_for_writing, place, opening, world.quota) == number
        assert (world.inside / name).read_text() == "theirs"
    with world.locate("/data/c", *REPLACE.actions) as place:
        (world.inside / "c").symlink_to("../outside/secret")
        assert refusal(hostfiles.open_for_writing, place, REPLACE, world.quota) == errno.ELOOP
    assert world.quota.files_left == 10


def test_truncating_costs_what_it_adds(world):
    (world.inside / "f").write_text("text")
    acting(world, FileAction.TRUNCATE, "/data/f", hostfiles.truncate, 2, world.quota)
    assert (world.inside / "f").read_text() == "te"
    acting(world, FileAction.TRUNCATE, "/data/f", hostfiles.truncate, 1002, world.quota)
    assert world.quota.bytes_left == 0
    number = refused(world, FileAction.TRUNCATE, "/data/f", hostfiles.truncate, 1003, world.quota)
    assert number == errno.EDQUOT


def test_a_quota_that_cannot_hold_the_truncation_closes_the_file(world):
    (world.inside / "f").write_text("text")
    before = open_descriptors()
    empty = quota_of(world, 0)
    with world.locate("/data/f", FileAction.TRUNCATE) as place:
        assert refusal(hostfiles.truncate, place, 5, empty) == errno.EDQUOT
    assert open_descriptors() == before


def test_times_are_set_on_files_and_directories_only(world):
    (world.inside / "f").write_text("text")
    (world.inside / "link").symlink_to("f")
    for path in ("f", ""):
        place = "/data/f" if path else "/data"
        acting(world, FileAction.SET_TIMES, place, hostfiles.set_times, 1_000, 2_000)
        status = (world.inside / path).stat()
        assert (status.st_atime_ns, status.st_mtime_ns) == (1_000, 2_000)
    act, what = FileAction.SET_TIMES, hostfiles.set_times
    assert refused(world, act, "/data/link", what, 1, 1) == errno.ELOOP
    assert refused(world, act, "/data/missing", what, 1, 1) == errno.ENOENT
    for times in ((-1, 1), (1, -1), (2**63, 1), (1, 2**63)):
        assert refused(world, act, "/data/f", what, *times) == errno.EINVAL


# Names


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


def move(world, old, new, decides=None):
    with (
        world.locate(old, FileAction.RENAME, follow=False) as source,
        world.locate(new, FileAction.CREATE, follow=False) as destination,
    ):
        hostfiles.rename(source, destination, decides or world.decides)


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
