"""
What became looser between the tools of two policies.
"""

from collections.abc import Iterator

from policy.decide_tools import wrong_with
from policy.narrow_tools import met_bound
from policy.offers import bound_text
from policy.types import Approval, ArgumentBound, Effect, FileGrant, Policy, ToolGrant
from policy.units import show_time


def tools_gained(old: Policy, new: Policy) -> Iterator[tuple[str, str]]:
    """
    What `new` allows and `old` does not, each as a place and a text.
    """
    before = {one.name: one for one in old.tools}
    for tool in new.tools:
        place = f"tools.{tool.name}"
        if tool.name not in before:
            yield place, f"up to {tool.max_calls} calls"
            continue
        yield from ((place, text) for text in _gained(before[tool.name], tool))


def _gained(old: ToolGrant, new: ToolGrant) -> Iterator[str]:
    if new.max_calls > old.max_calls:
        yield f"up to {new.max_calls} calls, not {old.max_calls}"
    yield from approvals_lost(old, new)
    if old.effect is Effect.ACT and new.effect is Effect.READ:
        yield "done before its record is on disk"
    after = {one.name: one for one in new.bounds}
    for bound in old.bounds:
        if bound.name not in after:
            yield f"{bound.name} may be anything"
        elif not _holds(bound, after[bound.name]):
            yield f"{bound.name} may be {bound_text(after[bound.name])}"


def approvals_lost(old: ToolGrant | FileGrant, new: ToolGrant | FileGrant) -> Iterator[str]:
    """
    That nobody has to approve any more, or that an approval may come later.
    """
    if old.approval is Approval.NONE:
        return
    if new.approval is Approval.NONE:
        yield "without an approval"
    elif new.approval_expires > old.approval_expires:
        now, before = show_time(new.approval_expires), show_time(old.approval_expires)
        yield f"an approval may take up to {now}, not {before}"


def _holds(outer: ArgumentBound, inner: ArgumentBound) -> bool:
    """
    Whether `outer` allows all that `inner` does.
    """
    if inner.allowed is not None:
        return not any(wrong_with(outer, value) for value in inner.allowed)
    met = met_bound(inner, outer)
    return met == inner
