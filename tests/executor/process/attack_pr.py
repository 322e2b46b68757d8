"""
Attacks on other processes, on rights, and on limits; foreign ABIs, terminals, prctl.
"""

import ctypes
import fcntl
import mmap
import os
import resource
import signal
import threading

from attacks import Attack, Control, only
from box_range import HELD_TERMINAL

from executor.linux import libc
from executor.linux.libc import call

TIOCSTI, TIOCLINUX = 0x5412, 0x541C
NEWUSER, NEWNS = 0x1000_0000, 0x0002_0000


def _did(act, said):
    act()
    return f"!{said}"


def kill_all(_host):
    os.kill(-1, signal.SIGTERM)
    return "!signalled somebody"


def kill_self_group(_host):
    os.kill(0, signal.SIGTERM)
    return "!signalled the group"


def seize(host):
    call("ptrace", 0x4206, host.process, 0, 0)
    return "!traces it"


def descriptor_of(host):
    pidfd = call("pidfd_open", host.process, 0)
    call("pidfd_getfd", pidfd, 0, 0)
    return "!took a descriptor"


def fork(_host):
    if os.fork() == 0:
        os._exit(0)
    return "!forked"


def daemonize(_host):
    if os.fork() == 0:
        os.setsid()
        os._exit(0)
    return "!left"


def clone(flags):
    if call("clone", flags | signal.SIGCHLD) == 0:
        os._exit(0)
    return "!cloned"


def clone3(_host):
    arguments = (ctypes.c_uint64 * 11)(NEWUSER, 0, 0, 0, signal.SIGCHLD)
    if call("clone3", ctypes.addressof(arguments), 88) == 0:
        os._exit(0)
    return "!cloned"


def threads(_host):
    done = threading.Event()
    for number in range(200):
        try:
            threading.Thread(target=done.wait, daemon=True).start()
        except RuntimeError:
            return f"stopped before {24 if number < 24 else 200}"
    return "!200 threads"


def set_namespace(_host):
    try:
        where = os.open("/proc/self/ns/uts", os.O_RDONLY)
    except OSError:
        where = 3
    call("setns", where, 0)
    return "!entered"


def raise_limit(_host):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard + 1, hard + 1))
    return "!raised"


def number_of(number):
    result = libc._SYSCALL(number, 0, 0, 0, 0, 0, 0)
    if result < 0:
        raise OSError(ctypes.get_errno(), "x")
    return f"!answered {result}"


def i386(_host):
    memory = mmap.mmap(-1, 4096, prot=7)
    memory.write(b"\xb8\x14\0\0\0\xcd\x80\xc3")  # mov eax, 20 (getpid); int 0x80; ret
    place = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    found = ctypes.CFUNCTYPE(ctypes.c_int)(place)()
    return f"!answered {found}"


def terminal(request):
    held = ctypes.create_string_buffer(b"x")
    call("ioctl", HELD_TERMINAL, request, ctypes.addressof(held))
    return "!typed"


def prctl(*arguments):
    call("prctl", *arguments)
    return "!changed"


ASSUMED, NEVER = Control.ASSUMED, Control.NEVER
GONE = only("ESRCH", "EPERM")

ATTACKS = {
    "pr_affinity_parent": Attack(
        56, lambda h: _did(lambda: os.sched_setaffinity(h.process, {0}), "pinned it"), GONE
    ),
    "pr_affinity_self": Attack(
        56, lambda _: _did(lambda: os.sched_setaffinity(0, {0}), "pinned"), only("EPERM")
    ),
    "pr_setpriority_parent": Attack(
        57, lambda h: _did(lambda: os.setpriority(0, h.process, 5), "slowed it"), GONE
    ),
    "pr_kill_zygote_pid": Attack(59, lambda h: _did(lambda: os.kill(h.process, 0), "found"), GONE),
    "pr_kill_parent": Attack(
        58, lambda _: _did(lambda: os.kill(os.getppid(), 0), "signalled"), only("EPERM", "ESRCH")
    ),
    "pr_kill_all": Attack(60, kill_all, GONE, ASSUMED),
    "pr_kill_group": Attack(60, kill_self_group, GONE, ASSUMED),
    "pr_tgkill_sibling": Attack(
        61, lambda h: _did(lambda: call("tgkill", h.process, h.process, 0), "found"), GONE
    ),
    "pr_sigqueue_sibling": Attack(
        61, lambda h: _did(lambda: call("rt_sigqueueinfo", h.process, 0, 0), "x"), GONE, NEVER
    ),
    "pr_ptrace_sibling": Attack(62, seize, only("EPERM")),
    "pr_vm_readv": Attack(
        63, lambda h: f"!{call('process_vm_readv', h.process, 0, 0, 0, 0, 0)}", only("EPERM")
    ),
    "pr_proc_mem_parent": Attack(
        64, lambda h: _did(lambda: os.close(os.open(f"/proc/{h.process}/mem", 0)), "memory")
    ),
    "pr_parent_environ": Attack(
        65, lambda h: _did(lambda: os.close(os.open(f"/proc/{h.process}/environ", 0)), "environ")
    ),
    "pr_pidfd_getfd": Attack(66, descriptor_of, only("EPERM")),
    "pr_fork": Attack(67, fork, only("EPERM")),
    "pr_fork_bomb": Attack(68, fork, only("EPERM"), ASSUMED),
    "pr_vfork": Attack(67, lambda _: clone(0x4100 & ~0x100), only("EPERM")),
    "pr_thread_bomb": Attack(69, threads, only("stopped before 24")),
    "pr_setuid0": Attack(70, lambda _: _did(lambda: os.setuid(0), "root"), only("EPERM")),
    "pr_setgroups": Attack(70, lambda _: _did(lambda: os.setgroups([]), "groups"), only("EPERM")),
    "pr_capset": Attack(71, lambda _: f"!{call('capset', 0, 0)}", only("EPERM"), NEVER),
    "pr_unshare_user": Attack(72, lambda _: f"!{call('unshare', NEWUSER)}", only("EPERM")),
    "pr_unshare_high": Attack(
        72, lambda _: f"!{call('unshare', NEWUSER | 1 << 40)}", only("EPERM"), NEVER
    ),
    "pr_unshare_mnt": Attack(73, lambda _: f"!{call('unshare', NEWNS)}", only("EPERM")),
    "pr_clone3_newuser": Attack(74, clone3, only("ENOSYS")),
    "pr_clone_newuser": Attack(75, lambda _: clone(NEWUSER), only("EPERM")),
    "pr_setns": Attack(76, set_namespace, only("EPERM")),
    "pr_nice_up": Attack(77, lambda _: _did(lambda: os.nice(-1), "faster"), only("EPERM")),
    "pr_sched_fifo": Attack(
        78,
        lambda _: _did(
            lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)), "real time"
        ),
        only("EPERM"),
    ),
    "pr_prlimit_parent": Attack(
        79,
        lambda h: _did(
            lambda: resource.prlimit(os.getppid() or h.process, resource.RLIMIT_NOFILE), "read"
        ),
        only("EPERM"),
    ),
    "pr_raise_rlimit": Attack(80, raise_limit, only("ValueError", "EPERM"), NEVER),
    "pr_oom_adj": Attack(
        81,
        lambda _: _did(lambda: os.close(os.open("/proc/self/oom_score_adj", 1)), "opened"),
    ),
    "pr_daemonize": Attack(82, daemonize, only("EPERM")),
    "abi_x32": Attack(127, lambda _: number_of(0x4000_0000 | 39), only("SIGSYS"), NEVER),
    "abi_i386": Attack(128, i386, only("SIGSYS"), plan={"new_code": "ALLOWED"}),
    "abi_future": Attack(213, lambda _: number_of(600), only("ENOSYS"), NEVER),
    "tty_tiocsti": Attack(
        129, lambda _: terminal(TIOCSTI), only("ENOTTY"), ASSUMED, {"kept": [3, HELD_TERMINAL]}
    ),
    "tty_tioclinux": Attack(
        130, lambda _: terminal(TIOCLINUX), only("ENOTTY"), NEVER, {"kept": [3, HELD_TERMINAL]}
    ),
    "prctl_pdeathsig": Attack(219, lambda _: prctl(1, 0), only("EPERM")),
    "prctl_dumpable": Attack(219, lambda _: prctl(4, 1), only("EPERM")),
    "prctl_seccomp": Attack(131, lambda _: prctl(22, 0, 0), only("EPERM"), NEVER),
    "prctl_ptracer": Attack(131, lambda _: prctl(0x59616D61, -1), only("EPERM"), NEVER),
    "prctl_keepcaps": Attack(131, lambda _: prctl(8, 0), only("EPERM")),
    "prctl_speculation": Attack(131, lambda _: prctl(52, 0), only("EPERM")),
    "prctl_high_bits": Attack(131, lambda _: prctl(15 | 1 << 40, 0), only("EPERM"), NEVER),
    "personality_aslr": Attack(132, lambda _: f"!{call('personality', 0x0040000)}", only("EPERM")),
    "fcntl_owner": Attack(
        131, lambda _: _did(lambda: fcntl.fcntl(3, 8, os.getpid()), "owner set"), only("EPERM")
    ),
}
