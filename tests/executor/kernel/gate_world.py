"""
A gate with a record and two granted directories, of which one keeps a secret beside what is shown.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from codecage.worker.v1 import worker_pb2 as wire
from executor.audit import read
from executor.audit.record import Record
from executor.audit.session import SessionLog
from executor.audit.store import AuditStore
from executor.kernel.gate import Gate, Reply
from executor.kernel.paths import HostTrees
from executor.kernel.pool import FilePool
from executor.kernel.standing import Standing
from policy.decide import compile_policy
from policy.types import CageKind
from tests.executor.fakes.harness import policy

CANARY = b"outside"


@dataclass(slots=True)
class Scene:
    gate: Gate
    store: AuditStore
    audit: Path
    data: Path
    out: Path
    log: SessionLog

    async def ask(self, **fields) -> wire.Answer:
        return (await self.reply(**fields)).answer

    async def reply(self, **fields) -> Reply:
        return await self.gate.answer(wire.Ask(**fields))

    def records(self) -> list[Record]:
        return read.records(self.audit, session="s", limit=10_000)

    def rows(self) -> list[tuple[str, str | None, str | None, str | None]]:
        return [
            (r.event.value, r.request, r.answer.value if r.answer else None, r.outcome)
            for r in self.records()
        ]


def on_gate(
    tmp_path: Path,
    scenario: Callable[[Scene], Awaitable[None]],
    limits: str = "",
    cage: CageKind = CageKind.WASM,
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    (data / "private").mkdir(parents=True)
    out.mkdir()
    (data / "a.csv").write_bytes(b"1,2\n")
    (data / "private" / "x.key").write_bytes(CANARY)
    (data / "readme.txt").symlink_to("private/x.key")
    (data / "alias.csv").symlink_to("a.csv")
    rules = policy(
        "filesystem:\n"
        f"  - {{mount: /data, source: {data}, access: read, deny: ['private/**']}}\n"
        f"  - {{mount: /out, source: {out}, access: read-write, quota: 1Ki, max_files: 3}}\n"
        f"{limits}"
    )

    async def main() -> None:
        audit = tmp_path / "record" / "audit.sqlite3"
        files = FilePool()
        with AuditStore.open(audit) as store:
            log = SessionLog(store, "s", rules.digest, rules.limits.requests)
            await log.create(rules.name)
            trees = HostTrees(rules.filesystem)
            gate = Gate(Standing(compile_policy(rules)), trees, log, files.share("test"), cage=cage)
            scene = Scene(gate, store, audit, data, out, log)
            try:
                await scenario(scene)
            finally:
                gate.close()
                files.close()

    asyncio.run(main())
