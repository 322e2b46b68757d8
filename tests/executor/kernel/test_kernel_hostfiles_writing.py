"""
The acts that change what a host file holds, within their rights and quotas and a step beyond.
"""

import errno
import os
import stat as modes
from contextlib import nullcontext
from threading import Thread

import pytest
from host_world import (
    APPEND,
    CREATE,
    EXCLUSIVE,
    REPLACE,
    acting,
    open_descriptors,
    quota_of,
    refusal,
    refused,
)

from executor.kernel import hostfiles
from executor.kernel.descriptors import Descriptor
from executor.kernel.errors import GuestError, InternalError
from executor.kernel.hostfiles import Opening, Quota, Right
from executor.kernel.limits import Quota as LimitsQuota
from executor.kernel.writehandle import WriteHandle
from policy.requests import FileAction


def test_only_who_may_write_has_the_host_bring_a_file_to_its_disk(world):
    for rights, fails in ((Right.READ, False), (Right.READ | Right.WRITE, True)):
        # A file that no disk holds: fsync(2) tells that it was called.
        held = Descriptor(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC))
        handle = WriteHandle(held, "/data/a", world.grant, rights, world.quota)
        with handle, pytest.raises(GuestError) if fails else nullcontext():
            handle.sync()


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
