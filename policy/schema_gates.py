"""
Words of the language that this version knows and cannot keep: what is not there yet is refused.
"""

from typing import NoReturn

from policy.values import refuse, said


def no_gates(value: object) -> NoReturn:
    """
    A commit that nothing judges must not look like one that something does.
    """
    refuse(
        f"cannot be {said(value)}",
        "this version runs no gates: write `commit_by: client`, and judge the changes of a dry run "
        "in the client",
    )


def no_approvals(value: object) -> NoReturn:
    """
    The same of an approval that nobody could give.
    """
    refuse(
        f"cannot be {said(value)}",
        "this version waits for no approval of a commit: write `commit_by: client`, and ask there",
    )
