"""
Attacking a box of this host before the first guest does: nothing is served where one succeeds.

Each attack is quick and leaves nothing behind even where it succeeds. It must fail with one of
its `answers`; that it was tried at all is part of what is checked.
"""

import errno
import fcntl
import json
import mmap
import os
import resource
import select
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from executor.linux.errors import MechanismFailed
from executor.linux.libc import call
from executor.process import jail
from executor.process.plan import TEMPORARY, BoxPlan, Level, NewCode

MECHANISM = "self-test"

_PATIENCE_MS = 20_000
_CHUNK = 65536
_SUCCEEDED = 0
_HERE = -100
_TIOCSTI = 0x5412
_NEWUSER = 0x1000_0000
_NEWNS = 0x0002_0000
_SET_ID = 0o4755


@dataclass(frozen=True, slots=True)
class Attack:
    """
    Something that a box must refuse, with one of `answers` (errno), or one of `bare` where it has
    no namespaces.
    """

    name: str
    answers: frozenset[int]
    bare: frozenset[int]
    act: Callable[[], object]


def run(plan: BoxPlan) -> tuple[str, ...]:
    """
    Make one box as `plan` says, attack from inside it, and end it. Nobody watches its calls.

    Returns the names of the attacks, all refused. For a process with one thread, as `clone_box`.
    Raises MechanismFailed naming what was not refused, or not tried; and as `clone_box` does.
    """
    attacks = _fitting(plan)
    with ExitStack() as undo:
        reading, writing = os.pipe()
        undo.callback(os.close, reading)
        try:
            own = replace(plan, kept=frozenset({writing}), watched=False)
            box = jail.clone_box(own, lambda: _tell(attacks, writing))
        finally:
            os.close(writing)
        undo.callback(box.end)
        undo.callback(box.close_handed)
        said = json.loads(_all_of(reading) or b"{}")
    _judge(attacks, said, box.vector.level)
    return tuple(attack.name for attack in attacks)


def _fitting(plan: BoxPlan) -> tuple[Attack, ...]:
    """
    The attacks on what the plan does not grant.
    """
    return (
        *_ALWAYS,
        *(() if plan.children else _OF_CHILDREN),
        *(() if plan.programs else _OF_PROGRAMS),
        *(() if plan.network else _OF_NETWORK),
        *(() if plan.new_code is NewCode.ALLOWED else _OF_MEMORY),
    )


def _tell(attacks: tuple[Attack, ...], writing: int) -> NoReturn:
    said = {attack.name: _answer(attack) for attack in attacks}
    os.write(writing, json.dumps(said).encode())
    os._exit(0)


def _answer(attack: Attack) -> int:
    try:
        attack.act()
    except OSError as error:
        return error.errno or _SUCCEEDED
    except ValueError:
        # How `resource.setrlimit` reports EPERM.
        return errno.EPERM
    return _SUCCEEDED


def _all_of(reading: int) -> bytes:
    waiting = select.poll()
    waiting.register(reading, select.POLLIN)
    data = b""
    while True:
        if not waiting.poll(_PATIENCE_MS):
            raise MechanismFailed(MECHANISM, "the box does not answer; do not serve here")
        chunk = os.read(reading, _CHUNK)
        if not chunk:
            return data
        data += chunk


def _judge(attacks: tuple[Attack, ...], said: dict[str, int], level: Level) -> None:
    wrong = [
        f"{attack.name} ({_named(said.get(attack.name))})"
        for attack in attacks
        if said.get(attack.name) not in (attack.bare if level is Level.P2 else attack.answers)
    ]
    if wrong:
        raise MechanismFailed(
            MECHANISM, f"not refused in a box of this host: {', '.join(wrong)}; do not serve here"
        )


def _named(answer: int | None) -> str:
    if answer is None:
        return "not tried"
    return errno.errorcode.get(answer, "it succeeded")


def _attack(name: str, act: Callable[[], object], *answers: int, bare: int | None = None) -> Attack:
    wanted = frozenset(answers)
    return Attack(name, wanted, wanted if bare is None else frozenset({bare}), act)


def _open(path: str, flags: int) -> None:
    os.close(os.open(path, flags | os.O_CLOEXEC))


def _set_id() -> None:
    # Without namespaces the guest's own places are elsewhere.
    path = f"{os.environ.get('TMPDIR', TEMPORARY)}/.codecage-self-test"
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(file, _SET_ID)
    finally:
        os.close(file)
        Path(path).unlink()


def _root_file() -> None:
    _open("/.codecage-self-test", os.O_CREAT | os.O_WRONLY)
    Path("/.codecage-self-test").unlink()


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _raise_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard + 1, hard + 1))


def _code() -> None:
    rights = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    mmap.mmap(-1, mmap.PAGESIZE, prot=rights).close()


def _datagram_pair() -> None:
    for made in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM):
        made.close()


_PERM, _NOENT, _NOSYS, _ACCES = errno.EPERM, errno.ENOENT, errno.ENOSYS, errno.EACCES
_ALWAYS = (
    _attack("a file of the host", lambda: _open("/etc/shadow", os.O_RDONLY), _NOENT, bare=_ACCES),
    _attack("processes of the host", lambda: _open("/proc/self", os.O_RDONLY), _NOENT, bare=_ACCES),
    _attack("settings of the kernel", lambda: _open("/sys", os.O_RDONLY), _NOENT, bare=_ACCES),
    _attack("a file in the root", _root_file, errno.EROFS, bare=_ACCES),
    _attack("a generated file", lambda: _open("/etc/passwd", os.O_WRONLY), _ACCES),
    _attack("writing entropy", lambda: _open("/dev/urandom", os.O_WRONLY), _ACCES),
    _attack("a set-id bit", _set_id, _PERM),
    _attack("a FIFO", lambda: os.mkfifo(f"{TEMPORARY}/.codecage-fifo"), _PERM),
    _attack("mount", lambda: call("mount", 0, 0, 0, 0, 0), _PERM),
    _attack("a copy of mounts", lambda: call("open_tree", _HERE, 0, 1), _PERM),
    _attack("another root", lambda: os.chroot(TEMPORARY), _PERM),
    _attack("a program in memory", lambda: os.memfd_create("x"), _PERM),
    _attack("tracing", lambda: call("ptrace", 16, 1, 0, 0), _PERM),
    _attack("memory of others", lambda: call("process_vm_readv", 1, 0, 0, 0, 0, 0), _PERM),
    _attack("descriptors of others", lambda: call("pidfd_open", 1, 0), _PERM),
    _attack("a user namespace", lambda: call("unshare", _NEWUSER), _PERM),
    _attack("a mount namespace", lambda: call("unshare", _NEWNS), _PERM),
    _attack("clone3", lambda: call("clone3", 0, 0), _NOSYS),
    _attack("io_uring", lambda: call("io_uring_setup", 0, 0), _NOSYS),
    _attack("bpf", lambda: call("bpf", 0, 0, 0), _PERM),
    _attack("keys", lambda: call("keyctl", 0, -1, 0), _PERM),
    _attack("userfaultfd", lambda: call("userfaultfd", 0), _PERM),
    _attack("another user", lambda: os.setuid(0), _PERM),
    _attack("a higher limit", _raise_limit, _PERM),
    _attack("unix sockets", lambda: socket.socket(socket.AF_UNIX), errno.EAFNOSUPPORT),
    _attack("datagrams to names", _datagram_pair, _PERM),
    _attack("shared memory by number", lambda: call("shmget", 0, 4096, 0o1600), _PERM),
    _attack("typing at a terminal", lambda: fcntl.ioctl(0, _TIOCSTI, b"x"), errno.ENOTTY),
)
_OF_CHILDREN = (
    _attack("another process", _fork, _PERM),
    _attack("a signal to everybody", lambda: os.kill(-1, 0), _PERM, errno.ESRCH),
)
_OF_PROGRAMS = (_attack("a program", lambda: call("execve", 0, 0, 0), _PERM),)
_OF_NETWORK = (_attack("the network", socket.socket, errno.EAFNOSUPPORT),)
_OF_MEMORY = (_attack("memory that is code and data", _code, _ACCES),)
