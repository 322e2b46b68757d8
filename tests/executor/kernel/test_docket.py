"""
What a session's docket counts and records: beyond its bounds, and where only audit mode allows.
"""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from executor.audit import read
from executor.audit.record import OK, Record
from executor.audit.session import SessionLog
from executor.audit.store import AuditStore
from executor.kernel import docket
from executor.kernel.docket import LOOKUPS_A_REQUEST, Docket
from executor.kernel.errors import GuestError
from executor.kernel.standing import Standing
from policy.decide import compile_policy
from policy.parse import load
from policy.requests import FileAction, FileRequest, Request

OPEN = FileRequest(FileAction.READ, "/data/a.csv")
LOOK = FileRequest(FileAction.STAT, "/data/a.csv")
HIDDEN = FileRequest(FileAction.STAT, "/data/x.key")
CEILING = "filesystem: [{mount: /data, source: /srv/data, access: read}]\n"
OWN = "filesystem: [{mount: /data, source: /srv/data, access: read, deny: ['*.key']}]\n"


@dataclass(slots=True)
class Scene:
    docket: Docket
    log: SessionLog
    audit: Path

    def told(self) -> list[Record]:
        return read.records(self.audit, session="s", limit=1000)[1:]

    async def refused(self, ask: Callable[[Request], Awaitable[object]], request: Request) -> int:
        with pytest.raises(GuestError) as caught:
            await ask(request)
        return caught.value.errno


def on_docket(place: Path, scenario: Callable[[Scene], Awaitable[None]], mode: str) -> None:
    (place / "ceilings").mkdir()
    (place / "ceilings" / "top.yaml").write_text(f"version: 1\nname: top\n{CEILING}")
    (place / "own.yaml").write_text(
        f"version: 1\nname: own\nwithin: [top]\nmode: {mode}\nlimits: {{requests: 2}}\n{OWN}"
    )
    rules = load(str(place / "own.yaml"))

    async def main() -> None:
        audit = place / "record" / "audit.sqlite3"
        with AuditStore.open(audit) as store:
            log = SessionLog(store, "s", rules.digest, 100)
            await log.create(rules.name)
            await scenario(Scene(Docket(Standing(compile_policy(rules)), log), log, audit))

    asyncio.run(main())


@pytest.mark.parametrize("lookups", [False, True])
def test_beyond_a_bound_one_record_tells_why_and_the_last_one_how_many_more(tmp_path, lookups):
    async def scenario(scene: Scene) -> None:
        count = scene.docket.count_lookup if lookups else scene.docket.count
        for _ in range(2 * LOOKUPS_A_REQUEST if lookups else 2):
            await count(OPEN)
        assert scene.told() == []
        assert [await scene.refused(count, OPEN) for _ in range(4)] == [errno.EDQUOT] * 4
        assert scene.docket.counts.denied == 1
        await scene.log.end("over")
        why, dropped, _ = scene.told()
        assert (str(why.request), why.rule) == (str(OPEN), "limits.requests")
        assert dropped.detail == (("deny read", 3),)

    on_docket(tmp_path, scenario, "enforce")


def test_requests_and_lookups_do_not_spend_each_other(tmp_path):
    async def scenario(scene: Scene) -> None:
        for _ in range(2):
            await scene.docket.count(OPEN)
        await scene.docket.count_lookup(OPEN)
        assert (scene.docket.counts.requests, scene.docket.counts.lookups) == (2, 1)
        assert scene.docket.counts.kinds == {"read": 2}

    on_docket(tmp_path, scenario, "enforce")


def test_a_look_that_only_audit_mode_allows_is_recorded_the_first_time(tmp_path):
    async def scenario(scene: Scene) -> None:
        # What is no look is recorded by whoever does it.
        for request in (LOOK, HIDDEN, HIDDEN, FileRequest(FileAction.READ, HIDDEN.path)):
            assert (await scene.docket.admitted(request)).allowed
        await scene.log.end("over")
        decision, outcome, _ = scene.told()
        assert (str(decision.request), outcome.outcome) == (str(HIDDEN), OK)
        assert dict(decision.detail)["would_deny"] == "filesystem[0].deny[0]"
        assert outcome.refers == decision.sequence

    on_docket(tmp_path, scenario, "audit")


def test_so_many_looks_are_kept_in_mind_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(docket, "_MOST_LOOKED", 3)

    async def scenario(scene: Scene) -> None:
        for number in range(9):
            await scene.docket.admitted(FileRequest(FileAction.STAT, f"/data/{number}.key"))
        assert [one.request for one in scene.told() if one.request] == [
            f"stat /data/{number}.key" for number in range(3)
        ]

    on_docket(tmp_path, scenario, "audit")


def test_the_same_look_without_audit_mode_is_refused_each_time_and_recorded(tmp_path):
    async def scenario(scene: Scene) -> None:
        await scene.docket.admitted(LOOK)
        ask = scene.docket.admitted
        assert [await scene.refused(ask, HIDDEN) for _ in range(2)] == [errno.ENOENT] * 2
        assert [str(one.request) for one in scene.told()] == [str(HIDDEN)] * 2
        assert scene.docket.counts.denied == 2

    on_docket(tmp_path, scenario, "enforce")
