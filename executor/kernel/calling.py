"""
Calls of the client's functions as its cell and its service see them: what is to be done, who has it
done, and what came of it.
"""

from dataclasses import dataclass
from typing import Protocol


class Unexpected(Exception):
    """
    The client sent a result that nobody waits for, or one that is too large; `str` says which.
    """


@dataclass(frozen=True, slots=True)
class Calling:
    """
    A call that the client is to perform: its number in the session, and whether the guest goes on
    meanwhile.
    """

    number: int
    name: str
    arguments: bytes
    beside: bool


class Performs(Protocol):
    """
    Who has calls performed: the cell that runs.
    """

    async def perform(self, calling: Calling) -> None:
        """
        Tell the client of a call.
        """

    def cancel(self, number: int) -> None:
        """
        Tell it that nobody waits for a call any more.
        """

    def hold(self) -> None:
        """
        The guest waits for a person: the cell's wall time stands still.
        """

    def go_on(self) -> None:
        """
        It does not any more.
        """


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What came of a call: a document, with `failed` of an exception; or an errno and why.
    """

    data: bytes = b""
    failed: bool = False
    errno: int = 0
    reason: str = ""
