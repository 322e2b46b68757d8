"""
The acts of `cage_range.py`: attacks that a compromised worker makes.

One list, over 500 lines because of its length, not because of its logic.
"""

import array
import ctypes
import fcntl
import os
import resource
import signal
import socket
import struct
import tempfile
from collections.abc import Generator

from cage_range import Act, World

from executor.linux.filters import KILL_PROCESS, Refuse
from executor.linux.libc import call
from executor.linux.syscalls import NUMBERS, X32_BIT
from executor.wasm import jail

Round = Generator[None, None, object]
ACTS: dict[str, Act] = {}

PAGE = 4096
LIBC = ctypes.CDLL(None, use_errno=True)
HOST_FILE = b"/etc/hostname\0"


def act(function: Act) -> Act:
    ACTS[function.__name__] = function
    return function


def address(data: bytes) -> int:
    held = ctypes.create_string_buffer(data)
    KEPT.append(held)
    return ctypes.addressof(held)


KEPT: list[object] = []


def simple(name: str, system_call: str, *arguments: int | bytes) -> None:
    """
    An act that is one call.
    """

    def once(world: World) -> Round:
        values = [address(a) if isinstance(a, bytes) else a for a in arguments]
        yield
        return call(system_call, *values)

    ACTS[name] = once


AT_FDCWD = -100
simple("open_host_path", "openat", AT_FDCWD, b"/etc/passwd", os.O_RDONLY)
simple("open_old_spelling", "open", b"/etc/passwd", os.O_RDONLY)
simple("openat2_host_path", "openat2", AT_FDCWD, b"/etc/passwd", struct.pack("QQQ", 0, 0, 0), 24)
simple("open_by_o_path", "openat", AT_FDCWD, b"/", os.O_PATH)
simple("open_proc_mem", "openat", AT_FDCWD, b"/proc/self/mem", os.O_RDWR)
simple("stat_host_path", "stat", b"/etc/passwd", bytes(144))
simple("fstat_by_name", "newfstatat", AT_FDCWD, b"/etc/passwd", bytes(144), 0x1000)
simple("statx_host_path", "statx", AT_FDCWD, b"/etc/passwd", 0, 0x7FF, bytes(256))
simple("access_host_path", "access", b"/etc/passwd", os.R_OK)
simple("readlink_proc_exe", "readlink", b"/proc/self/exe", bytes(256), 256)
simple("chdir_host_path", "chdir", b"/etc")
simple("read_working_directory", "getcwd", bytes(256), 256)
simple("statfs_host_path", "statfs", b"/", bytes(256))
simple("inotify", "inotify_init1", 0)
simple("truncate_nothing", "truncate", b"/nonexistent-file", 0)
simple("fork", "fork")
simple("vfork_by_clone", "clone", signal.SIGCHLD)
simple("clone_new_user", "clone", 0x1000_0000 | signal.SIGCHLD)
simple("clone3", "clone3", struct.pack("11Q", 0, 0, 0, 0, signal.SIGCHLD, *[0] * 6), 88)
simple("unshare_user", "unshare", 0x1000_0000)
simple("unshare_high_bits", "unshare", 0x2_0000_0000)
simple("mount", "mount", b"none", b"/nonexistent-directory", b"tmpfs", 0, 0)
simple("umount", "umount2", b"/nonexistent-mount", 0)
simple("pivot_root", "pivot_root", b"/", b"/")
simple("chroot", "chroot", b"/nonexistent-directory")
simple("open_tree", "open_tree", AT_FDCWD, b"/", 0)
simple("fsopen", "fsopen", b"tmpfs", 0)
simple("setns", "setns", -1, 0)
simple("io_uring", "io_uring_setup", 8, bytes(120))
simple("bpf", "bpf", 0, bytes(128), 128)
simple("userfaultfd", "userfaultfd", 1)
simple("perf_event_open", "perf_event_open", bytes(128), 0, -1, -1, 0)
simple("keyctl", "keyctl", 0, -3, 0)
simple("add_key", "add_key", b"user", b"codecage", b"x", 1, -1)
simple("request_key", "request_key", b"user", b"codecage-none", 0, 0)
simple("kexec", "kexec_load", 0, 0, 0, 0xFFFF)
simple("init_module", "init_module", 0, 0, b"")
simple("modify_ldt", "modify_ldt", 0, bytes(64), 64)
simple("reboot", "reboot", 0, 0, 0, 0)
simple("personality", "personality", 0xFFFF_FFFF)
simple("open_by_handle", "open_by_handle_at", -1, bytes(64), 0)
simple("remap_file_pages", "remap_file_pages", 0, 0, 0, 0, 0)
simple("socket_unix", "socket", socket.AF_UNIX, socket.SOCK_STREAM, 0)
simple("socket_inet", "socket", socket.AF_INET, socket.SOCK_STREAM, 0)
simple("socket_inet6_udp", "socket", socket.AF_INET6, socket.SOCK_DGRAM, 0)
simple("socket_netlink", "socket", socket.AF_NETLINK, socket.SOCK_RAW, 0)
simple("socket_vsock", "socket", socket.AF_VSOCK, socket.SOCK_STREAM, 0)
simple("socketpair", "socketpair", socket.AF_UNIX, socket.SOCK_DGRAM, 0, bytes(8))
simple("memfd_create", "memfd_create", b"code", 0)
simple("pipe", "pipe2", bytes(8), 0)
simple("eventfd", "eventfd2", 0, 0)
simple("epoll_create", "epoll_create1", 0)
simple("signalfd", "signalfd4", -1, bytes(8), 8, 0)
simple("timer_create", "timer_create", 1, 0, bytes(8))
simple("kill_own_group", "kill", 0, 0)
simple("prctl_dumpable", "prctl", 4, 1, 0, 0, 0)
simple("prctl_read_nnp", "prctl", 39, 0, 0, 0, 0)
simple("prctl_ptracer", "prctl", 1, 9, 0, 0, 0)
simple("arch_prctl_cpuid", "arch_prctl", 0x1003, 0)
simple("read_rlimit", "prlimit64", 0, 7, 0, bytes(16))
simple("set_priority", "setpriority", 0, 0, 5)
simple("set_affinity", "sched_setaffinity", 0, 8, struct.pack("Q", 1))
simple("read_affinity", "sched_getaffinity", 0, 128, bytes(128))
simple("sched_setscheduler", "sched_setscheduler", 0, 0, bytes(4))
simple("ioctl_tiocsti", "ioctl", 0, 0x5412, b"x")
simple("landlock_again", "landlock_create_ruleset", 0, 0, 1)
simple("clock_of_another_process", "clock_gettime", (~1 << 3) | 2, bytes(16))
simple("clock_of_another_high", "clock_gettime", 1 << 32, bytes(16))
simple("clock_settime", "clock_settime", 99, bytes(16))
simple("getrusage_children", "getrusage", -1, bytes(144))
simple("getppid", "getppid")
simple("uname", "uname", bytes(512))
simple("sysinfo", "sysinfo", bytes(256))
simple("shmget", "shmget", 0x7A57_0001, PAGE, 0)
simple("mq_open", "mq_open", b"codecage-none", 0)
simple("setuid_own", "setuid", os.getuid())
simple("setgroups_none", "getgroups", 0, 0)
simple("umask", "umask", 0o77)
simple("mlock", "mlockall", 4)
simple("rt_sigaction_take_over", "rt_sigaction", signal.SIGALRM, 0, bytes(32), 8)
simple("futex_with_priority", "futex", bytes(4), 0x80 | 6, 0, 0)
simple("number_of_the_future", "file_setattr", -1, 0, 0, 0, 0)


@act
def exec_program(world: World) -> Round:
    path = address(b"/bin/true\0")
    argv = (ctypes.c_void_p * 2)(path, None)
    KEPT.append(argv)
    yield
    return call("execve", path, ctypes.addressof(argv), 0)


@act
def exec_from_descriptor(world: World) -> Round:
    descriptor = os.open("/bin/true", os.O_RDONLY)
    empty = address(b"")
    argv = (ctypes.c_void_p * 2)(empty, None)
    KEPT.append(argv)
    yield
    return call("execveat", descriptor, empty, ctypes.addressof(argv), 0, 0x1000)


def _sibling(world: World) -> int:
    """
    A process of the same user that ends with us.
    """
    ends_with_us, held = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(held)
        os.read(ends_with_us, 1)
        os._exit(0)
    world.kept.add(held)
    return pid


@act
def kill_sibling(world: World) -> Round:
    pid = _sibling(world)
    yield
    return call("kill", pid, 0)


@act
def kill_parent(world: World) -> Round:
    parent = os.getppid()
    yield
    return call("kill", parent, 0)


@act
def kill_everybody(world: World) -> Round:
    yield
    return call("kill", -1, 0)


@act
def tgkill_sibling(world: World) -> Round:
    pid = _sibling(world)
    yield
    return call("tgkill", pid, pid, signal.SIGABRT)


@act
def tgkill_sibling_high_bits(world: World) -> Round:
    own = os.getpid()
    yield
    return call("tgkill", own | 1 << 32, own, signal.SIGURG)


@act
def tgkill_self_with_another_signal(world: World) -> Round:
    own = os.getpid()
    yield
    return call("tgkill", own, own, signal.SIGURG)


@act
def sigqueue_to_sibling(world: World) -> Round:
    pid = _sibling(world)
    info = address(struct.pack("iii", signal.SIGURG, 0, -1) + bytes(116))
    yield
    return call("rt_sigqueueinfo", pid, signal.SIGURG, info)


@act
def ptrace_sibling(world: World) -> Round:
    pid = _sibling(world)
    yield
    return call("ptrace", 0x4206, pid, 0, 0)


@act
def read_memory_of_sibling(world: World) -> Round:
    pid, held = _sibling(world), ctypes.create_string_buffer(8)
    remote = ctypes.create_string_buffer(b"secret!!", 8)
    local = address(struct.pack("QQ", ctypes.addressof(held), 8))
    there = address(struct.pack("QQ", ctypes.addressof(remote), 8))
    yield
    return call("process_vm_readv", pid, local, 1, there, 1, 0)


@act
def write_memory_of_sibling(world: World) -> Round:
    pid, held = _sibling(world), ctypes.create_string_buffer(8)
    vector = address(struct.pack("QQ", ctypes.addressof(held), 8))
    yield
    return call("process_vm_writev", pid, vector, 1, vector, 1, 0)


@act
def pidfd_of_parent(world: World) -> Round:
    parent = os.getppid()
    yield
    return call("pidfd_open", parent, 0) > 0


@act
def steal_descriptor_of_parent(world: World) -> Round:
    held = os.pidfd_open(_sibling(world))
    yield
    return call("pidfd_getfd", held, 1, 0) > 0


@act
def send_descriptor(world: World) -> Round:
    left, right = socket.socketpair()
    KEPT.extend([left, right])
    yield
    passed = array.array("i", [1])
    return world.channel.sendmsg([b" "], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])


@act
def send_many(world: World) -> Round:
    vector = address(struct.pack("QQ", address(b" "), 1))
    header = address(struct.pack("QQQQQQQ", 0, 0, vector, 1, 0, 0, 0) + bytes(8))
    yield
    return call("sendmmsg", world.channel.fileno(), header, 1, 0)


@act
def send_to_an_address(world: World) -> Round:
    name, data = address(b"\x01\x00/run/x\0"), address(b" ")
    yield
    return call("sendto", world.channel.fileno(), data, 1, 0, name, 9)


@act
def send_out_of_band(world: World) -> Round:
    data = address(b" ")
    yield
    return call("sendto", world.channel.fileno(), data, 1, 0x2000_0000, 0, 0)


@act
def write_to_the_socket(world: World) -> Round:
    data = address(b" ")
    yield
    return call("write", world.channel.fileno(), data, 1)


@act
def reconnect_the_socket(world: World) -> Round:
    name = address(struct.pack("H", socket.AF_UNSPEC) + bytes(14))
    yield
    return call("connect", world.channel.fileno(), name, 16)


@act
def bind_the_socket(world: World) -> Round:
    name = address(struct.pack("H", socket.AF_UNIX))
    yield
    return call("bind", world.channel.fileno(), name, 2)


@act
def name_the_peer_of_the_socket(world: World) -> Round:
    yield
    return call("getpeername", world.channel.fileno(), address(bytes(128)), address(b"\x80\0\0\0"))


@act
def filter_the_socket(world: World) -> Round:
    yield
    return call(
        "setsockopt",
        world.channel.fileno(),
        socket.SOL_SOCKET,
        socket.SO_RCVBUF,
        address(bytes([0, 64, 0, 0])),
        4,
    )


@act
def duplicate_the_socket(world: World) -> Round:
    yield
    return call("dup", world.channel.fileno()) > 0


@act
def make_executable_memory(world: World) -> Round:
    yield
    return call("mmap", 0, PAGE, 7, 0x22, -1, 0) > 0


@act
def make_executable_by_high_bits(world: World) -> Round:
    yield
    return call("mmap", 0, PAGE, 3, 0x22 | 1 << 32, -1, 0) > 0


@act
def turn_memory_executable(world: World) -> Round:
    place = call("mmap", 0, PAGE, 3, 0x22, -1, 0)
    yield
    return call("mprotect", place, PAGE, 5)


@act
def turn_memory_executable_by_key(world: World) -> Round:
    place = call("mmap", 0, PAGE, 3, 0x22, -1, 0)
    yield
    return call("pkey_mprotect", place, PAGE, 5, -1)


@act
def map_shared_memory(world: World) -> Round:
    yield
    return call("mmap", 0, PAGE, 3, 0x21, -1, 0) > 0


@act
def move_executable_memory(world: World) -> Round:
    place = call("mmap", 0, 2 * PAGE, 3, 0x22, -1, 0)
    yield
    return call("mremap", place, PAGE, PAGE, 3, place + PAGE) > 0


@act
def raise_a_limit(world: World) -> Round:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    new = address(struct.pack("QQ", min(soft, 32), hard))
    yield
    return call("prlimit64", 0, 7, new, 0)


@act
def second_filter_without_tsync(world: World) -> Round:
    header, _code = _allow_all()
    LIBC.prctl(38, 1, 0, 0, 0)
    yield
    return call("seccomp", 1, 0, ctypes.addressof(header))


@act
def second_filter_with_a_listener(world: World) -> Round:
    header, _code = _allow_all()
    LIBC.prctl(38, 1, 0, 0, 0)
    yield
    return call("seccomp", 1, 1 << 3, ctypes.addressof(header)) > 0


@act
def filter_after_the_final_filter(world: World) -> Round:
    header, _code = _allow_all()
    LIBC.prctl(38, 1, 0, 0, 0)
    yield
    return call("seccomp", 1, 1, ctypes.addressof(header))


class _Header(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _allow_all() -> tuple[_Header, object]:
    code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7FFF0000))
    KEPT.append(code)
    return _Header(1, ctypes.addressof(code)), code


def machine_code(code: bytes, rights: int) -> object:
    place = call("mmap", 0, PAGE, 3, 0x22, -1, 0)
    ctypes.memmove(place, code, len(code))
    call("mprotect", place, PAGE, rights)
    return ctypes.CFUNCTYPE(ctypes.c_long)(place)


@act
def overwrite_a_callback(world: World) -> Round:
    callback = ctypes.CFUNCTYPE(ctypes.c_int)(int)
    KEPT.append(callback)
    place = ctypes.cast(callback, ctypes.c_void_p).value
    assert place is not None
    code = bytes((ctypes.c_char * 4).from_address(place))
    yield
    ctypes.memmove(place, code, 4)
    return "written"


@act
def make_a_callback(world: World) -> Round:
    yield
    KEPT.append(ctypes.CFUNCTYPE(ctypes.c_int)(int))
    return "made"


@act
def i386_entry(world: World) -> Round:
    # push rbx; mov eax, 20 (getpid of i386); int 0x80; pop rbx; ret
    enter = machine_code(b"\x53\xb8\x14\0\0\0\xcd\x80\x5b\xc3", 5)
    yield
    return enter() > 0  # type: ignore[operator]


@act
def x32_number(world: World) -> Round:
    yield
    LIBC.syscall(ctypes.c_long(X32_BIT | NUMBERS["getpid"]))
    return "alive"


@act
def number_with_high_bits(world: World) -> Round:
    yield
    return LIBC.syscall(ctypes.c_long(1 << 31 | NUMBERS["getpid"])) == -1 and ctypes.get_errno()


def a_file() -> int:
    """
    A read-only descriptor of a regular file of this user, without a name.
    """
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"0123456789" * 1000)
        file.flush()
        return os.open(file.name, os.O_RDONLY)


def on_a_file(name: str, system_call: str, *arguments: int | bytes) -> None:
    """
    An act that is one call on a read-only descriptor of a regular file.
    """

    def once(world: World) -> Round:
        descriptor = a_file()
        world.kept.add(descriptor)
        values = [address(a) if isinstance(a, bytes) else a for a in arguments]
        yield
        return call(system_call, descriptor, *values)

    ACTS[name] = once


on_a_file("chmod_passed_file", "fchmod", 0o644)
on_a_file("chown_passed_file", "fchown", -1, -1)
on_a_file("touch_passed_file", "utimensat", 0, 0, 0)
on_a_file("label_passed_file", "fsetxattr", b"user.codecage", b"x", 1, 0)
on_a_file("read_labels_of_passed_file", "flistxattr", 0, 0)
on_a_file("lock_passed_file", "flock", fcntl.LOCK_EX | fcntl.LOCK_NB)
on_a_file("lease_passed_file", "fcntl", fcntl.F_SETLEASE, fcntl.F_RDLCK)
on_a_file("duplicate_passed_file", "fcntl", fcntl.F_DUPFD, 0)
on_a_file("reflag_passed_file", "fcntl", fcntl.F_SETFL, os.O_NONBLOCK)
on_a_file("reflag_by_high_bits", "fcntl", 1 << 32 | fcntl.F_GETFL)
on_a_file("statfs_passed_file", "fstatfs", bytes(256))
on_a_file("advise_passed_file", "fadvise64", 0, 0, 4)
on_a_file("ioctl_passed_file", "ioctl", 0x541B, bytes(8))
on_a_file("readv_passed_file", "readv", bytes(16), 0)


@act
def write_through_passed_file(world: World) -> Round:
    descriptor = a_file()
    world.kept.add(descriptor)
    yield
    return call("write", descriptor, address(b"x"), 1)


@act
def map_passed_file(world: World) -> Round:
    descriptor = a_file()
    world.kept.add(descriptor)
    yield
    return call("mmap", 0, PAGE, 1, 2, descriptor, 0) > 0


@act
def reopen_passed_file_by_proc(world: World) -> Round:
    descriptor = a_file()
    world.kept.add(descriptor)
    path = address(f"/proc/self/fd/{descriptor}".encode())
    yield
    return call("openat", AT_FDCWD, path, os.O_RDONLY) > 0


@act
def open_below_a_directory(world: World) -> Round:
    descriptor = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    world.kept.add(descriptor)
    path = address(b"etc/passwd")
    yield
    return call("openat", descriptor, path, os.O_RDONLY) > 0


# Every call that is answered with the end of the session, with arguments that no kernel takes.
for _row in jail.WORKER_FILTER.rows:
    if isinstance(_row, Refuse) and _row.action == KILL_PROCESS:
        simple(f"never_{_row.name}", _row.name, *[-1] * 6)
