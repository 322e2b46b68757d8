"""
Attacks through trees that are shown, and on all that is not.

What is shown lies in a directory of the host (`outside`) and in the box at SHOWN, or, without a
mount namespace, where the host has it.
"""

import errno
import fcntl
import os
import socket
import subprocess
from pathlib import Path

from attacks import Attack, Control, only
from box_range import Host

SHOWN = "/shown"
MANY = 1000
# What a box has of its own, or is shown, under names that the host has too.
_OWN = ("/usr", "/bin", "/sbin", "/lib", "/tmp", "/work", "/home/agent", "/etc", "/dev")
_PLACES = ("/proc/1", "/proc/sys", "/sys/kernel", "/var", "/root", "/opt", "/home", "/srv", "/boot")
_NAMED = ("/proc", "/sys", "/run", "/root", "/etc/shadow", "/etc/ssh", "/dev/mem", "/dev/kmsg")
_REFUSALS = frozenset({errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS})


def _below(place: str) -> list[str]:
    found: list[str] = []
    for directory, _, files in os.walk(place):
        found += [directory, *(f"{directory}/{name}" for name in files[:20])]
        if len(found) > MANY:
            break
    return found


def _of_the_host() -> tuple[str, ...]:
    """
    Many objects of the host, of every kind, found before there is a box.
    """
    walked = [path for place in _PLACES for path in _below(place)]
    # Links may lead to what is shown.
    there = {os.path.realpath(path) for path in walked if os.path.exists(path)}
    others = [path for path in there if not path.startswith(_OWN)]
    named = [path for path in _NAMED if os.path.exists(path)]
    return (*named, *sorted(others)[:: max(1, len(others) // MANY)])


PATHS = _of_the_host()


def outside(host: Host) -> Path:
    """
    Where the host has what is shown; not below /tmp, where each box has its own.
    """
    return Path("/var/tmp", Path(host.directory).name)


def place(host: Host) -> str:
    """
    Where the tree is that is shown, as this process sees it.
    """
    return SHOWN if os.path.isdir(SHOWN) else f"{outside(host)}/trap"


def _reached(acts, paths):
    """
    The paths with which any of the acts got anything but one of the refusals.
    """
    reached = []
    for path in paths:
        for act in acts:
            try:
                act(path)
            except OSError as error:
                if error.errno in _REFUSALS:
                    continue
            reached.append(path)
    return reached


def _open(path):
    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))


def _ask_access(path):
    if not os.access(path, os.F_OK):
        raise FileNotFoundError(errno.ENOENT, path)


def _execute(path):
    os.execv(path, [path])


def open_all(_host):
    # Where nothing holds it, a program would be executed indeed.
    acts = (_open,) if os.path.exists("/proc/self") else (_open, os.listdir, _execute)
    reached = _reached(acts, PATHS)
    return f"!opened {len(reached)}: {reached[:3]}" if reached else "none"


def look_at_all(_host):
    acts = (os.stat, os.lstat, os.readlink, os.statvfs, os.chdir, _ask_access)
    reached = _reached(acts, PATHS)
    return f"!saw {len(reached)}" if reached else "none"


def link_of_the_host(host):
    read = []
    for name in ("absolute", "relative", "through/canary"):
        try:
            read.append(Path(place(host), name).read_text())
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
    return f"!read {read}" if read else "none"


def socket_of_the_host(host):
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(f"{place(host)}/socket")
    return "!connected"


def _changes(path):
    """
    Every way to change something that is shown.
    """
    file = f"{path}/file"
    return {
        "open": lambda: os.close(os.open(file, os.O_WRONLY)),
        "empty": lambda: os.close(os.open(file, os.O_RDONLY | os.O_TRUNC)),
        "truncate": lambda: os.truncate(file, 0),
        "make": lambda: os.close(os.open(f"{path}/new", os.O_CREAT | os.O_WRONLY)),
        "mkdir": lambda: os.mkdir(f"{path}/directory"),
        "symlink": lambda: os.symlink("x", f"{path}/symlink"),
        "link": lambda: os.link(file, f"{path}/hard"),
        "chmod": lambda: os.chmod(file, 0o777),
        "chown": lambda: os.chown(file, 1000, 1000),
        "times": lambda: os.utime(file),
        "label": lambda: os.setxattr(file, "user.x", b"1"),
        "rename": lambda: os.rename(file, f"{path}/other"),
        "remove": lambda: os.unlink(f"{path}/second"),
        "rmdir": lambda: os.rmdir(f"{path}/empty"),
    }


def change_shown(host):
    passed = []
    for name, act in _changes(place(host)).items():
        try:
            act()
        except OSError as error:
            if error.errno in _REFUSALS:
                continue
        passed.append(name)
    return f"!{' '.join(passed)}" if passed else "none"


def _lock(host):
    file = os.open(f"{place(host)}/file", os.O_RDONLY)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def hold_lock(host):
    _lock(host)
    return "done"


def see_lock(host):
    try:
        _lock(host)
    except BlockingIOError:
        return "!sees another's lock"
    return "none"


def set_id_copy(host: Host) -> str:
    """
    Where a copy of id(1) is that root owns and that has the set-id bit.
    """
    return f"{outside(host)}/id"


def run_set_id(host):
    found = subprocess.run([set_id_copy(host), "-u"], capture_output=True, check=True)
    return "!root" if found.stdout == b"0\n" else f"user {found.stdout.decode().strip()}"


def execute_set_id(host):
    path = set_id_copy(host)
    os.execv(path, [path, "-u"])


ATTACKS = {
    "fs_host_symlink": Attack(4, link_of_the_host, only("none")),
    "fs_set_id_program": Attack(27, run_set_id, only("user 1000")),
    "fs_exec_set_id": Attack(27, execute_set_id, only("EPERM", "ENOENT"), Control.ASSUMED),
    "fs_thousand_opened": Attack(2, open_all, only("none")),
    "fs_thousand_seen": Attack(48, look_at_all, only("none")),
    "fs_change_shown": Attack(7, change_shown, only("none")),
    "ipc_unix_shown": Attack(206, socket_of_the_host, only("EAFNOSUPPORT")),
    "fs_hold_lock": Attack(203, hold_lock, only("done")),
    "fs_see_lock": Attack(203, see_lock, only("none")),
}
