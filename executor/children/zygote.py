"""
The zygote process: boots one image, then forks a worker for every request on its socket.

It is exec'd by the launcher, sometimes before its image is known; it has one thread, never imports
gRPC, and never holds anything of a session: a request is a number and a socket that goes straight
to the child. It ends when its socket closes, and the kernel ends its workers with it.
"""

import codecs
import contextlib
import ctypes
import errno
import gc
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from executor.children.worker import Birth, live
from executor.images import catalog
from executor.images.bootable import parts
from executor.images.cache import default_cache
from executor.kernel.ahead import take_over
from executor.kernel.errors import InternalError
from executor.kernel.spawn import MESSAGE_MAX, SpawnWorker, WorkerExited, WorkerSpawned, ZygoteReady
from executor.linux import oom, prctl, rlimits
from executor.linux.hugepages import in_passing
from executor.wasm import jail, zygote_lock
from executor.wasm.boot import STACK, boot, kind
from executor.wasm.booted import Guest
from executor.wasm.jail import Identity
from executor.wasm.rehearsal import gap_fillers, rehearse_sessions

# Looked up now: a worker cannot read the files of a codec that it meets first.
CODECS = ("ascii", "latin-1", "utf-8")
# glibc's malloc keeps one arena per thread; one is enough for a worker and its watchdog.
_M_ARENA_MAX = -8
# Of CPU time; the server waits for two minutes.
_BOOT_SECONDS = 120
_DIGEST = 32
# The policy's memory is not known yet: the server lowers RLIMIT_DATA by prlimit(2) before it
# sends `Begin`. This is what a guest could ever need.
_DATA_GROWTH = 2**32 + 2**26


def main(arguments: Sequence[str]) -> int:
    """
    Boot the image and serve until the socket closes.
    """
    options = _options(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Now: a change of user makes the process not dumpable, and then this file is root's.
    score = oom.own()
    prctl.set_not_dumpable()
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    # The guest's stack is a part of this thread's, which grows as far as the limit lets it.
    rlimits.apply({rlimits.Limit.STACK: STACK})
    for name in CODECS:
        codecs.lookup(name)
    row = _row(int(options["--ahead"])) if "--ahead" in options else options
    return 0 if row is None else _serve(row, score)


def _serve(options: Mapping[str, str], score: oom.Score) -> int:
    name, key = options["--image"], options["--key"]
    image = catalog.find_key(key, default_cache())
    if image is None:
        raise InternalError(f"the image {name} with key {key} is not in the cache")
    opened = parts(image)
    kind(opened.guest)
    identity = _identity(options)
    if identity is not None:
        _become(identity)
    zygote_lock.lock()
    with rlimits.within_seconds(_BOOT_SECONDS):
        guest = boot(opened)
        # A snapshot of the guest, among what is in it twice.
        del opened
        digest = _begin_digest(guest)
        rehearse_sessions(guest)
    held = jail.hold(jail.Confinement(_DATA_GROWTH, identity))
    birth = Birth(os.getpid(), guest, digest(), held)
    _work(socket.socket(fileno=int(options["--socket"])), birth, score)


def _begin_digest(guest: Guest) -> Callable[[], bytes]:
    """
    Have a child take the digest of a guest that has booted; call what comes back to wait for it.
    Of a guest that was taken up from a snapshot it is known.

    So the guest rehearses meanwhile. And to read all of a memory maps a page of zeros wherever
    nobody has written, three of four in `core`, which each fork from then on would copy.
    """
    if guest.resumed_digest:
        return lambda: guest.resumed_digest
    digest, said = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(said, guest.digest())
        finally:
            os._exit(0)
    os.close(said)

    def wait() -> bytes:
        found = os.read(digest, _DIGEST)
        os.close(digest)
        os.waitpid(child, 0)
        if len(found) != _DIGEST:
            raise InternalError("the digest of the guest's memory could not be taken")
        return found

    return wait


def _work(server: socket.socket, birth: Birth, score: oom.Score) -> NoReturn:
    """
    Serve, and end here: who leaves as Python does lets go of callbacks, whose memory is sealed.
    """
    code = 1
    try:
        code = Zygote(server, birth, score).serve()
    finally:
        if sys.exc_info()[0] is not None:
            sys.excepthook(*sys.exc_info())
        os._exit(code)


def _options(arguments: Sequence[str]) -> dict[str, str]:
    """
    What follows each option: `--image`, `--key`, `--socket`, `--ahead`, `--uid`, `--gid`. The
    launcher writes them, and who waits for the first guest waits for whatever parses them.
    """
    return dict(zip(arguments[::2], arguments[1::2], strict=True))


def _row(waiting: int) -> dict[str, str] | None:
    """
    The options that come to a zygote which was started ahead; None when none will.
    """
    with socket.socket(fileno=waiting) as ours:
        taken = take_over(ours)
    if taken is None:
        return None
    arguments, server = taken
    return _options([*arguments, "--socket", str(server)])


def _identity(options: Mapping[str, str]) -> Identity | None:
    return Identity(int(options["--uid"]), int(options["--gid"])) if "--uid" in options else None


def _become(identity: Identity) -> None:
    """
    Give up root, which was needed to read an image and an interpreter that may be root's.
    """
    prctl.drop_bounding_set()
    os.setgroups([])
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)


class Zygote:
    """
    The serving half: forks, reports each worker's process and each worker's end.
    """

    def __init__(self, server: socket.socket, birth: Birth, score: oom.Score) -> None:
        self._server = server
        self._birth = birth
        self._score = score
        self._workers: dict[int, int] = {}
        # A step for each worker, when its server has heard of it.
        self._collapsing = in_passing()
        gc.collect()
        self._fillers = gap_fillers()
        gc.freeze()
        if threading.active_count() != 1:
            raise InternalError("a zygote with threads must not fork")

    def serve(self) -> int:
        """
        Handle requests and ends of workers until the socket closes.
        """
        with contextlib.suppress(ConnectionError):
            self._serve()
        return 0

    def _serve(self) -> None:
        ended, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        memory = self._birth.guest.memory.size
        self._server.send(ZygoteReady(self._birth.boot_digest, memory).pack())
        poll = select.poll()
        poll.register(self._server, select.POLLIN)
        poll.register(ended, select.POLLIN)
        while True:
            events = dict(poll.poll())
            if ended in events:
                os.read(ended, 4096)
                self._reap()
            if self._server.fileno() in events and not self._take_request():
                return

    def _take_request(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._server, MESSAGE_MAX, 2)
        if not data:
            return False
        if len(descriptors) != 1:
            raise InternalError(f"a spawn request with {len(descriptors)} descriptors")
        with socket.socket(fileno=descriptors[0]) as connection:
            self._spawn(SpawnWorker.unpack(data).number, connection)
        return True

    def _spawn(self, number: int, connection: socket.socket) -> None:
        try:
            pid = self._score.fork()
        except OSError as error:
            if error.errno not in {errno.EAGAIN, errno.ENOMEM}:
                raise
            # The closed socket tells the server; it can try again.
            return
        if pid == 0:
            signal.set_wakeup_fd(-1)
            live(self._birth, connection)
        self._workers[pid] = number
        pidfd = os.pidfd_open(pid)
        try:
            socket.send_fds(self._server, [WorkerSpawned(number, pid).pack()], [pidfd])
        finally:
            os.close(pidfd)
        next(self._collapsing)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                number = self._workers.pop(pid, None)
                if number is not None:
                    self._server.send(WorkerExited(number, status).pack())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
