"""
Captured sessions read one at a time, by a process that keeps the rights which the others give up.

The record, the captures and their keys are the server's account's, and are gigabytes in all. Who
replays them wants each when its turn comes, and by then can open none of it any more. So a process
is forked first that reads for it: it takes no word of anybody, sends what it reads in the order in
which it was asked for, and waits with the next until the last was taken.
"""

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from executor.audit.errors import AuditError
from executor.capture.errors import CaptureError
from executor.capture.vault import Vault
from executor.replay.errors import Unread
from executor.replay.reading import Recorded, image_of, open_session


@dataclass(frozen=True, slots=True)
class _Refusal:
    """
    In place of what was to be read: why it was not.
    """

    why: str


class Fetcher:
    """
    The reading process, asked. `images` are those that the sessions ran, names by key.
    """

    def __init__(self, ours: Connection) -> None:
        self._ours = ours
        self.images: dict[str, str] = self._next()

    def fetch(self) -> Recorded:
        """
        The next session, in order. Raises Unread for one that cannot be read; others follow it.
        """
        found: Recorded = self._next()
        return found

    def _next(self) -> Any:
        try:
            found = self._ours.recv()
        except EOFError:
            raise Unread("the process that reads the captures has ended") from None
        if isinstance(found, _Refusal):
            raise Unread(found.why)
        return found


@contextlib.contextmanager
def fetching(audit: Path, vault: Vault, sessions: Sequence[str]) -> Iterator[Fetcher]:
    """
    A process that reads these sessions of the record at `audit`, in order. Call it while no thread
    runs, with the rights to read them.
    """
    forking = multiprocessing.get_context("fork")
    ours, theirs = forking.Pipe(duplex=False)
    reader = forking.Process(target=_read, args=(ours, theirs, audit, vault, sessions))
    reader.start()
    theirs.close()
    try:
        yield Fetcher(ours)
    finally:
        # It sees that nobody takes any more, and ends.
        ours.close()
        reader.join()
        reader.close()


def _read(
    ours: Connection, theirs: Connection, audit: Path, vault: Vault, sessions: Sequence[str]
) -> None:
    ours.close()
    # Ctrl-C is for those who replay; with them this ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):
        theirs.send(_images(vault, sessions))
        for session in sessions:
            theirs.send(_tried(lambda session=session: open_session(audit, vault, session)))  # type: ignore[misc]


def _images(vault: Vault, sessions: Sequence[str]) -> dict[str, str]:
    """
    Those of one that cannot be read are told of when its turn comes.
    """
    found = {}
    for session in sessions:
        with contextlib.suppress(CaptureError, OSError):
            key, name = image_of(vault, session)
            found[key] = name
    return found


def _tried(read: Callable[[], object]) -> object:
    try:
        return read()
    except (AuditError, CaptureError, OSError) as error:
        return _Refusal(str(error))
