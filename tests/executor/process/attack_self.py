"""
What a process can find out about itself, and what another box has left for it to find.
"""

import ctypes
import os
import resource
import signal
import sys

from attacks import Attack, Control, only

from executor.linux.libc import call

_KEYS = 0xFFFF_FFFD  # KEY_SPEC_SESSION_KEYRING, -3
_TTY = "/dev/tty"
_LIMITS = {
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_MEMLOCK: 0,
    resource.RLIMIT_MSGQUEUE: 0,
    resource.RLIMIT_SIGPENDING: 64,
    resource.RLIMIT_NOFILE: 128,
    resource.RLIMIT_NPROC: 24,
    resource.RLIMIT_STACK: 8 << 20,
    resource.RLIMIT_CPU: 3600,
    resource.RLIMIT_NICE: 0,
    resource.RLIMIT_RTPRIO: 0,
}
_AT_SECURE, _AT_UID = 23, 11


def _has_terminal():
    try:
        os.close(os.open(_TTY, os.O_RDONLY))
    except OSError:
        return any(map(os.isatty, range(3)))
    return True


def _beside(_host):
    """
    What is not as a box promises it, by name.
    """
    auxiliary = ctypes.CDLL(None).getauxval
    facts = {
        "environment": set(os.environ) <= {"HOME", "LANG", "TMPDIR"},
        "arguments": not any("secret" in word for word in sys.argv),
        "signals blocked": not signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "children": os.getppid() == 0,
        "session": os.getsid(0) == os.getpid(),
        "terminal": not _has_terminal(),
        "no secure start": auxiliary(_AT_SECURE) == 0,
        "groups": os.getgroups() in ([], [1000]),
        "new privileges": call("prctl", 39, 0, 0, 0, 0) == 1,
        **{f"limit {number}": _hard(number) <= value for number, value in _LIMITS.items()},
        "umask": os.umask(0o077) == 0o022,
    }
    return [name for name, holds in facts.items() if not holds]


def _hard(number):
    found = resource.getrlimit(number)[1]
    return sys.maxsize if found == resource.RLIM_INFINITY else found


def beside(host):
    found = _beside(host)
    return f"!{', '.join(found)}" if found else "none"


def tell_kernel(_host):
    return f"!{os.uname().release}"


PLACES = ("/work", "/tmp", "/home/agent", "/dev/shm")


def leave(_host):
    """
    Leave something wherever something can be left.
    """
    for place in PLACES:
        try:
            with open(f"{place}/left-by-another", "w") as file:
                file.write("x")
        except OSError:
            continue
    acts = (
        lambda: call("shmget", 4711, 4096, 0o1666),
        lambda: call("semget", 4711, 1, 0o1666),
        lambda: call("msgget", 4711, 0o1666),
    )
    for act in acts:
        try:
            act()
        except OSError:
            continue
    return "done"


def find(_host):
    """
    What another has left: files, and objects of System V by number.
    """
    found = [place for place in PLACES if os.path.exists(f"{place}/left-by-another")]
    acts = {
        "memory": lambda: call("shmctl", call("shmget", 4711, 4096, 0), 0, 0),
        "semaphore": lambda: call("semctl", call("semget", 4711, 1, 0), 0, 0, 0),
        "queue": lambda: call("msgctl", call("msgget", 4711, 0), 0, 0),
    }
    for name, act in acts.items():
        try:
            act()
        except OSError:
            continue
        found.append(name)
    for place in PLACES:
        if place in found:
            os.unlink(f"{place}/left-by-another")
    return f"!{' '.join(found)}" if found else "none"


ATTACKS = {
    "self_beside": Attack(165, beside, only("none")),
    "leak_uname": Attack(164, tell_kernel, only(f"!{os.uname().release}")),
    "leave_for_others": Attack(203, leave, only("done"), Control.NEVER),
    "find_of_others": Attack(203, find, only("none")),
}
