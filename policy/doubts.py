"""
What may be a mistake in a policy that loads: told to its administrator, and never in the way.

Everything that is wrong for certain is an error, in `lint.py`. This module exists for the one thing
that a policy cannot know: an image may be one of the administrator's own, and its name then lies
close to that of a shipped one by right.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Final

from policy.errors import Problem
from policy.types import Policy

SHIPPED_IMAGES: Final = ("core", "math", "web", "data", "pyodide-data", "python313")
"""The images whose declarations come with Codecage: `codecage image build NAME` makes them."""


def doubts(policy: Policy) -> tuple[Problem, ...]:
    """
    What an administrator should look at once more, in the order of the file.
    """
    return tuple(_likely_misspelt(policy))


def _likely_misspelt(policy: Policy) -> Iterator[Problem]:
    rule = policy.rule("image")
    for image in policy.images:
        close = get_close_matches(image, SHIPPED_IMAGES, n=1, cutoff=0.7)
        if close and image not in SHIPPED_IMAGES:
            yield Problem(
                rule.file,
                rule.line,
                rule.column,
                f"image: `{image}` does not come with Codecage; did you mean `{close[0]}`?",
                "nothing has to be done where it is an image of your own",
                rule.text,
            )
