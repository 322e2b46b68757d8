"""
The review page on a large record: what a reader waits for, through the real server.

The floor is the same page of a record of a thousand: a page that reads no more than it shows costs
the same on both. Each page is written down and synced before it is answered, and the walk of
`codecage audit verify` goes on beside, at low priority, as always.
"""

import http.client
import itertools
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

from executor.audit.ledger import stamp
from executor.audit.record import Answer, Clocks, Draft, Event, Origin
from executor.audit.store import AuditStore
from executor.bench.contest import (
    Act,
    AimOf,
    Better,
    Contestant,
    Failed,
    Missing,
    Role,
    Row,
    Setting,
)
from executor.bench.servers import MILLI, directory, seconds

_LARGE: Final = 100_000  # a million takes a minute and a half to make
_SMALL: Final = 1000
_BATCH: Final = 2000
_SHORT: Final = 40  # requests of a session; the fifth has three tenths of the record
_LONG_ONE: Final = 4
_STOP_SECONDS: Final = 30.0
_MODULE: Final = ("-m", "executor.cli", "audit", "serve", "--listen", "127.0.0.1:0")


def pages(setting: Setting, stack: ExitStack) -> Sequence[Contestant]:
    """
    Milliseconds of each page.
    """
    folder = directory(stack)
    large = max(_SMALL, int(_LARGE * setting.effort.amount))
    return [
        Contestant(f"{large:,} records", Role.OURS, partial(_begun, folder, large),
                   f"{_SMALL:,} records", 2.0, aim_of=AimOf.RATIO),
        Contestant(f"{_SMALL:,} records", Role.FLOOR, partial(_begun, folder / "small", _SMALL)),
    ]  # fmt: skip


def _begun(folder: Path, count: int, stack: ExitStack) -> Act:
    audit = folder / str(count) / "audit.sqlite3"
    _fill(audit, count)
    served = _Served(audit)
    stack.callback(served.stop)
    places = _places(count)
    return lambda case: seconds(lambda: served.get(places[case])) * MILLI


def _places(count: int) -> dict[str, str]:
    long = f"{_LONG_ONE:032x}"
    return {
        "the list of sessions": "/",
        "sessions with denials": "/?denied=1",
        "the longest session, its first 500 steps": f"/session/{long}",
        "the same from its middle": f"/session/{long}?after={count // 3}",
        "a short session": f"/session/{0:032x}",
        "one decision": f"/record/{count // 2 - count // 2 % 2 + 3}",
        "search: the last denials": "/search?decision=deny",
        "search: a path that is nowhere": "/search?path=/nowhere/**",
        "search: a host that is nowhere": "/search?host=nowhere.example",
    }


def _fill(path: Path, count: int) -> None:
    """
    Write so many records as the writer would, in batches, a millisecond apart.
    """
    times = itertools.count(time.time_ns() - count * 10**6, 10**6)
    clocks = Clocks(lambda: next(times), lambda: 5)
    with AuditStore.open(path) as store:
        rest = itertools.islice(_drafts(count * 3 // 10), count)
        while batch := list(itertools.islice(rest, _BATCH)):
            # What `append` does, without an event loop in between.
            store._ledger.commit([stamp(one, clocks) for one in batch])  # noqa: SLF001
            if store._durability.wants_help:  # noqa: SLF001
                store._durability.checkpoint(store._ledger.connection)  # noqa: SLF001


def _drafts(long: int) -> Iterator[Draft]:
    """
    Sessions of 80 records, and the fifth with `long` requests, of which every 400th is denied.
    """
    sequence = 0
    for number in itertools.count():
        own: dict[str, Any] = {"session": f"{number:032x}", "policy_digest": "ab" * 32}
        cell = {**own, "cell": 1}
        held = (("policy", "analyst"), ("image", "core"))
        yield Draft(event=Event.SESSION_CREATE, detail=held, **own)
        yield Draft(event=Event.CELL_START, digest=bytes(32), size=120, **cell)
        created, started, sequence = sequence + 1, sequence + 2, sequence + 2
        for place in range(long if number == _LONG_ONE else _SHORT):
            denied = place % 400 == 7
            yield _decision(f"read /data/reports/{number}/{place}.csv", cell, denied=denied)
            sequence += 1
            if not denied:
                outcome: dict[str, Any] = {"refers": sequence, "outcome": "ok", "size": place}
                yield Draft(event=Event.OUTCOME, origin=Origin.BROKER, **outcome, **cell)
                sequence += 1
        used = (("wall_us", 1000), ("cpu_us", 900), ("stdout", 12), ("denied", 1))
        yield Draft(event=Event.CELL_END, refers=started, outcome="ok", detail=used, **cell)
        yield Draft(event=Event.SESSION_END, refers=created, outcome="closed", **own)
        sequence += 2


def _decision(request: str, cell: dict[str, Any], *, denied: bool) -> Draft:
    return Draft(
        event=Event.DECISION,
        origin=Origin.BROKER,
        request=request,
        answer=Answer.DENY if denied else Answer.ALLOW,
        rule="filesystem[0]",
        rule_place="analyst.yaml:12",
        detail=(("reason", "granted by filesystem[0]"),),
        **cell,
    )


class _Served:
    """
    The pages of one record.
    """

    def __init__(self, audit: Path) -> None:
        command = (sys.executable, "-P", *_MODULE, "--audit", str(audit))
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        said = [self._process.stdout.readline().split() for _ in range(2)]
        if any(len(words) < 2 for words in said):
            self.stop()
            raise Missing("the review page does not start: 'codecage audit serve' says why")
        self._token = said[1][1]
        port = int(said[0][1].rstrip("/").rpartition(":")[2])
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def get(self, place: str) -> str:
        """
        A page. Raises Failed where there is none.
        """
        self._connection.request("GET", place, headers={"Authorization": f"Bearer {self._token}"})
        answer = self._connection.getresponse()
        text = answer.read().decode()
        self._connection.close()
        if answer.status != http.client.OK:
            raise Failed(f"{place} gave {answer.status}")
        return text

    def stop(self) -> None:
        """
        End the server.
        """
        self._process.terminate()
        self._process.wait(_STOP_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()


ROWS: Final = (
    Row("review", "a page of the review of a record", "ms", Better.LOWER, pages,
        tuple(_places(_SMALL))),
)  # fmt: skip
