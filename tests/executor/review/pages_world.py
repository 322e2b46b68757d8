"""
A store with what a page has to tell: a denial, a commit, a network, hostile texts, a huge one.
"""

import asyncio

from executor.audit.listing import listing, seen
from executor.audit.record import OK, Answer, Clocks, Draft, Event, Origin
from executor.audit.store import AuditStore
from policy.parse import load

SESSION = "5e551011" * 4
HOSTILE_ID = "bad1" * 8
ODD_ID = '</title>"\x1b[2J\u202e\ud800'
START = 1_766_000_000_123_456_789
POLICY_TEXT = """\
version: 1
name: books
description: Reads the drop.
image: core
filesystem:
  - {mount: /drop, source: /srv/drop, access: read}
deny:
  - {path: "/drop/secrets/**", reason: "Keys are not for agents."}
"""
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</code></td></style><style>*{display:none}</style>",
    "\x1b[2J\x1b[31mred",
    "\u202egpj.exe",
    "\u200f\u05d0\u05d1 allow",
    "a\r\nSet-Cookie: taken=1",
    "nul\0\x7f\x9b",
    "\ud800 lone",
    "&lt;b&gt; &amp;",
    "javascript:alert(1)",
    "{{7*7}} {% raw %} ${7*7}",
    "background:url(//evil.example)",
    "y" * 10_000_000,
)
CHANGES = (
    seen("modified", "main.bean", directory=False, size=57, before="1" * 64, after="2" * 64),
    seen("added", "no\u202ete.txt", directory=False, size=4, before="", after="3" * 64),
    seen("deleted", "old", directory=True, size=0, before="", after=""),
)


def fill(path, policy_file):
    digest = load(str(policy_file)).digest
    times = iter(range(START, START + 10**15, 10**9))
    with AuditStore.open(path, clocks=Clocks(lambda: next(times), lambda: 5)) as store:
        written = [*told(digest), *hostile(digest)]
        asyncio.run(_append(store, written))
        return store.head()


async def _append(store, drafts):
    for one in drafts:
        await store.append(one)


def told(digest):
    """
    The session that a reviewer looks for; the n-th draft is record n + 1.
    """
    own = {"session": SESSION, "policy_digest": digest}
    cell = {**own, "cell": 1}
    ends = (("wall_us", 1500), ("cpu_us", 900), ("stdout", 40), ("requests", 3), ("denied", 1))
    return [
        Draft(event=Event.SERVER_START),
        Draft(event=Event.SESSION_CREATE, detail=(("policy", "books"), ("image", "core")), **own),
        Draft(event=Event.CELL_START, digest=bytes(32), size=120, **cell),
        _asked("read /drop/report.csv", Answer.ALLOW, "filesystem[0]", "books.yaml:6", **cell),
        Draft(event=Event.OUTCOME, origin=Origin.BROKER, refers=4, outcome=OK, size=22, **cell),
        _asked("read /drop/secrets/api.key", Answer.DENY, "deny[0]", "books.yaml:8", **cell),
        _asked("connect API.Example.com:443", Answer.DENY, "network", "books.yaml:network", **cell),
        _asked("call search(limit=2)", Answer.ALLOW, "tools[0]", "books.yaml:9", **cell),
        Draft(event=Event.CELL_END, refers=3, outcome=OK, detail=ends, **cell),
        _asked("commit /ledger", Answer.ALLOW, "filesystem[0]", "books.yaml:6", **own),
        Draft(
            event=Event.OUTCOME,
            origin=Origin.BROKER,
            refers=10,
            outcome=OK,
            detail=(("changes", 3), ("digest", "ab" * 32), *listing(CHANGES)),
            **own,
        ),
        Draft(event=Event.SESSION_END, refers=2, outcome="closed", **own),
        _asked("image big", Answer.DENY, "image", "books.yaml:4", session=None),
    ]


def hostile(digest):
    own = {"session": HOSTILE_ID, "policy_digest": digest}
    yield Draft(
        event=Event.SESSION_CREATE,
        detail=(("policy", HOSTILE[0]), ("labels", HOSTILE[1])),
        session=HOSTILE_ID,
        policy_digest=HOSTILE[1],
    )
    for text in HOSTILE:
        yield _asked(f"read /{text}", Answer.DENY, text, text, told=text, cell=1, **own)
        yield _asked(f"connect {text}:80", Answer.ALLOW, text, text, told=text, cell=1, **own)
        detail = ((text[:200].replace("\ud800", ""), text),)
        yield Draft(event=Event.WORKER_NOTE, origin=Origin.WORKER, detail=detail, cell=1, **own)
    yield Draft(event=Event.CELL_END, cell=1, outcome=HOSTILE[2], detail=(("wall_us", 5),), **own)
    yield Draft(event=Event.SESSION_CREATE, session=ODD_ID, detail=(("policy", "odd"),))


def _asked(request, answer, rule, place, told="because of it", **fields):
    return Draft(
        event=Event.DECISION,
        origin=Origin.BROKER,
        request=request,
        answer=answer,
        rule=rule,
        rule_place=place,
        detail=(("reason", told),),
        **fields,
    )
