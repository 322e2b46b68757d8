"""
A live shell on the state that a replay has rebuilt.

Cells that are typed run in the replay's worker, after the ones that were played. They have the
session's memory and clocks that go on, and nothing outside: what they ask for is refused.
"""

import asyncio
import errno
import signal
import sys
from typing import Final

from agent_client.commands.shell import read_cell
from agent_client.terminal import visible
from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.errors import ProtocolBroken, WorkerGone
from executor.kernel.cage import Caged

_NOTHING: Final = "a replay has no files, no network and no tools; this cell was not in the session"


class Shell:
    """
    The shell of one worker; `cell` is the number of the last cell that was played.
    """

    def __init__(self, worker: Caged, cell: int) -> None:
        self._worker = worker
        self._cell = cell
        self._interrupts = 0

    async def converse(self) -> None:
        """
        Run what is typed until the end of input, or of the guest.
        """
        live = frames_pb2.Inputs(live=True)
        await self._worker.channel.send(frames_pb2.ToWorker(inputs=live))
        while (source := read_cell()) is not None:
            if source.strip() and not await self._run(source):
                return

    async def _run(self, source: str) -> bool:
        self._cell += 1
        run = frames_pb2.RunCell(cell=self._cell, code=source, interrupts_sent=self._interrupts)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        try:
            await self._worker.channel.send(frames_pb2.ToWorker(run=run))
            return await self._shown()
        except (WorkerGone, ProtocolBroken) as error:
            print(f"the guest is gone: {error}", file=sys.stderr)
            return False
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    async def _shown(self) -> bool:
        while True:
            frame = await self._worker.channel.receive()
            match frame.WhichOneof("frame"):
                case "output":
                    stream = sys.stdout if frame.output.stream == 1 else sys.stderr
                    print(
                        visible(frame.output.data.decode("utf-8", "replace")), end="", file=stream
                    )
                case "value":
                    print(visible(frame.value.text))
                case "ask":
                    refused = frames_pb2.Answer(errno=errno.EACCES, reason=_NOTHING)
                    await self._worker.channel.send(frames_pb2.ToWorker(answer=refused))
                case "done":
                    return self._over(frame.done)

    def _over(self, done: frames_pb2.CellDone) -> bool:
        print(visible(done.traceback), end="", file=sys.stderr)
        if done.status != frames_pb2.CellDone.GUEST_ENDED:
            return True
        print(f"the guest has ended: {visible(done.reason)}", file=sys.stderr)
        return False

    def _interrupt(self) -> None:
        self._interrupts += 1
        self._worker.interrupt(limit=False)
