"""
The language of `tools` in a policy file: which of the client's tools a guest may call, how often,
and with what.

What depends on several values is in `parse_tools.py`.
"""

import math
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from policy.schema_approvals import ApprovalValue
from policy.values import Section, at_most, count_in, one_of, refuse, said, some, text_like

MAX_TOOLS, MAX_BOUNDS, MAX_VALUES = 64, 32, 64
MAX_CALLS = 100
"""Calls of one tool in a session's life where the policy does not say."""
_LARGEST = 2**63
_LONGEST = 1_000_000
_LONGEST_VALUE = 200

_TOOL = text_like(
    "[A-Za-z_][A-Za-z0-9_]{0,63}", "a tool is 1 to 64 of A-Z, a-z, 0-9 and _, no digit first"
)


def _number(value: object) -> object:
    if type(value) not in {int, float}:
        refuse(f"{said(value)} is not a number", "write a number, without quotes")
    assert isinstance(value, int | float)
    if not math.isfinite(value) or abs(value) > _LARGEST:
        refuse(f"{said(value)} is out of range", "a bound is finite, and at most 2**63")
    return value


def _value(value: object) -> object:
    """
    A fraction is seldom the same twice, so none can be asked for.
    """
    if type(value) not in {bool, int, str}:
        refuse(f"{said(value)} cannot be compared with", "write texts, whole numbers, true, false")
    if isinstance(value, str) and len(value) > _LONGEST_VALUE:
        refuse(f"has {len(value)} characters", f"at most {_LONGEST_VALUE} are allowed")
    return value


class BoundSection(Section):
    """
    One entry of `arguments`: what the argument of that name has to be.
    """

    min: Annotated[int | float | None, BeforeValidator(_number)] = None
    max: Annotated[int | float | None, BeforeValidator(_number)] = None
    max_length: Annotated[int | None, count_in(0, _LONGEST)] = None
    allow: Annotated[
        list[Annotated[bool | int | str, BeforeValidator(_value)]] | None,
        at_most(MAX_VALUES),
        BeforeValidator(some),
    ] = None


class ToolSection(Section):
    """
    One entry of `tools`.
    """

    name: Annotated[str, _TOOL]
    max_calls: Annotated[int, count_in(1, 1_000_000)] = MAX_CALLS
    approval: ApprovalValue = None
    effect: Annotated[Literal["act", "read"], one_of("act", "read")] = "act"
    arguments: Annotated[dict[str, BoundSection], at_most(MAX_BOUNDS)] = Field(default_factory=dict)
