"""
Running a gate: a session of the server's own, in a cage, that no client can ask for or see.

Its policy grants two directories for reading, copies that nobody else has, and nothing else: no
network, no tools, no secret, no file of the host, limits of its own. It is recorded as every
session is. The answer counts only where the cell came to its end within its time and said so; a
gate that was killed, cut off, or ended by itself in any other way has come to no answer.
"""

import asyncio
import hashlib
import logging
from collections.abc import Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from executor.gating.programs import BEFORE, TREE, NoProgram, code_of
from executor.kernel.errors import ExecutorError
from executor.kernel.judging import Case
from executor.sessions.events import CellStatus, Ended, Output, Value
from executor.sessions.running import Asked
from executor.sessions.session import Session
from executor.transactions.judged import AFTER
from executor.transactions.judged import BEFORE as OLD
from executor.transactions.verdicts import Judgement, Verdict
from policy.cages import cage_of
from policy.digest import digest_of
from policy.gates import GateRule, Trust
from policy.types import Access, FileGrant, Limits, Policy

_LOG = logging.getLogger(__name__)
OUTPUT: Final = 16 * 2**10
"""Bytes that a gate may write; the rest is cut off."""
_AT_A_TIME: Final = 2
# Beyond the gate's own time (seconds): making its cage, and ending it.
_AROUND: Final = 60.0
_ANSWERS: Final = {
    "'passed'": Judgement.PASSED,
    "'failed'": Judgement.FAILED,
    "'refused'": Judgement.REFUSED,
}
_WHY: Final = {
    CellStatus.TIMED_OUT: "it took longer than its timeout",
    CellStatus.CPU_LIMIT: "it took longer than its timeout",
    CellStatus.INTERRUPTED: "the server is stopping",
    CellStatus.EXITED: "it ended itself without an answer",
    CellStatus.WORKER_LOST: "its process ended before it had answered",
}


class Opens(Protocol):
    """
    Makes the sessions of gates.
    """

    def gate_session(
        self, policy: Policy, labels: Mapping[str, str]
    ) -> AbstractAsyncContextManager[Session]:
        """
        A session under this policy, ended at the end of the block. Raises ExecutorError.
        """


@dataclass(slots=True)
class _Heard:
    """
    What a gate's cell has told.
    """

    output: bytes = b""
    answer: str = ""
    status: CellStatus | None = None
    seconds: float = 0.0


class Gatekeeper:
    """
    Runs the gates of one server, two at a time.
    """

    def __init__(self, opens: Opens) -> None:
        self._opens = opens
        self._room = asyncio.Semaphore(_AT_A_TIME)
        self._running: set[asyncio.Task[Verdict]] = set()

    async def judge(self, case: Case) -> Verdict:
        """
        The gate's answer; see `Judges`. Whoever does not wait for it any more leaves the gate
        where it is, in its room, until it ends.
        """
        await self._room.acquire()
        judging = self._kept(self._in_time(case))
        judging.add_done_callback(lambda _: self._room.release())
        return await asyncio.shield(judging)

    async def _in_time(self, case: Case) -> Verdict:
        running = self._kept(self._answer(case))
        # Never cancelled: a session that is half made would be nobody's.
        await asyncio.wait({running}, timeout=case.gate.timeout + _AROUND)
        if running.done():
            return running.result()
        return _broken(case.gate, "its cage did not answer in time")

    def _kept(self, work: Coroutine[Any, Any, Verdict]) -> "asyncio.Task[Verdict]":
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _answer(self, case: Case) -> Verdict:
        try:
            return await self._run(case, await asyncio.to_thread(code_of, case))
        except NoProgram as error:
            _LOG.error("gate %s: %s", case.gate.name, error.why)
            return _broken(case.gate, error.told)
        except OSError as error:
            _LOG.error("gate %s: %s", case.gate.name, error)
            return _broken(case.gate, "its program cannot be read")
        except ExecutorError as error:
            _LOG.error("gate %s: %s", case.gate.name, error.detail or error)
            return _broken(case.gate, error.message)

    async def _run(self, case: Case, code: str) -> Verdict:
        labels = {"gate": case.gate.name, "session": case.asker, "changes": case.digest}
        async with self._opens.gate_session(policy_of(case.gate, case.where), labels) as session:
            heard = _Heard()
            asked = Asked(code, wall_time=None, keep=None, answers=False, narrow=frozenset())
            with await session.execute(asked) as reader:
                async for numbered in reader:
                    _hear(heard, numbered.event)
            return _verdict(case.gate, heard, session.facts.id)


def _hear(heard: _Heard, event: object) -> None:
    match event:
        case Output(data=data):
            heard.output += data
        case Value(text=text):
            heard.answer = text
        case Ended(status=status, usage=usage):
            heard.status, heard.seconds = status, usage.wall_time


def _verdict(gate: GateRule, heard: _Heard, session: str) -> Verdict:
    judgement = _ANSWERS.get(heard.answer, Judgement.BROKEN)
    message = heard.output.decode("utf-8", "replace").strip()
    if heard.status is not CellStatus.OK or heard.seconds > gate.timeout:
        judgement = Judgement.BROKEN
        why = _WHY.get(heard.status or CellStatus.WORKER_LOST, "it failed")
        why = _WHY[CellStatus.TIMED_OUT] if heard.seconds > gate.timeout else why
        message = f"The gate {gate.name} came to no answer: {why}.\n{message}".strip()
    digest = hashlib.sha256(heard.output).hexdigest()
    return Verdict(gate.name, judgement, message, gate.trust is Trust.CODE, session, digest)


def _broken(gate: GateRule, why: str) -> Verdict:
    message = f"The gate {gate.name} came to no answer: {why}."
    return Verdict(gate.name, Judgement.BROKEN, message, gate.trust is Trust.CODE)


def policy_of(gate: GateRule, where: Path) -> Policy:
    """
    What a gate may do. Its digest is the same for all runs: the directories are new each time.
    """
    policy = Policy(
        name=f"gate-{gate.name}",
        description=f"What the gate {gate.name} may do: read the files that it judges.",
        file=gate.rule.file,
        images=(gate.image,),
        filesystem=(_shown(TREE, AFTER, gate), _shown(BEFORE, OLD, gate)),
        limits=Limits(
            memory=gate.memory,
            cpu_time=gate.timeout,
            wall_time=gate.timeout,
            output=OUTPUT,
            cells=1,
        ),
        cage=cage_of(gate.image),
    )
    policy = replace(policy, digest=digest_of(policy))
    placed = (replace(one, source=str(where / (one.source or ""))) for one in policy.filesystem)
    return replace(policy, filesystem=tuple(placed))


def _shown(mount: str, source: str, gate: GateRule) -> FileGrant:
    return FileGrant(mount, source, Access.READ, (), 0, 0, gate.rule)
