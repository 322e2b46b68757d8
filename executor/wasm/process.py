"""
The guest as a process: everything that its system calls work on.

One of these exists in a worker. It is made in the zygote, where nothing is outside and the
clock and the entropy are constants of the image, and gets its session's facts by `begin`.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from codecage.worker.v1 import worker_pb2 as wire
from executor.wasm.abi import AT_FDCWD, Errno, GuestFault, Open
from executor.wasm.broker import Broker, Nobody
from executor.wasm.displays import DisplayFile, Show
from executor.wasm.memory import GuestMemory
from executor.wasm.native import (
    Foreign,
    Libc,
    NativeCode,
    NoForeignCalls,
    NoLibc,
    NoNativeCode,
)
from executor.wasm.network import Network
from executor.wasm.nodes import Device, Local, Remote
from executor.wasm.openfiles import Descriptors, DeviceFile, DirectoryFile, OpenFile, OutputStream
from executor.wasm.space import Space
from executor.wasm.toolfile import CallsTool, ToolFile
from executor.wasm.vfs import FileSystem
from executor.wasm.waiting import Sleeper

# The guest's clocks step by this much, so that they are no timer for what happens around it.
CLOCK_FLOOR_NS: Final = 1_000_000
# What the zygote's guest sees as the time: a constant, so that two boots are alike.
BOOT_TIME_NS: Final = 1_767_225_600 * 10**9  # 2026-01-01T00:00:00Z
# How far a look at a virtual clock puts it on: about what one takes, so that a loop that waits for
# a moment takes about as long as it would.
VIRTUAL_STEP_NS: Final = 10_000
# What a wait, and a virtual clock, comes to at most.
VIRTUAL_MAX_NS: Final = 2**61
_UNLIMITED: Final = 2**62
# Failures that leave the reason of the last refusal where it is: what an interrupt says was put
# there by whoever interrupted, and Python asks who is connected when it warns of a socket that
# the refusal itself has left behind.
_FORGETS_NOTHING: Final = frozenset({Errno.EINTR, Errno.ENOTCONN})
HOME: Final = "/home/agent"
WORK: Final = "/work"


class Exited(Exception):
    """
    The guest ended itself: exit, abort, or a failed assertion in its C code.
    """

    def __init__(self, code: int, how: str) -> None:
        super().__init__(how)
        # As wait(2) would give it: eight bits.
        self.code = code & 0xFF
        self.how = how


class Entropy:
    """
    Random bytes: of the kernel, or a stream of SHA-256 over a seed and a counter.
    """

    def __init__(self, seed: bytes | None) -> None:
        self._seed = seed
        self._counter = 0
        self._rest = b""

    @property
    def drawn(self) -> tuple[int, bytes]:
        """
        How far the stream has gone: its blocks, and what is left of the last.
        """
        return self._counter, self._rest

    def go_on(self, drawn: tuple[int, bytes]) -> None:
        """
        Go on where a stream over the same seed had got to.
        """
        self._counter, self._rest = drawn

    def take(self, count: int, kernel: Callable[[int], bytes]) -> bytes:
        """
        The next `count` bytes.
        """
        if self._seed is None:
            return kernel(count)
        # Gathered and joined once: a mebibyte is 32,768 blocks.
        blocks, held = [self._rest], len(self._rest)
        while held < count:
            block = self._seed + self._counter.to_bytes(8, "little")
            blocks.append(hashlib.sha256(block).digest())
            held += hashlib.sha256().digest_size
            self._counter += 1
        stream = b"".join(blocks)
        taken, self._rest = stream[:count], stream[count:]
        return taken


class Clock:
    """
    The guest's time, floored to CLOCK_FLOOR_NS; or standing still.
    """

    # What a clock tells its times in steps of: clock_getres(2).
    resolution_ns: int = CLOCK_FLOOR_NS

    def __init__(self, frozen_ns: int | None) -> None:
        self.frozen_ns = frozen_ns
        self._started = time.monotonic_ns()

    def wall_ns(self) -> int:
        """
        Nanoseconds since 1970.
        """
        return _floored(time.time_ns() if self.frozen_ns is None else self.frozen_ns)

    def monotonic_ns(self) -> int:
        """
        Nanoseconds since the session began, never the host's uptime.
        """
        return 0 if self.frozen_ns is not None else _floored(time.monotonic_ns() - self._started)

    def cpu_ns(self) -> int:
        """
        CPU time of the worker.
        """
        return 0 if self.frozen_ns is not None else _floored(time.process_time_ns())

    def waited_ns(self) -> int:
        """
        Nanoseconds of the host's, for the length of waits; the guest sees none of it.
        """
        return time.monotonic_ns()

    def wait(self, seconds: float, wait: Callable[[float], bool]) -> bool:
        """
        Let the guest wait by `wait`; what that says: true when it was interrupted.
        """
        return wait(seconds)

    def wait_for(self, seconds: float, wait: Callable[[float], bool]) -> bool:
        """
        The same where something of the world is waited for, `seconds` at most.
        """
        return wait(seconds)


class VirtualClock(Clock):
    """
    A time of the session's own, which nothing but the session moves: the same code sees the same
    times, whatever the machine does.

    It begins at `start_ns` (since 1970) and goes on by VIRTUAL_STEP_NS with every look at any of
    its clocks, and by the time that was asked for with every wait, which is over at once. CPU
    time is the looks alone. After VIRTUAL_MAX_NS, 73 years, it stands still. Limits are held in
    real time, by others.
    """

    resolution_ns = VIRTUAL_STEP_NS

    def __init__(self, start_ns: int) -> None:
        super().__init__(start_ns)
        self._start = start_ns
        self._looked = 0
        self._waited = 0

    def wall_ns(self) -> int:
        """
        Nanoseconds since 1970.
        """
        return self._start + self.monotonic_ns()

    def monotonic_ns(self) -> int:
        """
        Nanoseconds since the session began.
        """
        now = self._looked + self._waited
        self._look()
        return min(now, VIRTUAL_MAX_NS)

    def cpu_ns(self) -> int:
        """
        How much of the time was no waiting.
        """
        now = self._looked
        self._look()
        return min(now, VIRTUAL_MAX_NS)

    def wait(self, seconds: float, wait: Callable[[float], bool]) -> bool:
        """
        Pass the time. What would never end, and what was interrupted, is left to `wait`.
        """
        if seconds == float("inf"):
            return wait(seconds)
        if wait(0):
            return True
        self._waited += int(min(seconds * 1e9, VIRTUAL_MAX_NS))
        return False

    def wait_for(self, seconds: float, wait: Callable[[float], bool]) -> bool:
        """
        The world keeps real time, so the wait is real; one that was in vain has passed here too.
        """
        started = time.monotonic()
        if wait(seconds):
            return True
        if time.monotonic() - started >= seconds:
            self._waited += int(min(seconds * 1e9, VIRTUAL_MAX_NS))
        return False

    def _look(self) -> None:
        self._looked += VIRTUAL_STEP_NS


@dataclass(slots=True)
class Denial:
    """
    The last refusal, kept until the guest's interpreter asks why.
    """

    errno: Errno
    reason: str


@dataclass(slots=True)
class Process:
    """
    The state behind the system calls.
    """

    memory: GuestMemory
    files: FileSystem
    total: Space
    output: Callable[[int, bytes], None]
    sleeper: Sleeper
    # Takes the pending interrupt: the signal's number, or 0.
    take_signal: Callable[[], int]
    grow_memory: Callable[[int], bool]
    note: Callable[[str, Errno], None]
    # Takes what is to be shown: forms by media type.
    display: Show = lambda _forms: None
    # Makes a call of one of the client's functions: a frame and its reply.
    tool: CallsTool = lambda _frame: b""
    broker: Broker = field(default_factory=lambda: Broker(Nobody()))
    native: NativeCode = field(default_factory=NoNativeCode)
    foreign: Foreign = field(default_factory=NoForeignCalls)
    libc: Libc = field(default_factory=NoLibc)
    descriptors: Descriptors = field(default_factory=lambda: Descriptors(64))
    entropy: Entropy = field(default_factory=lambda: Entropy(b"codecage image boot"))
    clock: Clock = field(default_factory=lambda: Clock(BOOT_TIME_NS))
    kernel_entropy: Callable[[int], bytes] = bytes
    environment: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    umask: int = 0o022
    denial: Denial | None = None
    # What is left to tell of the last commit.
    report: bytes = b""
    showing: DisplayFile | None = None
    calling: ToolFile | None = None
    network: Network = field(init=False)

    def __post_init__(self) -> None:
        """
        The network asks for what a session's begin puts in place.
        """
        self.network = Network(lambda: self.broker, lambda: self.sleeper)

    def open_standard_streams(self) -> None:
        """
        Descriptors 0, 1 and 2.
        """
        self.descriptors.put(self.device_file("stdin", Open(0)), 0)
        self.descriptors.put(OutputStream(lambda data: self.output(1, data), 1), 1)
        self.descriptors.put(OutputStream(lambda data: self.output(2, data), 2), 2)

    def device_file(self, name: str, flags: Open) -> OpenFile:
        """
        A device opened by name.
        """
        if name in {"stdout", "stderr"}:
            return self.descriptors.get(1 if name == "stdout" else 2)
        if name == "display":
            return self._new_display(flags)
        if name == "tools":
            return self._new_call(flags)
        return DeviceFile(Device(0, 0, 0, None, name), flags, self.random)

    def _new_display(self, flags: Open) -> OpenFile:
        """
        One at a time: each may hold a bundle of megabytes until it is complete.
        """
        if self.showing is not None and not self.showing.over:
            raise GuestFault(Errno.EBUSY, "a display is open already; finish or close it first")
        self.showing = DisplayFile(flags, self.total, self.display)
        return self.showing

    def _new_call(self, flags: Open) -> OpenFile:
        """
        One at a time, for the same reason.
        """
        if self.calling is not None and not self.calling.over:
            raise GuestFault(Errno.EBUSY, "a call is open already; finish or close it first")
        self.calling = ToolFile(flags, self.total, self.tool)
        return self.calling

    def keep_time(self, clock: Clock) -> None:
        """
        Have the session's clock, and waits as that clock sees them.
        """
        wait, wait_for = self.sleeper.wait, self.sleeper.wait_for
        self.clock = clock
        self.sleeper = Sleeper(
            lambda seconds: clock.wait(seconds, wait),
            lambda descriptors, seconds: clock.wait_for(
                seconds, lambda left: wait_for(descriptors, left)
            ),
            clock.waited_ns,
        )

    def deny(self, fault: GuestFault) -> None:
        """
        Keep a refusal's reason, so that the guest's exception can carry it.
        """
        if fault.reason:
            self.denial = Denial(fault.errno, fault.reason)
        elif fault.errno not in _FORGETS_NOTHING:
            self.denial = None

    def random(self, count: int) -> bytes:
        """
        The next random bytes.
        """
        return self.entropy.take(count, self.kernel_entropy)

    def path(self, pointer: int) -> str:
        """
        A path string of the guest; bytes that are no UTF-8 become surrogates.
        """
        return self.memory.string(pointer).decode("utf-8", "surrogateescape")

    def resolve(self, directory: int, path: str, *, follow: bool) -> Local | Remote:
        """
        Where a path given to an *at call leads.
        """
        found = self.files.resolve(path, self._start(directory, path), follow=follow)
        self._check_remote(found)
        return found

    def resolve_name(self, directory: int, path: str) -> Local | Remote:
        """
        The same for a name that is to be made, removed or renamed.
        """
        found = self.files.resolve_name(path, self._start(directory, path))
        self._check_remote(found)
        if isinstance(found, Remote) and path.endswith("/"):
            self._require_directory(found.path)
        return found

    def _require_directory(self, path: str) -> None:
        """
        A slash at the end means a directory: frames carry no such slash, so it is seen to here.

        A name that does not exist passes (mkdir makes it); a link that leads nowhere does not.
        """
        try:
            kind = self.broker.stat(path, follow=False).kind
        except GuestFault:
            return
        if kind == wire.KIND_LINK:
            kind = self.broker.stat(path, follow=True).kind
        if kind != wire.KIND_DIRECTORY:
            raise GuestFault(Errno.ENOTDIR)

    def _start(self, directory: int, path: str) -> str:
        if directory == AT_FDCWD or path.startswith("/"):
            return self.directory
        file = self.descriptors.get(directory)
        if not isinstance(file, DirectoryFile):
            raise GuestFault(Errno.ENOTDIR)
        return file.path

    def resolve_at(self, directory: int, pointer: int, *, follow: bool) -> Local | Remote:
        """
        The same for a path in guest memory.
        """
        return self.resolve(directory, self.path(pointer), follow=follow)

    @staticmethod
    def _check_remote(found: Local | Remote) -> None:
        """
        A name that is no UTF-8 cannot be asked about: frames carry text.
        """
        if isinstance(found, Local):
            return
        try:
            found.path.encode()
        except UnicodeEncodeError as error:
            raise GuestFault(Errno.EILSEQ) from error


def unlimited() -> Space:
    """
    The space of a guest before its session's limits are known.
    """
    return Space(_UNLIMITED, 2**31)


def _floored(nanoseconds: int) -> int:
    return nanoseconds - nanoseconds % CLOCK_FLOOR_NS
