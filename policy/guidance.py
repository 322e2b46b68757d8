"""
What a policy advises and nothing enforces: `imports`, the modules that a guest is meant to use.

No list of names keeps Python from a module: it is guidance for agents and for who reads their
code, and every text that shows it says so. What a session may do is decided elsewhere. A module
stands for what lies below it: `numpy` for `numpy.random`.
"""

from collections.abc import Iterator

from policy.errors import shown
from policy.requests import ImportRequest
from policy.types import Decision, Policy


def narrowed_imports(policy: Policy, ceiling: Policy) -> tuple[str, ...] | None:
    """
    What both advise: the modules of both, of two of which one holds the other the inner; None
    where neither says anything.
    """
    own, other = policy.imports, ceiling.imports
    if own is None or other is None:
        return own if other is None else other
    met = (inner for one in own for two in other for inner in _inner(one, two))
    return tuple(dict.fromkeys(met))


def _inner(one: str, two: str) -> Iterator[str]:
    if is_below(one, two):
        yield one
    elif is_below(two, one):
        yield two


def is_below(module: str, holder: str) -> bool:
    """
    Whether `module` is `holder` or lies below it.
    """
    return module == holder or module.startswith(holder + ".")


def advised(policy: Policy, request: ImportRequest) -> Decision:
    """
    What the policy advises about an import. `allowed` is advice here, as the reason says.
    """
    rule, module = policy.rule("imports"), shown(request.module, 200)
    if policy.imports is None:
        reason = f"importing {module} is left to the image: this policy advises nothing"
        return Decision(True, rule, reason)
    if any(is_below(request.module, one) for one in policy.imports):
        return Decision(True, rule, f"importing {module} is advised; {_GUIDANCE}")
    remedy = f"{module} in `imports.allow` would advise it"
    return Decision(
        False, rule, f"importing {module} is advised against; {_GUIDANCE}", remedy=remedy
    )


_GUIDANCE = "this is guidance, which nothing enforces"


def advice_gained(old: Policy, new: Policy) -> Iterator[tuple[str, str]]:
    """
    What `new` advises and `old` does not, each as a place and a text.
    """
    if old.imports is None:
        return
    if new.imports is None:
        yield "imports", "every module (guidance)"
    for module in new.imports or ():
        if not any(is_below(module, one) for one in old.imports):
            yield "imports", f"{module} (guidance)"
