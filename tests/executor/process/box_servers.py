"""
The world that a box's network leads to: servers on loopback, and the name server that knows them.
"""

import contextlib
import hashlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from box_net import network_policy, on_box_net

from executor.networking import NetworkOptions
from tests.servers.authority import Authority
from tests.servers.listening import Listener
from tests.servers.names import NameServer, addresses
from tests.servers.sites import HttpServer, answer

HERE = addresses("127.0.0.1")
BLOB = os.urandom(2**16) * 200
GRANTS = """\
  - {{host: api.test, ports: [{api}], addresses: [loopback]}}
  - {{host: plain.test, ports: [{plain}], scheme: http, addresses: [loopback]}}
  - {{host: "*.wild.test", ports: [{stream}], raw: true, tls: false, addresses: [loopback]}}
  - {{host: stream.test, ports: [{stream}], raw: true, tls: false, addresses: [loopback]}}
"""


def stream_server(connection: socket.socket, _: int) -> None:
    """
    The first byte says what is done: echo, collect first, reset, send much, or keep silent.
    """
    match connection.recv(1):
        case b"e":
            while data := connection.recv(2**16):
                connection.sendall(data)
        case b"c":
            data = b"".join(iter(lambda: connection.recv(2**16), b""))
            connection.sendall(hashlib.sha256(data).hexdigest().encode())
        case b"r":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
        case b"b":
            connection.sendall(BLOB)
        case _:
            connection.recv(1)


@dataclass
class World:
    """
    Servers on loopback; every one of them would be found by the name servers of the world.
    """

    api: HttpServer
    plain: HttpServer
    stream: Listener
    names: NameServer
    pem: str

    @property
    def ports(self) -> dict[str, int]:
        return {"api": self.api.port, "plain": self.plain.port, "stream": self.stream.port}

    @property
    def touched(self) -> tuple[int, int]:
        servers = (self.api, self.plain, self.stream)
        return sum(one.accepted for one in servers), self.names.packets

    def on(self, place, scenario, *, grants=None, limits=""):
        text = (GRANTS if grants is None else grants).format(**self.ports)
        options = NetworkOptions(resolvers=(self.names.address,))
        rules = network_policy(text, limits)
        on_box_net(place, scenario, rules, options=options)


@contextlib.contextmanager
def servers() -> Iterator[World]:
    authority = Authority()
    hosts = ("api", "other", "plain", "stream", "evil", "a.wild", "localhost")
    zone = {f"{host}.test": HERE for host in hosts} | {"localhost": HERE}
    blob = {"blob": lambda *_: answer(BLOB)}
    with (
        HttpServer(blob, tls=authority.context()) as api,
        HttpServer(blob) as plain,
        Listener(stream_server) as stream,
        NameServer(zone) as names,
    ):
        yield World(api, plain, stream, names, authority.pem.decode())
