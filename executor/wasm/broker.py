"""
What the guest asks of the world outside, in the words of the worker's frames.

Each method is one request and one answer; a refusal is a GuestFault that carries the gate's
reason. Before the session has begun, in the zygote, there is nobody to ask: `Nobody` refuses.
"""

import socket
from typing import Protocol

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel.frames import CHUNK
from executor.wasm.abi import Errno, GuestFault, Open
from executor.wasm.channel import Channel


class Asks(Protocol):
    """
    Anything that answers an `Ask`, or refuses it with a GuestFault.
    """

    def ask(self, request: wire.Ask) -> wire.Answer:
        """
        The answer to one request.
        """
        ...

    def passed_descriptor(self) -> int:
        """
        The descriptor of a file that came with the last answer.
        """
        ...

    def passed_stream(self) -> socket.socket:
        """
        The stream that came with the last answer.
        """
        ...


class Nobody:
    """
    The world as the zygote sees it: nothing is outside.
    """

    def ask(self, request: wire.Ask) -> wire.Answer:  # noqa: ARG002 - the protocol's signature
        """
        Refuse.
        """
        raise GuestFault(Errno.ENOENT)

    def passed_descriptor(self) -> int:
        """
        Refuse.
        """
        raise GuestFault(Errno.EBADF)

    def passed_stream(self) -> socket.socket:
        """
        Refuse.
        """
        raise GuestFault(Errno.EBADF)


class Broker:
    """
    Requests on paths and open files of granted mounts, and the attempts that need a verdict.
    """

    def __init__(self, channel: Channel | Nobody) -> None:
        self._channel: Asks = channel

    def stat(self, path: str, *, follow: bool) -> wire.FileStatus:
        """
        The status of a path, or with `follow` off of the link itself.
        """
        return self._ask(wire.Ask(stat=wire.PathAsk(path=path, follow=follow))).status

    def listing(self, path: str) -> list[tuple[str, wire.Kind.ValueType]]:
        """
        The names in a directory and their kinds, sorted.
        """
        answer = self._ask(wire.Ask(list=wire.PathAsk(path=path, follow=True)))
        return [(entry.name, entry.kind) for entry in answer.listing.entries]

    def read_link(self, path: str) -> str:
        """
        The target of a symbolic link.
        """
        return self._ask(wire.Ask(read_link=wire.PathAsk(path=path))).link

    def open(self, path: str, flags: Open) -> tuple[wire.Opened, int | None]:
        """
        Open a file; for plain reading the second value is a descriptor, which the caller owns.
        """
        request = wire.OpenAsk(
            path=path,
            write=flags.writes,
            create=Open.CREAT in flags,
            exclusive=Open.EXCL in flags,
            truncate=Open.TRUNC in flags,
            append=Open.APPEND in flags,
            no_follow=Open.NOFOLLOW in flags,
        )
        opened = self._ask(wire.Ask(open=request)).opened
        return opened, self._channel.passed_descriptor() if opened.passed else None

    def read(self, handle: int, offset: int, length: int) -> bytes:
        """
        Up to `length` bytes (CHUNK at most) of a file open for writing.
        """
        request = wire.ReadAsk(handle=handle, offset=offset, length=min(length, CHUNK))
        return self._ask(wire.Ask(read=request)).data[:length]

    def write(self, handle: int, offset: int, data: bytes) -> int:
        """
        Write at `offset`, CHUNK bytes at most; how many were.
        """
        request = wire.WriteAsk(handle=handle, offset=offset, data=data[:CHUNK])
        return min(self._ask(wire.Ask(write=request)).count, len(data))

    def truncate(self, handle: int, length: int) -> None:
        """
        Set the size of an open file.
        """
        self._ask(wire.Ask(truncate=wire.TruncateAsk(handle=handle, length=length)))

    def sync(self, handle: int) -> None:
        """
        Bring an open file to the disk.
        """
        self._ask(wire.Ask(sync=handle))

    def close(self, handle: int) -> None:
        """
        Close an open file.
        """
        self._ask(wire.Ask(close=handle))

    def stat_handle(self, handle: int) -> wire.FileStatus:
        """
        The status of an open file.
        """
        return self._ask(wire.Ask(stat_handle=handle)).status

    def make_directory(self, path: str) -> None:
        """
        Make a directory.
        """
        self._ask(wire.Ask(make_directory=path))

    def remove(self, path: str, *, directory: bool) -> None:
        """
        Remove a file or an empty directory.
        """
        ask = wire.Ask(remove_directory=path) if directory else wire.Ask(remove_file=path)
        self._ask(ask)

    def rename(self, old: str, new: str) -> None:
        """
        Rename within one mount.
        """
        self._ask(wire.Ask(rename=wire.RenameAsk(old=old, new=new)))

    def set_times(self, path: str, modified_ns: int) -> None:
        """
        Set the time of last modification, in nanoseconds.
        """
        self._ask(wire.Ask(set_times=wire.SetTimesAsk(path=path, modified_ns=modified_ns)))

    def network(self, kind: str) -> None:
        """
        Have the wish for a socket of a kind that nobody is given judged, or for any where the
        policy grants no network.
        """
        self._ask(wire.Ask(network=wire.NetworkAsk(socket=kind)))

    def resolve(self, host: str) -> None:
        """
        Ask whether a name may be connected to at all.
        """
        self._ask(wire.Ask(resolve=host))

    def connect(self, host: str, port: int) -> wire.Connected:
        """
        Ask for a connection; `passed_stream` has the stream that came with it.
        """
        return self._ask(wire.Ask(connect=wire.ConnectAsk(host=host, port=port))).connected

    def passed_stream(self) -> socket.socket:
        """
        The stream that came with the last answer, which the caller owns.
        """
        return self._channel.passed_stream()

    def connection_end(self, connection: int) -> None:
        """
        Ask why a connection ended: nothing to say is a plain end.
        """
        self._ask(wire.Ask(connection_end=connection))

    def transact(self, verb: str, mount: str) -> str:
        """
        Commit a transaction, drop it, or ask what a commit would do: the report, as JSON.
        """
        return self._ask(wire.Ask(transact=wire.TransactAsk(verb=verb, mount=mount))).report

    def run(self, program: str) -> None:
        """
        Have an attempt to start a program judged.
        """
        self._ask(wire.Ask(run=program))

    def _ask(self, request: wire.Ask) -> wire.Answer:
        return self._channel.ask(request)
