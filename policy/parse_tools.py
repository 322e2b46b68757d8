"""
The tools of a policy file, and what is wrong with them although each value is right.
"""

from collections.abc import Iterator, Sequence

from pydantic import ValidationError

from policy.document import Document, Path
from policy.lint import Finding
from policy.places import rule_at
from policy.schema_tools import BoundSection, ToolSection
from policy.types import APPROVAL_EXPIRES, Approval, ArgumentBound, Effect, ToolGrant
from policy.values import said


def placed_tools(document: Document, entries: object) -> list[tuple[int, ToolGrant]]:
    """
    The grants whose own values are right, with their indexes, also where something else in the
    file is wrong.
    """
    placed: list[tuple[int, ToolGrant]] = []
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        try:
            section = ToolSection.model_validate(entry)
        except ValidationError:
            continue
        placed.append((index, _grant(document, ("tools", index), section)))
    return placed


def _grant(document: Document, path: Path, section: ToolSection) -> ToolGrant:
    bounds = (
        _bound(document, (*path, "arguments", name), name, one)
        for name, one in section.arguments.items()
    )
    return ToolGrant(
        name=section.name,
        max_calls=section.max_calls,
        approval=Approval.NONE if section.approval is None else Approval.REQUIRED,
        bounds=tuple(bounds),
        rule=rule_at(document, path),
        effect=Effect(section.effect),
        approval_expires=section.approval.expires if section.approval else APPROVAL_EXPIRES,
    )


def _bound(document: Document, path: Path, name: str, section: BoundSection) -> ArgumentBound:
    return ArgumentBound(
        name=name,
        rule=rule_at(document, path),
        least=section.min,
        most=section.max,
        longest=section.max_length,
        allowed=None if section.allow is None else tuple(section.allow),
    )


def tool_findings(tools: Sequence[tuple[int, ToolGrant]]) -> Iterator[Finding]:
    """
    Tools that stand there twice, and bounds that say nothing or that nothing can keep.
    """
    seen: dict[str, int] = {}
    for index, tool in tools:
        if tool.name in seen:
            message = f"{said(tool.name)} stands here twice; the first is tools[{seen[tool.name]}]"
            yield Finding(("tools", index, "name"), message, "remove one of them")
        seen.setdefault(tool.name, index)
        for bound in tool.bounds:
            path: Path = ("tools", index, "arguments", bound.name)
            yield from _bound_findings(path, bound)


def _bound_findings(path: Path, bound: ArgumentBound) -> Iterator[Finding]:
    if not (bound.name.isidentifier() and bound.name.isascii() and len(bound.name) <= _LONGEST):
        hint = f"an argument is a parameter's name, of at most {_LONGEST} characters"
        yield Finding(path, f"{said(bound.name)} is no name of an argument", hint, on_key=True)
    ranged = bound.least is not None or bound.most is not None
    kinds = ranged + (bound.longest is not None) + (bound.allowed is not None)
    if kinds == 0:
        yield Finding(path, "says nothing", f"write {_KINDS}, or remove it")
    elif kinds > 1:
        message = "no argument is of two kinds at once"
        yield Finding(path, message, f"write one of {_KINDS}")
    if bound.least is not None and bound.most is not None and bound.least > bound.most:
        message = f"no number is {bound.least} or more and {bound.most} or less"
        yield Finding(path, message, "exchange `min` and `max`")


_LONGEST = 64
_KINDS = "`min` and `max` of a number, `max_length` of a text, `allow` with a list of values"
