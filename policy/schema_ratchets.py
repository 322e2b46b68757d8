"""
The language of `after` in a policy file: what happens, and which rights are gone then.
"""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from policy.globs import glob_problem
from policy.hosts import host_problem
from policy.ratchets import RIGHT
from policy.values import Section, at_most, refuse, said, some

MAX_RATCHETS, MAX_REVOKED = 32, 32
_FORMS = "write `read /data/private/**`, `write /out/**` or `connect api.example.com`"


def _event(value: str) -> str:
    word, _, pattern = value.partition(" ")
    if word in {"read", "write"}:
        problem = None if pattern.startswith("/") else "the path is not absolute"
        problem = problem or glob_problem(pattern[1:])
    elif word == "connect":
        refused = host_problem(pattern)
        problem = refused[0] if refused else None
    else:
        problem = "that is no event"
    if problem:
        refuse(f"{said(value)}: {problem}", _FORMS)
    return value


def _right(value: str) -> str:
    if not RIGHT.fullmatch(value):
        refuse(f"cannot be {said(value)}", "write network, tools, or tools. and a tool's name")
    return value


class RatchetSection(Section):
    """
    One entry of `after`.
    """

    event: Annotated[str, AfterValidator(_event)]
    revoke: Annotated[
        list[Annotated[str, AfterValidator(_right)]], at_most(MAX_REVOKED), BeforeValidator(some)
    ]
