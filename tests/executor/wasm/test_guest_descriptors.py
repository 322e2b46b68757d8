"""
The descriptor table: numbers can be played with, rights never grow (F06, F08, F10, W24, W38).
"""

import pytest

from executor.wasm.abi import (
    F_DUPFD,
    F_GETFD,
    F_GETFL,
    F_GETLK,
    F_SETFD,
    F_SETFL,
    F_SETLK,
    F_SETLKW,
    F_UNLCK,
    FLOCK_SIZE,
    Errno,
    Open,
)
from executor.wasm.pipe import PIPE_BYTES
from executor.wasm.space import NODE_BYTES
from tests.executor.wasm.tiny_kernel import FILES, SCRATCH, Kernel

RDONLY, WRONLY, RDWR, CREAT, TRUNC = 0, 1, 2, 0o100, 0o1000
LIMIT = 64


@pytest.fixture
def opened(kernel):
    """
    A file in memory with content, open for reading.
    """
    file = kernel.open("/work/f", WRONLY | CREAT)
    assert kernel.write(file, b"content") == 7
    assert kernel.call("fd_close", file) == 0
    return kernel.open("/work/f", RDONLY)


def test_a_descriptor_has_the_rights_it_was_opened_with(kernel, opened):
    assert kernel.read(opened, 3) == b"con"
    assert kernel.write(opened, b"x") == -Errno.EBADF
    assert kernel.call("__syscall_ftruncate64", opened, 0) == -Errno.EBADF
    assert kernel.call("__syscall_fallocate", opened, 0, 0, 100) == -Errno.EBADF
    writing = kernel.open("/work/f", WRONLY)
    assert kernel.read(writing, 3) == -Errno.EBADF
    assert kernel.write(writing, b"x") == 1


@pytest.mark.parametrize("flags", [WRONLY, RDWR, 0o2001, 0o4002, 0o7777777])
def test_f10_setfl_never_adds_a_right(kernel, opened, flags):
    kernel.fcntl(opened, F_SETFL, flags)
    assert kernel.write(opened, b"x") == -Errno.EBADF
    assert kernel.fcntl(opened, F_GETFL) & 3 == RDONLY


def test_setfl_keeps_append_which_is_no_right(kernel):
    file = kernel.open("/work/f", RDWR | CREAT)
    kernel.write(file, b"abc")
    kernel.seek(file, 0)
    assert kernel.fcntl(file, F_SETFL, int(Open.APPEND)) == 0
    kernel.write(file, b"d")
    assert kernel.call("__syscall_lstat64", "/work/f", kernel.BUFFER) == 0
    assert kernel.seek(file, 0, 2) == 4


def test_f10_duplicates_share_position_and_rights(kernel, opened):
    for copy in (
        kernel.call("__syscall_dup", opened),
        kernel.fcntl(opened, F_DUPFD, 20),
        kernel.call("__syscall_dup3", opened, 30, 0),
    ):
        kernel.seek(opened, 0)
        assert kernel.read(copy, 3) == b"con"
        assert kernel.read(opened, 3) == b"ten"
        assert kernel.write(copy, b"x") == -Errno.EBADF


@pytest.mark.parametrize("number", [3, 17, 63, 64, 1023, 2**31 - 1, 2**31, 2**32 - 1])
def test_f10_what_is_not_open_is_ebadf_for_every_call(kernel, number):
    buffer = kernel.BUFFER
    calls = {
        "fd_read": (0, 1, 8), "fd_write": (0, 1, 8), "fd_pread": (0, 1, 0, 8),
        "fd_pwrite": (0, 1, 0, 8), "fd_seek": (0, 0, buffer), "fd_close": (), "fd_sync": (),
        "fd_fdstat_get": (buffer,), "__syscall_fstat64": (buffer,), "__syscall_dup": (),
        "__syscall_ftruncate64": (0,), "__syscall_fallocate": (0, 0, 1), "__syscall_fchdir": (),
        "__syscall_fadvise64": (0, 0, 0), "__syscall_fcntl64": (F_GETFD, buffer),
        "__syscall_ioctl": (0x5401, buffer), "__syscall_fdatasync": (),
        "__syscall_getdents64": (buffer, 280), "__syscall_fchmod": (0o600,),
        "__syscall_fstatfs64": (88, buffer), "__syscall_dup3": (5, 0),
    }  # fmt: skip
    for name, rest in calls.items():
        assert abs(kernel.call(name, number, *rest)) == Errno.EBADF, name


def test_f10_closing_twice_and_using_after_close_are_ebadf(kernel, opened):
    copy = kernel.call("__syscall_dup", opened)
    assert kernel.call("fd_close", opened) == 0
    assert kernel.call("fd_close", opened) == Errno.EBADF
    assert kernel.read(opened, 1) == -Errno.EBADF
    assert kernel.read(copy, 1) == b"c"


def test_f10_closing_every_number_leaves_a_working_table(kernel):
    for number in range(1024):
        kernel.call("fd_close", number)
    assert len(kernel.process.descriptors) == 0
    assert [kernel.open("/work/f", RDWR | CREAT) for _ in range(3)] == [0, 1, 2]


def test_w38_output_follows_the_description_not_the_number(kernel):
    file = kernel.open("/work/log", RDWR | CREAT)
    saved = kernel.call("__syscall_dup", 1)
    assert kernel.call("__syscall_dup3", file, 1, 0) == 1
    kernel.write(1, b"to the file")
    kernel.write(saved, b"to the host")
    assert kernel.call("fd_close", 1) == 0
    assert kernel.write(1, b"nowhere") == -Errno.EBADF
    kernel.seek(file, 0)
    assert kernel.read(file, 100) == b"to the file"
    assert kernel.written == [(1, b"to the host")]


def test_w38_dev_stdout_is_the_open_stream_and_closed_with_it(kernel):
    number = kernel.open("/dev/stdout", WRONLY)
    kernel.write(number, b"hello")
    assert kernel.written == [(1, b"hello")]
    kernel.call("fd_close", 1)
    assert kernel.write(number, b"again") == 5
    kernel.call("fd_close", number)
    assert kernel.open("/dev/stdout", WRONLY) == -Errno.EBADF


def test_w38_standard_input_cannot_be_written_nor_output_read(kernel):
    assert kernel.write(0, b"x") == -Errno.EBADF
    assert kernel.read(0, 10) == b""
    assert kernel.read(1, 10) == -Errno.EBADF


@pytest.mark.parametrize("number", [0, 1, 2])
def test_streams_have_no_position_and_no_size(kernel, number):
    assert kernel.seek(number, 0) == -Errno.ESPIPE
    assert kernel.call("__syscall_ftruncate64", number, 0) < 0
    assert kernel.call("__syscall_ioctl", number, 0x5401, kernel.BUFFER) == -Errno.ENOTTY


def test_f10_a_directory_is_neither_read_nor_written_nor_sought_freely(kernel):
    directory = kernel.open("/work", 0o200000)
    assert kernel.read(directory, 10) == -Errno.EISDIR
    assert kernel.write(directory, b"x") == -Errno.EBADF
    assert kernel.seek(directory, 1, 1) == -Errno.EINVAL
    assert kernel.seek(directory, 0) == 0
    assert kernel.open("/work", WRONLY) == -Errno.EISDIR


@pytest.mark.parametrize(
    "flags", [WRONLY, RDWR, TRUNC, WRONLY | TRUNC, RDWR | CREAT, CREAT | TRUNC]
)
def test_f06_the_image_cannot_be_opened_for_writing_or_emptied(kernel, flags):
    """
    CVE-2026-47261's class: O_TRUNC is a write even with O_RDONLY.
    """
    assert kernel.open("/lib/image.txt", flags) == -Errno.EROFS
    assert kernel.read(kernel.open("/lib/image.txt"), 100) == b"of the image\n"


def test_f06_f08_nothing_changes_the_image(kernel):
    here, there = "/lib/image.txt", "/work/x"
    at = -100
    calls = [
        ("__syscall_truncate64", here, 0), ("__syscall_unlinkat", at, here, 0),
        ("__syscall_mkdirat", at, "/lib/new", 0o755), ("__syscall_rmdir", "/lib"),
        ("__syscall_renameat", at, here, at, there), ("__syscall_chmod", here, 0o777),
        ("__syscall_symlinkat", there, at, "/lib/link"), ("__syscall_fchmodat2", at, here, 0o7, 0),
        ("__syscall_utimensat", at, here, 0, 0), ("__syscall_faccessat", at, here, 2, 0),
    ]  # fmt: skip
    for name, *arguments in calls:
        assert kernel.call(name, *arguments) == -Errno.EROFS, name
    reading = kernel.open(here)
    assert kernel.call("__syscall_fchmod", reading, 0o777) == -Errno.EROFS
    assert kernel.call("__syscall_utimensat", reading, 0, 0, 0) == -Errno.EROFS
    assert kernel.stat(here)[1] == 0o100444
    # The twin: the same calls work where the session may write.
    assert kernel.call("__syscall_mkdirat", at, "/work/new", 0o755) == 0
    assert kernel.call("__syscall_rmdir", "/work/new") == 0


def test_f07_a_node_moves_neither_into_the_image_nor_out_of_it(kernel):
    kernel.call("fd_close", kernel.open("/work/f", WRONLY | CREAT))
    assert kernel.call("__syscall_renameat", -100, "/work/f", -100, "/lib/f") == -Errno.EROFS
    assert kernel.call("__syscall_renameat", -100, "/work/f", -100, "/dev/null") == -Errno.EROFS
    assert kernel.call("__syscall_renameat", -100, "/work/f", -100, "/tmp/f") == 0


def test_f07_a_mount_of_memory_is_neither_moved_nor_removed(kernel):
    from executor.wasm.space import Space

    quota = Space(10 * NODE_BYTES, 10, kernel.total)
    kernel.process.files.add_directory("/work/inner", quota)
    assert kernel.call("__syscall_rmdir", "/work/inner") == -Errno.EBUSY
    assert kernel.call("__syscall_renameat", -100, "/work/inner", -100, "/work/x") == -Errno.EBUSY
    assert kernel.call("__syscall_mkdirat", -100, "/work/d", 0o755) == 0
    kernel.process.files.add_directory("/work/d/inner", quota)
    assert kernel.call("__syscall_renameat", -100, "/work/d", -100, "/work/e") == -Errno.EBUSY
    kernel.call("fd_close", kernel.open("/work/f", WRONLY | CREAT))
    assert kernel.call("__syscall_renameat", -100, "/work/f", -100, "/work/inner/f") == -Errno.EXDEV
    assert (quota.used, quota.files_used) == (0, 0)


def test_w24_descriptors_end_at_the_limit_and_come_back(kernel):
    numbers = [kernel.open("/lib/image.txt") for _ in range(LIMIT - 3)]
    assert numbers == list(range(3, LIMIT))
    for attempt in (
        kernel.open("/lib/image.txt"),
        kernel.open("/work/new", WRONLY | CREAT),
        kernel.call("__syscall_dup", 5),
        kernel.call("__syscall_pipe", kernel.BUFFER),
        kernel.fcntl(5, F_DUPFD, 10),
    ):
        assert attempt == -Errno.EMFILE
    assert kernel.stat("/work/new") == -Errno.ENOENT
    kernel.call("fd_close", 40)
    assert kernel.open("/lib/image.txt") == 40


@pytest.mark.parametrize("number", [LIMIT, LIMIT + 1, 2**31, 2**32 - 1])
def test_a_number_beyond_the_limit_cannot_be_had(kernel, number):
    assert kernel.call("__syscall_dup3", 1, number, 0) == -Errno.EBADF
    assert kernel.fcntl(1, F_DUPFD, number) == -Errno.EINVAL


def test_dup3_refuses_equal_numbers_and_unknown_flags(kernel):
    assert kernel.call("__syscall_dup3", 1, 1, 0) == -Errno.EINVAL
    assert kernel.call("__syscall_dup3", 1, 5, 1) == -Errno.EINVAL
    assert kernel.call("__syscall_dup3", 1, 5, int(Open.CLOEXEC)) == 5
    assert kernel.fcntl(5, F_GETFD) == 1
    assert kernel.fcntl(5, F_SETFD, 0) == 0
    assert kernel.fcntl(5, F_GETFD) == 0


def test_a_lock_is_refused(kernel, opened):
    for command in (5, 6, 7, 15, 16, 36, 37, 1024, 2**31):
        assert kernel.fcntl(opened, command) == -Errno.EINVAL


# ---- files that are gone, sizes, space ----------------------------------------------------------


def test_a_removed_file_lives_until_its_last_descriptor_and_then_gives_its_bytes_back(kernel):
    file = kernel.open("/work/f", RDWR | CREAT)
    kernel.write(file, bytes(1000))
    assert kernel.call("__syscall_unlinkat", -100, "/work/f", 0) == 0
    assert (kernel.scratch.used, kernel.scratch.files_used) == (1000 + NODE_BYTES, 1)
    assert kernel.write(file, b"more") == 4
    assert kernel.call("fd_close", file) == 0
    assert (kernel.scratch.used, kernel.scratch.files_used, kernel.total.used) == (0, 0, 0)


def test_a_replaced_file_gives_its_bytes_back(kernel):
    for name in ("/work/a", "/work/b"):
        file = kernel.open(name, WRONLY | CREAT)
        kernel.write(file, bytes(500))
        kernel.call("fd_close", file)
    assert kernel.call("__syscall_renameat", -100, "/work/a", -100, "/work/b") == 0
    assert kernel.scratch.used == 500 + NODE_BYTES


def test_everything_made_and_removed_leaves_the_count_at_nought(kernel):
    for number in range(20):
        kernel.call("__syscall_mkdirat", -100, f"/work/d{number}", 0o755)
        kernel.call("__syscall_symlinkat", "x" * 500, -100, f"/work/d{number}/l")
        file = kernel.open(f"/work/d{number}/f", WRONLY | CREAT)
        kernel.write(file, bytes(100))
        kernel.call("fd_close", file)
    assert kernel.scratch.files_used == 60
    for number in range(20):
        for name in ("l", "f"):
            assert kernel.call("__syscall_unlinkat", -100, f"/work/d{number}/{name}", 0) == 0
        assert kernel.call("__syscall_rmdir", f"/work/d{number}") == 0
    assert (kernel.scratch.used, kernel.scratch.files_used, kernel.total.used) == (0, 0, 0)


@pytest.mark.parametrize("size", [SCRATCH + 1, 2**31, 2**40, 2**60, 2**63 - 1])
def test_w26_a_size_beyond_the_session_is_efbig_and_takes_nothing(kernel, size):
    file = kernel.open("/work/f", RDWR | CREAT)
    before = kernel.scratch.used
    assert kernel.call("__syscall_ftruncate64", file, size) == -Errno.EFBIG
    assert kernel.call("__syscall_truncate64", "/work/f", size) == -Errno.EFBIG
    assert kernel.call("__syscall_fallocate", file, 0, 0, size) == -Errno.EFBIG
    kernel.seek(file, size - 1)
    assert kernel.write(file, b"x") == -Errno.EFBIG
    assert kernel.scratch.used == before
    assert kernel.stat("/work/f")[6] == 0


@pytest.mark.parametrize("size", [-1, 2**63, 2**64 - 1])
def test_a_negative_size_is_einval(kernel, size):
    file = kernel.open("/work/f", RDWR | CREAT)
    assert kernel.call("__syscall_ftruncate64", file, size) == -Errno.EINVAL
    assert kernel.call("__syscall_truncate64", "/work/f", size) == -Errno.EINVAL


def test_w26_the_last_byte_fits_and_the_next_is_enospc(kernel):
    file = kernel.open("/work/f", RDWR | CREAT)
    room = SCRATCH - kernel.scratch.used
    assert kernel.call("__syscall_ftruncate64", file, room) == 0
    assert kernel.call("__syscall_ftruncate64", file, room + 1) == -Errno.ENOSPC
    assert kernel.open("/work/g", WRONLY | CREAT) == -Errno.ENOSPC


def test_w27_nodes_end_at_the_limit(kernel):
    for number in range(FILES):
        assert kernel.call("__syscall_symlinkat", "x", -100, f"/work/l{number}") == 0
    assert kernel.call("__syscall_symlinkat", "x", -100, "/work/more") == -Errno.ENOSPC
    assert kernel.call("__syscall_mkdirat", -100, "/work/more", 0o755) == -Errno.ENOSPC
    assert kernel.open("/work/more", WRONLY | CREAT) == -Errno.ENOSPC
    assert kernel.stat("/work/more") == -Errno.ENOENT


def test_w27_a_links_text_is_paid_for(kernel):
    for number in range(FILES):
        if kernel.call("__syscall_symlinkat", "x" * 4096, -100, f"/work/l{number}"):
            break
        assert kernel.call("__syscall_symlinkat", "x" * 4096, -100, "/lib/no") == -Errno.EROFS
    else:
        assert kernel.scratch.used >= FILES * 4096
        return
    assert kernel.scratch.used <= SCRATCH


def test_w27_directories_moved_into_one_another_beyond_the_depth_stay_harmless(kernel):
    """
    A rename can make a tree deeper than a path can reach; walking it must not recurse.
    """
    for _ in range(FILES // 2):
        assert kernel.call("__syscall_mkdirat", -100, "/work/top", 0o755) == 0
        assert kernel.call("__syscall_mkdirat", -100, "/work/new", 0o755) in {0, -Errno.EEXIST}
        assert kernel.call("__syscall_renameat", -100, "/work/new", -100, "/work/top/new") == 0
        assert kernel.call("__syscall_renameat", -100, "/work/top", -100, "/work/new") == 0
    assert kernel.stat("/work/new/new/new")[6] == 0


# ---- pipes ---------------------------------------------------------------------------------------


@pytest.fixture
def ends(kernel):
    assert kernel.call("__syscall_pipe", kernel.BUFFER) == 0
    memory = kernel.tiny.guest
    return memory.u32(kernel.BUFFER), memory.u32(kernel.BUFFER + 4)


def test_a_pipe_carries_bytes_in_order_one_way(kernel, ends):
    reader, writer = ends
    assert kernel.write(writer, b"hello ") == 6
    assert kernel.write(writer, b"world") == 5
    assert kernel.read(reader, 8) == b"hello wo"
    assert kernel.read(reader, 8) == b"rld"
    assert kernel.write(reader, b"x") == -Errno.EBADF
    assert kernel.read(writer, 1) == -Errno.EBADF
    assert kernel.seek(reader, 0) == -Errno.ESPIPE
    assert kernel.total.used == 0


def test_a_pipe_never_waits(kernel, ends):
    reader, writer = ends
    assert kernel.read(reader, 1) == -Errno.EAGAIN
    written = 0
    while (count := kernel.write(writer, bytes(5000))) > 0:
        written += count
    assert (written, count, kernel.total.used) == (PIPE_BYTES, -Errno.EAGAIN, PIPE_BYTES)


def test_a_pipe_ends_with_its_writers_and_breaks_with_its_readers(kernel, ends):
    reader, writer = ends
    copy = kernel.call("__syscall_dup", writer)
    kernel.write(copy, b"last")
    kernel.call("fd_close", writer)
    kernel.call("fd_close", copy)
    assert kernel.read(reader, 9) == b"last"
    assert kernel.read(reader, 9) == b""
    assert kernel.call("__syscall_pipe", kernel.BUFFER) == 0
    reader, writer = (kernel.tiny.guest.u32(kernel.BUFFER + at) for at in (0, 4))
    kernel.write(writer, b"lost")
    kernel.call("fd_close", reader)
    assert kernel.total.used == 0
    assert kernel.write(writer, b"x") == -Errno.EPIPE


def test_a_pipe_is_refused_before_anything_when_its_answer_has_no_place(kernel):
    assert kernel.call("__syscall_pipe", 2**32 - 4) == -Errno.EFAULT
    assert len(kernel.process.descriptors) == 3


def polled(kernel, descriptor, events):
    memory = kernel.tiny.guest
    memory.write(kernel.BUFFER, descriptor.to_bytes(4, "little") + events.to_bytes(4, "little"))
    ready = kernel.call("__syscall_poll", kernel.BUFFER, 1, 0)
    return ready, int.from_bytes(memory.read(kernel.BUFFER + 6, 2), "little")


def test_poll_tells_what_a_pipe_can_do_now(kernel, ends):
    reader, writer = ends
    assert polled(kernel, reader, 1) == (0, 0)
    assert polled(kernel, writer, 4) == (1, 4)
    kernel.write(writer, b"x")
    assert polled(kernel, reader, 1) == (1, 1)
    kernel.call("fd_close", writer)
    assert polled(kernel, reader, 1) == (1, 0x11)
    assert polled(kernel, 50, 1) == (1, 0x20)


def test_poll_waits_its_time_once_and_for_ever_only_until_interrupted(kernel):
    kernel.call("__syscall_poll", 0, 0, 1500)
    kernel.call("__syscall_poll", 0, 0, -1)
    assert kernel.waited == [1.5, float("inf")]
    kernel.process.sleeper.wait = lambda _seconds: True
    assert kernel.call("__syscall_poll", 0, 0, -1) == -Errno.EINTR


def test_devices_give_what_their_names_say(kernel):
    assert kernel.read(kernel.open("/dev/zero"), 5) == bytes(5)
    assert kernel.read(kernel.open("/dev/null"), 5) == b""
    assert kernel.write(kernel.open("/dev/null", WRONLY), b"gone") == 4
    random = kernel.open("/dev/urandom")
    assert kernel.read(random, 16) != kernel.read(random, 16)


def test_a_directory_is_listed_in_order_and_in_pieces(kernel):
    for name in ("b", "a", "c"):
        kernel.call("__syscall_mkdirat", -100, f"/work/{name}", 0o755)
    directory = kernel.open("/work", 0o200000)
    names = []
    while kernel.call("__syscall_getdents64", directory, kernel.BUFFER, 300) == 280:
        names.append(kernel.tiny.guest.string(kernel.BUFFER + 19))
    assert names == [b".", b"..", b"a", b"b", b"c"]
    assert kernel.call("__syscall_getdents64", directory, kernel.BUFFER, 279) == -Errno.EINVAL
    assert kernel.call("__syscall_getdents64", 1, kernel.BUFFER, 300) == -Errno.ENOTDIR


def test_calls_relative_to_a_directory_start_there(kernel):
    kernel.call("__syscall_mkdirat", -100, "/work/d", 0o755)
    directory = kernel.open("/work/d", 0o200000)
    assert kernel.call("__syscall_mkdirat", directory, "inner", 0o755) == 0
    assert kernel.stat("/work/d/inner")[1] == 0o040755
    assert kernel.call("__syscall_fchdir", directory) == 0
    assert kernel.call("__syscall_getcwd", kernel.BUFFER, 100) == 8
    assert kernel.tiny.guest.string(kernel.BUFFER) == b"/work/d"
    assert kernel.call("__syscall_mkdirat", 1, "x", 0o755) == -Errno.ENOTDIR
    assert kernel.call("__syscall_mkdirat", 50, "x", 0o755) == -Errno.EBADF
    assert kernel.call("__syscall_mkdirat", 50, "/work/absolute", 0o755) == 0


def test_w25_long_names_paths_and_chains_are_refused(kernel: Kernel):
    assert kernel.stat("/work/" + "x" * 255) == -Errno.ENOENT
    assert kernel.stat("/work/" + "x" * 256) == -Errno.ENAMETOOLONG
    assert kernel.stat("/work/" + "\u00e9" * 128) == -Errno.ENAMETOOLONG
    assert kernel.stat("/work" + "/." * 2045) != -Errno.ENAMETOOLONG
    assert kernel.stat("/work" + "/." * 2046) == -Errno.ENAMETOOLONG
    assert kernel.stat(b"/work/\xff\xfe") == -Errno.ENOENT
    # Names that are no UTF-8 stay themselves.
    assert kernel.call("__syscall_mkdirat", -100, b"/work/\xff\xfe", 0o755) == 0
    assert kernel.stat(b"/work/\xff\xfe")[1] == 0o040755


@pytest.mark.parametrize("name", ["-rf", "*", "a\nb", "$(x)", "\u200b", "a\\b", "{0}", "%s", " "])
def test_f18_names_are_literal(kernel, name):
    assert kernel.call("__syscall_mkdirat", -100, f"/work/{name}", 0o755) == 0
    assert list(kernel.process.files.root.entries["work"].entries) == [name]


def test_a_lock_on_a_file_in_memory_is_granted_and_nobody_holds_one(kernel):
    file = kernel.open("/work/a", CREAT | RDWR)
    for command in (F_SETLK, F_SETLKW):
        assert kernel.fcntl(file, command, kernel.BUFFER) == 0
    kernel.tiny.guest.write(kernel.BUFFER, b"\x01" * FLOCK_SIZE)
    assert kernel.fcntl(file, F_GETLK, kernel.BUFFER) == 0
    assert kernel.tiny.guest.read(kernel.BUFFER, 2) == F_UNLCK.to_bytes(2, "little")


def test_a_lock_on_anything_else_is_refused(kernel):
    pipe = kernel.open("/dev/null", RDWR)
    assert kernel.fcntl(pipe, F_SETLK, kernel.BUFFER) == -Errno.ENOLCK
    file = kernel.open("/work/a", CREAT | RDWR)
    assert kernel.fcntl(file, F_SETLK, 2**32 - 8) == -Errno.EFAULT
