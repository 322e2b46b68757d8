"""
The language of `isolation` and `process` in a policy file: what has to hold a session of the
process cage, and what it may do with processes.

What depends on several values, or on where a program lies, is in `lint_process.py`.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from policy.cages import ISOLATION_ITEMS
from policy.paths import program_problem
from policy.spelling import did_you_mean
from policy.values import Section, at_most, one_of, refuse, said, some

MAX_PROGRAMS = 64


def _item(value: object) -> object:
    if value not in ISOLATION_ITEMS:
        meant = did_you_mean(value.lower(), ISOLATION_ITEMS) if isinstance(value, str) else ""
        refuse(f"cannot be {said(value)}{meant}", f"items are {', '.join(ISOLATION_ITEMS)}")
    return value


def _program(value: str) -> str:
    if problem := program_problem(value):
        refuse(f"{said(value)}: {problem[0]}", problem[1])
    return value


class IsolationSection(Section):
    """
    `isolation`: the least that must hold a session of the process cage.
    """

    min: Annotated[Literal["P4", "P3", "P2"], one_of("P4", "P3", "P2")] = "P3"
    require: Annotated[
        list[Annotated[str, BeforeValidator(_item)]],
        at_most(len(ISOLATION_ITEMS)),
        BeforeValidator(some),
    ] = Field(default_factory=list)


class ProcessSection(Section):
    """
    `process`: what a session of the process cage may do with processes.
    """

    fork: bool = False
    programs: Annotated[
        list[Annotated[str, AfterValidator(_program)]],
        at_most(MAX_PROGRAMS),
        BeforeValidator(some),
    ] = Field(default_factory=list)
    new_code: Annotated[Literal["deny", "allow"], one_of("deny", "allow")] = "deny"
