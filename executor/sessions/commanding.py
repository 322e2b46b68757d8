"""
What a worker is told to do with a client's files, and what it says of it.
"""

import asyncio
from typing import Final

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.errors import ProtocolBroken, SessionLost, WorkerGone
from executor.kernel.cage import Caged

_PATIENCE: Final = 30.0


class FileCommands:
    """
    The file commands of one worker, one at a time. Whoever reads its frames hands the replies over.
    """

    def __init__(self, worker: Caged) -> None:
        self._worker = worker
        self._reply: asyncio.Future[frames_pb2.FileReply] | None = None

    @property
    def under_way(self) -> bool:
        """
        Whether a command was sent and its sender waits for the reply.
        """
        return self._reply is not None

    async def send(self, frame: frames_pb2.ToWorker, data: bytes) -> frames_pb2.FileReply:
        """
        Have a file command done, of which `data` are what it puts; the reply. Raises SessionLost
        for a worker that does not answer within half a minute, and then it is killed.
        """
        self._reply = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._send(frame, data)
                return await self._reply
        except (TimeoutError, WorkerGone) as error:
            self._worker.kill()
            raise SessionLost("its worker did not answer a file command") from error
        finally:
            self._reply = None

    async def _send(self, frame: frames_pb2.ToWorker, data: bytes) -> None:
        channel = self._worker.channel
        await (channel.send_put(frame, data) if data else channel.send(frame))

    def replied(self, reply: frames_pb2.FileReply) -> None:
        """
        A reply has come. Raises ProtocolBroken where none is waited for.
        """
        if self._reply is None or self._reply.done():
            raise ProtocolBroken("a reply to no file command")
        self._reply.set_result(reply)

    def give_up(self, why: str) -> None:
        """
        The worker has ended, so no reply comes.
        """
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(WorkerGone(why))
