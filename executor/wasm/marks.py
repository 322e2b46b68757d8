"""
What comes in by each import: whether its answer is an input, and by which way a replay has it.

A function of the guest's state is computed again by a replay and need not be captured; an input has
to come by one of the ways here. Who adds an import says which it is: linking fails for one that no
row marks, so it cannot be forgotten (an import without a handler answers a constant, and needs
none).
"""

from collections.abc import Mapping
from enum import Flag, auto
from types import MappingProxyType
from typing import Final

from executor.kernel.errors import InternalError
from executor.wasm.imports import Row


class Way(Flag):
    """
    How an input comes in; an import may have several. None of them: a function of state.
    """

    # An answer of the server's, which sees and keeps all of them.
    FRAME = auto()
    # The worker's own looks at the host, which it tells (`tape.py`).
    TAPE = auto()
    # A stream over the seed that the session begins with.
    SEED = auto()
    # None: where it is more than a function of state, the capture says that it ends there.
    LOST = auto()


_STATE: Final = Way(0)
_WORDS: Final[Mapping[Way, str]] = MappingProxyType(
    {Way.FRAME: "frames", Way.TAPE: "tape", Way.SEED: "seed", Way.LOST: "not captured"}
)

MARKS: Final[Mapping[str, Way]] = MappingProxyType(
    {
        # Paths and open files: a granted file's answers by frames, times in memory by the tape.
        "__syscall_chmod": Way.FRAME | Way.TAPE,
        "__syscall_faccessat": Way.FRAME | Way.TAPE,
        "__syscall_fallocate": Way.FRAME | Way.TAPE,
        "__syscall_fchmod": Way.FRAME | Way.TAPE,
        "__syscall_fchmodat2": Way.FRAME | Way.TAPE,
        "__syscall_fstat64": Way.FRAME | Way.TAPE,
        "__syscall_ftruncate64": Way.FRAME | Way.TAPE,
        "__syscall_getdents64": Way.FRAME | Way.TAPE,
        "__syscall_lstat64": Way.FRAME | Way.TAPE,
        "__syscall_mkdirat": Way.FRAME | Way.TAPE,
        "__syscall_newfstatat": Way.FRAME | Way.TAPE,
        "__syscall_openat": Way.FRAME | Way.TAPE,
        "__syscall_readlinkat": Way.FRAME | Way.TAPE,
        "__syscall_renameat": Way.FRAME | Way.TAPE,
        "__syscall_rmdir": Way.FRAME | Way.TAPE,
        "__syscall_stat64": Way.FRAME | Way.TAPE,
        "__syscall_symlinkat": Way.FRAME | Way.TAPE,
        "__syscall_truncate64": Way.FRAME | Way.TAPE,
        "__syscall_unlinkat": Way.FRAME | Way.TAPE,
        "__syscall_utimensat": Way.FRAME | Way.TAPE,
        "fd_filestat_get": Way.FRAME | Way.TAPE,
        "fd_filestat_set_size": Way.FRAME | Way.TAPE,
        "fd_filestat_set_times": Way.FRAME | Way.TAPE,
        "fd_pwrite": Way.FRAME | Way.TAPE,
        "fd_readdir": Way.FRAME | Way.TAPE,
        "fd_write": Way.FRAME | Way.TAPE,
        "path_create_directory": Way.FRAME | Way.TAPE,
        "path_filestat_get": Way.FRAME | Way.TAPE,
        "path_filestat_set_times": Way.FRAME | Way.TAPE,
        "path_link": Way.FRAME | Way.TAPE,
        "path_open": Way.FRAME | Way.TAPE,
        "path_readlink": Way.FRAME | Way.TAPE,
        "path_remove_directory": Way.FRAME | Way.TAPE,
        "path_rename": Way.FRAME | Way.TAPE,
        "path_symlink": Way.FRAME | Way.TAPE,
        "path_unlink_file": Way.FRAME | Way.TAPE,
        # Reading also reads the device of random bytes.
        "fd_pread": Way.FRAME | Way.TAPE | Way.SEED,
        "fd_read": Way.FRAME | Way.TAPE | Way.SEED,
        # Asks about a granted file, and nothing else.
        "__syscall_chdir": Way.FRAME,
        "__syscall_fchdir": Way.FRAME,
        "__syscall_fdatasync": Way.FRAME,
        "__syscall_fstatfs64": Way.FRAME,
        "__syscall_statfs64": Way.FRAME,
        "fd_close": Way.FRAME,
        "fd_datasync": Way.FRAME,
        "fd_seek": Way.FRAME,
        "fd_sync": Way.FRAME,
        "fd_tell": Way.FRAME,
        # Clocks, and waiting for one.
        "__syscall__newselect": Way.TAPE,
        "__syscall_poll": Way.TAPE,
        "clock_time_get": Way.TAPE,
        "emscripten_date_now": Way.TAPE,
        "emscripten_get_now": Way.TAPE,
        "poll_oneoff": Way.TAPE,
        # Random bytes are a stream over the session's seed.
        "random_get": Way.SEED,
        # Sockets: whether and whereto by frames, what comes and goes by the tape.
        "__syscall_accept4": Way.FRAME | Way.TAPE,
        "__syscall_bind": Way.FRAME | Way.TAPE,
        "__syscall_connect": Way.FRAME | Way.TAPE,
        "__syscall_dup3": Way.FRAME | Way.TAPE,
        "__syscall_getpeername": Way.FRAME | Way.TAPE,
        "__syscall_getsockname": Way.FRAME | Way.TAPE,
        "__syscall_getsockopt": Way.FRAME | Way.TAPE,
        "__syscall_ioctl": Way.FRAME | Way.TAPE,
        "__syscall_listen": Way.FRAME | Way.TAPE,
        "__syscall_recvfrom": Way.FRAME | Way.TAPE,
        "__syscall_recvmsg": Way.FRAME | Way.TAPE,
        "__syscall_sendmsg": Way.FRAME | Way.TAPE,
        "__syscall_sendto": Way.FRAME | Way.TAPE,
        "__syscall_socket": Way.FRAME | Way.TAPE,
        "_emscripten_lookup_name": Way.FRAME | Way.TAPE,
        "_try_shutdown": Way.FRAME | Way.TAPE,
        "call": Way.FRAME | Way.TAPE,
        "getaddrinfo": Way.FRAME | Way.TAPE,
        "getnameinfo": Way.FRAME | Way.TAPE,
        "sock_accept": Way.FRAME | Way.TAPE,
        "sock_recv": Way.FRAME | Way.TAPE,
        "sock_send": Way.FRAME | Way.TAPE,
        "sock_shutdown": Way.FRAME | Way.TAPE,
        # Attempts that the gate judges.
        "_emscripten_system": Way.FRAME,
        # What ends a capture where it comes: an interrupt, and a host that has no memory left.
        "_Py_CheckEmscriptenSignals_Helper": Way.LOST,
        "emscripten_resize_heap": Way.LOST,
        # Functions of the guest's own state, its limits among it.
        "_PyEM_GetCountArgsPtr": _STATE,
        "__assert_fail": _STATE,
        "__syscall_dup": _STATE,
        "__syscall_fadvise64": _STATE,
        "__syscall_fcntl64": _STATE,
        "__syscall_getcwd": _STATE,
        "__syscall_getuid32_js": _STATE,
        "__syscall_pipe": _STATE,
        "__syscall_umask_js": _STATE,
        "_abort_js": _STATE,
        "_dlopen_js": _STATE,
        "_dlsym_js": _STATE,
        "_emscripten_get_progname": _STATE,
        "_gmtime_js": _STATE,
        "_localtime_js": _STATE,
        "_mktime_js": _STATE,
        "_timegm_js": _STATE,
        "_tzset_js": _STATE,
        "args_get": _STATE,
        "args_sizes_get": _STATE,
        "clock_res_get": _STATE,
        "emscripten_get_heap_max": _STATE,
        "environ_get": _STATE,
        "environ_sizes_get": _STATE,
        "exit": _STATE,
        "fd_advise": _STATE,
        "fd_fdstat_get": _STATE,
        "fd_fdstat_set_flags": _STATE,
        "fd_prestat_dir_name": _STATE,
        "fd_prestat_get": _STATE,
        "ffi_call_js": _STATE,
        "ffi_closure_alloc_js": _STATE,
        "ffi_closure_free_js": _STATE,
        "ffi_prep_closure_loc_js": _STATE,
        "proc_exit": _STATE,
    }
)


def ways_of(row: Row) -> Way | None:
    """
    By which ways an import's answer comes in, none of them for a function of state; None for one
    that answers a constant.

    Raises InternalError for an import that is not marked.
    """
    if row.act is None:
        return None
    if row.name not in MARKS:
        raise InternalError(f"import {row.name} has no mark in marks.py: is its answer an input?")
    return MARKS[row.name]


def word_of(row: Row) -> str:
    """
    The same in words, for documents.
    """
    ways = ways_of(row)
    if ways is None:
        return "constant"
    return ", ".join(_WORDS[way] for way in Way if way in ways) or "state"
