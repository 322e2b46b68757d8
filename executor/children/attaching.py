"""
The network of boxes, attached to their sessions.
"""

import asyncio
import os
import socket

from executor.audit.session import SessionLog
from executor.kernel.cage import BoxEnds
from executor.kernel.gate import Gate
from executor.process.network import BoxNetwork


class BoxNetworks:
    """
    Serves the sockets of boxes that have some; the gate of each session decides.
    """

    async def attach(
        self,
        session: str,  # noqa: ARG002 - the sockets are the session's
        ends: BoxEnds,
        gate: Gate,
        log: SessionLog,  # noqa: ARG002 - the gate records
    ) -> "BoxNetworkAttached | None":
        """
        Serve the box's connections and names until the result is closed; None where it has none.
        """
        if not ends.listeners and ends.names is None:
            return None
        listeners = [_duplicate(descriptor) for _, descriptor in ends.listeners]
        names = None if ends.names is None else _duplicate(ends.names)
        network = BoxNetwork(gate.net, listeners, names)
        try:
            network.start()
        except BaseException:
            await network.close()
            raise
        return BoxNetworkAttached(network)


class BoxNetworkAttached:
    """
    One box's network; it is never lost, for it lives in the server.
    """

    def __init__(self, network: BoxNetwork) -> None:
        self._network = network
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        """
        Accept no more connections.
        """
        await self._network.close()


def _duplicate(descriptor: int) -> socket.socket:
    return socket.socket(fileno=os.dup(descriptor))
