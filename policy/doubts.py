"""
What may be a mistake in a policy that loads: told to its administrator, and never in the way.

Everything that is wrong for certain is an error, in `lint.py`. This module exists for what a policy
cannot know: an image may be one of the administrator's own, and its name then lies close to that of
a shipped one by right; and whose names a wildcard covers is written in no registry that a program
could read here.
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
    return (*_likely_misspelt(policy), *_anybodys(policy))


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


def _anybodys(policy: Policy) -> Iterator[Problem]:
    """
    Wildcards over names that anybody can have: what may be sent there may be sent to anybody.
    """
    for grant in policy.network:
        base = grant.host.removeprefix("*.")
        if grant.host.startswith("*.") and (base in _HOSTING or _is_registry(base)):
            yield Problem(
                grant.rule.file,
                grant.rule.line,
                grant.rule.column,
                f"network: anybody can have a name below {base}",
                "name the hosts that are meant; nothing has to be done where all of them are",
                grant.rule.text,
            )


def _is_registry(base: str) -> bool:
    """
    Whether names below `base` are likely given out, as those below co.uk are.
    """
    first, _, country = base.partition(".")
    return first in _SECOND_LEVEL and len(country) == 2


_SECOND_LEVEL = frozenset({"ac", "co", "com", "edu", "go", "gob", "gov", "ne", "net", "or", "org"})
_HOSTING = frozenset(
    {
        *("amazonaws.com", "s3.amazonaws.com", "cloudfront.net", "appspot.com", "run.app"),
        *(
            "azurewebsites.net",
            "blob.core.windows.net",
            "windows.net",
            "web.app",
            "firebaseapp.com",
        ),
        *("github.io", "gitlab.io", "herokuapp.com", "netlify.app", "pages.dev", "workers.dev"),
        *("vercel.app", "fly.dev", "onrender.com", "ngrok.app", "ngrok.io", "ngrok-free.app"),
    }
)
