"""
The native zygote: takes a guest into this interpreter, then makes a boxed worker for every
request on its socket.

It is exec'd by the launcher, speaks the same datagrams as the zygote of wasm guests, has one
thread, and never holds anything of a session: a request is a number and a socket that goes
straight to the box. It ends when its socket closes, and the kernel ends its boxes with it.
"""

import argparse
import contextlib
import errno
import hashlib
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import Final, NoReturn, Protocol

from executor.images.cache import default_cache
from executor.kernel.errors import InternalError
from executor.kernel.spawn import MESSAGE_MAX, SpawnWorker, WorkerExited, WorkerSpawned, ZygoteReady
from executor.linux import prctl, rlimits
from executor.linux.errors import MechanismFailed
from executor.process import images, jail, reseed, zygote_world
from executor.process.plan import WORK
from executor.process.runtime import NativeGuest
from executor.process.worker import Birth, live
from executor.process.worker_door import Door
from executor.process.worker_interrupts import block
from executor.process.zygote_boxes import Boxes, plan_of
from executor.process.zygote_world import NativeImage

# Of CPU time; the server waits for two minutes.
_BOOT_SECONDS: Final = 120
# As fork(2) refuses a process: the server may try again.
_BUSY: Final = frozenset({errno.EAGAIN, errno.ENOMEM})


class Boxed(Protocol):
    """
    A process that was made, by its number and a descriptor of it.
    """

    @property
    def pid(self) -> int:
        """
        Its number, as its maker counts processes.
        """

    @property
    def pidfd(self) -> int:
        """
        A pidfd of it, open until `end`.
        """

    def end(self) -> None:
        """
        Let go of all that was made for it; it is killed if it lives.
        """


# Makes a process that keeps the socket and the standard three descriptors, and calls the function
# in it. Raises OSError, MechanismError.
Spawn = Callable[[socket.socket, Callable[[], NoReturn]], Boxed]


def main(arguments: list[str] | None = None) -> int:
    """
    Take the image's guest in and serve until the socket closes.
    """
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    image = images.find_key(options.key, default_cache())
    if image is None:
        raise InternalError(f"the image {options.image} with key {options.key} is not in the cache")
    if os.geteuid() == 0:
        # Without root a parent may map the users of its box's namespace only while both are
        # dumpable: the files in /proc by which it does so are root's otherwise.
        prctl.set_not_dumpable()
    jail.prepare()
    plan = plan_of(image)
    isolation = f"{plan.minimum.value} ({plan.minimum.name})"
    with rlimits.within_seconds(_BOOT_SECONDS):
        birth = take_in(image, isolation, WORK)
    with socket.socket(fileno=options.socket) as server:
        return Zygote(server, birth, Boxes(plan).make).serve()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="codecage-native-zygote")
    parser.add_argument("--image", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--socket", type=int, required=True)
    # A zygote of wasm guests becomes this user. This one keeps its rights for the making of
    # boxes, each of which has a user of its own.
    parser.add_argument("--uid", type=int, default=0)
    parser.add_argument("--gid", type=int, default=0)
    return parser


def take_in(image: NativeImage, isolation: str, work: str) -> Birth:
    """
    Make this process the image's guest, ready to be cloned; nothing of ours is importable then.
    """
    zygote_world.enter(image)
    hidden = zygote_world.hide(image.site_packages)
    door = Door()
    # The runtime is in force before the warm modules: it acts on some when they are imported.
    guest = NativeGuest(door, image.name, dict(image.elsewhere))
    guest.hold(hidden)
    zygote_world.bring_in(image)
    guest.warm_up()
    kept = reseed.remember()
    zygote_world.settle()
    return Birth(guest, door, kept, _digest(image), isolation, work)


def _digest(image: NativeImage) -> bytes:
    """
    What was booted: there is no linear memory to hash, so it is what the guest was made from.
    """
    facts = [image.key, sys.version, list(image.warm), sorted(sys.modules)]
    return hashlib.sha256(json.dumps(facts).encode()).digest()


class Zygote:
    """
    The serving half: makes workers, reports each one's process and each one's end.
    """

    def __init__(self, server: socket.socket, birth: Birth, spawn: Spawn) -> None:
        self._server = server
        self._birth = birth
        self._make = spawn
        self._workers: dict[int, tuple[int, Boxed]] = {}
        # Python's own streams are the guest's by now; this one no box keeps.
        self._errors = os.fdopen(os.dup(2), "w", encoding="utf-8", buffering=1)

    def serve(self) -> int:
        """
        Handle requests and ends of workers until the socket closes.
        """
        # Before the first worker: a signal that comes to it early waits. SIGINT is the guest's,
        # whose handler does nothing while no cell runs.
        block()
        with contextlib.suppress(ConnectionError):
            self._serve()
        return 0

    def _serve(self) -> None:
        ended, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._server.send(ZygoteReady(self._birth.boot_digest, _resident()).pack())
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
            made = self._make(connection, lambda: live(self._birth, connection))
        except MechanismFailed as error:
            # Once, and of this machine's state: the closed socket tells the server, which may try
            # again. What the host lacks altogether (MechanismMissing) ends this zygote.
            print(f"codecage: no box could be made: {error}", file=self._errors)
            return
        except OSError as error:
            if error.errno not in _BUSY:
                raise
            return
        self._workers[made.pid] = (number, made)
        message = WorkerSpawned(number, made.pid).pack()
        socket.send_fds(self._server, [message], [made.pidfd])

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                number, made = self._workers.pop(pid, (0, None))
                if made is not None:
                    made.end()
                    self._server.send(WorkerExited(number, status).pack())


def _resident() -> int:
    """
    The bytes of memory that this process has now: what a worker begins with.
    """
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - proc(5), by name
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.exit(main())
