"""
Deciding and recording: an answer of a policy, a brokered open, a record; what audit and capture
cost a cell; and how answers grow with the rules.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Final

from agent_client.client import Cage
from agent_client.errors import CodecageError
from executor.audit.record import Answer, Draft, Event, Origin
from executor.audit.store import AuditStore
from executor.bench.contest import (
    ONLY,
    Act,
    Better,
    Contestant,
    Curve,
    Missing,
    Role,
    Row,
    Setting,
)
from executor.bench.servers import (
    MICRO,
    MILLI,
    Asked,
    built,
    directory,
    policy,
    ran,
    seconds,
    serving,
)
from policy.decide import compile_policy
from policy.parse import parse
from policy.requests import FileAction, FileRequest, HttpRequest, NetworkRequest, Request
from policy.types import Access, Deny, FileGrant, HttpRule, NetworkGrant, Policy, Rule

_TEXT: Final = """version: 1
name: bench
filesystem:
  - {mount: /data, source: /srv/data, access: read}
  - {mount: /src, source: /srv/src, access: read, deny: ["**/*.key", ".git/**", "**/secret*"]}
  - {mount: /work/out, source: /srv/out, access: read-write}
  - {mount: /work, source: scratch, access: read-write}
deny: [{path: "/src/private/**"}]
network:
  - {host: api.example.com, http: [{methods: [GET], paths: ["/v1/prices/**", "/v2/*/rates"]}]}
  - {host: "*.example.org"}
"""
_PATH: Final = "/sales/2026/q1.csv"
_ASKED: Final[dict[str, tuple[Request, float]]] = {
    "path, no glob": (FileRequest(FileAction.READ, f"/data{_PATH}"), 1.0),
    "path, five globs": (FileRequest(FileAction.READ, f"/src{_PATH}"), 2.0),
    "write below a host mount": (FileRequest(FileAction.WRITE, f"/work/out{_PATH}"), 2.0),
    "connection to a host": (NetworkRequest("api.example.com", 443), 1.0),
    "connection below a wildcard": (NetworkRequest("files.example.org", 443), 2.0),
    "HTTP request": (HttpRequest("api.example.com", 443, True, "GET", "/v1/prices/eur"), 2.0),
}
_ANSWERS: Final = 500
_OPENS: Final = 100
_RECORDS: Final = 256
_OPENING: Final = """
for _ in range({count}):
    with open("{at}/0", "rb") as _file:
        _file.read()
"""
_HOST: Final = """
import sys, time
code = compile(sys.argv[1], "opening", "exec")
for line in sys.stdin:
    began = time.perf_counter()
    exec(code)
    print(time.perf_counter() - began, flush=True)
"""
_DRAFT: Final = Draft(
    event=Event.DECISION, origin=Origin.BROKER, session="a" * 32, cell=1,
    request="read /work/x.txt", answer=Answer.ALLOW, rule="filesystem[0]",
    rule_place="policy.yaml:12", policy_digest="ab" * 32,
)  # fmt: skip
_TABLE: Final = "CREATE TABLE records (sequence INTEGER PRIMARY KEY, data BLOB NOT NULL)"
_INSERT: Final = "INSERT INTO records (data) VALUES (?)"
# What a task of M3ToolEval is like: calls of tools, and files.
_WORK: Final = """
import json, random, time
for _number in range(20):
    reads(_number)
    with open("/data/0") as _file: _file.read()
_seen = [random.random() for _ in range(200)], time.time()
sum(_i * _i for _i in range(100_000))
"""


def decision(_setting: Setting, _stack: ExitStack) -> Sequence[Contestant]:
    """
    One answer of a policy, beside a look into a dictionary by the same text.
    """
    decide = compile_policy(parse(_TEXT, file="bench.yaml", base="/")).decide
    look = {_PATH: 1}.get
    return [
        Contestant("dict look-up", Role.FLOOR, lambda _: _repeated(lambda: look(_PATH))),
        *(
            Contestant(name, Role.OURS,
                       lambda _, asked=asked: _repeated(lambda: decide(asked)),  # type: ignore[misc]
                       "dict look-up", aim)
            for name, (asked, aim) in _ASKED.items()
        ),
    ]  # fmt: skip


def _repeated(act: Callable[[], object]) -> Act:
    """
    Microseconds of CPU time: an answer waits for nothing, and others may use the machine.
    """

    def measure(_case: str) -> float:
        began = time.process_time()
        for _ in range(_ANSWERS):
            act()
        return (time.process_time() - began) / _ANSWERS * MICRO

    return measure


def brokered(_setting: Setting, stack: ExitStack) -> Sequence[Contestant]:
    """
    A granted file of 100 bytes opened, read and closed, each time decided and recorded.
    """
    host = directory(stack)
    (host / "0").write_bytes(bytes(100))
    mount = f"filesystem: [{{mount: /data, source: {host}, access: read, deny: ['*.key']}}]"
    cage = serving(stack, dict([policy("any", "[core, native-core]", mount)]))

    def here(stack: ExitStack) -> Act:
        worker = stack.enter_context(Asked(_HOST, _OPENING.format(count=_OPENS, at=host)))
        return lambda _case: worker.number() / _OPENS * MICRO

    def there(image: str) -> Callable[[ExitStack], Act]:
        def begin(stack: ExitStack) -> Act:
            built(image)
            session = stack.enter_context(cage.session("any", image=image))
            code = _OPENING.format(count=_OPENS, at="/data")
            return lambda _: seconds(lambda: ran(session, code)) / _OPENS * MICRO

        return begin

    return [
        Contestant("openat, read, close", Role.FLOOR, here, note="this Python, no cage"),
        *(
            Contestant(image, Role.OURS, there(image), "openat, read, close", 80.0)
            for image in ("core", "native-core")
        ),
    ]


def record(_setting: Setting, stack: ExitStack) -> Sequence[Contestant]:
    """
    A record of the audit store that is waited for, and one of many that share a commit.
    """
    folder = directory(stack)
    return [
        Contestant("record, committed", Role.OURS, lambda s: _appended(s, folder / "one", 1),
                   "insert, committed", 25.0),
        Contestant("record, amortised", Role.OURS,
                   lambda s: _appended(s, folder / "many", _RECORDS), "insert, amortised", 5.0,
                   f"{_RECORDS} at a time"),
        Contestant("insert, committed", Role.FLOOR, lambda s: _inserted(s, folder / "1.db", 1),
                   note="SQLite, WAL, synchronous=NORMAL"),
        Contestant("insert, amortised", Role.FLOOR,
                   lambda s: _inserted(s, folder / "2.db", _RECORDS), note=f"{_RECORDS} a commit"),
    ]  # fmt: skip


def _appended(stack: ExitStack, path: Path, together: int) -> Act:
    store = stack.enter_context(AuditStore.open(path / "audit.sqlite3"))
    loop = asyncio.new_event_loop()
    stack.callback(loop.close)

    async def many() -> None:
        for _ in range(together - 1):
            store.append_nowait(_DRAFT)
        await store.append(_DRAFT)

    return lambda _case: seconds(lambda: loop.run_until_complete(many())) / together * MICRO


def _inserted(stack: ExitStack, path: Path, together: int) -> Act:
    db = sqlite3.connect(path, isolation_level=None)
    stack.callback(db.close)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    db.execute(_TABLE)
    data = [(bytes(300),)] * together

    def act() -> None:
        db.execute("BEGIN IMMEDIATE")
        db.executemany(_INSERT, data)
        db.execute("COMMIT")

    return lambda _case: seconds(act) / together * MICRO


def share(_setting: Setting, stack: ExitStack) -> Sequence[Contestant]:
    """
    A cell of twenty tool calls and twenty opens: with its record by without, and with a capture
    for replay by without one.

    A record cannot be turned off, so its share is counted: the records of the cell, each as long
    as one of `record, amortised` takes here, are subtracted.
    """
    host = directory(stack)
    (host / "0").write_bytes(bytes(100))
    more = (
        f"filesystem: [{{mount: /data, source: {host}, access: read, deny: ['*.key']}}]\n"
        "tools: [{name: reads, max_calls: 1000000, effect: read}]\n"
    )
    cage = serving(stack, dict([policy("plain", "core", more)]))

    def recorded(stack: ExitStack) -> Act:
        work = _working(cage, "plain")(stack)
        append = _appended(stack, host / "records", _RECORDS)
        with cage.session("plain", image="core", tools=[_reads]) as session:
            before = _records(session.run("None").audit_head)
            many = _records(session.run(_WORK).audit_head) - before

        def act(case: str) -> float:
            took = work(case)
            return took / (took - many * append(case) / MICRO * MILLI)

        return act

    def captured(stack: ExitStack) -> Act:
        plain = _working(cage, "plain")(stack)
        capturing = _captured(more)(stack)
        turn = count()

        def act(case: str) -> float:
            if next(turn) % 2:  # neither is always the first
                took = capturing(case)
                return took / plain(case)
            took = plain(case)
            return capturing(case) / took

        return act

    return [
        Contestant("recorded", Role.OURS, recorded, aim=1.03, note="by the same cell, counted"),
        Contestant("captured for replay", Role.OURS, captured, aim=1.1,
                   note="by the cell of a session that is not, in turn"),
    ]  # fmt: skip


def _reads(number: int) -> int:
    return number


_reads.__name__ = "reads"


def _working(cage: Cage, name: str) -> Callable[[ExitStack], Act]:
    def begin(stack: ExitStack) -> Act:
        built("core")
        session = stack.enter_context(cage.session(name, image="core", tools=[_reads]))
        return lambda _case: seconds(lambda: ran(session, _WORK)) * MILLI

    return begin


def _records(head: object) -> int:
    found = getattr(head, "sequence", None)
    if not isinstance(found, int):
        raise Missing("the server told no head of its record")
    return found


def _captured(more: str) -> Callable[[ExitStack], Act]:
    """
    The server is asked for it: one that does not capture yet refuses the policy.
    """

    def begin(stack: ExitStack) -> Act:
        try:
            captures = serving(
                stack, dict([policy("replay", "core", f"{more}audit: {{level: replay}}")])
            )
        except CodecageError as error:
            why = " ".join(str(error).split())[-160:]
            raise Missing(f"not in this version of the server ({why})") from None
        return _working(captures, "replay")(stack)

    return begin


def _files(many: int) -> tuple[Policy, Request]:
    """
    As many mounts, each with a glob, and up to a hundred entries of `deny`; the last is asked.
    """
    grants = tuple(
        FileGrant(f"/m{n}", f"/srv/{n}", Access.READ, (f"**/*.k{n}",), 0, 0, _rule(n))
        for n in range(many)
    )
    deny = tuple(Deny(f"/m{n}/private", "", _rule(n)) for n in range(min(many, 100)))
    made = Policy("bench", "", "bench.yaml", filesystem=grants, deny=deny)
    return made, FileRequest(FileAction.READ, f"/m{many - 1}{_PATH}")


def _globs(many: int) -> tuple[Policy, Request]:
    names = tuple(f"**/*.k{n}" if n % 2 else f"**/name{n}" for n in range(many))
    grant = FileGrant("/data", "/srv", Access.READ, names, 0, 0, _rule(0))
    made = Policy("bench", "", "bench.yaml", filesystem=(grant,))
    return made, FileRequest(FileAction.READ, f"/data{_PATH}")


def _hosts(many: int) -> tuple[Policy, Request]:
    grants = tuple(
        NetworkGrant(f"h{n}.example", (443,), True, False, (), 1, None, frozenset(), _rule(n))
        for n in range(many)
    )
    made = Policy("bench", "", "bench.yaml", network=grants)
    return made, NetworkRequest(f"h{many - 1}.example", 443)


def _http(many: int) -> tuple[Policy, Request]:
    rule = HttpRule(("GET",), tuple(f"/v1/p{n}/**" for n in range(many)), _rule(0))
    grant = NetworkGrant(
        "api.example", (443,), True, False, (rule,), 1, None, frozenset(), _rule(0)
    )
    made = Policy("bench", "", "bench.yaml", network=(grant,))
    return made, HttpRequest("api.example", 443, True, "GET", f"/v1/p{many - 1}/x")


def _rule(number: int) -> Rule:
    return Rule(f"rule[{number}]", "bench.yaml")


def _answers(
    made: Callable[[int], tuple[Policy, Request]],
) -> Callable[[Setting, ExitStack], Callable[[int], list[float]]]:
    def measure(_setting: Setting, _stack: ExitStack) -> Callable[[int], list[float]]:
        def at(point: int) -> list[float]:
            compiled, request = made(point)
            decide = compile_policy(compiled).decide
            if not decide(request).allowed:
                raise Missing("the policy of the benchmark does not allow what it should")
            act = _repeated(lambda: decide(request))
            return [act(ONLY) for _ in range(7)]

        return at

    return measure


def _records_grow(_setting: Setting, stack: ExitStack) -> Callable[[int], list[float]]:
    """
    Appending to a store that has already so many records.
    """
    folder = directory(stack)
    act = _appended(stack, folder / "grown", _RECORDS)
    there = count(0, _RECORDS)
    state = [next(there)]

    def at(point: int) -> list[float]:
        while state[0] < point:
            act(ONLY)
            state[0] = next(there)
        return [act(ONLY) for _ in range(15)]

    return at


_RULES: Final = (1, 10, 100, 1000, 10_000)
ROWS: Final = (
    Row("decision", "a policy's answer", "us", Better.LOWER, decision),
    Row("open", "a brokered open, read and close", "us", Better.LOWER, brokered),
    Row("record", "a record of the audit store", "us", Better.LOWER, record),
    Row("share", "what record and capture cost a cell, 1 being nothing", "x", Better.LOWER, share),
)
CURVES: Final = (
    *(
        Curve(f"rules-{name}", f"an answer under more {what}", what, "us", _RULES, _answers(made))
        for name, what, made in (
            ("mounts", "mounts", _files), ("globs", "globs of one mount", _globs),
            ("hosts", "hosts", _hosts), ("http", "paths of HTTP requests", _http),
        )
    ),
    Curve("records", "a record, amortised, in a store that has grown", "records", "us",
          (10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 10_000_000),
          _records_grow),
)  # fmt: skip
