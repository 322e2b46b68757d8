"""
A ledger in a transaction, and gates of sessions that change it.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

from codecage.worker.v1 import worker_pb2 as wire
from executor.audit import read
from executor.audit.session import SessionLog
from executor.audit.store import AuditStore
from executor.kernel.committing import MountLocks
from executor.kernel.gate import Gate
from executor.kernel.paths import HostTrees
from executor.kernel.peers import Peers
from executor.kernel.pool import FilePool
from executor.kernel.standing import Standing
from executor.kernel.transactions import Verb
from policy.decide import compile_policy
from policy.requests import CommitRequest, FileRequest
from policy.types import CageKind
from tests.executor.fakes.harness import policy

MAIN = b"1 a\n"


class One:
    """
    One session's gate.
    """

    def __init__(self, gate, log, trees, standing):
        self.gate, self.log, self.trees, self.standing = gate, log, trees, standing

    async def ask(self, **fields):
        return (await self.gate.answer(wire.Ask(**fields))).answer

    async def write(self, path, data, *, keep=False):
        opened = await self.ask(open=wire.OpenAsk(path=path, write=True, create=True))
        assert not opened.errno, opened.reason
        handle = opened.opened.handle
        await self.ask(write=wire.WriteAsk(handle=handle, offset=0, data=data))
        return handle if keep else await self.ask(close=handle)

    async def transact(self, verb="commit", mount=""):
        return await self.ask(transact=wire.TransactAsk(verb=verb, mount=mount))

    async def commit(self, mount="/ledger"):
        return await self.gate.transactions.do(Verb.COMMIT, CommitRequest(mount, by_client=True))


class World:
    def __init__(self, ledger, audit, store, locks):
        self.ledger, self.audit, self.store, self.locks = ledger, audit, store, locks

    def rows(self, session="s0"):
        found = read.records(self.audit, session=session, limit=1000)
        commits = {row.sequence for row in found if str(row.request).startswith("commit")}
        return [
            (row.event.value, row.answer.value if row.answer else None, row.outcome)
            for row in found
            if row.sequence in commits or row.refers in commits
        ]


class Stricter(Standing):
    """
    Takes the right to change files away once `over` is set, after the work was done.
    """

    over = False

    def decide(self, request):
        decision = super().decide(request)
        changes = isinstance(request, FileRequest) and request.action.changes
        return replace(decision, allowed=False) if self.over and changes else decision


def on_gates(
    tmp_path,
    scenario,
    *,
    count=1,
    grant="",
    limits="",
    cage=CageKind.WASM,
    stands=Standing,
    approvals=None,
    diffs=None,
):
    ledger, state = tmp_path / "ledger", tmp_path / "state"
    (ledger / "private").mkdir(parents=True)
    state.mkdir()
    (ledger / "main").write_bytes(MAIN)
    (ledger / "other").write_bytes(b"o")
    rules = policy(
        "filesystem:\n  - {mount: /ledger, source: "
        f"{ledger}, access: transaction, deny: [private], quota: 1Ki, max_files: 9{grant}}}\n"
        f"{limits}"
    )

    async def main():
        audit = tmp_path / "record" / "audit.sqlite3"
        locks, files = MountLocks(), FilePool()
        async with AsyncExitStack() as stack:
            store = stack.enter_context(AuditStore.open(audit))
            stack.callback(files.close)
            sessions = []
            for number in range(count):
                log = SessionLog(store, f"s{number}", rules.digest, rules.limits.requests)
                await log.create(rules.name)
                trees = HostTrees(rules.filesystem, str(state))
                share = files.share("test")
                standing = stands(compile_policy(rules))
                peers = Peers(locks, approvals, diffs=diffs)
                gate = Gate(standing, trees, log, share, None, cage, (), peers)
                stack.callback(gate.close)
                sessions.append(One(gate, log, trees, standing))
            await scenario(World(ledger, audit, store, locks), *sessions)

    asyncio.run(main())
