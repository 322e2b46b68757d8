"""
Attacks on what the host has of memory and descriptors, and looks at what it would rather not say.
"""

import fcntl
import os
import resource
import socket

from attack_fs import _read
from attacks import Attack, Control, only
from box_range import SECRET


def memory(_host):
    held = [bytearray(b"x" * (32 << 20)) for _ in range(64)]
    return f"!{len(held) * 32} MiB"


def descriptors(_host):
    opened = []
    while len(opened) < 4000:
        try:
            opened.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            return "stopped" if len(opened) < 128 else f"!{len(opened)}"
    return "!4000"


def pipe_memory(_host):
    reading, _ = os.pipe()
    fcntl.fcntl(reading, 1031, 1 << 20)
    return "!a large pipe"


def core_dump(_host):
    resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))
    return "!cores"


def environment(_host):
    return "!secret" if SECRET in os.environ.get("SECRET", "") else "none"


def own_environment(_host):
    return _read("/proc/self/environ")


def hostname(_host):
    return "masked" if socket.gethostname() == "codecage" else "!named"


def user(_host):
    ids = {*os.getresuid(), *os.getresgid()}
    return "1000 alone" if ids == {1000} else f"!{sorted(ids)}"


def groups(_host):
    return "none" if not os.getgroups() else f"!{os.getgroups()}"


def umask(_host):
    return "022" if os.umask(0) == 0o022 else "!other"


def huge_pages(_host):
    import mmap

    mmap.mmap(-1, 2 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000).close()
    return "!huge"


ASSUMED, NEVER = Control.ASSUMED, Control.NEVER

ATTACKS = {
    "res_mem_bomb": Attack(152, memory, only("MemoryError", "SIGKILL"), ASSUMED),
    "res_fd_exhaust": Attack(153, descriptors, only("stopped")),
    "res_pipe_mem": Attack(154, pipe_memory, only("EPERM")),
    "res_core_dump": Attack(156, core_dump, only("ValueError", "EPERM"), ASSUMED),
    "res_huge_pages": Attack(156, huge_pages, only("EACCES"), NEVER),
    "leak_env": Attack(157, environment, only("none")),
    "leak_proc_self_environ": Attack(158, own_environment),
    "leak_hostname": Attack(163, hostname, only("masked")),
    "leak_mountinfo": Attack(165, lambda _: _read("/proc/self/mountinfo")),
    "leak_meminfo": Attack(166, lambda _: _read("/proc/meminfo")),
    "leak_user": Attack(70, user, only("1000 alone")),
    "leak_groups": Attack(70, groups, only("none"), NEVER),
    "leak_umask": Attack(165, umask, only("022"), NEVER),
}
