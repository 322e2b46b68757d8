"""
What one session may still move under one grant, over all its connections in this process.
"""

import errno
from dataclasses import dataclass, field

from executor.network.errors import Ending


@dataclass(slots=True)
class Account:
    """
    A budget of bytes that several connections draw on. `remaining` is never below 0.
    """

    remaining: int

    def spend(self, count: int) -> None:
        """
        Take `count` bytes (0 or more) before they are moved.

        Raises Ending EDQUOT when fewer are left; the budget is then empty, for all connections
        of the account: what was refused here must not pass in smaller pieces elsewhere.
        """
        if count > self.remaining:
            self.remaining = 0
            raise Ending(
                errno.EDQUOT,
                "the byte budget of this network grant is used up (max_bytes counts both ways, for"
                " the whole session)",
            )
        self.remaining -= count

    def limit(self, budget: int) -> None:
        """
        Leave at most `budget` bytes: what the server says is less than what is left here.
        """
        self.remaining = min(self.remaining, budget)


@dataclass(slots=True)
class Traffic:
    """
    What one connection has moved, in bytes: `sent` to the other side and `received` from it.
    """

    account: Account
    sent: int = field(default=0, init=False)
    received: int = field(default=0, init=False)

    @property
    def moved(self) -> int:
        """
        Both ways together.
        """
        return self.sent + self.received

    def send(self, count: int) -> None:
        """
        Count `count` bytes that are about to be sent. Raises Ending EDQUOT.
        """
        self.account.spend(count)
        self.sent += count

    def receive(self, count: int) -> None:
        """
        Count `count` bytes that are about to be passed to the guest. Raises Ending EDQUOT.
        """
        self.account.spend(count)
        self.received += count
