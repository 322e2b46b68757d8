"""
Kernels that are older, or say no to more than this one does: by a filter, for real and for good.
"""

import errno
import os

from executor.linux.filters import (
    ALLOW,
    Action,
    Allow,
    Filter,
    OneOf,
    Refuse,
    Verdict,
    compile_filter,
)
from executor.linux.seccomp import install

# The first option of prctl that Linux 6.2 does not know.
_PR_SET_MDWE = 65


def refuse(call: str, number: int) -> None:
    """
    Make this kernel one that refuses `call`, or says that it has none: by a filter, for real.
    """
    rows = (Refuse(call, "for a test", Action(Verdict.ERRNO, number)),)
    install(compile_filter(Filter("test", rows, ALLOW), os.getpid()), tsync=False)


def be_older() -> None:
    """
    Make this kernel one that knows the options of prctl of Linux 6.2, and answers EINVAL else.
    """
    known = OneOf(0, tuple(range(1, _PR_SET_MDWE)))
    row = Allow("prctl", "of Linux 6.2", (known,), Action(Verdict.ERRNO, errno.EINVAL))
    install(compile_filter(Filter("test", (row,), ALLOW), os.getpid()), tsync=False)
