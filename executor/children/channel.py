"""
Frames over the socket to one worker: read at a pace that we set, written without blocking.

The worker may be hostile, and it shares the loop with its neighbours. So reading is pulled, never
pushed: while nobody asks for the next frame, bytes stay in the kernel and the worker blocks in
its own send. Whoever asks pays from a token bucket that refills at a fixed rate, and after a few
frames gives way to the others even when more are there.
"""

import asyncio
import contextlib
import socket
import time
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.children import passing
from executor.children.passing import Passed, SendsStream
from executor.errors import ProtocolBroken, WorkerGone
from executor.kernel.errors import InternalError
from executor.kernel.frames import FIRST, MAX_FROM_WORKER, FrameBuffer, encode
from executor.kernel.frames import head as frame_head
from executor.linux.descriptors import send_stream

_READ: Final = 2**18
# One turn on the loop: small enough that a neighbour waits a fraction of a millisecond. An ask
# counts there, too, as many frames as it costs tokens.
_FRAMES_A_TURN: Final = 16
_BYTES_A_TURN: Final = 2**20
# What a frame costs: one token and one more for each 32 KiB; and an ask what it has kept the loop's
# thread busy, up to a bound, for others may have run meanwhile.
_BYTES_A_TOKEN: Final = 2**15
_ASK_TOKENS: Final = 4.0
# Where in a frame the message is that puts data.
_TO_PUT: Final = (frames_pb2.ToWorker.FILE_FIELD_NUMBER, frames_pb2.FileCommand.PUT_FIELD_NUMBER)
_PUT_DATA: Final = frames_pb2.PutChunk.DATA_FIELD_NUMBER
_CLOSED: Final = "its socket was closed here"


class Bucket:
    """
    Tokens that come back at `rate` a second, up to `burst`.
    """

    __slots__ = ("_burst", "_last", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._last = time.monotonic()

    def take(self, count: float) -> float:
        """
        Take `count` tokens, into debt if need be; the seconds to wait until the debt is paid.
        """
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._last) * self._rate)
        self._last = now
        self._tokens -= count
        return max(0.0, -self._tokens / self._rate)


@dataclass(frozen=True, slots=True)
class Pace:
    """
    How fast one worker's frames are read: tokens a second, how many may be saved, and what part
    (0 to 1) of the loop's thread all the tokens of a second are worth.
    """

    rate: float = 8000.0
    burst: float = 2000.0
    share: float = 0.5


class Channel:
    """
    One worker's socket, owned: one task receives, any task sends. Streams are looked at and sent by
    `send_stream`: to a worker only ends of pairs are.
    """

    def __init__(
        self,
        stream: socket.socket,
        pace: Pace | None = None,
        send_stream: SendsStream = send_stream,
    ) -> None:
        pace = pace or Pace()
        stream.setblocking(False)
        self._socket = stream
        # What the loop knows it by: to look for the object it would write its text first.
        self._number = stream.fileno()
        self._send_stream = send_stream
        self._frames = FrameBuffer(MAX_FROM_WORKER)
        self._bucket = Bucket(pace.rate, pace.burst)
        self._tokens_a_second = pace.rate / pace.share
        self._asked_at: float | None = None
        self._sending = asyncio.Lock()
        self._turn_frames = 0.0
        self._turn_bytes = 0
        # Bytes of posted frames that are still to be sent, and who sends them.
        self._rest = b""
        self._posting: asyncio.Task[None] | None = None
        self._arrival: asyncio.Future[None] | None = None
        self._is_watched = False
        self._closed = False

    async def receive(self) -> frames_pb2.FromWorker:
        """
        The next frame, when it is there and paid for.

        Raises WorkerGone at the end of the stream, ProtocolBroken for bytes that are no frame.
        """
        owed = self._owed()
        # The next ask is often there when the last one has just been answered, and the rest of a
        # frame soon. Else there is nothing yet, and the loop says when there is: also of a frame
        # that comes byte by byte, for which nobody else shall have to wait.
        at_once = owed > 0 or self._frames.has_begun
        while (message := self._take()) is None:
            await self._more(at_once=at_once)
            at_once = False
        began = time.thread_time()
        frame = _parse(message)
        await self._pay(owed, len(message))
        if frame.HasField("ask"):
            self._asked_at = began
        return frame

    async def send(self, frame: frames_pb2.ToWorker, passed: Passed | None = None) -> None:
        """
        Send a frame, with a read-only descriptor of a regular file or a stream if one is given.

        What is passed stays the caller's. Raises WorkerGone, DescriptorRefused.
        """
        data = encode(frame.SerializeToString())
        if passed is None:
            # What has been begun is the first thing that whoever sends next goes on with.
            self._rest += self._left_of(data)
            if not self._rest:
                return
        async with self._sending:
            try:
                await self._send_rest()
                if passed is not None:
                    await passing.send(self._socket, data, passed, self._send_stream)
            except OSError as error:
                raise _takes_no_more(error) from error

    async def send_put(self, frame: frames_pb2.ToWorker, data: bytes) -> None:
        """
        Send a frame that puts `data` (1 byte or more) into a file, from where they lie: they are
        not in it. Raises WorkerGone.
        """
        head = frame_head(_TO_PUT, frame.file.put, _PUT_DATA, len(data))
        async with self._sending:
            try:
                await self._send_rest()
                await passing.send(self._socket, head + data[:FIRST])
                await passing.send(self._socket, memoryview(data)[FIRST:])
            except OSError as error:
                raise _takes_no_more(error) from error

    def post(self, frame: frames_pb2.ToWorker) -> None:
        """
        Send a frame without waiting; what the socket does not take at once follows by itself.

        Raises WorkerGone. That of a rest which cannot be sent is for `receive` to find.
        """
        self._rest += self._left_of(encode(frame.SerializeToString()))
        if self._rest and self._posting is None:
            self._posting = asyncio.get_running_loop().create_task(self._post_rest())

    def _left_of(self, data: bytes) -> bytes:
        """
        What is left of a frame when the socket has taken what it takes at once: all of it where
        another is being sent. Raises WorkerGone.
        """
        if self._rest or self._sending.locked():
            return data
        try:
            return data[self._socket.send(data) :]
        except BlockingIOError:
            return data
        except OSError as error:
            raise _takes_no_more(error) from error

    async def _post_rest(self) -> None:
        try:
            with contextlib.suppress(OSError):
                async with self._sending:
                    await self._send_rest()
        finally:
            self._posting = None

    async def _send_rest(self) -> None:
        while self._rest:
            data, self._rest = self._rest, b""
            await passing.send(self._socket, data)

    def close(self) -> None:
        """
        Close our end; the worker ends when it sees that. A second call does nothing.
        """
        if self._closed:
            return
        self._closed = True
        self._watch(wanted=False)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_exception(WorkerGone(_CLOSED))

    def _take(self) -> bytes | None:
        try:
            return self._frames.take()
        except InternalError as error:
            raise ProtocolBroken(str(error)) from error

    async def _more(self, *, at_once: bool) -> None:
        """
        Some bytes more for `_frames`, in which they are kept if nobody waits for them any more;
        with `at_once` they are looked for before the loop is asked.
        """
        if self._closed:
            raise WorkerGone(_CLOSED)
        if at_once and self._has_read():
            return
        self._arrival = asyncio.get_running_loop().create_future()
        self._watch(wanted=True)
        try:
            await self._arrival
        finally:
            self._arrival = None

    def _has_read(self) -> bool:
        try:
            data = self._socket.recv(max(_READ, self._frames.missing))
        except BlockingIOError:
            return False
        except OSError as error:
            raise WorkerGone(f"the worker's socket failed: {error}") from error
        if not data:
            raise WorkerGone("the worker closed its socket")
        self._frames.feed(data)
        return True

    def _on_readable(self) -> None:
        arrival = self._arrival
        if arrival is None or arrival.done():
            # Nobody asks for more just now: it stays in the kernel, and the worker waits.
            self._watch(wanted=False)
            return
        # Read here and now: the loop would find the socket readable once more before whoever waits
        # has had his turn.
        try:
            if self._has_read():
                arrival.set_result(None)
        except WorkerGone as error:
            arrival.set_exception(error)

    def _watch(self, *, wanted: bool) -> None:
        """
        Have the loop watch the socket, which goes on between two frames: a cell less to set up.
        """
        if wanted is self._is_watched:
            return
        self._is_watched = wanted
        loop = asyncio.get_running_loop()
        if wanted:
            loop.add_reader(self._number, self._on_readable)
        else:
            loop.remove_reader(self._number)

    def _owed(self) -> float:
        """
        What the ask before this frame has cost: it is answered by now.
        """
        if self._asked_at is None:
            return 0.0
        busy, self._asked_at = time.thread_time() - self._asked_at, None
        return min(_ASK_TOKENS, busy * self._tokens_a_second)

    async def _pay(self, owed: float, size: int) -> None:
        cost = owed + 1 + size // _BYTES_A_TOKEN
        if (wait := self._bucket.take(cost)) > 0:
            self._turn_frames, self._turn_bytes = 0.0, 0
            await asyncio.sleep(wait)
            return
        self._turn_frames += 1 + owed
        self._turn_bytes += size
        if self._turn_frames >= _FRAMES_A_TURN or self._turn_bytes >= _BYTES_A_TURN:
            self._turn_frames, self._turn_bytes = 0.0, 0
            await asyncio.sleep(0)


def _takes_no_more(error: OSError) -> WorkerGone:
    return WorkerGone(f"the worker does not take frames any more: {error}")


def _parse(message: bytes) -> frames_pb2.FromWorker:
    try:
        frame = frames_pb2.FromWorker.FromString(message)
    except DecodeError as error:
        raise ProtocolBroken(f"a frame of {len(message)} bytes is no message: {error}") from error
    if frame.WhichOneof("frame") is None:
        raise ProtocolBroken(f"a frame of {len(message)} bytes holds nothing known")
    return frame
