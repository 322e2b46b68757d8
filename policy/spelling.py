"""
What somebody may have meant who wrote a word that is none.
"""

from collections.abc import Collection
from difflib import get_close_matches

_COMPARED = 64
"""Characters of a word that are compared: the time is that of its length times the words'."""


def closest(word: str, known: Collection[str], cutoff: float = 0.6) -> str | None:
    """
    The one of the words `known` that is spelt most like `word`; None where none is as alike as
    `cutoff` (0 to 1, difflib's ratio).
    """
    return next(iter(get_close_matches(word[:_COMPARED], known, cutoff=cutoff)), None)


def did_you_mean(word: str, known: Collection[str]) -> str:
    """
    The end of a message about a word that is none: which was meant, or nothing.
    """
    close = closest(word, known)
    return f"; did you mean `{close}`?" if close else ""
