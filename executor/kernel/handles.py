"""
The files that one session has open in the server: a number each, and what was done through it.

An open for writing is one decision, on disk before the file is opened; every write through the
handle is an effect under that decision. So that a program which writes a file in ten thousand
pieces makes two records and not twenty thousand, the outcome is recorded once, when the handle is
closed: the bytes written and the first error. A handle that the end of the session closes gets
its outcome then.
"""

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.audit.record import Head
from executor.kernel.acts import Result, file_status
from executor.kernel.errors import GuestError
from executor.kernel.frames import CHUNK
from executor.kernel.hostfiles import Right, WriteHandle


@dataclass(slots=True)
class Open:
    """
    One open file: its guest path, the decisions whose outcome its closing is, and the first error
    that its use met. One that is only read has had its outcome, so it has no decisions here.
    """

    handle: WriteHandle
    decisions: tuple[Head, ...]
    path: str = ""
    failure: int = 0


def _read(opened: Open, ask: frames_pb2.Ask) -> frames_pb2.Answer:
    size = min(ask.read.length, CHUNK)
    return frames_pb2.Answer(data=opened.handle.read_at(size, ask.read.offset))


def _write(opened: Open, ask: frames_pb2.Ask) -> frames_pb2.Answer:
    handle, data = opened.handle, ask.write.data
    appends = Right.APPEND in handle.rights
    count = handle.append(data) if appends else handle.write_at(data, ask.write.offset)
    return frames_pb2.Answer(count=count)


def _truncate(opened: Open, ask: frames_pb2.Ask) -> frames_pb2.Answer:
    opened.handle.truncate(ask.truncate.length)
    return frames_pb2.Answer()


def _sync(opened: Open, _: frames_pb2.Ask) -> frames_pb2.Answer:
    opened.handle.sync()
    return frames_pb2.Answer()


def _stat(opened: Open, _: frames_pb2.Ask) -> frames_pb2.Answer:
    return frames_pb2.Answer(status=file_status(opened.handle.stat()))


_Use = Callable[[Open, frames_pb2.Ask], frames_pb2.Answer]
_USES: Final[Mapping[str, tuple[_Use, Callable[[frames_pb2.Ask], int]]]] = MappingProxyType(
    {
        "read": (_read, lambda ask: ask.read.handle),
        "write": (_write, lambda ask: ask.write.handle),
        "truncate": (_truncate, lambda ask: ask.truncate.handle),
        "sync": (_sync, lambda ask: ask.sync),
        "stat_handle": (_stat, lambda ask: ask.stat_handle),
    }
)


class Handles:
    """
    The open files of one session, at most `limit`.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._next = 1
        self._open: dict[int, Open] = {}

    def require_room(self) -> None:
        """
        Raises GuestError (EMFILE) when no further file may be opened.
        """
        if len(self._open) >= self._limit:
            raise GuestError(errno.EMFILE, f"{self._limit} files are open already; close one")

    def add(self, opened: Open) -> int:
        """
        Keep a file; the number by which the worker will name it. Numbers are not used twice.
        """
        number, self._next = self._next, self._next + 1
        self._open[number] = opened
        return number

    def use(self, kind: str, ask: frames_pb2.Ask) -> Result | None:
        """
        Do what the ask of this kind wants of an open file; None for another kind of ask.

        Blocks on the host's file system. Raises GuestError.
        """
        if kind not in _USES:
            return None
        use, number_of = _USES[kind]
        opened = self._find(number_of(ask))
        try:
            return Result(use(opened, ask))
        except GuestError as error:
            opened.failure = opened.failure or error.errno
            raise

    def path(self, kind: str, ask: frames_pb2.Ask) -> str:
        """
        The guest path of the file that the ask of this kind is about; "" where there is none.
        """
        number = _USES[kind][1](ask) if kind in _USES else 0
        return self._open[number].path if number in self._open else ""

    def written_below(self, mount: str) -> list[str]:
        """
        The guest paths below a mount that are open to be written.
        """
        return [
            one.path
            for one in self._open.values()
            if Right.WRITE in one.handle.rights and one.handle.grant.mount == mount
        ]

    def pop(self, number: int) -> Open:
        """
        Close the file `number`; the caller records its outcome. Raises GuestError (EBADF).
        """
        opened = self._find(number)
        del self._open[number]
        opened.handle.close()
        return opened

    def pop_all(self) -> list[Open]:
        """
        Close every file that is open.
        """
        return [self.pop(number) for number in [*self._open]]

    def _find(self, number: int) -> Open:
        if number not in self._open:
            raise GuestError(errno.EBADF, f"no file is open as number {number}")
        return self._open[number]
