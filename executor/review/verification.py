"""
Whether the record is whole, asked again and again while the pages are served.

`codecage audit verify` runs in a process of its own, at low priority: a walk over a million
records takes a while, and no page waits for it. The head that it ended at is given to the next
run, so a record that is written anew while the pages are up is found by that too.
"""

import asyncio
import json
import os
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from executor.audit.errors import AuditError
from executor.audit.verify import last_head
from executor.children.launcher import environment, program

_SHORTEST_PAUSE: Final = 20.0
_PAUSE_PER_RUN: Final = 10.0
"""So many times as long as a run took is the pause behind it."""
_NICE: Final = 15
_UNANCHORED: Final = (
    "No head that was kept outside was given (--head, --checkpoints): a record that was cut, or "
    "written anew as a whole, before these pages were started looks like this too."
)


@dataclass(frozen=True, slots=True)
class Verified:
    """
    The last verdict. `reached` is the last good record, `bad` the first bad one (0: the file as a
    whole), None where the record is whole; `lines` are sentences; `at_ns` when it was begun.
    """

    reached: int
    first: int
    bad: int | None
    lines: tuple[str, ...]
    at_ns: int

    @property
    def whole(self) -> bool:
        """
        Whether nothing is wrong.
        """
        return self.bad is None


class Verification:
    """
    Runs `codecage audit verify` while there is something new. `last` is None before the first
    verdict; `trouble` says why there is none.
    """

    def __init__(self, audit: Path, options: Sequence[str] = ()) -> None:
        self._audit = audit
        self._options = tuple(options)
        self._head = ""
        self.last: Verified | None = None
        self.trouble = ""

    async def run(self) -> None:
        """
        Verify, wait, and begin again, until it is cancelled.
        """
        while True:
            began = time.monotonic()
            if self._is_news():
                try:
                    await self._verify()
                except OSError as error:
                    # No descriptor or process for it now; there may be at the next.
                    self.trouble = f"codecage audit verify was not started: {error}"
            took = time.monotonic() - began
            await asyncio.sleep(max(_SHORTEST_PAUSE, took * _PAUSE_PER_RUN))

    def _is_news(self) -> bool:
        try:
            return str(last_head(self._audit)) != self._head
        except (AuditError, OSError):
            return True

    async def _verify(self) -> None:
        head = ("--head", self._head) if self._head else ()
        arguments = ("audit", "verify", "--json", "--audit", str(self._audit), *self._options)
        at_ns = time.time_ns()
        child = await asyncio.create_subprocess_exec(
            *program("executor.cli", *arguments, *head),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            env=environment(os.environ),
        )
        os.setpriority(os.PRIO_PROCESS, child.pid, _NICE)
        try:
            said, complaint = await child.communicate()
        except asyncio.CancelledError:
            child.kill()
            await child.wait()
            raise
        try:
            self._keep(json.loads(said), at_ns)
        except (ValueError, KeyError, TypeError):
            lines = complaint.decode("utf-8", "replace").splitlines()
            self.trouble = lines[-1] if lines else "codecage audit verify has said nothing"

    def _keep(self, found: dict[str, object], at_ns: int) -> None:
        head = str(found["head"] or "")
        reached = int(head.partition(":")[0] or 0)
        whole = bool(found["whole"])
        bad = found["first_bad_sequence"]
        self.last = Verified(
            reached=reached,
            first=int(str(found["first_sequence"])),
            bad=None if whole else int(str(bad)),
            lines=_lines(found, reached, anchored=bool(self._options)),
            at_ns=at_ns,
        )
        self.trouble = ""
        if whole:
            self._head = head


def _lines(found: dict[str, object], reached: int, *, anchored: bool) -> tuple[str, ...]:
    if not found["whole"]:
        bad = found["first_bad_sequence"]
        where = f"first bad record: {bad}" if bad else "the file as a whole"
        return (f"NOT WHOLE, {where} ({found['fault']}): {found['message']}",)
    whole = f"The record is whole up to record {reached}."
    return (whole,) if anchored else (whole, _UNANCHORED)
