"""
What a policy answers about a tool that the guest calls.

A bound holds for what the tool would be given, so it is proved on the bound signature: an argument
that is missing, of another type, a subclass's, NaN or infinite is denied, and so is a tool with
bounds whose signature takes more than it names. How often the session has called the tool, and
whether somebody agreed to this call, comes with the request: an answer remembers nothing.
"""

import math
from dataclasses import dataclass, replace

from policy.errors import shown
from policy.offers import bound_text, tool_offer
from policy.requests import Argument, ToolRequest
from policy.types import Approval, ArgumentBound, Decision, Policy, Scalar, ToolGrant

_MAX_NAME = 64


@dataclass(frozen=True, slots=True)
class ToolTable:
    """
    A policy's tools by name. Only `tool_table` makes one.
    """

    policy: Policy
    _tools: dict[str, tuple[ToolGrant, Decision]]

    def decide(self, request: ToolRequest) -> Decision:
        """
        The answer to one call. An approval is asked for last, so that nobody is shown a call that
        is denied anyway.
        """
        if request.tool not in self._tools:
            return self._absent(request.tool)
        grant, allowed = self._tools[request.tool]
        return (
            _unbounded(grant, request)
            or _uncounted(grant, request)
            or allowed_by(grant, request, allowed)
        )

    def _absent(self, tool: str) -> Decision:
        name = shown(tool, _MAX_NAME)
        return Decision(
            False,
            self.policy.rule("tools"),
            f"calling {name} is not granted{tool_offer(self.policy)}",
            remedy=f"`- {{name: {name}}}` in `tools` would allow it",
        )


def tool_table(policy: Policy) -> ToolTable:
    """
    The table of a policy's tools.
    """
    return ToolTable(policy, {one.name: (one, _granted(one)) for one in policy.tools})


def _granted(grant: ToolGrant) -> Decision:
    return Decision(True, grant.rule, f"calling {grant.name} is granted", tool=grant)


def allowed_by(grant: ToolGrant, request: ToolRequest, allowed: Decision) -> Decision:
    """
    `allowed`, or that somebody has to agree first.
    """
    if request.approved or grant.approval is Approval.NONE:
        return allowed
    reason = f"calling {grant.name} needs a person's approval, for each call"
    remedy = "an approval of this call, or `approval: none`, would allow it"
    return replace(allowed, allowed=False, reason=reason, remedy=remedy, awaits_approval=True)


def _uncounted(grant: ToolGrant, request: ToolRequest) -> Decision | None:
    """
    That the tool's calls are used up; a count that is none denies too.
    """
    if 0 <= request.earlier < grant.max_calls:
        return None
    reason = f"the session has called {grant.name} {grant.max_calls} times, and may not again"
    remedy = f"a larger `max_calls` than {grant.max_calls} would allow it"
    return Decision(False, grant.rule, reason, remedy=remedy, tool=grant)


def _unbounded(grant: ToolGrant, request: ToolRequest) -> Decision | None:
    """
    Why an argument is not what it has to be; None where every bound holds.
    """
    given: dict[str, Argument] = dict(request.arguments)
    if len(given) != len(request.arguments):
        return _denied(grant, "an argument is given twice")
    if grant.bounds and request.open_ended:
        return _denied(grant, "its signature takes more than it names, so no bound can be proved")
    for bound in grant.bounds:
        wrong = "missing" if bound.name not in given else wrong_with(bound, given[bound.name])
        if wrong:
            why = f"its argument {bound.name} is {wrong}, and has to be {bound_text(bound)}"
            return replace(_denied(grant, why), rule=bound.rule)
    return None


def _denied(grant: ToolGrant, why: str) -> Decision:
    remedy = f"another bound in `arguments` of {grant.name} would allow it"
    return Decision(
        False, grant.rule, f"calling {grant.name} is denied: {why}", remedy=remedy, tool=grant
    )


def wrong_with(bound: ArgumentBound, value: Argument) -> str:
    """
    What is wrong with an argument's value, in few words; nothing where the bound holds.
    """
    if bound.allowed is not None:
        return "" if _is_one_of(value, bound.allowed) else "another"
    if bound.longest is not None:
        if type(value) is not str:
            return "no text"
        return "" if len(value) <= bound.longest else "longer"
    if not isinstance(value, int | float) or type(value) not in {int, float}:
        return "no number"
    if not _is_finite(value):
        return "not finite"
    if bound.least is not None and value < bound.least:
        return "less"
    return "more" if bound.most is not None and value > bound.most else ""


def _is_finite(value: float) -> bool:
    return type(value) is int or math.isfinite(value)


def _is_one_of(value: Argument, allowed: tuple[Scalar, ...]) -> bool:
    return any(type(value) is type(one) and value == one for one in allowed)
