"""
The tools of two policies: those of both, as often as either allows, with the bounds of both.
"""

from dataclasses import replace

from policy.decide_tools import wrong_with
from policy.types import (
    APPROVAL_EXPIRES,
    Approval,
    ArgumentBound,
    Effect,
    FileGrant,
    Policy,
    Scalar,
    ToolGrant,
)


def narrowed_tools(policy: Policy, ceiling: Policy) -> tuple[ToolGrant, ...]:
    """
    The tools that both let be called; one with an argument that nothing could be is none of them.
    """
    others = {one.name: one for one in ceiling.tools}
    met = (_met(one, others[one.name]) for one in policy.tools if one.name in others)
    return tuple(one for one in met if one is not None)


def _met(own: ToolGrant, other: ToolGrant) -> ToolGrant | None:
    bounds = {one.name: one for one in own.bounds}
    for bound in other.bounds:
        both = met_bound(bounds[bound.name], bound) if bound.name in bounds else bound
        if both is None:
            return None
        bounds[bound.name] = both
    approval, expires = met_approval(own, other)
    return ToolGrant(
        name=own.name,
        max_calls=min(own.max_calls, other.max_calls),
        approval=approval,
        bounds=tuple(bounds.values()),
        rule=own.rule,
        effect=Effect.ACT if Effect.ACT in {own.effect, other.effect} else Effect.READ,
        approval_expires=expires,
    )


def met_approval(
    own: ToolGrant | FileGrant, other: ToolGrant | FileGrant
) -> tuple[Approval, float]:
    """
    An approval where either wants one, and the shorter time of those that do.
    """
    asked = [one.approval_expires for one in (own, other) if one.approval is Approval.REQUIRED]
    if not asked:
        return Approval.NONE, APPROVAL_EXPIRES
    return Approval.REQUIRED, min(asked)


def met_bound(own: ArgumentBound, other: ArgumentBound) -> ArgumentBound | None:
    """
    The bound that allows what both allow, where `own` stands; None where that is nothing.
    """
    for values, bound in ((own.allowed, other), (other.allowed, own)):
        if values is not None:
            return _of_values(own, values, bound)
    if own.longest is not None and other.longest is not None:
        return replace(own, longest=min(own.longest, other.longest))
    if own.longest is not None or other.longest is not None:
        return None
    least = max(_said(own.least, other.least), default=None)
    most = min(_said(own.most, other.most), default=None)
    if least is not None and most is not None and least > most:
        return None
    return replace(own, least=least, most=most)


def _of_values(
    own: ArgumentBound, values: tuple[Scalar, ...], bound: ArgumentBound
) -> ArgumentBound | None:
    kept = tuple(value for value in values if not wrong_with(bound, value))
    return ArgumentBound(own.name, own.rule, allowed=kept) if kept else None


def _said(*numbers: float | None) -> list[int | float]:
    return [one for one in numbers if one is not None]
