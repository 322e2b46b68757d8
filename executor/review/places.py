"""
The addresses of the pages: every one that is linked or led to is made here.

A session is named by its id where that is letters and digits, as all that the server makes are,
and else by the record that began it: `@12`.
"""

import re
from typing import Final
from urllib.parse import urlencode

from executor.audit.read import SessionSummary

HOME: Final = "/"
SEARCH: Final = "/search"
READERS: Final = "/readers"
_ID: Final = re.compile("[0-9A-Za-z_-]{1,64}")
_PART: Final = "[0-9A-Za-z_@.-]+"
_PLACE: Final = re.compile(rf"/(?:{_PART}(?:/{_PART})*)?(?:\?[0-9A-Za-z_.~%&=+*,:/@-]*)?")
_LONGEST: Final = 2048


def place_of(text: str) -> str:
    """
    The text where it is an address of ours, else the first page: no text leads anywhere else, nor
    into a field of the answer's head.
    """
    return text if len(text) <= _LONGEST and _PLACE.fullmatch(text) else HOME


def key_of(session: str, sequence: int) -> str:
    """
    What names a session in an address; `sequence` is the record that began it.
    """
    return session if _ID.fullmatch(session) else f"@{sequence}"


def session_place(key: str) -> str:
    """
    The page of a session.
    """
    return f"/session/{key}"


def summary_place(short: SessionSummary) -> str:
    """
    The page of a session that stands in a list.
    """
    return session_place(key_of(short.session, short.sequence))


def record_place(sequence: int) -> str:
    """
    The page of a record.
    """
    return f"/record/{sequence}"


def with_query(place: str, **fields: str | int | None) -> str:
    """
    An address with the fields that have a value.
    """
    given = {name: str(value) for name, value in fields.items() if value not in {None, ""}}
    return f"{place}?{urlencode(given, errors='backslashreplace')}" if given else place
