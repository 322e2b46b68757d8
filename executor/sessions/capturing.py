"""
Which sessions are captured, and how one begins to be.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from executor.audit.store import AuditStore
from executor.capture.diffs import DiffKeeper
from executor.capture.events import Kind
from executor.capture.recording import Capture
from executor.capture.vault import Vault
from executor.capture.watching import Incomplete, WatchedStore
from executor.facts import Facts
from executor.kernel.cage import Caged
from executor.sessions.captured import CapturedWorker, header
from policy.redaction import Redaction

_NATIVE: Final = Incomplete("native code")


@dataclass(frozen=True, slots=True)
class Begun:
    """
    What a session that is captured is made with; `abandon` is for one that is not made.
    """

    facts: Facts
    worker: Caged
    store: WatchedStore
    diffs: DiffKeeper
    abandon: Callable[[], None]


class Captures:
    """
    The captures of one server, beside its audit record.
    """

    def __init__(self, audit: Path) -> None:
        self._vault = Vault(audit)
        self._threads = ThreadPoolExecutor(1, "captures")

    def begin(self, facts: Facts, worker: Caged, store: AuditStore) -> Begun:
        """
        Capture a session from its beginning; one of the process cage only says that it is not, and
        has the diffs of its commits kept.

        Raises OSError where the capture cannot be made.
        """
        redaction, native = Redaction(facts.policy.audit.redact), facts.order is not None
        diffs = DiffKeeper(self._vault, facts.id, redaction, new_key=native)
        if native:
            told, watched = replace(facts, capture=_NATIVE), WatchedStore(store, _NATIVE)
            return Begun(told, worker, watched, diffs, _nothing)
        capture = Capture(self._vault.create(facts.id), self._threads)
        capture.add(Kind.HEADER, header(facts, worker))
        told = replace(facts, captured=True, capture=capture)
        kept = CapturedWorker(worker, capture, redacts=bool(redaction))

        def abandon() -> None:
            capture.close()
            self._vault.erase(facts.id)

        return Begun(told, kept, WatchedStore(store, capture), diffs, abandon)

    def close(self) -> None:
        """
        Wait for what is being written.
        """
        self._threads.shutdown()


def _nothing() -> None:
    """
    Nothing was begun.
    """
