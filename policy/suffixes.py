"""
Names below which a registry, or a hosting service, gives names to anybody.

Both are in the Public Suffix List, which comes with the package `publicsuffixlist` as it was when
that was released; nothing is fetched. What it finds is a mistake of an administrator and no
attack, so a list that is a year old does little harm.

Source: publicsuffix.org, "Format" (rules, `*.` and `!`; the sections ICANN and PRIVATE).
"""

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList


def is_registry(name: str) -> bool:
    """
    Whether names below `name`, in the one form of a host, are given out by a registry: `co.uk`.
    """
    return _known(only_icann=True).publicsuffix(name) == name


def is_hosting(name: str) -> bool:
    """
    Whether anybody can have a name below `name` who is a customer there: `github.io`.
    """
    return name in _UNLISTED or _known(only_icann=False).publicsuffix(name) == name


@lru_cache(maxsize=2)
def _known(*, only_icann: bool) -> "PublicSuffixList":
    """
    The list, read when a policy first has a wildcard: that takes some 40 ms.
    """
    from publicsuffixlist import PublicSuffixList  # noqa: PLC0415 - few policies have wildcards

    return PublicSuffixList(only_icann=only_icann, accept_unknown=False)


# Services whose customers' names the list does not have.
_UNLISTED = frozenset({"amazonaws.com", "windows.net"})
