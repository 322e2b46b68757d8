"""
What a box that is being made and its maker say to each other, over a socket pair of their own.

The box hands over descriptors that others are to act on, and ends with "ready" or with the name of
an error. Its maker says "go on" and nothing else. Only our own code is at either end: all is
closed before anything of a guest runs. At which step the box is goes into a pipe that its maker
reads when the box has ended without a word: nobody is woken for it.

The maker also answers refused system calls while it listens: in a box that is watched they wait
for somebody, and the box's own canaries are refused calls.
"""

import errno
import os
import select
import socket
import struct
from collections.abc import Sequence

from executor.linux import notifications
from executor.linux.errors import MechanismFailed, MechanismMissing, asking
from executor.process.plan import MAX_PORTS, MECHANISM
from executor.process.supervisor_attach import MAX_SERVED

BEGINNING = "beginning"
LISTENER = "listener"
SERVED = "served"
LISTENERS = "listeners"
NAMES = "names"
MEMORY = "memory"
LONGEST = 1 << 15
_LONGEST_MESSAGE = 512

_PATIENCE_MS = 20_000
_GO = b"go on"
_READY = "ready"
_HANDS = "hands"
# Between words; no step, mechanism or message has one.
_APART = "\0"
_KINDS = {kind.__name__: kind for kind in (MechanismFailed, MechanismMissing)}
_INT = struct.Struct("=i")
_CREDENTIALS = struct.Struct("=iII")
_ROOM = socket.CMSG_SPACE(max(MAX_PORTS, MAX_SERVED) * _INT.size) + socket.CMSG_SPACE(
    _CREDENTIALS.size
)


class Inside:
    """
    The box's half.
    """

    def __init__(self, channel: socket.socket, steps: int) -> None:
        self.channel = channel
        self._steps = steps
        self._at = BEGINNING

    @property
    def descriptors(self) -> frozenset[int]:
        """
        What it needs to be open.
        """
        return frozenset({self.channel.fileno(), self._steps})

    def close(self) -> None:
        """
        End it: what follows is not for the maker.
        """
        self.channel.close()
        os.close(self._steps)

    def begin(self) -> None:
        """
        Say that this process runs.
        """
        self._say([_READY])

    def at(self, step: str) -> None:
        """
        Note which step begins.
        """
        self._at = step
        os.write(self._steps, f"{step}\n".encode())

    def hand(self, what: str, numbers: tuple[int, ...]) -> None:
        """
        Send descriptors under a name, and close them here.
        """
        with asking(MECHANISM, f"handing over {what}", "see why its maker has ended"):
            socket.send_fds(self.channel, [_APART.join((_HANDS, what)).encode()], numbers)
        for number in numbers:
            os.close(number)

    def failed(self, kind: str, mechanism: str, message: str) -> None:
        """
        Say which error ends it.
        """
        said = f"at step {self._at!r}: {message[:_LONGEST_MESSAGE]}"
        self._say([kind, mechanism, said.replace(_APART, " ")])

    def ready(self, places: Sequence[str] = ()) -> None:
        """
        Say that all is done, and in `places` what its maker has to see of it.
        """
        self._say([_READY, *places])

    def wait(self) -> None:
        """
        Wait until the maker lets this process go on; end it when the maker has ended.
        """
        if not os.read(self.channel.fileno(), len(_GO)):
            os._exit(1)

    def _say(self, words: list[str]) -> None:
        # Not by the socket's own functions: in a zygote they are those of the guest's half.
        os.write(self.channel.fileno(), _APART.join(words).encode(errors="backslashreplace"))


class Outside:
    """
    The maker's half: what it heard, and what was handed to it.

    `pid` is the process that spoke last, as the maker counts processes; `places` are the words that
    came with its being ready.
    """

    def __init__(self, channel: socket.socket, steps: int) -> None:
        """
        Take the maker's ends. To be done before the box can say anything.
        """
        # The kernel then says with each message who sent it.
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._channel = channel
        self._steps = steps
        self.pid = 0
        self.places: frozenset[str] = frozenset()
        self.handed: dict[str, tuple[int, ...]] = {}

    def close(self) -> None:
        """
        Close both ends.
        """
        self._channel.close()
        os.close(self._steps)

    def close_handed(self) -> None:
        """
        Close all that was handed over: there will be no box.
        """
        for numbers in self.handed.values():
            for number in numbers:
                os.close(number)

    def let_go_on(self) -> None:
        """
        Let the box do what comes next. Raises MechanismFailed when it has ended.
        """
        with asking(MECHANISM, "telling the box to go on", "see why it ended"):
            self._channel.sendall(_GO)

    def until_begun(self) -> None:
        """
        Wait until the box runs. Raises MechanismFailed when it does not.
        """
        self._hear()

    def until_ready(self) -> None:
        """
        Follow the box through its steps. Raises what it raised, or where it ended without a word.
        """
        while True:
            kind, *said = self._hear()
            if kind == _READY:
                self.places = frozenset(said)
                return
            if kind in _KINDS:
                mechanism, message = said
                raise _KINDS[kind](mechanism, message)

    def _hear(self) -> list[str]:
        self._wait()
        with asking(MECHANISM, "hearing of the box", "see why it ended"):
            data, ancillary, _, _ = self._channel.recvmsg(LONGEST, _ROOM, socket.MSG_CMSG_CLOEXEC)
        passed: tuple[int, ...] = ()
        for _, kind, value in ancillary:
            if kind == socket.SCM_RIGHTS:
                passed = tuple(number for (number,) in _INT.iter_unpack(value))
            elif data:
                self.pid, _, _ = _CREDENTIALS.unpack(value)
        if not data:
            raise MechanismFailed(MECHANISM, f"it ended at step {self._at()!r} without a word")
        words = data.decode(errors="replace").split(_APART)
        if words[0] == _HANDS:
            self.handed[words[1]] = passed
        return words

    def _at(self) -> str:
        waiting = select.poll()
        waiting.register(self._steps, select.POLLIN)
        if not any(events & select.POLLIN for _, events in waiting.poll(0)):
            return BEGINNING
        return os.read(self._steps, LONGEST).decode().split("\n")[-2]

    def _wait(self) -> None:
        waiting = select.poll()
        waiting.register(self._channel, select.POLLIN)
        for listener in self.handed.get(LISTENER, ()):
            waiting.register(listener, select.POLLIN)
        while True:
            ready = {number for number, _ in waiting.poll(_PATIENCE_MS)}
            if not ready:
                said = f"it stands still at step {self._at()!r}; it is given up"
                raise MechanismFailed(MECHANISM, said)
            if self._channel.fileno() in ready:
                return
            for listener in self.handed.get(LISTENER, ()):
                _refuse_one(listener)


def _refuse_one(listener: int) -> None:
    waiting = notifications.receive(listener)
    if waiting is not None:
        notifications.refuse(listener, waiting, errno.EPERM)
