"""
What can go wrong with a policy, and how it is shown.

    ValueError
     ├── PolicyError        a file, or a directory of files, is no policy; holds every problem
     └── RequestTextError   the words given to `explain` are not a request

Both are the caller's errors. A problem points: file:line:column, what is wrong, the line with a
caret under the place, and what to do.
"""

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # What starts a server shows errors, and has no policy yet.
    from policy.types import Rule

_SHOWN_PROBLEMS = 50
_SHOWN_COLUMNS = 96
_CONTEXT_COLUMNS = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One thing that is wrong, at one place.

    `line` and `column` count from 1; a `line` of 0 means the file as a whole. `text` is the
    line of the file, `hint` says what is allowed and what to do.
    """

    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    text: str = ""

    @classmethod
    def of(cls, rule: "Rule", message: str, hint: str) -> "Problem":
        """
        The problem at the place of `rule`.
        """
        return cls(rule.file, rule.line, rule.column, message, hint, rule.text)

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        shown = [f"{place}: {self.message}"]
        if self.line:
            shown += pointed(self.line, self.column, self.text)
        if self.hint:
            shown.append(f"       = {self.hint}")
        return "\n".join(shown)


class PolicyError(ValueError):
    """
    There is no policy, for these reasons. Nothing of the file, or of the directory, is in force.
    """

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        shown = [str(problem) for problem in self.problems[:_SHOWN_PROBLEMS]]
        if (more := len(self.problems) - _SHOWN_PROBLEMS) > 0:
            shown.append(f"... and {more} more")
        return "\n".join(shown)


class RequestTextError(ValueError):
    """
    A request given as text cannot be read; the message says which forms there are.
    """


def shown(text: str, longest: int = 200) -> str:
    """
    `text` as it may stand in a message: one line, printable, at most `longest` characters of it.

    Names come from the guest; one with a line feed in it could otherwise forge a line of a log.
    """
    cut = text if len(text) <= longest else text[:longest] + "..."
    if cut.isprintable():
        return cut
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in cut)


def pointed(line: int, column: int, text: str) -> list[str]:
    """
    The two lines that show a place: the text with its line number, and a caret below `column`.

    A long line is cut to a window around the column, so that a file of one line cannot flood.
    """
    start = 0
    if len(text) > _SHOWN_COLUMNS:
        start = max(0, column - 1 - _CONTEXT_COLUMNS)
    window = text[start : start + _SHOWN_COLUMNS]
    before = "".join(_blank(char) for char in window[: column - 1 - start])
    return [f"{line:6} | {''.join(map(_visible, window))}".rstrip(), f"{'':6} | {before}^"]


def _visible(char: str) -> str:
    """
    A terminal must not obey what a policy file contains.
    """
    return char if char == "\t" or char.isprintable() else "\N{REPLACEMENT CHARACTER}"


def _blank(char: str) -> str:
    if char == "\t":
        return char
    return "  " if unicodedata.east_asian_width(char) in "WF" else " "
