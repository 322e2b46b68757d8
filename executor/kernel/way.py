"""
The way from a session to its policy's network broker, as the gate sees it.

Who starts that process and holds its socket is above the gate; what it says comes here.
"""

import socket
from collections.abc import Sequence
from typing import Protocol

from codecage.network.v1 import network_pb2 as broker_pb2


class Link(Protocol):
    """
    The way to one running network broker. Nothing here waits.
    """

    def open(self, opening: broker_pb2.Open, stream: socket.socket, ear: "Ear") -> None:
        """
        Ask for a connection; `stream` becomes the link's, which closes it once it is sent.
        """

    def send(self, frame: broker_pb2.ToBroker) -> None:
        """
        Say more about a connection that is open.
        """


class Ear(Protocol):
    """
    Who hears what the broker says about one connection.
    """

    def heard(self, frame: broker_pb2.FromBroker) -> bool:
        """
        Take a frame; whether it was the last. Raises BrokerFault where it does not fit.
        """

    def lost(self, why: str) -> None:
        """
        The broker's process has ended.
        """


class Way(Protocol):
    """
    What a session has of its policy's network broker, whether or not that runs just now.
    """

    async def link(self) -> Link:
        """
        The broker, locked and ready; it is started where none runs. Raises BrokerGone.
        """

    async def caught_up(self) -> None:
        """
        Wait until all that the broker has said so far was heard.
        """

    def number(self) -> int:
        """
        A number for a connection or an account that was never used.
        """

    def leave(self, accounts: Sequence[int]) -> None:
        """
        The session needs it no more.
        """
