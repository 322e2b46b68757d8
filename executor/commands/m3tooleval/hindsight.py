"""
The pages that a task needs, and how far they are read: what changes the answer where it is missing.

Code reads every page to its end because a loop costs it nothing. An agent that makes one call a
turn reads the names of links, follows those that lead somewhere, and stops where it has seen what
it wants. Which steps these are is found by leaving steps out, one by one, in plain Python: no
answer is written down anywhere.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

from executor.commands.m3tooleval.kit import Function
from executor.commands.m3tooleval.plain import BlockFailed, run_blocks

_OPENS, _SCROLLS = "click_url", "scroll_down"
_NOT_FOUND, _BOTTOM = "[URL not found.]", "[Reached the bottom of the page.]\n"


class Step(NamedTuple):
    """
    Opening a page (`scroll` is 0), or the scroll of that number after it was opened.
    """

    page: str
    scroll: int


class Browsing:
    """
    The tools of a task, of which `skipped` steps are not made: their answers are those of a page
    that is not there, and of one that has no more. `made` are the steps that were made.
    """

    def __init__(self, functions: dict[str, Function], skipped: Collection[Step] = ()) -> None:
        self.made: list[Step] = []
        self._tools = functions
        self._skipped = skipped
        self._at = Step("", 0)

    def functions(self) -> dict[str, Function]:
        """
        The tools to be called in place of those that were given.
        """
        if not {_OPENS, _SCROLLS} <= self._tools.keys():
            return self._tools
        return {**self._tools, _OPENS: self._open, _SCROLLS: self._scroll}

    def _open(self, page: str) -> object:
        step = Step(page, 0)
        return self._take(step, self._tools[_OPENS], page) if self._may(step) else _NOT_FOUND

    def _scroll(self) -> object:
        step = Step(self._at.page, self._at.scroll + 1)
        return self._take(step, self._tools[_SCROLLS]) if self._may(step) else _BOTTOM

    def _may(self, step: Step) -> bool:
        return step not in self._skipped

    def _take(self, step: Step, tool: Function, *args: str) -> object:
        self.made.append(step)
        self._at = step
        return tool(*args)


def needless(block: str, made: Callable[[], dict[str, Function]]) -> frozenset[Step]:
    """
    The steps that `block` takes without need; none where its tools open no pages.

    `made` gives the tools in their first state. Raises BlockFailed for a block that does not run.
    """
    full = Browsing(made())
    printed = run_blocks([block], full.functions()).printed
    skipped: frozenset[Step] = frozenset()
    for step in dict.fromkeys(full.made):
        tried = skipped | {step}
        if _prints(block, Browsing(made(), tried)) == printed:
            skipped = tried
    return skipped


def _prints(block: str, browsing: Browsing) -> str | None:
    try:
        return run_blocks([block], browsing.functions()).printed
    except BlockFailed:
        return None
