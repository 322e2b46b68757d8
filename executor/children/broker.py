"""
The server's end of one network broker: a process, a socket, and the connections it carries.

The broker is ours when it starts and perhaps somebody else's later, because it reads the bytes of
strangers. So what it is, it shows before it has read any (`vouching.py`). Afterwards each frame
goes to the connection it names, which compares it with what may be said there; for one that does
not fit the process is killed, and every connection it carried ends with EIO.

Source: unix(7) (SO_PASSCRED).
"""

import asyncio
import contextlib
import logging
import select
import signal
import socket
from typing import Any, Final

from google.protobuf.message import DecodeError

from codecage.network.v1 import network_pb2 as broker_pb2
from executor.children import passing
from executor.children.channel import Bucket, Pace
from executor.children.vouching import ROOM, vouched
from executor.kernel.errors import BrokerFault, BrokerGone, InternalError
from executor.kernel.frames import MAX_FROM_BROKER, FrameBuffer, encode
from executor.kernel.way import Ear
from executor.linux.errors import MechanismError
from executor.linux.pidfd import Process

_LOG = logging.getLogger(__name__)
_START_PATIENCE: Final = 30.0
_SEND_PATIENCE: Final = 10.0
# Between being told to drop a connection and the word that it has ended.
_DROP_PATIENCE: Final = 10.0
_WORD_PATIENCE: Final = 1.0
_MOST_UNSENT: Final = 4096
_READ: Final = 2**16
_FRAMES_A_TURN: Final = 16
_ENDED: Final = "the network broker has ended; connect again"
_NOT_STARTED: Final = "the network broker did not start, and the server's log says why"


class Broker:
    """
    One network broker, from its start to its end. `control` is our end of a unix stream pair,
    `setup` the first frame it gets, `parent` the launcher's process.

    `ready` is done when it is locked, `ended` when it is gone.
    """

    def __init__(self, control: socket.socket, setup: broker_pb2.Setup, parent: int) -> None:
        loop = asyncio.get_running_loop()
        control.setblocking(False)
        control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.ready: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.why = ""
        self._control = control
        self._parent = parent
        self._process: Process | None = None
        self._ears: dict[int, Ear] = {}
        self._frames = FrameBuffer(MAX_FROM_BROKER)
        self._bucket = Bucket(Pace().rate, Pace().burst)
        self._quiet = False
        self._changed: asyncio.Event | None = None
        self._unsent: asyncio.Queue[tuple[bytes, socket.socket | None]] = asyncio.Queue()
        self._sending = False
        self.send(broker_pb2.ToBroker(setup=setup))
        self._tasks = (loop.create_task(self._begin()), loop.create_task(self._write()))

    @property
    def alive(self) -> bool:
        """
        Whether connections can be asked of it.
        """
        return not self.ended.done()

    async def started(self) -> None:
        """
        Wait until it is locked. Raises BrokerGone when it ends before, or takes half a minute.
        """
        either: set[asyncio.Future[Any]] = {self.ready, self.ended}
        await asyncio.wait(either, timeout=_START_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if not self.ready.done():
            self.end("the network broker does not get ready")
        if not self.alive:
            raise BrokerGone(self.why)

    def open(self, opening: broker_pb2.Open, stream: socket.socket, ear: Ear) -> None:
        """
        Ask for a connection; `stream` becomes ours, and is closed once it is sent.

        Raises BrokerGone.
        """
        if not self.alive:
            raise BrokerGone(self.why)
        self._ears[opening.connection] = ear
        self._put(broker_pb2.ToBroker(open=opening), stream)

    def send(self, frame: broker_pb2.ToBroker) -> None:
        """
        Send a frame some time soon; it is dropped where the broker is gone.
        """
        self._put(frame, None)
        if frame.HasField("drop") and frame.drop in self._ears:
            loop = asyncio.get_running_loop()
            loop.call_later(_DROP_PATIENCE, self._on_drop_over, frame.drop)

    async def caught_up(self) -> None:
        """
        Wait until what it has sent so far was heard, a second at most.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WORD_PATIENCE):
                while self.alive and not (self._quiet and not _is_readable(self._control)):
                    self._changed = self._changed or asyncio.Event()
                    await self._changed.wait()

    def end(self, why: str) -> None:
        """
        Kill the process; its connections end with EIO, for this reason. A second call does nothing.
        """
        if not self.alive:
            return
        self.why = why
        self.ended.set_result(None)
        for task in self._tasks:
            task.cancel()
        asyncio.get_running_loop().remove_reader(self._control.fileno())
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send(signal.SIGKILL)
            self._process.close()
        self._control.close()
        while not self._unsent.empty():
            _, stream = self._unsent.get_nowait()
            if stream is not None:
                stream.close()
        ears, self._ears = self._ears, {}
        for ear in ears.values():
            ear.lost(why)
        self._notify()

    # ---- what it says ---------------------------------------------------------------------

    async def _begin(self) -> None:
        try:
            await self._greet()
        except (InternalError, MechanismError, OSError) as error:
            self._fail(error)
        except BaseException:
            self.end("the network broker is not heard any more")
            raise
        else:
            self._listen()

    def _fail(self, error: Exception) -> None:
        if isinstance(error, OSError):
            _LOG.warning("a network broker has ended: %s", error)
            self.end(_ENDED if self.ready.done() else _NOT_STARTED)
        else:
            _LOG.error("a network broker is killed: %s", error)
            self.end("the network broker broke the protocol and was ended")

    async def _greet(self) -> None:
        """
        Take the first frame, and look at who sent it.
        """
        await self._readable()
        data, ancillary, _, _ = self._control.recvmsg(_READ, ROOM)
        if not data:
            raise ConnectionResetError("it closed its socket before it was ready")
        self._control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
        self._frames.feed(data)
        frame = _parse(await self._message())
        if not frame.HasField("ready"):
            raise BrokerFault("its first frame does not say that it is locked")
        self._process = vouched(ancillary, self._parent)
        self.ready.set_result(None)
        _LOG.info("a network broker is ready (process %d)", self._process.pid)

    def _listen(self) -> None:
        """
        Be called whenever there is something to read, beginning with what was read already.
        """
        if self.alive:
            asyncio.get_running_loop().add_reader(self._control.fileno(), self._on_readable)
            self._quiet = True
            self._on_readable(b"")

    def _on_readable(self, data: bytes | None = None) -> None:
        try:
            # None where it only looked readable: the loop will say when it is.
            self._frames.feed(self._received() or b"" if data is None else data)
            self._hear_some()
        except (InternalError, MechanismError, OSError) as error:
            self._fail(error)
        except BaseException:
            # Whatever else it was: a frame was heard by half, and the next may mean anything.
            self.end("the network broker is not heard any more")
            raise

    def _received(self) -> bytes | None:
        """
        What has come, or None where nothing has. Raises OSError, also at the end.
        """
        try:
            data = self._control.recv(_READ)
        except BlockingIOError:
            return None
        if not data:
            raise ConnectionResetError("it closed its socket")
        return data

    def _hear_some(self) -> None:
        """
        Hear what has come, some frames at a time; what is not paid for waits, and nothing is read.
        """
        wait = 0.0
        for _ in range(_FRAMES_A_TURN):
            message = self._frames.take()
            if message is None or not self.alive:
                self._notify()
                return
            self._hear(message)
            if (wait := self._bucket.take(1 + len(message) // 2**14)) > 0:
                break
        self._pause(wait)

    def _pause(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        if self.alive:
            self._quiet = False
            loop.remove_reader(self._control.fileno())
            loop.call_later(seconds, self._listen)

    def _hear(self, message: bytes) -> None:
        frame = _parse(message)
        number = _number(frame)
        ear = self._ears.get(number)
        if ear is None:
            raise BrokerFault(f"a frame about connection {number}, which it does not carry")
        if ear.heard(frame):
            self._ears.pop(number, None)

    async def _message(self) -> bytes:
        while (message := self._frames.take()) is None:
            self._frames.feed(await self._receive())
        return message

    async def _receive(self) -> bytes:
        while (data := self._received()) is None:
            await self._readable()
        return data

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._control.fileno(), passing.settle, ready)
        self._quiet = True
        self._notify()
        try:
            await ready
        finally:
            self._quiet = False
            if self.alive:  # or `end` has done so, and the number may be another's
                loop.remove_reader(self._control.fileno())

    # ---- what it is told ------------------------------------------------------------------

    def _put(self, frame: broker_pb2.ToBroker, stream: socket.socket | None) -> None:
        data = encode(frame.SerializeToString())
        if self.alive and not self._sending and self._unsent.empty():
            data, stream = self._sent_at_once(data, stream)
        if not data:
            return
        if self.alive and self._unsent.qsize() < _MOST_UNSENT:
            self._unsent.put_nowait((data, stream))
            return
        if stream is not None:
            stream.close()
        self.end("the network broker does not take what it is told")

    def _sent_at_once(
        self, data: bytes, stream: socket.socket | None
    ) -> tuple[bytes, socket.socket | None]:
        """
        Send what the socket takes now; what is left. An error is met again by who sends the rest.
        """
        try:
            if stream is None:
                return data[self._control.send(data) :], None
            sent = passing.send_guest_stream(self._control, data, stream.fileno())
        except (OSError, MechanismError):
            return data, stream
        stream.close()
        return data[sent:], None

    async def _write(self) -> None:
        try:
            while True:
                data, stream = await self._unsent.get()
                self._sending = True
                await self._send(data, stream)
                self._sending = False
        except (TimeoutError, OSError, MechanismError) as error:
            _LOG.warning("a network broker takes no frames: %r", error)
        finally:
            self.end("the network broker does not take what it is told")

    async def _send(self, data: bytes, stream: socket.socket | None) -> None:
        try:
            async with asyncio.timeout(_SEND_PATIENCE):
                await passing.send(self._control, data, stream, passing.send_guest_stream)
        finally:
            if stream is not None:
                stream.close()

    def _on_drop_over(self, number: int) -> None:
        if number in self._ears:
            _LOG.error("a network broker did not drop connection %d", number)
            self.end("the network broker did not end a connection that it was told to")

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None


def _number(frame: broker_pb2.FromBroker) -> int:
    match frame.WhichOneof("frame"):
        case "resolved":
            return frame.resolved.connection
        case "requested":
            return frame.requested.connection
        case "answered":
            return frame.answered.connection
        case "ended":
            return frame.ended.connection
        case "greeted":
            return frame.greeted.connection
    raise BrokerFault("it says again that it is ready")


def _parse(message: bytes) -> broker_pb2.FromBroker:
    try:
        frame = broker_pb2.FromBroker.FromString(message)
    except DecodeError as error:
        raise BrokerFault(f"a frame of {len(message)} bytes is no message: {error}") from error
    if frame.WhichOneof("frame") is None:
        raise BrokerFault(f"a frame of {len(message)} bytes holds nothing known")
    return frame


def _is_readable(stream: socket.socket) -> bool:
    waiting = select.poll()
    waiting.register(stream, select.POLLIN)
    return bool(waiting.poll(0))
