"""
Guests with served mounts on a real supervisor, a real gate and a real record, without a box.
"""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from executor.audit import read
from executor.audit.record import Record
from executor.audit.session import SessionLog
from executor.audit.store import AuditStore
from executor.children import launcher
from executor.children.supervision import Attendance, Supervision
from executor.kernel.cage import BoxEnds
from executor.kernel.gate import Gate
from executor.kernel.paths import HostTrees
from executor.kernel.pool import FilePool, Share
from executor.kernel.standing import Standing
from executor.linux import userns
from policy.decide import compile_policy
from policy.types import Policy
from tests.executor.fakes.harness import policy

ROOT = Path(__file__).resolve().parents[3]
HOST_ID = 70_000
NOBODY = 65_534
PATIENCE = 20
# Each guest has a file system of its own in memory there, and its mounts in that.
TOP = "/mnt"


class Refused(Exception):
    def __init__(self, number: int | None, text: str) -> None:
        super().__init__(text)
        self.errno = number


class Guest:
    """
    One guest process; `do` has it do a deed and gives what came back, or raises Refused.
    """

    def __init__(self, places: list[str], *, watched: bool = False) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(PATIENCE)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.executor.process.fuse_guest", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/proto"},
            )
        self.channel = ours
        assert ours.recv(100) == b"apart"
        userns.map_one(self.process.pid, 1000, HOST_ID, HOST_ID)
        ours.send(json.dumps({"top": TOP, "mounts": places, "watched": watched}).encode())
        data, self.descriptors, _, _ = socket.recv_fds(ours, 100, 40)
        assert data == b"mounted"

    def ask(self, deed: str, *arguments: Any) -> None:
        self.channel.send(json.dumps([deed, arguments]).encode())

    def told(self) -> Any:
        data = self.channel.recv(2**22)
        assert data, "the guest has ended"
        return _done(json.loads(data))

    def do(self, deed: str, *arguments: Any) -> Any:
        self.ask(deed, *arguments)
        return self.told()

    def close(self) -> None:
        self.channel.close()
        self.process.kill()
        self.process.wait(PATIENCE)


def _done(told: dict[str, Any]) -> Any:
    if "done" in told:
        return told["done"]
    raise Refused(told.get("errno"), told["text"])


class HeldShare(Share):
    """
    Threads whose host file system answers while `free` is set, and hangs while it is not: for
    every act, or for those of one name.
    """

    def __init__(self, files: FilePool, name: str, free: asyncio.Event, only: str = "") -> None:
        self._real = files.share(name)
        self._until = free
        self._only = only

    async def run(self, act: Any, *args: Any, **kwargs: Any) -> Any:
        if self._only in {"", act.__name__}:
            await self._until.wait()
        return await self._real.run(act, *args, **kwargs)

    async def attempt(self, act: Any, *args: Any, **kwargs: Any) -> Any:
        # Of such a file system nothing is known to be in memory.
        return await self.run(act, False, *args, **kwargs)


@dataclass(slots=True)
class Session:
    """
    A guest, its gate and its record.
    """

    guest: Guest
    gate: Gate
    log: SessionLog
    name: str
    attendance: Attendance
    audit: Path

    async def do(self, deed: str, *arguments: Any) -> Any:
        return await asyncio.to_thread(self.guest.do, deed, *arguments)

    async def refused(self, deed: str, *arguments: Any) -> int | None:
        try:
            done = await self.do(deed, *arguments)
        except Refused as error:
            if error.errno is None:
                raise
            return error.errno
        raise AssertionError(f"{deed} {arguments} was not refused: {done!r}")

    async def records(self) -> list[Record]:
        await self.log.file_rpc("mark", "ok")
        return read.records(self.audit, session=self.name, limit=10_000)

    async def rows(self) -> list[tuple[str, ...]]:
        """
        Decisions and outcomes: what was asked, what was said, what came of it.
        """
        found = {one.sequence: one for one in await self.records()}
        rows: list[tuple[str, ...]] = []
        for one in found.values():
            if one.answer is not None:
                rows.append((one.answer.value, str(one.request), one.rule or ""))
            elif one.refers in found and found[one.refers].answer is not None:
                rows.append(
                    ("came", str(found[one.refers].request), str(one.outcome), str(one.size))
                )
        return rows


@dataclass(slots=True)
class World:
    """
    A supervisor, and the means to make sessions on it.
    """

    supervision: Supervision
    store: AuditStore
    audit: Path
    files: FilePool
    root: Path
    sessions: list[Session] = field(default_factory=list)
    numbers: "count[int]" = field(default_factory=count)

    async def session(
        self,
        rules: Policy,
        mounts: dict[str, str],
        *,
        watched: bool = False,
        hold: asyncio.Event | None = None,
        only: str = "",
    ) -> Session:
        """
        A session under `rules`, whose mounts (guest paths) stand at `places` of its guest.
        """
        name = f"s{next(self.numbers)}"
        log = SessionLog(self.store, name, rules.digest, rules.limits.requests)
        await log.create(rules.name)
        share = self.files.share(name) if hold is None else HeldShare(self.files, name, hold, only)
        gate = Gate(Standing(compile_policy(rules)), HostTrees(rules.filesystem), log, share)
        guest = await asyncio.to_thread(Guest, list(mounts.values()), watched=watched)
        handed = [*guest.descriptors]
        listener = handed.pop() if watched else None
        ends = BoxEnds(listener, tuple(zip(mounts, handed, strict=True)))
        try:
            attendance = await self.supervision.attach(name, ends, gate, log)
        except BaseException:
            guest.close()
            raise
        finally:
            ends.close()
        assert attendance is not None
        session = Session(guest, gate, log, name, attendance, self.audit)
        self.sessions.append(session)
        for place in mounts.values():
            await session.do("status", place)  # as a worker does when it begins
        return session

    async def end(self, session: Session) -> None:
        session.guest.close()
        if session not in self.sessions:
            return
        self.sessions.remove(session)
        await session.attendance.close()
        session.gate.close()


def supervisor_row() -> tuple[str, ...]:
    return launcher.program(
        "executor.process.supervisor", "--uid", str(NOBODY), "--gid", str(NOBODY)
    )


@contextlib.contextmanager
def launched() -> Iterator[launcher.Launcher]:
    started = launcher.launch([supervisor_row()])
    try:
        yield started
    finally:
        started.stop()


@contextlib.asynccontextmanager
async def world(tmp_path: Path, started: launcher.Launcher) -> AsyncIterator[World]:
    audit = tmp_path / "record" / "audit.sqlite3"
    files = FilePool()
    with AuditStore.open(audit) as store:
        supervision = Supervision(started, 0)
        made = World(supervision, store, audit, files, tmp_path)
        try:
            yield made
        finally:
            for session in [*made.sessions]:
                await made.end(session)
            supervision.close()
            files.close()


async def _alone(made: World, scenario: Callable[[World], Any]) -> None:
    try:
        await scenario(made)
    finally:
        for session in [*made.sessions]:
            await made.end(session)


@contextlib.contextmanager
def ring() -> Iterator[Callable[[Callable[[World], Any]], None]]:
    """
    One supervisor for many scenarios: a function that runs one.
    """
    with (
        launched() as started,
        tempfile.TemporaryDirectory() as place,
        asyncio.Runner() as runner,
    ):
        entered = world(Path(place), started)
        made = runner.run(entered.__aenter__())
        try:
            yield lambda scenario: runner.run(_alone(made, scenario))
        finally:
            runner.run(entered.__aexit__(None, None, None))


def places(*names: str) -> dict[str, str]:
    """
    Where a guest here has what it would see at these paths in a box.
    """
    return {name: f"{TOP}{name}" for name in names}


__all__ = ["Guest", "Refused", "Session", "World", "launched", "places", "policy", "ring"]
