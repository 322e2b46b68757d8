"""
A store with two sessions, a denied image and everything that a filter can tell apart.
"""

import argparse

from audit_world import SESSION, append_all, draft

from executor.audit import cli
from executor.audit.record import OK, Answer, Clocks, Draft, Event, Origin
from executor.audit.store import AuditStore

START = 1_766_000_000_123_456_789
OTHER = "0ddba115" * 4
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</code></td></style><style>*{display:none}",
    "\x1b[2J\x1b[31mred",
    "\u202egpj.exe",
    "\u200f\u05d0\u05d1 allow",
    "a\r\n77  allow",
    "nul\0\x7f\x9b",
    "\ud800 lone",
    "&lt;b&gt; &amp;",
    "=cmd()|' /C calc'!A0",
    "x" * 4096,
    "\u540d" * 3000,
    "{{7*7}} ${7*7} `x`",
)


def run(*arguments):
    """
    The command as typed; its exit status.
    """
    parser = argparse.ArgumentParser()
    cli.register(parser.add_subparsers())
    args = parser.parse_args(["audit", *map(str, arguments)])
    return args.run(args)


def asked(request, answer=Answer.ALLOW, *, session=SESSION, cell=1, **fields):
    fields.setdefault("rule", "filesystem[0]")
    fields.setdefault("rule_place", "notebook.yaml:12")
    fields.setdefault("detail", (("reason", "because of it"),))
    return draft(request=request, answer=answer, session=session, cell=cell, **fields)


def world():
    """
    The drafts, one second apart; the n-th is record n + 1.
    """
    server = {"origin": Origin.SERVER, "session": None}
    return [
        draft(Event.SERVER_START, **server),
        draft(Event.SESSION_CREATE, detail=(("policy", "notebook"), ("image", "core"))),
        draft(Event.CELL_START, cell=1, digest=bytes(32), size=120),
        asked("read /data/a.csv"),
        draft(Event.OUTCOME, cell=1, refers=4, outcome=OK, size=9),
        asked("read /data/keys/id.pem", Answer.DENY, rule_place="notebook.yaml:14"),
        asked("connect API.Example.com:443"),
        draft(Event.OUTCOME, cell=1, refers=7, outcome="ECONNRESET", size=30),
        asked("GET https://api.example.com:443/v1?(3 bytes, sha256 00ff)"),
        draft(Event.WORKER_NOTE, origin=Origin.WORKER, cell=1, detail=(("what", "setitimer"),)),
        draft(Event.CELL_END, cell=1, outcome=OK, detail=(("wall_us", 1500), ("denied", 1))),
        draft(Event.SESSION_CREATE, session=OTHER, detail=(("policy", "other"),)),
        asked("write /data/b.csv", session=OTHER, origin=Origin.SUPERVISOR),
        asked("image big", Answer.DENY, rule="image", **server | {"cell": None}),
        draft(Event.OUTCOME, session=OTHER, refers=13, outcome="ENOSPC"),
        draft(Event.SESSION_END, outcome="closed"),
    ]


def fill(path, drafts):
    """
    Write them, one second apart from `START`; the head.
    """
    times = iter(range(START, START + 10**15, 10**9))
    with AuditStore.open(path, clocks=Clocks(lambda: next(times), lambda: 5)) as store:
        append_all(store, drafts)
        return store.head()


def hostile_world():
    """
    A session in which every text that a guest or client can choose is one of `HOSTILE`.
    """
    drafts = [Draft(event=Event.SESSION_CREATE, session=SESSION, detail=(("policy", HOSTILE[0]),))]
    for text in HOSTILE:
        drafts.append(asked(f"read /{text}", Answer.DENY, rule=text, detail=(("reason", text),)))
        drafts.append(asked(f"connect {text}:80", rule_place=text))
        drafts.append(draft(Event.OUTCOME, refers=len(drafts), outcome=text, cell=1))
        drafts.append(draft(Event.WORKER_NOTE, origin=Origin.WORKER, detail=((text[:200], text),)))
    return [*drafts, draft(Event.CELL_END, cell=1, outcome=HOSTILE[0])]
