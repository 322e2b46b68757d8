"""
What the query of an address asks for, checked: the filters of the command line, by the same words.

Everything here raises ArgumentTypeError with a sentence, as the command line's readers do, and
LookupError for a session that is not there.
"""

from argparse import ArgumentTypeError
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, TypeVar

from executor.audit.record import Answer, Origin
from executor.audit.review.asked import KINDS
from executor.audit.review.filters import Filter
from executor.audit.review.options import glob_of, host_of, moment_ns, session_of

_E = TypeVar("_E", bound=Enum)
_LONGEST: Final = 512
_DIGITS: Final = 18
_NAMES: Final = (
    *("session", "decision", "kind", "path", "host", "text", "since", "until", "origin"),
)


@dataclass(frozen=True, slots=True)
class Sessions:
    """
    Which sessions are listed: one that is named, or those with a denial, before a record.
    """

    named: str
    answer: Answer | None
    before: int | None

    @property
    def narrowed(self) -> bool:
        """
        Whether it is anything but the newest of all.
        """
        return bool(self.named or self.answer or self.before)


@dataclass(frozen=True, slots=True)
class Records:
    """
    Which records are searched for; `given` is what was asked, for the form and for the next page.
    """

    which: Filter
    given: dict[str, str]
    before: int | None


def sessions(query: Mapping[str, str]) -> Sessions:
    """
    What the list of sessions is asked for.
    """
    answer = Answer.DENY if query.get("denied") else None
    return Sessions(_text(query, "named"), answer, number(query, "before"))


def records(query: Mapping[str, str], audit: Path) -> Records:
    """
    What the search is asked for.
    """
    given = {name: _text(query, name) for name in _NAMES}
    decision, kind, origin = given["decision"], given["kind"], given["origin"]
    if kind and kind not in KINDS:
        raise ArgumentTypeError(f"{kind!r} is no kind of request; one of {', '.join(KINDS)}")
    which = Filter(
        session=session_of(audit, given["session"] or None),
        answer=_one_of(Answer, decision) if decision else None,
        kinds=frozenset({kind} - {""}),
        path=glob_of(given["path"]) if given["path"] else None,
        host=host_of(given["host"]) if given["host"] else None,
        text=given["text"] or None,
        since_ns=moment_ns(given["since"]) if given["since"] else None,
        until_ns=moment_ns(given["until"]) if given["until"] else None,
        origin=_one_of(Origin, origin) if origin else None,
    )
    return Records(which, given, number(query, "before"))


def number(query: Mapping[str, str], name: str) -> int | None:
    """
    The number of a record, None where none is given.
    """
    text = query.get(name, "")
    return sequence(text) if text else None


def sequence(text: str) -> int:
    """
    A record's number, of at most 18 digits.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise ArgumentTypeError(f"{text[:40]!r} is not the number of a record")
    return int(text)


def _text(query: Mapping[str, str], name: str) -> str:
    text = query.get(name, "").strip()
    if len(text) > _LONGEST:
        raise ArgumentTypeError(f"{name} has {len(text)} characters; {_LONGEST} are looked at")
    return text


def _one_of(kind: type[_E], text: str) -> _E:
    try:
        return kind(text)
    except ValueError as error:
        words = ", ".join(str(one.value) for one in kind)
        raise ArgumentTypeError(f"{text!r} is none of {words}") from error
