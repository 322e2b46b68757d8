"""
What a native part of a package is called. A module of its own, because zygotes need no more of
what looks into wheels, and import nothing else for it.
"""

import re
from typing import Final

_SHARED: Final = re.compile(r"\.so(?:\.[0-9]+)*\Z", re.IGNORECASE)


def is_native(name: str) -> bool:
    """
    Whether a file is a shared library by its name: `x.so`, or `x.so.1` as linkers write it.
    """
    return _SHARED.search(name) is not None
