"""
The record of the readers: every page is written down before it is sent.

The record has one writer, which is the server, so this one is a file of its own, of the same make:
a tree of the same leaves, which the same commands show, verify and sign. A page that cannot be
written down is not shown.
"""

import hashlib
import os
from pathlib import Path
from typing import Self

from executor.audit.record import OK, Answer, Detail, Draft, Event
from executor.audit.store import AuditStore
from executor.review.login import Reader

_RULE = "review token"


def beside(audit: Path) -> Path:
    """
    Where the readers of a record are recorded unless somebody says otherwise:
    `audit.readers.sqlite3` for `audit.sqlite3`.
    """
    return audit.with_name(f"{audit.stem}.readers{audit.suffix}")


class Readers:
    """
    The open record of the readers; it belongs to one event loop.
    """

    def __init__(self, store: AuditStore) -> None:
        self._store = store

    @classmethod
    def open(cls, path: Path) -> Self:
        """
        Open the file or make it. Raises as `AuditStore.open` does: AuditInUse where another
        review page has it, AuditDamaged where it is not whole or not this user's alone.
        """
        return cls(AuditStore.open(path))

    async def begun(self, audit: Path, listen: str) -> None:
        """
        Record that a review page was started. Raises AuditUnavailable.
        """
        detail: Detail = (("audit", str(audit)), ("listen", listen), ("pid", os.getpid()))
        await self._store.append(Draft(event=Event.SERVER_START, detail=detail))

    async def ended(self) -> None:
        """
        Record that it has ended in order. Raises AuditUnavailable.
        """
        await self._store.append(Draft(event=Event.SERVER_STOP))

    async def read(
        self, reader: Reader, asked: str, status: int, body: bytes, session: str | None
    ) -> None:
        """
        Record what somebody is about to be sent: the status, the size and the SHA-256 of all of
        it. `session` is the one that it is about, if it is about one.

        On the disk when it returns: what was read cannot be taken back. Raises AuditUnavailable.
        """
        draft = Draft(
            event=Event.REVIEW_READ,
            session=session,
            request=asked,
            answer=Answer.ALLOW,
            rule=_RULE,
            outcome=OK if status < 400 else f"HTTP {status}",
            size=len(body),
            digest=hashlib.sha256(body).digest(),
            detail=(("reader", reader.name), ("status", status)),
        )
        await self._store.append(draft, durable=True)

    async def login(self, reader: Reader | None, unseen: int) -> None:
        """
        Record a login, or an attempt with a wrong token (None); `unseen` attempts before it were
        turned away without a look. Raises AuditUnavailable.
        """
        detail: Detail = () if reader is None else (("reader", reader.name),)
        if unseen:
            detail = (*detail, ("turned_away", unseen))
        draft = Draft(
            event=Event.REVIEW_LOGIN,
            request="log in",
            answer=Answer.DENY if reader is None else Answer.ALLOW,
            rule=_RULE,
            detail=detail,
        )
        await self._store.append(draft, durable=True)

    def close(self) -> None:
        """
        Write what waits, and let go of the file.
        """
        self._store.close()
