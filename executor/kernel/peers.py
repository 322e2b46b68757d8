"""
What a session's gate has in common with its server: who else commits, who judges, who approves.
"""

from dataclasses import dataclass, field
from typing import Protocol

from executor.audit.record import Detail
from executor.kernel.approval import Approvals
from executor.kernel.committing import MountLocks
from executor.kernel.judging import Judges
from executor.transactions.changes import Change


class KeepsDiffs(Protocol):
    """
    Keeps what a commit changes, for who reviews it.
    """

    def keep(self, changes: tuple[Change, ...]) -> Detail:
        """
        Keep it; what the record of the commit's decision says of that. It blocks as a disk does,
        and never raises for one: what cannot be kept is said.
        """


@dataclass(frozen=True, slots=True)
class Peers:
    """
    `locks` are the server's; those of a gate alone keep no other session from committing. `judges`
    run the gates of commits, and `approvals` asks approvers, where the server has any. `captures`
    says that the worker reads through the server, which keeps what it read; `diffs` keeps what its
    commits change, where the policy has that kept.
    """

    locks: MountLocks = field(default_factory=MountLocks)
    approvals: Approvals | None = None
    judges: Judges | None = None
    captures: bool = False
    diffs: KeepsDiffs | None = None
