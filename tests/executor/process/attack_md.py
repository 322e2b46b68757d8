"""
Attacks on what the host's files and processes say about themselves.
"""

import os

from attack_fs import _address, _read, _text
from attacks import Attack, only

from executor.linux.libc import call


def _did(act, said):
    act()
    return f"!{said}"


def watch(host):
    inotify = call("inotify_init1", 0)
    path = _text(host.canary)
    call("inotify_add_watch", inotify, _address(path), 0x20)
    return "!watches it"


def watch_shown(_host):
    inotify = call("inotify_init1", 0)
    path = _text("/usr/bin/echo")
    call("inotify_add_watch", inotify, _address(path), 0x20)
    return "!sees when others read a shared file"


def processes(_host):
    seen = [name for name in os.listdir("/proc") if name.isdigit()]
    return f"!sees {len(seen)} processes"


ATTACKS = {
    "md_chmod_outside": Attack(45, lambda h: _did(lambda: os.chmod(h.canary, 0o666), "chmod")),
    "md_utime_outside": Attack(46, lambda h: _did(lambda: os.utime(h.canary), "utime")),
    "md_chown_outside": Attack(47, lambda h: _did(lambda: os.chown(h.canary, 0, 0), "chown")),
    "md_stat_outside": Attack(48, lambda h: f"!size {os.stat(h.canary).st_size}", only("ENOENT")),
    "md_chdir_outside": Attack(49, lambda h: _did(lambda: os.chdir(h.directory), "chdir")),
    "md_listdir_outside": Attack(50, lambda h: f"!{len(os.listdir(h.directory))} names"),
    "md_inotify_outside": Attack(51, watch),
    "md_inotify_shown": Attack(51, watch_shown, only("EPERM")),
    "md_readlink_outside": Attack(52, lambda h: f"!{os.readlink(f'/proc/{h.process}/exe')}"),
    "md_statfs_outside": Attack(53, lambda h: f"!{os.statvfs(h.directory).f_bsize}"),
    "md_proc_ps": Attack(54, processes),
    "md_parent_cmdline": Attack(55, lambda _: _read(f"/proc/{os.getppid()}/cmdline")),
    "md_mincore_shared": Attack(213, lambda _: f"!{call('mincore', 0, 0, 0)}", only("EPERM")),
    "md_lease": Attack(
        214, lambda h: _did(lambda: _lease(h.canary), "lease"), only("EPERM", "ENOENT")
    ),
    "md_setxattr": Attack(
        215, lambda _: _did(lambda: _label("own"), "labelled a file"), only("EPERM")
    ),
}


def _lease(path):
    import fcntl

    file = os.open(path, os.O_RDONLY)
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def _label(path):
    with open(path, "w"):
        pass
    os.setxattr(path, "user.x", b"1")
