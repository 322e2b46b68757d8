"""
The table of every import of the guest: what it is, how far it is supported, and why not more.

The table is the document (`codecage` prints it), and it is total: linking fails when the module
has an import that no row names, when a row names an import that the module does not have, or
when a signature differs. A handler's failure becomes the guest's answer by the row's
convention: Emscripten's calls return the error number negated, WASI's return it, and others
return the value that the row gives.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from executor.wasm import jsffi
from executor.wasm.abi import Errno, GuestFault
from executor.wasm.calls import Handler
from executor.wasm.process import Process
from executor.wasm.socket_abi import Eai
from executor.wasm.syscalls import changes, names, native, network, open_files, paths, system

ENV: Final = "env"
WASI: Final = "wasi_snapshot_preview1"
GOT: Final = "GOT.func"
# The one import that has code of the engine's before it (`gathering.py`).
OUTPUT: Final = (WASI, "fd_write")
# OpenGL functions that the guest never calls: mutable i32 globals, all 0.
GOT_GLOBALS: Final = 280
FUNCTIONS: Final = 254 + 14

Act = Callable[..., int | float | None]


class Support(Enum):
    """
    How far an import is supported; the value is the word in the documents.
    """

    FULL = "supported"
    PARTIAL = "partial"
    CONSTANT = "constant"
    REFUSED = "refused"


class Failure(Enum):
    """
    How a handler's GuestFault becomes the guest's answer.
    """

    NEGATED = "-errno"
    POSITIVE = "errno"
    VALUE = "value"


@dataclass(frozen=True, slots=True)
class Row:
    """
    One import. `value` is what a constant or refused row answers, and what a VALUE row answers
    when its handler fails.
    """

    module: str
    name: str
    signature: str
    support: Support
    act: Act | None
    failure: Failure
    value: int
    note: str

    def bind(self, process: Process) -> Handler:
        """
        The handler for one process: never raises GuestFault.
        """
        if self.act is None:
            return self._bind_fixed(process)
        act, value = self.act, self.value
        if self.failure is Failure.VALUE:
            return lambda *arguments: _or_value(process, act, value, arguments)
        sign = -1 if self.failure is Failure.NEGATED else 1
        return lambda *arguments: _or_errno(process, act, sign, arguments)

    def _bind_fixed(self, process: Process) -> Handler:
        name, value, errno = self.name, self.value, _errno_of(self.value)
        if self.support is Support.CONSTANT:
            return lambda *_arguments: value

        def refuse(*_arguments: int) -> int:
            process.note(name, errno)
            return value

        return refuse


def _or_errno(process: Process, act: Act, sign: int, arguments: tuple[int, ...]) -> int:
    try:
        result = act(process, *arguments)
    except GuestFault as fault:
        process.deny(fault)
        return sign * fault.errno
    if not isinstance(result, int) or result >= 2**31:
        # A result that an int cannot hold is an error, not a truncated number.
        return sign * Errno.EOVERFLOW
    return result


def _or_value(
    process: Process, act: Act, value: int, arguments: tuple[int, ...]
) -> int | float | None:
    try:
        return act(process, *arguments)
    except GuestFault as fault:
        process.deny(fault)
        return value


def _errno_of(value: int) -> Errno:
    return Errno(-value) if -value in Errno._value2member_map_ else Errno.ENOSYS


def _support(note: str) -> Support:
    return Support.PARTIAL if note else Support.FULL


def _syscall(name: str, signature: str, act: Act, note: str) -> Row:
    return Row(ENV, name, signature, _support(note), act, Failure.NEGATED, 0, note)


def _wasi(name: str, signature: str, act: Act, note: str) -> Row:
    return Row(WASI, name, signature, _support(note), act, Failure.POSITIVE, 0, note)


def _value(name: str, signature: str, act: Act, value: int, note: str, module: str = ENV) -> Row:
    return Row(module, name, signature, _support(note), act, Failure.VALUE, value, note)


def _constant(name: str, signature: str, value: int, note: str) -> Row:
    return Row(ENV, name, signature, Support.CONSTANT, None, Failure.VALUE, value, note)


def _refused(name: str, signature: str, errno: Errno, note: str) -> Row:
    return Row(ENV, name, signature, Support.REFUSED, None, Failure.NEGATED, -errno, note)


def _judged(name: str, signature: str, act: Act, note: str) -> Row:
    """
    A refused import that the gate is asked about, so that the attempt is on record.
    """
    return Row(ENV, name, signature, Support.REFUSED, act, Failure.NEGATED, 0, note)


def _without(name: str, signature: str, value: int, note: str) -> Row:
    """
    A refused import whose answer is no error number.
    """
    return Row(ENV, name, signature, Support.REFUSED, None, Failure.VALUE, value, note)


_OWN: Final[tuple[Row, ...]] = (
    # Paths.
    _syscall("__syscall_openat", "iiii>i", paths.openat, ""),
    _syscall("__syscall_stat64", "ii>i", paths.stat64, "inode, device and owner are synthetic"),
    _syscall("__syscall_lstat64", "ii>i", paths.lstat64, "as stat64"),
    _syscall("__syscall_newfstatat", "iiii>i", paths.newfstatat, "as stat64"),
    _syscall("__syscall_fstat64", "ii>i", paths.fstat64, "as stat64"),
    _syscall(
        "__syscall_faccessat", "iiii>i", paths.faccessat, "judges by the grant, not by an owner"
    ),
    _syscall(
        "__syscall_statfs64",
        "iii>i",
        paths.statfs64,
        "figures of the session's memory, for every path",
    ),
    _syscall("__syscall_fstatfs64", "iii>i", paths.fstatfs64, "as statfs64"),
    _syscall("__syscall_getdents64", "iii>i", paths.getdents64, "sorted by name"),
    _syscall("__syscall_mkdirat", "iii>i", changes.mkdirat, ""),
    _syscall("__syscall_unlinkat", "iii>i", changes.unlinkat, ""),
    _syscall("__syscall_rmdir", "i>i", changes.rmdir, ""),
    _syscall(
        "__syscall_renameat",
        "iiii>i",
        changes.renameat,
        "EXDEV between memory and a granted directory",
    ),
    _syscall("__syscall_symlinkat", "iii>i", changes.symlinkat, "EPERM in a granted directory"),
    _syscall(
        "__syscall_readlinkat",
        "iiii>i",
        paths.readlinkat,
        "/dev/denial holds the reason of the last refusal; below /dev/socket/pair, socketpair(2), "
        "for which libc has no call",
    ),
    _syscall("__syscall_chmod", "ii>i", changes.chmod, "changes nothing granted; EPERM for x"),
    _syscall("__syscall_fchmod", "ii>i", changes.fchmod, "EPERM on a granted file"),
    _syscall("__syscall_fchmodat2", "iiii>i", changes.fchmodat2, "as chmod"),
    _syscall("__syscall_utimensat", "iiii>i", changes.utimensat, "access times are not kept"),
    _syscall("__syscall_truncate64", "iI>i", changes.truncate64, ""),
    _syscall("__syscall_chdir", "i>i", changes.chdir, ""),
    _syscall("__syscall_fchdir", "i>i", changes.fchdir, ""),
    _syscall("__syscall_getcwd", "ii>i", changes.getcwd, ""),
    _syscall("__syscall_umask_js", "i>i", changes.set_umask, ""),
    # Open files.
    _syscall("__syscall_fdatasync", "i>i", open_files.fdatasync, ""),
    _syscall("__syscall_ftruncate64", "iI>i", open_files.ftruncate64, ""),
    _syscall("__syscall_fallocate", "iiII>i", open_files.fallocate, "mode 0 only"),
    _syscall("__syscall_fadvise64", "iIIi>i", open_files.fadvise64, "taken and not followed"),
    _syscall("__syscall_dup", "i>i", open_files.dup, ""),
    _syscall("__syscall_dup3", "iii>i", open_files.dup3, ""),
    _syscall("__syscall_fcntl64", "iii>i", open_files.fcntl64, "locks of files in memory alone"),
    _syscall(
        "__syscall_ioctl", "iii>i", open_files.ioctl, "sockets alone: FIONBIO, FIONREAD, options"
    ),
    _syscall("__syscall_pipe", "i>i", open_files.pipe, "EAGAIN where a read or write would wait"),
    _syscall(
        "__syscall_poll",
        "iii>i",
        open_files.poll,
        "connections alone become ready while it waits; a virtual clock is put on instead",
    ),
    _wasi("fd_read", "iiii>i", open_files.fd_read, "1 MiB at most in one call"),
    _wasi("fd_write", "iiii>i", open_files.fd_write, "1 MiB at most in one call"),
    _wasi("fd_pread", "iiiIi>i", open_files.fd_pread, ""),
    _wasi("fd_pwrite", "iiiIi>i", open_files.fd_pwrite, ""),
    _wasi("fd_seek", "iIii>i", open_files.fd_seek, ""),
    _wasi("fd_close", "i>i", open_files.fd_close, ""),
    _wasi("fd_sync", "i>i", open_files.fd_sync, ""),
    _wasi(
        "fd_fdstat_get",
        "ii>i",
        open_files.fd_fdstat_get,
        "every right is named; the description decides",
    ),
    _constant("_try_fcntl64", "iiii>i", 0, "false: libc goes on to fcntl64"),
    # Time, entropy, environment, memory, signals, end.
    _wasi(
        "clock_time_get",
        "iIi>i",
        system.clock_time_get,
        "steps of 1 ms; 10 us a look on a virtual clock",
    ),
    _wasi("clock_res_get", "ii>i", system.clock_res_get, ""),
    _wasi("random_get", "ii>i", system.random_get, "1 MiB at most"),
    _wasi("environ_sizes_get", "ii>i", system.environ_sizes_get, ""),
    _wasi("environ_get", "ii>i", system.environ_get, ""),
    _value("proc_exit", "i>", system.exit_process, 0, "ends the session", module=WASI),
    _value("exit", "i>", system.exit_process, 0, "ends the session"),
    _value("_abort_js", ">", system.abort, 0, "ends the session"),
    _value("__assert_fail", "iiii>", system.assert_fail, 0, "ends the session"),
    _value("emscripten_date_now", ">d", system.date_now, 0, "as clock_time_get"),
    _value("emscripten_get_now", ">d", system.get_now, 0, "as clock_time_get"),
    _value("_gmtime_js", "Ii>", system.gmtime, 0, ""),
    _value("_localtime_js", "Ii>", system.localtime, 0, "local time is UTC"),
    _value("_timegm_js", "i>I", system.timegm, -1, ""),
    _value("_mktime_js", "i>I", system.mktime, -1, "local time is UTC"),
    _value("_tzset_js", "iiii>", system.tzset, 0, "UTC"),
    _value("_emscripten_get_progname", "ii>", system.progname, 0, ""),
    _value("__syscall_getuid32_js", ">i", system.getuid, 0, "always 1000"),
    _value(
        "emscripten_resize_heap",
        "i>i",
        system.resize_heap,
        0,
        "refused beyond the session's memory: MemoryError",
    ),
    _value("emscripten_get_heap_max", ">i", system.heap_max, 0, ""),
    _value("_Py_CheckEmscriptenSignals_Helper", ">i", system.check_signals, 0, "the interrupt"),
    _syscall(
        "_emscripten_system",
        "i>i",
        system.run_program,
        "EACCES unless granted, which no policy of this version does",
    ),
    _without(
        "_setitimer_js", "id>i", -1, "timers deliver signals, and there is one: the interrupt"
    ),
    _without("__call_sighandler", "ii>", 0, "C signal handlers are never called"),
    # The network.
    _syscall(
        "__syscall_socket",
        "iiiiii>i",
        network.socket,
        "TCP alone; others, and all where the policy grants no network, EACCES",
    ),
    _syscall("__syscall_connect", "iiiiii>i", network.connect, "by name, as the policy grants it"),
    _judged("__syscall_accept4", "iiiiii>i", network.accept, "EACCES: after the gate was asked"),
    _judged("__syscall_bind", "iiiiii>i", network.bind, "EACCES: after the gate was asked"),
    _judged("__syscall_listen", "iiiiii>i", network.listen, "EACCES: after the gate was asked"),
    _syscall("__syscall_getpeername", "iiiiii>i", network.getpeername, "the address of its name"),
    _syscall("__syscall_getsockname", "iiiiii>i", network.getsockname, "an address made up"),
    _syscall(
        "__syscall_getsockopt",
        "iiiiii>i",
        network.getsockopt,
        "timeouts, SO_ERROR and TLS; what else is known is remembered",
    ),
    _syscall("__syscall_recvfrom", "iiiiii>i", network.recvfrom, "1 MiB at most in one call"),
    _syscall("__syscall_recvmsg", "iiiiii>i", network.recvmsg, "1 MiB at most; no ancillary data"),
    _syscall("__syscall_sendmsg", "iiiiii>i", network.sendmsg, "1 MiB at most; no ancillary data"),
    _syscall("__syscall_sendto", "iiiiii>i", network.sendto, "1 MiB at most in one call"),
    _value("_try_shutdown", "iii>i", network.try_shutdown, 1, ""),
    _value(
        "getaddrinfo",
        "iiii>i",
        names.getaddrinfo,
        Eai.SYSTEM,
        "no name server is asked: one address for a name, made up (198.18.0.0/15)",
    ),
    _value(
        "getnameinfo",
        "iiiiiii>i",
        names.getnameinfo,
        Eai.SYSTEM,
        "names of addresses that were made up; numbers of ports",
    ),
    _value("_emscripten_lookup_name", "i>i", names.lookup_name, 0, "as getaddrinfo; 0.0.0.0"),
    _without("getprotobyname", "i>i", 0, "NULL: no protocol table"),
    _constant("_maybe_connect_async", "iii>r", 0, "not asynchronous"),
    _constant("_maybe_recvfrom_async", "iii>r", 0, "not asynchronous"),
    _constant("_maybe_sendto_async", "iii>r", 0, "not asynchronous"),
    _constant("_maybe_poll_async", "iii>r", 0, "not asynchronous"),
    # Permissions, devices, mappings.
    _refused("__syscall_mknodat", "iiii>i", Errno.EPERM, "no device can be made"),
    _refused("__syscall_fchownat", "iiiii>i", Errno.EPERM, "there is one owner"),
    _refused("__syscall_fchown32", "iii>i", Errno.EPERM, "there is one owner"),
    _without("_mmap_js", "iiiiIii>i", -Errno.ENODEV, "ENODEV: files are not mapped; read them"),
    _without("_munmap_js", "iiiiiI>i", -Errno.EINVAL, "EINVAL: nothing is mapped"),
    _without("_msync_js", "iiiiiI>i", -Errno.EINVAL, "EINVAL: nothing is mapped"),
    # Loading and calling native code.
    _value("_dlopen_js", "i>i", native.dlopen, 0, "native parts of the image's packages alone"),
    _value("_dlsym_js", "iii>i", native.dlsym, 0, ""),
    _without("_emscripten_dlopen_js", "iiii>", 0, "no asynchronous loading"),
    _value(
        "ffi_call_js",
        "iiii>",
        native.ffi_call,
        0,
        "the guest's own functions; one of another type, or 64 calls deep, ends the session",
    ),
    _value(
        "ffi_closure_alloc_js", "ii>i", native.closure_alloc, 0, "1,024 at once: MemoryError beyond"
    ),
    _value("ffi_closure_free_js", "i>", native.closure_free, 0, ""),
    _value(
        "ffi_prep_closure_loc_js",
        "iiiii>i",
        native.closure_prepare,
        1,
        "283 signatures with 8 or 64 closures each, compiled with the image; others RuntimeError",
    ),
    _without(
        "_PyEM_TrampolineCall_JS",
        "iiii>i",
        0,
        "the trampoline module makes these calls; without it there is no guest",
    ),
    # Emscripten's runtime.
    _constant("JsvError_Check", "r>i", 0, "nothing is a JavaScript error"),
    _without("emscripten_asm_const_int", "iii>i", 0, "no JavaScript: the text is not even read"),
    _constant("hiwire_invalid_ref_js", "ii>", 0, "nothing is a reference"),
    _constant("can_run_sync_js", ">i", 0, "no stack switching"),
    _constant("emscripten_runtime_keepalive_push", ">", 0, "no runtime to keep alive"),
    _constant("emscripten_runtime_keepalive_pop", ">", 0, "as above"),
    _constant("_Py_emscripten_runtime", ">i", 0, "NULL: no name of a JavaScript runtime"),
    _constant("emscripten_set_up_async_input_device_js", ">i", 0, "standard input is at its end"),
    _constant("emscripten_debugger", ">", 0, "no debugger"),
    _constant("emscripten_log_impl_js", "i>", 0, "not shown"),
    _without("emscripten_promise_create", ">i", 0, "no promises"),
    _without("emscripten_promise_resolve", "iii>", 0, "no promises"),
    _without("emscripten_promise_destroy", "i>", 0, "no promises"),
    _constant("_emscripten_log_formatted", "ii>", 0, "not shown"),
    _constant("_emscripten_runtime_keepalive_clear", ">", 0, "as above"),
)

ROWS: Final[tuple[Row, ...]] = (
    *_OWN,
    *(_without(name, signature, 0, "no JavaScript") for name, signature in jsffi.ROWS),
)
