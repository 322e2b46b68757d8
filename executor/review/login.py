"""
Who may read: whoever has shown the token, for some hours.

A browser shows it once and gets a cookie whose value is random and no part of the token; a program
sends it with each request. What is kept here are digests, and comparisons take the same time
whatever is compared. Wrong tokens are few a minute, for all who try together: on a loopback
address nobody can be told from anybody else.
"""

import hashlib
import hmac
import os
import secrets
import stat
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

COOKIE: Final = "codecage_review"
LIFETIME: Final = 12 * 3600.0
"""Seconds for which a cookie is good."""
MOST_VISITS: Final = 64
MOST_WRONG: Final = 5
"""Wrong tokens in `WINDOW` seconds; then none is looked at."""
WINDOW: Final = 60.0
SHORTEST: Final = 32
"""Characters of a token."""
_LONGEST: Final = 256
_NAMED: Final = 8


class TokenInvalid(ValueError):
    """
    A token file that holds none, or that others may read.
    """


class WrongToken(Exception):
    """
    What was shown is not the token.
    """


class TooMany(Exception):
    """
    So many wrong tokens were shown that none is looked at for `wait` seconds.
    """

    def __init__(self, wait: int) -> None:
        super().__init__(f"wait {wait} s")
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Reader:
    """
    Somebody who has shown the token: `name` tells one login from another, and is no secret.
    """

    name: str


@dataclass(frozen=True, slots=True)
class _Visit:
    reader: Reader
    until: float


def make_token() -> str:
    """
    A new token: 256 random bits.
    """
    return secrets.token_urlsafe(32)


def read_token(path: Path) -> str:
    """
    The token in a file: its first line, 32 to 256 printable ASCII characters without a space.

    Raises TokenInvalid, also where others may read the file; OSError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, encoding="ascii", errors="replace") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
            raise TokenInvalid(f"{path}: others may read this token, or it is no file; chmod 600")
        token = file.readline(_LONGEST + 2).rstrip("\r\n")
    plain = token.isascii() and token.isprintable() and " " not in token
    if not plain or not SHORTEST <= len(token) <= _LONGEST:
        raise TokenInvalid(
            f"{path}: its first line is no token; write {SHORTEST} to {_LONGEST} letters, such as "
            "`openssl rand -hex 32` prints"
        )
    return token


class Login:
    """
    The token, and the visits that it has begun. Used by one thread.
    """

    def __init__(self, token: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = _digest(token)
        self._clock = clock
        self._visits: OrderedDict[bytes, _Visit] = OrderedDict()
        self._wrong: deque[float] = deque()
        self._unseen = 0

    def enter(self, shown: str) -> tuple[str, Reader]:
        """
        Begin a visit: the cookie's value, and who it is.

        Raises WrongToken, and TooMany without a look at what was shown.
        """
        self.check(shown)
        value = secrets.token_urlsafe(32)
        key = _digest(value)
        reader = Reader(f"visit {key.hex()[:_NAMED]}")
        self._visits[key] = _Visit(reader, self._clock() + LIFETIME)
        while len(self._visits) > MOST_VISITS:
            self._visits.popitem(last=False)
        return value, reader

    def check(self, shown: str) -> Reader:
        """
        Who shows the token itself. Raises as `enter` does.
        """
        now = self._clock()
        while self._wrong and self._wrong[0] <= now - WINDOW:
            self._wrong.popleft()
        if len(self._wrong) >= MOST_WRONG:
            self._unseen += 1
            raise TooMany(int(self._wrong[0] + WINDOW - now) + 1)
        if not hmac.compare_digest(_digest(shown), self._token):
            self._wrong.append(now)
            raise WrongToken
        return Reader("bearer")

    def visitor(self, cookie: str) -> Reader | None:
        """
        Whose cookie it is; None where it is nobody's, or no longer.
        """
        visit = self._visits.get(_digest(cookie))
        if visit is None or visit.until <= self._clock():
            return None
        return visit.reader

    def leave(self, cookie: str) -> None:
        """
        End a visit.
        """
        self._visits.pop(_digest(cookie), None)

    def take_unseen(self) -> int:
        """
        How many attempts were turned away without a look since this was asked last.
        """
        unseen, self._unseen = self._unseen, 0
        return unseen


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
