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
from executor.audit.errors import AuditError
from executor.audit.record import OK, Head
from executor.kernel.acts import Result, file_status
from executor.kernel.docket import Docket
from executor.kernel.errors import GuestError, WorkerFault
from executor.kernel.frames import CHUNK
from executor.kernel.hostfiles import Right, WriteHandle
from executor.kernel.refusals import error_name
from executor.kernel.reply import Reply


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
    The open files of one session, at most its policy's `limits.open_files`.
    """

    def __init__(self, docket: Docket) -> None:
        self._docket = docket
        self._limit = docket.policy.limits.open_files
        self._next = 1
        self._open: dict[int, Open] = {}

    def require_room(self) -> None:
        """
        Raises GuestError (EMFILE) when no further file may be opened.
        """
        if len(self._open) >= self._limit:
            raise GuestError(errno.EMFILE, f"{self._limit} files are open already; close one")

    def reply(self, result: Result, heads: list[Head], path: str) -> Reply:
        """
        The reply for an act on `path` that was done: its outcome is recorded, or kept with the file
        where that is open to be written. Raises AuditUnavailable, with nothing left open.
        """
        later = result.handle is not None and Right.WRITE in result.handle.rights
        if not later:
            try:
                self._docket.outcome(heads, OK, result.size)
            except AuditError:
                result.close()
                raise
        if result.handle is not None:
            opened = Open(result.handle, tuple(heads) if later else (), path)
            result.answer.opened.handle = self._add(opened)
        return Reply(result.answer, result.descriptor)

    def use(self, kind: str, ask: frames_pb2.Ask) -> Reply:
        """
        Do what the ask of this kind wants of an open file.

        Blocks on the host's file system. Raises GuestError, and WorkerFault for no such kind.
        """
        if kind not in _USES:
            raise WorkerFault(f"the worker asked for {kind!r}, which nobody can ask for")
        use, number_of = _USES[kind]
        opened = self._find(number_of(ask))
        try:
            return Reply(use(opened, ask))
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

    def close(self, number: int) -> Reply:
        """
        Close a file and record its outcome. Raises GuestError (EBADF) and AuditUnavailable.
        """
        self._record(self._pop(number))
        return Reply(frames_pb2.Answer())

    def close_all(self) -> None:
        """
        Close every file, and record their outcomes. Raises AuditUnavailable when all are closed.
        """
        for opened in [self._pop(number) for number in [*self._open]]:
            self._record(opened)

    def _add(self, opened: Open) -> int:
        # The number by which the worker will name it. None is used twice.
        number, self._next = self._next, self._next + 1
        self._open[number] = opened
        return number

    def _pop(self, number: int) -> Open:
        opened = self._find(number)
        del self._open[number]
        opened.handle.close()
        return opened

    def _record(self, opened: Open) -> None:
        outcome = error_name(opened.failure) if opened.failure else OK
        self._docket.outcome(opened.decisions, outcome, opened.handle.written)

    def _find(self, number: int) -> Open:
        if number not in self._open:
            raise GuestError(errno.EBADF, f"no file is open as number {number}")
        return self._open[number]
