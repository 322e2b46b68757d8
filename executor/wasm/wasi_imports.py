"""
The table of every import of the WASI guest: the 42 functions of preview 1, and the host's door.

The same discipline as `imports.py`, whose rows these are: total in both directions, and every
row says how far it is supported. Preview 1 returns the error number, not negated.
"""

from typing import Final

from executor.wasm.imports import WASI, Act, Failure, Row, Support
from executor.wasm.syscalls import (
    open_files,
    system,
    wasi_files,
    wasi_paths,
    wasi_preopened,
    wasi_process,
    wasi_sockets,
)

# The module and name of the one import that is not WASI's.
HOST, CALL = "host", "call"
# Its answer when it fails; the guest's module `_host` makes an OSError of it.
HOST_FAULT = -2


def _row(name: str, signature: str, act: Act, note: str = "") -> Row:
    support = Support.PARTIAL if note else Support.FULL
    return Row(WASI, name, signature, support, act, Failure.POSITIVE, 0, note)


def _refused(name: str, signature: str, act: Act, note: str) -> Row:
    """
    A call that is refused, after its arguments have been looked at for the right error.
    """
    return Row(WASI, name, signature, Support.REFUSED, act, Failure.POSITIVE, 0, note)


WASI_ROWS: Final[tuple[Row, ...]] = (
    # Paths.
    _row("path_open", "iiiiiIIii>i", wasi_paths.path_open, "no synchronous files (EINVAL)"),
    _row(
        "path_filestat_get",
        "iiiii>i",
        wasi_paths.path_filestat_get,
        "inode and device are synthetic",
    ),
    _row(
        "path_filestat_set_times",
        "iiiiIIi>i",
        wasi_paths.path_filestat_set_times,
        "access times are not kept",
    ),
    _row("path_create_directory", "iii>i", wasi_paths.path_create_directory),
    _row("path_remove_directory", "iii>i", wasi_paths.path_remove_directory),
    _row("path_unlink_file", "iii>i", wasi_paths.path_unlink_file),
    _row(
        "path_rename",
        "iiiiii>i",
        wasi_paths.path_rename,
        "EXDEV between memory and a granted directory",
    ),
    _row("path_symlink", "iiiii>i", wasi_paths.path_symlink, "EPERM in a granted directory"),
    _row(
        "path_readlink",
        "iiiiii>i",
        wasi_paths.path_readlink,
        "/dev/denial holds the reason of the last refusal; below /dev/socket, calls on sockets "
        "for which preview 1 has none",
    ),
    _refused("path_link", "iiiiiii>i", wasi_paths.path_link, "EPERM: no hard links"),
    # Open files.
    _row(
        "fd_prestat_get",
        "ii>i",
        wasi_preopened.fd_prestat_get,
        "descriptor 3 is the root, 4 the data of matplotlib",
    ),
    _row("fd_prestat_dir_name", "iii>i", wasi_preopened.fd_prestat_dir_name),
    _row("fd_read", "iiii>i", open_files.fd_read, "1 MiB at most in one call"),
    _row("fd_write", "iiii>i", open_files.fd_write, "1 MiB at most in one call"),
    _row("fd_pread", "iiiIi>i", open_files.fd_pread),
    _row("fd_pwrite", "iiiIi>i", open_files.fd_pwrite),
    _row("fd_seek", "iIii>i", open_files.fd_seek),
    _row("fd_tell", "ii>i", wasi_files.fd_tell),
    _row("fd_close", "i>i", wasi_preopened.fd_close, "what was open from the start stays"),
    _row("fd_sync", "i>i", open_files.fd_sync),
    _row("fd_datasync", "i>i", open_files.fdatasync),
    _row("fd_advise", "iIIi>i", open_files.fadvise64, "taken and not followed"),
    _row(
        "fd_fdstat_get",
        "ii>i",
        wasi_files.fd_fdstat_get,
        "rights are named for libc; the description decides",
    ),
    _row(
        "fd_fdstat_set_flags",
        "ii>i",
        wasi_files.fd_fdstat_set_flags,
        "append and non-blocking alone",
    ),
    _row("fd_filestat_get", "ii>i", wasi_files.fd_filestat_get, "as path_filestat_get"),
    _row("fd_filestat_set_size", "iI>i", open_files.ftruncate64),
    _row(
        "fd_filestat_set_times",
        "iIIi>i",
        wasi_files.fd_filestat_set_times,
        "access times are not kept",
    ),
    _row("fd_readdir", "iiiIi>i", wasi_files.fd_readdir, "sorted by name"),
    # Time, entropy, arguments, waiting, end.
    _row("args_sizes_get", "ii>i", wasi_process.args_sizes_get),
    _row("args_get", "ii>i", wasi_process.args_get),
    _row("environ_sizes_get", "ii>i", system.environ_sizes_get),
    _row("environ_get", "ii>i", system.environ_get),
    _row(
        "clock_time_get",
        "iIi>i",
        system.clock_time_get,
        "steps of 1 ms; 10 us a look on a virtual clock",
    ),
    _row("clock_res_get", "ii>i", system.clock_res_get),
    _row("random_get", "ii>i", system.random_get, "1 MiB at most"),
    _row(
        "poll_oneoff",
        "iiii>i",
        wasi_process.poll_oneoff,
        "connections alone become ready while it waits; an interrupt ends a wait early; without a "
        "connection a virtual clock is put on instead",
    ),
    Row(WASI, "sched_yield", ">i", Support.CONSTANT, None, Failure.VALUE, 0, "one thread"),
    Row(
        WASI,
        "proc_exit",
        "i>",
        Support.PARTIAL,
        system.exit_process,
        Failure.VALUE,
        0,
        "ends the session",
    ),
    # The network.
    _refused("sock_accept", "iii>i", wasi_sockets.sock_accept, "EACCES: nothing listens"),
    _row("sock_recv", "iiiiii>i", wasi_sockets.sock_recv),
    _row("sock_send", "iiiii>i", wasi_sockets.sock_send, "1 MiB at most in one call"),
    _row("sock_shutdown", "ii>i", wasi_sockets.sock_shutdown),
)


def rows(door: Act) -> tuple[Row, ...]:
    """
    All rows, with what answers the guest's calls to the host itself.
    """
    note = "a cell's answer, and attempts at programs"
    call = Row(HOST, CALL, "iiii>i", Support.PARTIAL, door, Failure.VALUE, HOST_FAULT, note)
    return (*WASI_ROWS, call)
