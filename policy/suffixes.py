"""
Names below which a registry, or a hosting service, gives names to anybody.

What a registry does is in the Public Suffix List, which comes with the package `publicsuffixlist`
as it was when that was released; nothing is fetched. Where the package is not installed, the second
levels that most countries have stand in for it: fewer mistakes are found then, and no more is
granted, for what is found here is a mistake of an administrator and no attack.

Source: publicsuffix.org, "Format" (rules, `*.` and `!`; the sections ICANN and PRIVATE).
"""

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module


def is_registry(name: str) -> bool:
    """
    Whether names below `name`, in the one form of a host, are given out by a registry: `co.uk`.
    """
    known = _list_of(only_icann=True)
    if known is not None:
        return known(name) == name
    first, _, country = name.partition(".")
    return first in _SECOND_LEVEL and len(country) == 2


def is_hosting(name: str) -> bool:
    """
    Whether anybody can have a name below `name` who is a customer there: `github.io`.
    """
    known = _list_of(only_icann=False)
    return name in _HOSTING or (known is not None and known(name) == name)


@lru_cache(maxsize=2)
def _list_of(*, only_icann: bool) -> Callable[[str], str | None] | None:
    """
    The suffix that the list has for a name; None where there is no list. It is read when a policy
    first has a wildcard, which takes some 40 ms.
    """
    try:
        package = import_module("publicsuffixlist")
    except ModuleNotFoundError:
        return None
    known = package.PublicSuffixList(only_icann=only_icann, accept_unknown=False)
    found: Callable[[str], str | None] = known.publicsuffix
    return found


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
