"""
Attacks with children, programs, and too much of anything; and on whoever answers refused calls.
"""

import ctypes
import errno
import mmap
import os
import signal
import socket
from contextlib import suppress

from attacks import Attack, Control, only
from box_calls import BOX_FILTER, UNFILTERED

from executor.linux.filters import Refuse
from executor.linux.libc import call
from executor.process.filter import REFUSED

_EMPTY_PATH = 0x1000


def _leave(link):
    """
    A child of a child, in a session of its own, that wants to live and says that it does.
    """
    pid = os.fork()
    if pid == 0:
        os.setsid()
        try:
            if os.fork() == 0:
                signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
                os.write(link, b"x")
                while True:
                    signal.sigwait({signal.SIGTERM})
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def storm(_host):
    """
    Hundreds of times a process that leaves everything by which it could be found.
    """
    reading, writing = os.pipe()
    for _ in range(300):
        with suppress(BlockingIOError):
            _leave(writing)
    os.set_blocking(reading, False)
    made = len(os.read(reading, 65536))
    return "stopped" if 10 < made < 24 else f"!{made} of 300"


def zombies(_host):
    """
    Many more orphans than there may be processes, one after another: each place is free again.
    """
    for number in range(150):
        for _ in range(100_000):
            try:
                pid = os.fork()
            except BlockingIOError:
                # Whoever waits for orphans is another process, and has its own time.
                os.sched_yield()
                continue
            break
        else:
            return f"!no place after {number}"
        if pid == 0:
            try:
                os.fork()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
    return "150 reaped"


def _run_unnamed(directory):
    """
    Execute a file that has no name, by its descriptor and by the names that descriptors have.
    """
    with open("/usr/bin/true", "rb") as program:
        content = program.read()
    number = os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o755)
    os.write(number, content)
    readable = os.open(f"/proc/self/fd/{number}", os.O_RDONLY) if _sees_itself() else number
    os.close(number) if readable != number else None
    empty = ctypes.create_string_buffer(b"")
    words = (ctypes.c_char_p * 2)(b"true", None)
    said = set()
    if os.fork() == 0:
        for act in (
            lambda: call(
                "execveat",
                readable,
                ctypes.addressof(empty),
                ctypes.addressof(words),
                0,
                _EMPTY_PATH,
            ),
            lambda: os.execv(f"/proc/self/fd/{readable}", ["true"]),
            lambda: os.execv(f"/dev/fd/{readable}", ["true"]),
        ):
            try:
                act()
            except OSError as error:
                said.add(error.errno)
        os._exit(1 if said <= {errno.EPERM, errno.EACCES, errno.ENOENT} else 2)
    status = os.waitstatus_to_exitcode(os.wait()[1])
    os.close(readable)
    return status


def _sees_itself():
    return os.path.exists("/proc/self/fd")


def execute_unnamed(_host):
    ended = {_run_unnamed(place) for place in (".", "/tmp")}
    return "refused" if ended == {1} else f"!executed {ended}"


def every_refused_call(_host):
    """
    Make each call once that the table refuses in the usual way.
    """
    rows = (row for row in BOX_FILTER.rows if isinstance(row, Refuse) and row.action == REFUSED)
    passed = []
    for name in [row.name for row in rows if row.name not in UNFILTERED]:
        try:
            call(name, -1, -1, -1, -1, -1, -1)
        except OSError as error:
            if error.errno == errno.EPERM:
                continue
        passed.append(name)
    return f"!{passed}" if passed else "none"


def unanswered(_host):
    """
    What is said when whoever answers refused calls has gone.
    """
    said = set()
    for act in (
        lambda: call("mount", 0, 0, 0, 0, 0),
        lambda: call("unshare", 0x1000_0000),
        lambda: call("ptrace", 16, 0, 0, 0),
        lambda: os.kill(-1, 0),
        os.fork,
    ):
        try:
            act()
            said.add("an answer")
        except OSError as error:
            said.add(errno.errorcode[error.errno or 0])
    return " ".join(sorted(said))


def fill_sockets(_host):
    """
    Memory of the kernel's, in the buffers of sockets: 400 pairs hold about 80 MiB.
    """
    kept, held = [], 0
    for _ in range(400):
        one, other = socket.socketpair()
        one.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                held += one.send(b"x" * 65536)
        kept.append((one, other))
    return f"!{held >> 20} MiB" if held >= 64 << 20 else f"{held} bytes"


def fill_shared(_host):
    """
    Memory that is shared, so that no limit of one process counts it.
    """
    with mmap.mmap(-1, 300 << 20) as held:
        for start in range(0, len(held), mmap.PAGESIZE):
            held[start] = 1
    return "!300 MiB"


FORK, TRUE = {"fork": True}, {"programs": ["/usr/bin/true"]}
ASSUMED = Control.ASSUMED

ATTACKS = {
    "child_storm": Attack(194, storm, only("stopped"), ASSUMED, FORK),
    "child_zombies": Attack(195, zombies, only("150 reaped"), ASSUMED, FORK),
    "child_unnamed": Attack(210, execute_unnamed, only("refused"), plan=FORK | TRUE),
    "res_sockets": Attack(
        193, fill_sockets, only("SIGKILL"), plan={"memory": 48 << 20, "open_files": 1024}
    ),
    "res_shared": Attack(193, fill_shared, only("SIGKILL"), ASSUMED),
    "sys_every_refused": Attack(214, every_refused_call, only("none"), ASSUMED, {"watched": True}),
    "sys_unanswered": Attack(215, unanswered, only("ENOSYS"), ASSUMED, {"watched": True}),
}
