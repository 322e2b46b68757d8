"""
What gates say of a commit, before anything of it is done: the copy that they look at, and whether
what they have looked at is still what would be committed.

Neither a lock nor anything in the source is held meanwhile, because a gate may take minutes. So
the answer is bound to a digest of the list of changes and to the files that were shown: `holds` is
asked under the lock, of the commit that is prepared there, and what is not as it was judged is not
done. Nothing is judged twice, and no yes is used twice.
"""

import asyncio
import errno
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Final, Protocol

from executor.kernel.docket import Docket
from executor.kernel.errors import GuestError
from executor.kernel.pool import Share
from executor.transactions.changes import Change
from executor.transactions.commits import Report
from executor.transactions.errors import Conflict
from executor.transactions.judged import Copied, Wanted, copied, moved
from executor.transactions.layer import Layer
from executor.transactions.verdicts import Judgement, Verdict
from policy.gates import GateRule, Trust
from policy.globs import GlobSet
from policy.requests import FileAction, FileRequest


@dataclass(frozen=True, slots=True)
class Case:
    """
    What one gate is to judge: the directories `after` and `before` below `where`, which are its
    own, the changes that it matches, and the digest of the whole list. `asker` is the identity of
    the session whose commit it is.
    """

    gate: GateRule
    where: Path
    changes: tuple[Change, ...]
    digest: str
    asker: str


class Judges(Protocol):
    """
    Whoever runs gates: each in a cage of its own.
    """

    async def judge(self, case: Case) -> Verdict:
        """
        The gate's answer. Never raises for what the gate does: that is an answer, too.
        """


@dataclass(frozen=True, slots=True)
class Judged:
    """
    The answers, the digest that they are about, and what each gate was shown.
    """

    digest: str
    verdicts: tuple[Verdict, ...] = ()
    shown: tuple[tuple[Wanted, Copied], ...] = ()

    @property
    def passed(self) -> bool:
        """
        Whether every gate that had to judge says yes.
        """
        return all(verdict.passed for verdict in self.verdicts)

    @property
    def summary(self) -> str:
        """
        All answers in one line.
        """
        return "; ".join(verdict.summary for verdict in self.verdicts)

    def require_holds(self, layer: Layer, digest: str) -> None:
        """
        See that a commit with this digest is the one that was judged, and rests on the same files.

        Raises Conflict for files of the host, GuestError (EBUSY) where the session itself has
        changed more, and OSError.
        """
        if digest != self.digest:
            message = "the session changed more while its commit was judged; commit again"
            raise GuestError(errno.EBUSY, message)
        for wanted, files in self.shown:
            if paths := moved(layer, files, wanted):
                raise Conflict(*paths)


UNJUDGED: Final = Judged("")


class Judging:
    """
    The gates of one session's mounts. Without `judges` no commit passes a mount that has gates.
    """

    def __init__(self, docket: Docket, threads: Share, judges: Judges | None, asker: str) -> None:
        self._docket = docket
        self._threads = threads
        self._judges = judges
        self._asker = asker
        self._given_up: GuestError | None = None
        self._waiting: asyncio.Task[Verdict] | None = None

    def give_up(self, why: GuestError) -> None:
        """
        Nobody waits any more for what is being judged, if anything is.
        """
        self._given_up = why
        if self._waiting is not None:
            self._waiting.cancel()

    def gates(self, mount: str) -> tuple[GateRule, ...]:
        """
        The gates of a mount.
        """
        grants = self._docket.policy.filesystem
        return next((one.gates for one in grants if one.mount == mount), ())

    async def judged(self, layer: Layer, proposal: Report) -> Judged:
        """
        Have every gate that matches judge the list of a preview.

        Raises GuestError where the files cannot be shown to it, and the one that it is given up
        with; and OSError.
        """
        self._given_up = None
        verdicts, shown = [], []
        for gate in self.gates(layer.mount):
            on, protected = GlobSet(gate.on), GlobSet(gate.protected)
            matching = tuple(one for one in proposal.changes if _hits(on, one.path))
            broken = [one.path for one in proposal.changes if _hits(protected, one.path)]
            if broken:
                verdicts.append(_refused(gate, broken))
            elif matching:
                seen = GlobSet((*gate.on, *gate.protected))
                wanted = partial(self._may_see, layer.mount, seen)
                verdict, files = await self._one(layer, gate, matching, wanted, proposal.digest)
                verdicts.append(verdict)
                shown.append((wanted, files))
        return Judged(proposal.digest, tuple(verdicts), tuple(shown))

    def _may_see(self, mount: str, seen: GlobSet, path: str) -> bool:
        """
        What the gate writes reaches the agent, so it is shown nothing that the agent may not read.
        """
        if not _hits(seen, path):
            return False
        return self._docket.decide(FileRequest(FileAction.READ, f"{mount}/{path}")).allowed

    async def _one(
        self,
        layer: Layer,
        gate: GateRule,
        changes: tuple[Change, ...],
        wanted: Callable[[str], bool],
        digest: str,
    ) -> tuple[Verdict, Copied]:
        if self._judges is None:
            raise GuestError(errno.ENOSYS, f"this server cannot run the gate {gate.name}")
        where = Path(await self._threads.run(mkdtemp, prefix="gate-", dir=layer.place))
        try:
            files = await self._threads.run(copied, layer, changes, wanted, where)
            case = Case(gate, where, changes, digest, self._asker)
            return await self._answer(self._judges, case), files
        finally:
            await self._threads.run(shutil.rmtree, where, ignore_errors=True)

    async def _answer(self, judges: Judges, case: Case) -> Verdict:
        if self._given_up is None:  # it may be while the files are copied, too
            self._waiting = asyncio.get_running_loop().create_task(_asked(judges, case))
            await asyncio.wait({self._waiting})
            waited, self._waiting = self._waiting, None
            if self._given_up is None:
                return waited.result()
        raise self._given_up


async def _asked(judges: Judges, case: Case) -> Verdict:
    return await judges.judge(case)


def _hits(globs: GlobSet, path: str) -> bool:
    return globs.match(path) is not None


def _refused(gate: GateRule, paths: list[str]) -> Verdict:
    more = f" and {len(paths) - _MOST_NAMED} more" if len(paths) > _MOST_NAMED else ""
    message = (
        f"A commit may not change what the gate {gate.name} goes by: "
        f"{', '.join(paths[:_MOST_NAMED])}{more}. Put it back as it was, or roll back."
    )
    return Verdict(gate.name, Judgement.REFUSED, message, gate.trust is Trust.CODE)


_MOST_NAMED: Final = 10
