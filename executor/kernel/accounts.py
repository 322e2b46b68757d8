"""
What one session has used of its network grants.

A grant's bytes are for the lifetime of the session and count both ways. The network broker keeps
them while connections are open; here is what it has told, so that nothing is forgotten with it.
"""

import errno
from typing import Final

from policy.requests import NetworkRequest
from policy.types import Decision, NetworkGrant, Rule

# A name is sent to name servers when it is connected to, and whoever answers for the domain
# reads it: names below a wildcard are a way out, so a session has so many and no more.
MOST_NAMES: Final = 100
_WILDCARD: Final = "*."


class Account:
    """
    One session's use of one grant; `number` is what its broker knows it by.
    """

    __slots__ = ("_names", "_used", "grant", "number")

    def __init__(self, number: int, grant: NetworkGrant) -> None:
        self.number = number
        self.grant = grant
        self._used = 0
        self._names: set[str] = set()

    @property
    def left(self) -> int:
        """
        Bytes that may still be moved (0 or more), as far as the broker has told.
        """
        return max(0, self.grant.max_bytes - self._used)

    def add(self, count: int) -> None:
        """
        The broker has moved `count` bytes (0 or more).
        """
        self._used += count

    def spend(self) -> None:
        """
        Nobody can tell any more what was moved: all of it counts as used.
        """
        self._used = max(self._used, self.grant.max_bytes)

    def refusal(self, request: NetworkRequest) -> tuple[Decision, int] | None:
        """
        Why a granted connection must not be made all the same, with the errno; None where it may.
        """
        grant = self.grant
        if not self.left:
            rule = Rule(f"{grant.rule.name}.max_bytes", grant.rule.file, grant.rule.line)
            reason = (
                f"{request} is not granted: the session has used the {grant.max_bytes} bytes that "
                f"it may exchange with {grant.host}"
            )
            return Decision(False, rule, reason, network=grant), errno.EDQUOT
        if not self._is_new(request.host) or len(self._names) < MOST_NAMES:
            return None
        reason = (
            f"{request} is not granted: the session has connected to {MOST_NAMES} names below "
            f"{grant.host} and may not send more of them to name servers"
        )
        return Decision(False, grant.rule, reason, network=grant), errno.EACCES

    def name(self, host: str) -> None:
        """
        A connection to `host` is made.
        """
        if self._is_new(host):
            self._names.add(host)

    def _is_new(self, host: str) -> bool:
        return self.grant.host.startswith(_WILDCARD) and host not in self._names
