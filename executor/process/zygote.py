"""
The native zygote: takes a guest into this interpreter, then makes a boxed worker for every
request on its socket.

It is exec'd by the launcher, has one thread, and never holds anything of a session: a request is
a number, the order of a box, which is its policy's, and a socket that goes straight to the box.
Nor has it what an order names, such as paths of the host: all its memory, also what it has let go
of, is in every box that it makes. The order's text lies in one place, where the box reads it and
where it is erased; and in the box, all that the zygote knows is let go of before a guest begins.

Before it says that it is ready it makes one box and attacks it; where an attack succeeds, none is
served. It also sends its boxes the server's signals, for the server cannot: they are other users'.
It ends when its socket closes, and the kernel ends its boxes with it.
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
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from resource import struct_rusage
from typing import Final, NoReturn, Protocol

from executor.images.cache import default_cache
from executor.kernel.boxing import (
    TO_ZYGOTE_MAX,
    BoxesHold,
    BoxExited,
    BoxRefused,
    BoxSignal,
    BoxSpawned,
    SealedBox,
    SignalBox,
)
from executor.kernel.errors import InternalError
from executor.kernel.spawn import ZygoteReady
from executor.linux import prctl, proc, rlimits
from executor.linux.errors import MechanismError, MechanismMissing
from executor.linux.hugepages import in_passing
from executor.process import images, jail, reseed, slots, zygote_lock, zygote_world
from executor.process.native_image import NativeImage
from executor.process.runtime import NativeGuest
from executor.process.worker import Birth, live
from executor.process.worker_door import Door
from executor.process.worker_interrupts import block
from executor.process.zygote_boxes import Boxes

# Of CPU time; the server waits for two minutes.
_BOOT_SECONDS: Final = 120
# As fork(2) refuses a process: the server may try again.
_BUSY: Final = frozenset({errno.EAGAIN, errno.ENOMEM})
_INT: Final = struct.Struct("=i")


class Boxed(Protocol):
    """
    A process that was made, by its number and a descriptor of it.
    """

    @property
    def pid(self) -> int:
        """
        Its number, as its maker counts processes.
        """

    def spawned(self, number: int) -> tuple[BoxSpawned, tuple[int, ...]]:
        """
        What is told of it as box `number`, and the descriptors that go along, open until `told`.
        """

    def told(self) -> None:
        """
        The server has what was sent: close what this process need not keep.
        """

    def send(self, wanted: BoxSignal) -> None:
        """
        Send a signal to it, or end all of it.
        """

    def ended(self, number: int, status: int, usage: struct_rusage) -> BoxExited:
        """
        Let go of all that was made for it, whose first process was reaped with `status` and
        `usage`; what is told of it.
        """


# Makes a process that keeps the descriptor and the standard three, and returns in it as well: where
# its guest works. Raises OSError, MechanismError.
Spawn = Callable[[SealedBox, int], Boxed | str]


@dataclass(frozen=True, slots=True)
class Born:
    """
    In a worker: what it was born with, where its guest works, and the descriptor of its connection.
    All else of the zygote goes when its functions have returned.
    """

    birth: Birth
    directory: str
    connection: int


def main(arguments: list[str] | None = None) -> int:
    """
    Take the image's guest in and serve until the socket closes; in a worker, live.
    """
    done = _until_born(arguments)
    return be_born(done) if isinstance(done, Born) else done


def be_born(born: Born) -> NoReturn:
    """
    Be the worker.
    """
    live(born.birth, born.directory, socket.socket(fileno=born.connection))


def _until_born(arguments: list[str] | None) -> "int | Born":
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    image = images.find_key(options.key, default_cache())
    if image is None:
        raise InternalError(f"the image {options.image} with key {options.key} is not in the cache")
    if os.geteuid() == 0:
        # Without root a parent may map the users of its box's namespace only while both are
        # dumpable: the files in /proc by which it does so are root's otherwise.
        prctl.set_not_dumpable()
    server = socket.socket(fileno=options.socket)
    try:
        born = _serve(server, image)
    except MechanismError as error:
        missing = isinstance(error, MechanismMissing)
        server.send(BoxRefused(0, missing, str(error)).pack())
        print(f"codecage: no box can be made here: {error}", file=sys.stderr)
        return 1
    if born is not None:
        # Here the number is nobody's, or already something else's.
        server.detach()
        return born
    server.close()
    return 0


def _serve(server: socket.socket, image: NativeImage) -> Born | None:
    own = slots.claim()
    locked = zygote_lock.lock(own, [place for _, place in image.importing])
    if locked.reason:
        print(f"codecage: a zygote keeps more rights here: {locked.reason}", file=sys.stderr)
    jail.prepare()
    boxes = Boxes(image, own)
    with rlimits.within_seconds(_BOOT_SECONDS):
        birth = take_in(image, "a box of the process cage")
    server.send(BoxesHold(boxes.attacked()).pack())
    return Zygote(server, birth, boxes.make).serve()


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


def take_in(image: NativeImage, isolation: str) -> Birth:
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
    zygote_world.forget_fonts()
    zygote_world.settle()
    return Birth(guest, door, kept, _digest(image), isolation)


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
        self._received = bytearray(TO_ZYGOTE_MAX)
        self._born: Born | None = None
        # A step for each worker, when its server has heard of it.
        self._collapsing = in_passing()
        # Python's own streams are the guest's by now; this one no box keeps, so none may close it.
        self._errors = open(  # noqa: SIM115 - a descriptor, for as long as this lives
            os.dup(2), "w", encoding="utf-8", buffering=1, closefd=False
        )

    def serve(self) -> Born | None:
        """
        Handle requests and ends of workers until the socket closes. Returns in each worker too.
        """
        # Before the first worker: a signal that comes to it early waits. SIGINT is the guest's,
        # whose handler does nothing while no cell runs.
        block()
        with contextlib.suppress(ConnectionError):
            self._serve()
        return self._born

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
        """
        Take one; whether to go on, which is neither at the end nor in a worker.
        """
        size, descriptors = self._receive()
        if not size:
            return False
        try:
            with memoryview(self._received) as whole, whole[:size] as data:
                self._do(data, descriptors)
        finally:
            self._received[:size] = bytes(size)
        return self._born is None

    def _receive(self) -> tuple[int, list[int]]:
        room = socket.CMSG_SPACE(2 * _INT.size)
        size, ancillary, *_ = self._server.recvmsg_into([self._received], room)
        rights = b"".join(data for _, kind, data in ancillary if kind == socket.SCM_RIGHTS)
        return size, [number for (number,) in _INT.iter_unpack(rights)]

    def _do(self, data: memoryview, descriptors: list[int]) -> None:
        if bytes(data[:4]) == b"sig1" and not descriptors:
            self._signal(SignalBox.unpack(bytes(data)))
            return
        if len(descriptors) != 1:
            raise InternalError(f"a spawn request with {len(descriptors)} descriptors")
        (connection,) = descriptors
        try:
            self._spawn(SealedBox.unpack(data), connection)
        finally:
            if self._born is None:
                os.close(connection)

    def _signal(self, asked: SignalBox) -> None:
        for number, made in self._workers.values():
            if number == asked.number:
                made.send(asked.signal)

    def _spawn(self, asked: SealedBox, connection: int) -> None:
        try:
            made = self._make(asked, connection)
        except MechanismError as error:
            # Of this order, or of this machine's state now: other boxes live on. What the host
            # lacks for any box was found when this zygote started.
            print(f"codecage: no box could be made: {error}", file=self._errors)
            missing = isinstance(error, MechanismMissing)
            self._server.send(BoxRefused(asked.number, missing, str(error)).pack())
            return
        except OSError as error:
            if error.errno not in _BUSY:
                raise
            reason = f"the host is busy: {error.strerror}"
            self._server.send(BoxRefused(asked.number, missing=False, reason=reason).pack())
            return
        if isinstance(made, str):
            self._born = Born(self._birth, made, connection)
            return
        self._workers[made.pid] = (asked.number, made)
        said, descriptors = made.spawned(asked.number)
        socket.send_fds(self._server, [said.pack()], descriptors)
        made.told()
        next(self._collapsing)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.wait4(-1, os.WNOHANG))[0]:
                pid, status, usage = ended
                number, made = self._workers.pop(pid, (0, None))
                if made is not None:
                    self._server.send(made.ended(number, status, usage).pack())


def _resident() -> int:
    """
    The bytes of memory that this process has now: what a worker begins with.
    """
    return int(proc.read("/proc/self/statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.exit(main())
