"""
Which host users the boxes of this process have: a block of numbers that no other zygote has.

A user of its own is what keeps two boxes apart where everything else fails, so no two may have
the same. Who has which block is said by names of unix sockets, in the kernel's own table: binding
a name that is taken fails, and the name of a zygote that ends is free, as are its boxes' users:
they have ended with it. Within a block the zygote counts for itself. (Rejected: a name for each
box. The names are the network namespace's, and a zygote leaves that before it knows of boxes;
and it can then be given the users of its block and no others. Rejected: a file with locks, which
outlives everybody and has to be owned by somebody.) Source: unix(7), "Abstract sockets".
"""

import errno
import os
import secrets
import socket
from dataclasses import dataclass, field
from typing import Final

from executor.linux.errors import MechanismFailed
from executor.process.plan import MAX_SLOTS, MECHANISM, Identity, identity_of

# Far more than live in a zygote's life, which is counted in some hundreds of boxes.
BLOCK: Final = 1 << 10
_BLOCKS: Final = MAX_SLOTS // BLOCK
_NAME: Final = "\0codecage-boxes-{}"
_TRIES: Final = 64


@dataclass(slots=True)
class Slots:
    """
    The block that begins with the slot `first`; `claim` is the descriptor that holds it, which
    stays open as long as this process lives.
    """

    first: int
    claim: int
    _taken: set[int] = field(default_factory=set)

    @property
    def identities(self) -> tuple[int, int]:
        """
        The first host user (and group) of the block, and how many there are.
        """
        return identity_of(self.first).uid, BLOCK

    def take(self) -> Identity:
        """
        A host user that no living box has. Raises MechanismFailed when there is none.
        """
        for _ in range(_TRIES):
            slot = self.first + secrets.randbelow(BLOCK)
            if slot not in self._taken:
                self._taken.add(slot)
                return identity_of(slot)
        raise MechanismFailed(
            MECHANISM, f"{_TRIES} host users at random are all taken; end some boxes"
        )

    def give_back(self, identity: Identity) -> None:
        """
        The box that had it has ended.
        """
        self._taken.discard(identity.uid - identity_of(0).uid)


def claim() -> Slots | None:
    """
    A block that no living process of this network namespace has; None for whoever is not root, and
    can give a box no user but its own.

    Raises MechanismFailed when none is found, OSError as socket(2) and bind(2) do.
    """
    if os.geteuid() != 0:
        return None
    for _ in range(_TRIES):
        block = secrets.randbelow(_BLOCKS)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            made.bind(_NAME.format(block))
        except OSError as error:
            made.close()
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        return Slots(block * BLOCK, made.detach())
    raise MechanismFailed(
        MECHANISM, f"{_TRIES} blocks of host users at random are all taken; end some zygotes"
    )
