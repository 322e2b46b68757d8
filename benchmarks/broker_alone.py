"""
A network broker without a guest and without a server that records: what it costs by itself.

The other end of its control socket is a thread of this process, which allows whatever is asked.
"""

import http.client
import os
import pwd
import socket
import subprocess
import threading

from agent_client.embedded import account
from codecage.network.v1 import network_pb2 as wire
from executor.kernel.frames import FrameBuffer, encode
from executor.launcher import program
from executor.linux.descriptors import send_stream

_BUDGET = 2**40
_MOST = 2**20


class BrokerAlone:
    """A broker process; `connected` gives a stream as a guest has it."""

    def __init__(self, trust):
        self.channel, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [
                    *program("executor.network.broker", *_user(), "--trust", str(trust)),
                    *("--socket", str(theirs.fileno())),
                ],
                pass_fds=[theirs.fileno()],
            )
        self.opened = 0
        self.channel.sendall(_framed(setup=wire.Setup()))
        self.ready = threading.Event()
        self.judge = threading.Thread(target=self._judge)
        self.judge.start()
        self.ready.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.shutdown(socket.SHUT_RDWR)
        self.judge.join()
        self.channel.close()
        self.process.wait()

    def connected(self, host, port):
        self.opened += 1
        asked = wire.Open(
            connection=self.opened, account=1, budget=_BUDGET, host=host, port=port, tls=True
        )
        ours, theirs = socket.socketpair()
        with theirs:
            send_stream(self.channel, _framed(open=asked), theirs.fileno())
        assert ours.recv(1) == b"\0", "the broker did not connect"
        return ours

    def _judge(self):
        buffer = FrameBuffer(_MOST)
        while data := self.channel.recv(65536):
            buffer.feed(data)
            while (frame := buffer.take()) is not None:
                self._answer(wire.FromBroker.FromString(frame))

    def _answer(self, frame):
        if frame.HasField("ready"):
            self.ready.set()
        elif frame.HasField("resolved"):
            found = [one.text for one in frame.resolved.addresses]
            dial = wire.Dial(connection=frame.resolved.connection, addresses=found)
            self.channel.sendall(_framed(dial=dial))
        elif frame.HasField("requested"):
            allowed = wire.Judgement(connection=frame.requested.connection, allowed=True)
            self.channel.sendall(_framed(judgement=allowed))


def _framed(**frame):
    return encode(wire.ToBroker(**frame).SerializeToString())


def _user():
    if os.geteuid() != 0:
        return ()
    user = pwd.getpwnam(account())
    return "--uid", str(user.pw_uid), "--gid", str(user.pw_gid)


def through(broker):
    """The class of connections of http.client whose TLS is the broker's."""

    class Through(http.client.HTTPConnection):
        default_port = 443

        def __init__(self, host, port, **_):
            super().__init__(host, port)

        def connect(self):
            self.sock = broker.connected(self.host, self.port)

    return Through
