"""
WASI preview 1 over our kernel: its structs, flags and errors, without a guest.

The acts behind them are Emscripten's and have tests of their own; here is what differs.
"""

import pytest

from codecage.worker.v1 import worker_pb2 as wire
from executor.wasm import wasi_imports
from executor.wasm.abi import Errno, GuestFault
from executor.wasm.imports import Failure, Support
from executor.wasm.syscalls.wasi_abi import DIRENT, EVENT, FDSTAT, FILESTAT, PRESTAT, SUBSCRIPTION
from tests.executor.wasm.tiny_kernel import PAGE, Gate
from tests.executor.wasm.wasi_world import READ, ROOT, WRITE, WasiKernel

CREAT, DIRECTORY, EXCL, TRUNC = 1, 2, 4, 8
APPEND, DSYNC, NONBLOCK, RSYNC, SYNC = 1, 2, 4, 8, 16
FOLLOW, KEEP = 1, 0
NOW = 10**18


def test_the_structs_have_the_sizes_of_the_interface():
    sizes = [one.size for one in (FILESTAT, FDSTAT, PRESTAT, DIRENT, SUBSCRIPTION, EVENT)]
    assert sizes == [64, 24, 8, 24, 48, 32]


# ---- the table ------------------------------------------------------------------------------


def test_there_is_a_row_for_each_of_42_functions_and_the_door():
    rows = wasi_imports.rows(lambda *_: 0)
    modules = [row.module for row in rows]
    assert (modules.count(wasi_imports.WASI), modules.count(wasi_imports.HOST)) == (42, 1)
    assert len({(row.module, row.name) for row in rows}) == len(rows) == 43


def test_every_row_that_is_not_whole_says_why():
    for row in wasi_imports.rows(lambda *_: 0):
        assert bool(row.note) == (row.support is not Support.FULL), row.name


def test_errors_are_positive():
    for row in wasi_imports.WASI_ROWS:
        if row.act is not None and row.signature.endswith(">i"):
            assert row.failure is Failure.POSITIVE, row.name


# ---- what is open from the start ------------------------------------------------------------


def test_libc_finds_the_root_and_no_other_directory(wasi):
    assert wasi.call("fd_prestat_get", ROOT, wasi.BUFFER) == 0
    assert wasi.tiny.guest.read(wasi.BUFFER, 8) == b"\0\0\0\0\1\0\0\0"
    assert wasi.call("fd_prestat_dir_name", ROOT, wasi.BUFFER, 1) == 0
    assert wasi.tiny.guest.read(wasi.BUFFER, 1) == b"/"
    assert wasi.call("fd_prestat_get", ROOT + 1, wasi.BUFFER) == Errno.EBADF


def test_a_name_that_does_not_fit_is_not_cut(wasi):
    assert wasi.call("fd_prestat_dir_name", ROOT, wasi.BUFFER, 0) == Errno.ENAMETOOLONG


def test_an_ordinary_directory_is_not_preopened(wasi):
    opened = wasi.open_path("work", READ, DIRECTORY)
    assert wasi.call("fd_prestat_get", opened, wasi.BUFFER) == Errno.EBADF
    assert wasi.call("fd_prestat_dir_name", opened, wasi.BUFFER, 9) == Errno.EBADF


def test_the_root_cannot_be_closed_and_other_descriptors_can(wasi):
    opened = wasi.open_path("work", READ, DIRECTORY)
    assert wasi.call("fd_close", ROOT) == Errno.EBADF
    assert wasi.call("fd_close", opened) == 0
    assert wasi.call("fd_close", opened) == Errno.EBADF
    assert wasi.open_path("work", READ, DIRECTORY) == opened


# ---- opening --------------------------------------------------------------------------------


def test_the_access_mode_is_in_the_rights(wasi):
    made = wasi.open_path("work/f", READ | WRITE, CREAT)
    assert wasi.write(made, b"abc") == 3
    assert wasi.read(made, 9) == b""
    reading = wasi.open_path("work/f", READ)
    assert wasi.read(reading, 9) == b"abc"
    assert wasi.write(reading, b"x") == -Errno.EBADF
    writing = wasi.open_path("work/f", WRITE)
    assert wasi.write(writing, b"x") == 1
    assert wasi.read(writing, 9) == -Errno.EBADF


def test_without_a_right_to_read_or_write_a_file_is_opened_for_reading(wasi):
    wasi.open_path("work/f", READ | WRITE, CREAT)
    opened = wasi.open_path("work/f", 0)
    assert wasi.write(opened, b"x") == -Errno.EBADF


@pytest.mark.parametrize("rights", [WRITE, READ | WRITE, 2**64 - 1])
def test_a_directory_is_opened_for_listing_whatever_rights_are_asked_for(wasi, rights):
    opened = wasi.open_path("work", rights, DIRECTORY)
    assert wasi.names(opened) == [b".", b".."]


@pytest.mark.parametrize(
    ("path", "rights", "flags", "error"),
    [
        ("lib/image.txt", READ, 0, None),
        ("lib/image.txt", WRITE, 0, Errno.EROFS),
        ("lib/image.txt", READ | WRITE, 0, Errno.EROFS),
        ("lib/image.txt", READ, TRUNC, Errno.EROFS),
        ("lib/image.txt", READ, DIRECTORY, Errno.ENOTDIR),
        ("lib/image.txt", READ, CREAT | EXCL, Errno.EEXIST),
        ("lib/new", WRITE, CREAT, Errno.EROFS),
        ("work", WRITE, 0, Errno.EISDIR),
        ("work/none", READ, 0, Errno.ENOENT),
        ("work/none", READ, DIRECTORY, Errno.ENOENT),
    ],
)
def test_opening_is_decided_by_the_tree(wasi, path, rights, flags, error):
    answer = wasi.open_path(path, rights, flags)
    assert (answer > ROOT) if error is None else (answer == -error)


def test_a_link_at_the_end_is_followed_only_when_asked(wasi):
    wasi.open_path("work/f", READ | WRITE, CREAT)
    assert wasi.call("path_symlink", "f", ROOT, "work/l") == 0
    assert wasi.open_path("work/l", lookup=FOLLOW) > 0
    assert wasi.open_path("work/l", lookup=KEEP) == -Errno.ELOOP


def test_an_absolute_link_leads_to_the_guests_root(wasi):
    assert wasi.call("path_symlink", "/lib/image.txt", ROOT, "work/l") == 0
    assert wasi.read(wasi.open_path("work/l"), 99) == b"of the image\n"


def test_append_mode_is_kept_told_and_changed(wasi):
    opened = wasi.open_path("work/f", READ | WRITE, CREAT, APPEND)
    assert wasi.write(opened, b"abc") == 3
    assert wasi.seek(opened, 0) == 0
    assert wasi.write(opened, b"d") == 1
    assert wasi.filestat("work/f")[4] == 4
    assert fdstat(wasi, opened)[1] == APPEND
    assert wasi.call("fd_fdstat_set_flags", opened, NONBLOCK) == 0
    assert fdstat(wasi, opened)[1] == NONBLOCK
    assert wasi.seek(opened, 0) == 0
    assert wasi.write(opened, b"X") == 1
    assert wasi.filestat("work/f")[4] == 4


@pytest.mark.parametrize("flags", [DSYNC, RSYNC, SYNC, 32, 2**31, 2**32 - 1])
def test_flags_that_would_not_be_kept_are_refused(wasi, flags):
    opened = wasi.open_path("work/f", READ | WRITE, CREAT)
    assert wasi.call("fd_fdstat_set_flags", opened, flags) == Errno.EINVAL
    assert wasi.open_path("work/g", READ | WRITE, CREAT, flags) == -Errno.EINVAL
    assert wasi.filestat("work/g") == -Errno.ENOENT


@pytest.mark.parametrize(
    ("lookup", "flags"), [(2, 0), (2**32 - 1, 0), (0, 16), (0, 2**31), (1, 2**32 - 1)]
)
def test_unknown_flags_of_path_open_are_refused(wasi, lookup, flags):
    assert wasi.open_path("work/g", READ, flags | CREAT, lookup=lookup) == -Errno.EINVAL
    assert wasi.filestat("work/g") == -Errno.ENOENT


def test_a_description_tells_its_type_and_what_it_can_do(wasi):
    reading = wasi.open_path("lib/image.txt")
    assert fdstat(wasi, reading)[0] == 4
    assert fdstat(wasi, reading)[2] & (READ | WRITE) == READ
    assert fdstat(wasi, wasi.open_path("work/f", WRITE, CREAT))[2] & (READ | WRITE) == WRITE
    assert fdstat(wasi, ROOT)[0] == 3
    # libc calls a character device without the right to seek a terminal.
    kind, _, rights, _ = fdstat(wasi, 1)
    assert (kind, bool(rights & 1 << 2)) == (2, True)


def fdstat(wasi, descriptor):
    assert wasi.call("fd_fdstat_get", descriptor, wasi.BUFFER) == 0
    return FDSTAT.unpack(wasi.tiny.guest.read(wasi.BUFFER, FDSTAT.size))


# ---- paths ----------------------------------------------------------------------------------


PATH_CALLS = {
    "path_open": lambda path: (ROOT, 1, path, 0, READ, 0, 0, 0x8000),
    "path_filestat_get": lambda path: (ROOT, 1, path, 0x8000),
    "path_filestat_set_times": lambda path: (ROOT, 1, path, 0, 5, 4),
    "path_create_directory": lambda path: (ROOT, path),
    "path_remove_directory": lambda path: (ROOT, path),
    "path_unlink_file": lambda path: (ROOT, path),
    "path_rename": lambda path: (ROOT, path, ROOT, "work/new"),
    "path_symlink": lambda path: ("target", ROOT, path),
    "path_readlink": lambda path: (ROOT, path, 0x8000, 100, 0x9000),
    "path_link": lambda path: (ROOT, 1, path, ROOT, "work/new"),
}


def test_the_list_of_path_calls_is_whole():
    named = {row.name for row in wasi_imports.WASI_ROWS if row.name.startswith("path_")}
    assert named == PATH_CALLS.keys()


@pytest.mark.parametrize("name", PATH_CALLS)
@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/work", Errno.EPERM),
        ("", Errno.ENOENT),
        ("a\0b", Errno.EINVAL),
        ("x" * 4097, Errno.ENAMETOOLONG),
        ("work/" + "x" * 256, Errno.ENAMETOOLONG),
    ],
    ids=["absolute", "empty", "with a NUL", "a long path", "a long name"],
)
def test_every_path_call_refuses_what_is_no_path(wasi, name, path, error):
    if name == "path_link" and not path.startswith("/") and len(path) <= 4096:
        error = Errno.EPERM
    assert wasi.call(name, *PATH_CALLS[name](path)) == error


@pytest.mark.parametrize("name", PATH_CALLS)
@pytest.mark.parametrize("directory", [99, 2**32 - 100, 2**32 - 1], ids=["99", "AT_FDCWD", "-1"])
def test_every_path_call_wants_an_open_directory(wasi, name, directory):
    arguments = [directory if one == ROOT else one for one in PATH_CALLS[name]("work/f")]
    assert wasi.call(name, *arguments) == Errno.EBADF


def test_a_path_outside_memory_is_efault(wasi):
    for pointer, length in ((PAGE - 1, 2), (2**32 - 1, 1), (0, 2**32 - 1)):
        assert wasi.call("path_unlink_file", ROOT, pointer, length) == Errno.EFAULT


def test_a_path_is_relative_to_its_directory_and_dots_lead_up(wasi):
    assert wasi.call("path_create_directory", ROOT, "work/d") == 0
    at = wasi.open_path("work/d", READ, DIRECTORY)
    assert wasi.open_path("f", WRITE, CREAT, at=at) > 0
    assert wasi.open_path("../d/f", at=at) > 0
    assert wasi.open_path("../../../lib/image.txt", at=at) > 0
    assert wasi.open_path("f", at=wasi.open_path("work/d/f")) == -Errno.ENOTDIR


def test_status_has_the_fields_of_the_interface(wasi):
    wasi.write(wasi.open_path("work/f", WRITE, CREAT), b"abc")
    device, serial, kind, links, size, *times = wasi.filestat("work/f")
    assert (device, kind, links, size, times) == (1, 4, 1, 3, [NOW] * 3)
    assert serial > 0
    assert wasi.filestat("work")[2] == 3
    assert wasi.filestat("dev/null")[2] == 2
    wasi.call("path_symlink", "f", ROOT, "work/l")
    assert wasi.filestat("work/l", KEEP)[2] == 7
    assert wasi.filestat("work/l", FOLLOW)[2] == 4


def test_an_open_files_status_is_its_paths(wasi):
    opened = wasi.open_path("work/f", WRITE, CREAT)
    wasi.write(opened, b"abc")
    assert wasi.call("fd_filestat_get", opened, wasi.BUFFER) == 0
    told = FILESTAT.unpack(wasi.tiny.guest.read(wasi.BUFFER, FILESTAT.size))
    assert told == wasi.filestat("work/f")


def test_w55_a_struct_has_no_byte_of_anything_else(wasi):
    """
    The guest's buffers are filled with a pattern first: what is left of it is told.
    """
    for name, arguments, size in (
        ("fd_filestat_get", (1, wasi.BUFFER), 64),
        ("path_filestat_get", (ROOT, 1, "work", wasi.BUFFER), 64),
        ("fd_fdstat_get", (ROOT, wasi.BUFFER), 24),
        ("fd_prestat_get", (ROOT, wasi.BUFFER), 8),
        ("fd_prestat_dir_name", (ROOT, wasi.BUFFER, 9), 1),
        ("clock_time_get", (0, 0, wasi.BUFFER), 8),
        ("clock_res_get", (0, wasi.BUFFER), 8),
        ("fd_readdir", (ROOT, wasi.BUFFER, 30, 0, 0x7000), 30),
    ):
        seen = []
        for pattern in (b"\x00", b"\xff"):
            wasi.tiny.guest.write(wasi.BUFFER, pattern * 128)
            assert wasi.call(name, *arguments) == 0
            seen.append(wasi.tiny.guest.read(wasi.BUFFER, 128))
        assert seen[0][:size] == seen[1][:size], name
        assert (seen[0][size:], seen[1][size:]) == (bytes(128 - size), b"\xff" * (128 - size))


@pytest.mark.parametrize(
    ("given", "flags", "answer", "expected"),
    [
        (5, 4, 0, 5),
        (5, 1, 0, NOW),
        (5, 0, 0, NOW),
        (5, 8, 0, NOW),
        (5, 12, Errno.EINVAL, NOW),
        (5, 3, Errno.EINVAL, NOW),
        (5, 16, Errno.EINVAL, NOW),
        (2**64 - 1, 4, Errno.EINVAL, NOW),
    ],
)
def test_times_are_set_as_the_flags_say(wasi, given, flags, answer, expected):
    opened = wasi.open_path("work/f", WRITE, CREAT)
    assert wasi.call("path_filestat_set_times", ROOT, 1, "work/f", 7, given, flags) == answer
    assert wasi.filestat("work/f")[6] == expected
    assert wasi.call("fd_filestat_set_times", opened, 7, given, flags) == answer
    assert wasi.filestat("work/f")[6] == expected


def test_the_image_keeps_its_times(wasi):
    arguments = (ROOT, 1, "lib/image.txt", 0, 5, 4)
    assert wasi.call("path_filestat_set_times", *arguments) == Errno.EROFS


def test_names_are_made_renamed_and_removed(wasi):
    assert wasi.call("path_create_directory", ROOT, "work/d") == 0
    assert wasi.call("path_create_directory", ROOT, "work/d") == Errno.EEXIST
    wasi.open_path("work/d/f", WRITE, CREAT)
    assert wasi.call("path_remove_directory", ROOT, "work/d") == Errno.ENOTEMPTY
    assert wasi.call("path_unlink_file", ROOT, "work/d") == Errno.EISDIR
    assert wasi.call("path_rename", ROOT, "work/d/f", ROOT, "work/g") == 0
    assert wasi.call("path_remove_directory", ROOT, "work/d") == 0
    assert wasi.call("path_unlink_file", ROOT, "work/g") == 0
    assert wasi.names(wasi.open_path("work", READ, DIRECTORY)) == [b".", b".."]


def test_there_are_no_hard_links_and_a_note_says_so(wasi):
    wasi.open_path("work/f", WRITE, CREAT)
    assert wasi.call("path_link", ROOT, 1, "work/f", ROOT, "work/g") == Errno.EPERM
    assert wasi.notes == [("path_link", Errno.EPERM)]
    assert wasi.filestat("work/g") == -Errno.ENOENT


def test_a_links_target_is_cut_at_the_buffers_size(wasi):
    wasi.call("path_symlink", "some/where", ROOT, "work/l")
    for size, expected in ((100, b"some/where"), (4, b"some"), (0, b"")):
        assert wasi.call("path_readlink", ROOT, "work/l", wasi.BUFFER, size, 0x9000) == 0
        assert wasi.tiny.guest.u32(0x9000) == len(expected)
        assert wasi.tiny.guest.read(wasi.BUFFER, len(expected)) == expected


def test_a_refusals_reason_is_at_dev_denial_once():
    def refuse(_request):
        raise GuestFault(Errno.EACCES, "because")

    wasi = WasiKernel(Gate(refuse))
    assert wasi.open_path("etc/passwd") == -Errno.EACCES
    for expected in (b"2 because", b"0 "):
        assert wasi.call("path_readlink", ROOT, "dev/denial", wasi.BUFFER, 99, 0x9000) == 0
        assert wasi.tiny.guest.read(wasi.BUFFER, wasi.tiny.guest.u32(0x9000)) == expected


def test_a_granted_directory_is_asked_of_the_gate():
    """
    The same file through a mount: every path call becomes a question with the guest's own path.
    """
    gate = Gate(lambda _request: wire.Answer(status=wire.FileStatus(kind=wire.KIND_FILE, size=7)))
    wasi = WasiKernel(gate)
    wasi.process.files.add_mount("/mnt", writable=True)
    assert wasi.filestat("mnt/f")[4] == 7
    assert wasi.call("path_unlink_file", ROOT, "mnt/f") == 0
    assert wasi.call("path_create_directory", ROOT, "mnt/d") == 0
    assert wasi.call("path_rename", ROOT, "mnt/f", ROOT, "mnt/g") == 0
    assert wasi.call("path_rename", ROOT, "mnt/f", ROOT, "work/g") == Errno.EXDEV
    assert wasi.call("path_symlink", "f", ROOT, "mnt/l") == Errno.EPERM
    assert gate.kinds == ["stat", "remove_file", "make_directory", "rename"]
    assert gate.asked[0].stat.path == "/mnt/f"


# ---- listing --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [4096, 64, 31, 25])
def test_a_directory_is_listed_whole_with_every_size_of_buffer(wasi, size):
    for name in ("bb", "a", "c"):
        wasi.open_path(f"work/{name}", WRITE, CREAT)
    opened = wasi.open_path("work", READ, DIRECTORY)
    if size < 26:
        # No whole record of `..` fits: libc makes its buffer larger then.
        assert wasi.call("fd_readdir", opened, wasi.BUFFER, size, 1, 0x7000) == 0
        assert wasi.tiny.guest.u32(0x7000) == size
        return
    assert wasi.names(opened, size) == [b".", b"..", b"a", b"bb", b"c"]


@pytest.mark.parametrize("cookie", [5, 6, 2**32, 2**64 - 1])
def test_beyond_the_last_entry_there_is_nothing(wasi, cookie):
    opened = wasi.open_path("work", READ, DIRECTORY)
    assert wasi.call("fd_readdir", opened, wasi.BUFFER, 99, cookie, 0x7000) == 0
    assert wasi.tiny.guest.u32(0x7000) == 0


def test_a_listing_stays_as_it_began_until_it_begins_again(wasi):
    wasi.open_path("work/a", WRITE, CREAT)
    opened = wasi.open_path("work", READ, DIRECTORY)
    assert wasi.names(opened) == [b".", b"..", b"a"]
    wasi.open_path("work/b", WRITE, CREAT)
    assert wasi.call("fd_readdir", opened, wasi.BUFFER, 99, 3, 0x7000) == 0
    assert wasi.tiny.guest.u32(0x7000) == 0
    assert wasi.names(opened) == [b".", b"..", b"a", b"b"]


def test_a_file_is_not_listed(wasi):
    opened = wasi.open_path("lib/image.txt")
    assert wasi.call("fd_readdir", opened, wasi.BUFFER, 99, 0, 0x7000) == Errno.ENOTDIR


def test_a_position_is_told(wasi):
    opened = wasi.open_path("lib/image.txt")
    wasi.read(opened, 3)
    assert wasi.call("fd_tell", opened, wasi.BUFFER) == 0
    assert wasi.tiny.guest.u32(wasi.BUFFER) == 3
    assert wasi.call("fd_tell", 1, wasi.BUFFER) == Errno.ESPIPE
