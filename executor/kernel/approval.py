"""
What a person is asked before something is done that a policy grants only with an approval, and
what came of it. Who asks whom is for `executor/sessions/approving.py` to know.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from executor.transactions.changes import Change
from policy.requests import Request
from policy.types import Decision

MOST_SHOWN: Final = 2**16
"""Bytes of arguments that a person is shown: more than this nobody reads."""


class Ending(Enum):
    """
    How the wait for an approval ended; the value is the word in the record and for clients.
    """

    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    VOID = "void"


@dataclass(frozen=True, slots=True)
class Argument:
    """
    One argument of a call, by its parameter's name: a document, or where the client's own default
    cannot be one the text `default` that it has told of.
    """

    name: str
    value: bytes | None
    default: str = ""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """
    A call as its tool would get it: `document` is the guest's, which reaches the client unchanged;
    `arguments` are the same, bound.
    """

    tool: str
    arguments: tuple[Argument, ...]
    document: bytes


@dataclass(frozen=True, slots=True)
class ChangeList:
    """
    The changes of a commit: what `digest` is of is what will be applied.
    """

    mount: str
    digest: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """
    What is to be approved: a request, the decision that wants an approval, and what exactly would
    be done. Nobody answers after `expires` seconds.
    """

    request: Request
    decision: Decision
    shows: ToolCall | ChangeList
    expires: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What came of a question. `by` is the approver where one has decided, `why` a sentence for the
    agent.
    """

    ending: Ending
    why: str
    by: str = ""

    @property
    def approved(self) -> bool:
        """
        Whether it may be done, once.
        """
        return self.ending is Ending.APPROVED


class Approvals(Protocol):
    """
    Who asks approvers on behalf of one session.
    """

    async def ask(self, question: Question) -> Verdict:
        """
        Wait for the answer. Raises GuestError where nobody more can be asked now, and what the
        audit raises: then nothing is approved.
        """

    def void(self, why: str) -> None:
        """
        Nobody waits any more for what is being asked.
        """
