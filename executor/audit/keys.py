"""
The keys of sessions, one for each session of a file: made with its first record, and written in
the same transaction.
"""

import secrets
import sqlite3

from executor.audit.chain import column_text
from executor.audit.errors import AuditUnavailable
from executor.audit.leaf import KEY_BYTES, is_blank, is_keyed
from executor.audit.record import Draft, Event


class Keys:
    """
    The keys in a file; those that were made since the last `keep` can be taken back.

    Memory holds those of open sessions; a record that comes late has its key read.
    """

    __slots__ = ("_db", "_ended", "_held", "fresh")

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._held: dict[str, bytes] = {}
        self._ended: list[str] = []
        # Those that are not written yet, by the names that the table has.
        self.fresh: dict[str, bytes] = {}

    def of(self, draft: Draft) -> bytes | None:
        """
        The key under which the record's texts are committed to, None where that is none.

        Raises AuditUnavailable where the session was erased, or its key altered; sqlite3.Error.
        """
        if draft.session is None or not is_keyed(draft):
            return None
        name = column_text(draft.session)
        if draft.event is Event.SESSION_END:
            self._ended.append(name)
        if (key := self._held.get(name) or self.fresh.get(name)) is not None:
            return key
        query = "SELECT key FROM session_key WHERE name = ?"
        row = self._db.execute(query, (name,)).fetchone()
        if row is None:
            self.fresh[name] = secrets.token_bytes(KEY_BYTES)
            return self.fresh[name]
        (stored,) = row
        if not isinstance(stored, bytes) or len(stored) != KEY_BYTES or is_blank(stored):
            raise AuditUnavailable(
                f"session {name} was erased, or its key is not what was written; nothing is added "
                "to it: run `codecage audit verify`"
            )
        return stored

    def keep(self) -> None:
        """
        The records since then are written, and so are their keys.
        """
        if self.fresh:
            self._held.update(self.fresh)
            self.fresh = {}
        for name in self._ended:
            self._held.pop(name, None)
        self._ended.clear()

    def forget(self) -> None:
        """
        The records since then were not written.
        """
        self.fresh = {}
        self._ended.clear()
