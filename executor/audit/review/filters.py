"""
Which records somebody wants to see.

A filter works in two steps. `conditions` are SQL that SQLite runs over the stored bytes at memory
speed, and may let too much through; `matches` then looks at the record itself and is never wrong.
So the first step must not leave out what the second would take: it looks for bytes that a
matching record has to hold. Columns are trusted no further than everywhere else (`verify`
compares them with the records).

An outcome is judged by its decision: it says nothing of a path or a host by itself.
"""

import re
import sqlite3
from dataclasses import dataclass
from enum import Enum

from executor.audit.record import TEXT_CAP, Answer, Cut, Origin, Record, Text
from executor.audit.review.asked import FILE_KINDS, asked_of
from policy.globs import GlobSet

# A body is the hash before (32 bytes), the version, and two tagged integers of eight bytes: the
# sequence and the wall time. SQLite counts from 1. See `encoding.py`.
_TIME = "substr({table}.body, 44, 8)"
# In format 1 of the encoding a record's texts are in its body.
_TEXTS = "coalesce({table}.texts, {table}.body)"
_LAST = 2**63 - 1
_LATEST = _LAST.to_bytes(8, "big")


class Outside(Enum):
    """
    In place of a session's id: the records that belong to no session.
    """

    SESSIONS = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """
    All that is given must hold; None and empty mean that it does not matter.

    `kinds` are words of `asked.KINDS`. `path` is one glob as policies have them, absolute, and
    matches what lies below as well. `host` is a name, or `*.NAME` for all below it, upper and
    lower case alike. `text` is what the request holds, wherever, as it was recorded. Times are
    nanoseconds since 1970, from `since_ns` until before `until_ns`.
    """

    session: str | Outside | None = None
    answer: Answer | None = None
    kinds: frozenset[str] = frozenset()
    path: str | None = None
    host: str | None = None
    text: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    origin: Origin | None = None

    @property
    def narrows(self) -> bool:
        """
        Whether it asks for more than a session.
        """
        asked = (self.path, self.host, self.text)
        rest = (self.answer, self.since_ns, self.until_ns, self.origin, *asked)
        return bool(self.kinds) or any(one is not None for one in rest)


@dataclass(frozen=True, slots=True)
class Condition:
    """
    A piece of SQL and the values of its question marks.
    """

    sql: str
    values: tuple[str | int | bytes, ...] = ()


EVERYTHING = Filter()


def conditions(which: Filter, table: str) -> list[Condition]:
    """
    What SQLite is asked of a row of `table` (a name of ours), but for the session.
    """
    found = []
    if which.answer is not None:
        found.append(Condition(f"{table}.answer = ?", (which.answer.value,)))
    if which.since_ns is not None:
        found.append(Condition(f"{_TIME} >= ?".format(table=table), (_big(which.since_ns),)))
    if which.until_ns is not None:
        # A time before 1970 has its highest bit set; it is before every end.
        late = f"{_TIME} NOT BETWEEN ? AND ?".format(table=table)
        found.append(Condition(late, (_big(which.until_ns), _LATEST)))
    if which.origin is not None:
        found.append(_holds(f"{table}.body", which.origin.value))
    texts = _TEXTS.format(table=table)
    if which.kinds:
        words = [_holds(texts, _beginning(kind)) for kind in sorted(which.kinds)]
        found.append(_joined(" OR ", words))
    if which.path is not None:
        # A cut path may hold what is looked for behind the cut.
        long = Condition(f"length({texts}) > {TEXT_CAP}")
        pieces = [_holds(texts, piece) for piece in _pieces(which.path)]
        found.append(_joined(" OR ", [long, _joined(" AND ", pieces)]))
    if which.text is not None:
        found.append(_holds(texts, which.text))
    if which.host is not None:
        sql = f"holds_caseless({texts}, ?)"
        found.append(Condition(sql, (_lower(which.host.removeprefix("*")),)))
    return found


def prepare(db: sqlite3.Connection) -> None:
    """
    Give a connection the function that `conditions` uses.
    """
    db.create_function("holds_caseless", 2, _holds_caseless, deterministic=True)


def matches(which: Filter, subject: Record) -> bool:
    """
    Whether the record is wanted, whatever its session; of an outcome, ask for its decision.
    """
    if which.answer is not None and subject.answer is not which.answer:
        return False
    if which.origin is not None and subject.origin is not which.origin:
        return False
    if which.since_ns is not None and subject.wall_ns < which.since_ns:
        return False
    if which.until_ns is not None and subject.wall_ns >= which.until_ns:
        return False
    if not (which.kinds or {which.path, which.host, which.text} != {None}):
        return True
    return subject.request is not None and _asks(which, subject.request)


def _asks(which: Filter, request: Text) -> bool:
    asked = asked_of(request)
    start = request.start if isinstance(request, Cut) else request
    if which.text is not None and which.text not in start:
        return False
    if which.kinds and asked.kind not in which.kinds:
        return False
    if which.host is not None and not (asked.host is not None and _is_host(which.host, asked.host)):
        return False
    if which.path is None:
        return True
    if asked.path is None or asked.kind not in FILE_KINDS:
        return False
    return _lies_in(which.path, asked.path, cut=isinstance(request, Cut))


def _lies_in(glob: str, path: str, *, cut: bool) -> bool:
    """
    Whether the glob matches; of a path that was cut, whether it could.
    """
    globs = GlobSet((glob.removeprefix("/"),))
    if not cut:
        return globs.match(path.removeprefix("/")) is not None
    whole = path.rpartition("/")[0].removeprefix("/")
    return not whole or globs.match(whole) is not None or globs.may_match_below(whole)


def _is_host(pattern: str, host: str) -> bool:
    wanted, found = _lower(pattern), _lower(host)
    return found.endswith(wanted[1:]) if wanted.startswith(b"*.") else found == wanted


def _lower(text: str) -> bytes:
    # ASCII alone, as names of hosts are compared (RFC 4343), and as the bytes of a body can be.
    return text.encode("utf-8", "surrogatepass").lower()


def _holds_caseless(held: object, text: bytes) -> bool:
    return isinstance(held, bytes) and text in held.lower()


def _holds(column: str, text: str) -> Condition:
    return Condition(f"instr({column}, ?) > 0", (text.encode("utf-8", "surrogatepass"),))


def _joined(word: str, parts: list[Condition]) -> Condition:
    sql = word.join(one.sql for one in parts)
    return Condition(f"({sql})", tuple(value for one in parts for value in one.values))


def _beginning(kind: str) -> str:
    """
    What the text of every request of this kind holds.
    """
    if kind == "http":
        return "://"
    return f"{kind} /" if kind in FILE_KINDS else f"{kind} "


def _pieces(glob: str) -> list[str]:
    """
    What every path that the glob matches holds: the glob is cut at its wildcards, and where `**`
    may be no component at all.
    """
    return [piece for piece in re.split(r"/\*\*(?=/|$)|[*?]", glob) if piece] or ["/"]


def _big(time_ns: int) -> bytes:
    # A record's time has 63 bits; what is asked for may lie beyond (the year 2262).
    return min(max(time_ns, 0), _LAST).to_bytes(8, "big")
