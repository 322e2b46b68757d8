"""
The gates of a policy file, and what is wrong with them although each value is right.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from pydantic import ValidationError

from policy.document import Document, Path
from policy.errors import shown
from policy.gates import Builtin, GateRule, Trust
from policy.globs import GlobSet
from policy.lint import Finding, Placed, Resolver
from policy.paths import is_within
from policy.places import rule_at
from policy.schema_gates import GATE_FORMS, GATE_NAME, GateSection
from policy.spelling import did_you_mean
from policy.types import Access, Approval, CommitBy
from policy.values import said

Gates = Mapping[str, GateRule]

BOOKS = "native-books"
"""The image in which bean-check runs where the policy names none."""
_BEANS_ALONE = "has a meaning for bean-check alone"
_LEDGERS = ("**/*.beancount", "**/*.bean")
_EVERYTHING = ("**",)


def placed_gates(document: Document, entries: object) -> dict[str, GateRule]:
    """
    The gates whose own values are right, by name, also where something else in the file is wrong.
    """
    placed = {}
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        try:
            section = GateSection.model_validate(entry)
        except ValidationError:
            continue
        placed[name] = _gate(document, name, section)
    return placed


def _gate(document: Document, name: str, section: GateSection) -> GateRule:
    builtin = Builtin(section.builtin) if section.builtin else None
    kept = [section.file] if section.file and section.entry == "fixed" else []
    return GateRule(
        name=name,
        builtin=builtin,
        program=section.program,
        sha256=section.sha256,
        image=section.image or (BOOKS if builtin else ""),
        file=section.file,
        on=_judged(section),
        protected=(*section.protected, *kept),
        trust=Trust(section.trust),
        timeout=section.timeout,
        memory=section.memory,
        max_deleted=(section.max_deleted or 0) if builtin else None,
        plugins=tuple(section.plugins),
        rule=rule_at(document, ("gates", name)),
    )


def _judged(section: GateSection) -> tuple[str, ...]:
    """
    What the file says, and the place where the check begins, which is judged whatever it says.
    """
    globs = tuple(section.on) or (_LEDGERS if section.builtin else _EVERYTHING)
    if not section.file or GlobSet(globs).match(section.file) is not None:
        return globs
    return (*globs, section.file)


def gates_of(names: Sequence[str], gates: Gates) -> tuple[GateRule, ...]:
    """
    The gates that a mount names; those that are none have been complained about.
    """
    return tuple(gates[name] for name in names if name in gates)


def gate_findings(
    section: object, grants: Sequence[Placed], gates: Gates, resolve: Resolver
) -> Iterator[Finding]:
    """
    Gates that are none, that judge nothing, that lack what they need, or whose yes is worth
    nothing; and programs that a session could write. `section` is what the file has at `gates`.
    """
    entries = section if isinstance(section, dict) else {}
    used = {name for placed in grants for name in placed.gates}
    for name in entries:
        yield from _named(name, is_used=name in used)
    for gate in gates.values():
        yield from _lacking(gate)
        for key in ("entry", "max_deleted") if gate.program else ():
            if key in entries[gate.name]:
                yield Finding(("gates", gate.name, key), _BEANS_ALONE, "remove it")
        for placed in grants if gate.program else ():
            yield from _written(gate, placed, resolve)
    for placed in grants:
        yield from _of_mount(placed, list(entries), gates)


def _named(name: str, *, is_used: bool) -> Iterator[Finding]:
    path: Path = ("gates", name)
    if not re.fullmatch(GATE_NAME, name, re.ASCII):
        yield Finding(path, f"{said(name)} is no name of a gate", GATE_FORMS, on_key=True)
    elif not is_used:
        hint = f"write `gate: {name}` in a mount with `access: transaction`, or remove it"
        yield Finding(path, f"the gate `{name}` judges nothing", hint, on_key=True)


def _lacking(gate: GateRule) -> Iterator[Finding]:
    path: Path = ("gates", gate.name)
    if (gate.builtin is None) is not bool(gate.program):
        message = f"the gate `{shown(gate.name)}` has to be one of ours or a program of yours"
        yield Finding(path, message, "write `builtin: bean-check`, or `program: /path/of/it.py`")
    elif gate.builtin:
        yield from _of_builtin(gate)
    else:
        yield from _of_program(gate)


def _of_builtin(gate: GateRule) -> Iterator[Finding]:
    path: Path = ("gates", gate.name)
    if not gate.file:
        yield Finding(path, "bean-check begins to read at a file", "write file: main.beancount")
    if gate.trust is Trust.CODE:
        message = "bean-check refuses books that name code, so they are data to it"
        yield Finding((*path, "trust"), message, "remove it")
    if gate.sha256:
        yield Finding((*path, "sha256"), "has a meaning for a `program` alone", "remove it")


def _of_program(gate: GateRule) -> Iterator[Finding]:
    path: Path = ("gates", gate.name)
    if not gate.image:
        message = f"the gate `{shown(gate.name)}` names no image to run in"
        yield Finding(path, message, "write image: core, or another that has what it imports")
    if not gate.sha256:
        message = "the program may be changed after the policy was read"
        yield Finding(path, message, f"write sha256: and what `sha256sum {gate.program}` prints")
    if gate.file or gate.plugins:
        key = "file" if gate.file else "plugins"
        yield Finding((*path, key), _BEANS_ALONE, "remove it")


def _written(gate: GateRule, placed: Placed, resolve: Resolver) -> Iterator[Finding]:
    """
    Whoever may write the program judges himself.
    """
    source = placed.grant.source
    if source and placed.grant.access.writes and is_within(resolve(gate.program), resolve(source)):
        message = f"{shown(gate.program)} lies in what {placed.grant.rule.name} may change"
        hint = "keep it where no session writes: /etc/codecage/gates"
        yield Finding(("gates", gate.name, "program"), message, hint)


def _of_mount(placed: Placed, known: Sequence[str], gates: Gates) -> Iterator[Finding]:
    path = placed.at("gate")
    for name in placed.gates:
        if name not in known:
            hint = "the gates here are " + (", ".join(known) or "none: write `gates`")
            message = f"there is no gate `{shown(name)}`{did_you_mean(name, known)}"
            yield Finding(path, message, hint)
    if len(set(placed.gates)) < len(placed.gates):
        yield Finding(path, "names a gate twice", "remove one of them")
    if placed.gates and placed.grant.access is not Access.TRANSACTION:
        message = "has a meaning for transactions alone"
        yield Finding(path, message, "remove it, or write `access: transaction`")
    mine = gates_of(placed.gates, gates)
    advisory = mine and all(gate.trust is Trust.CODE for gate in mine)
    alone = placed.grant.commit_by is CommitBy.GUEST and placed.grant.approval is Approval.NONE
    if advisory and alone:
        yield Finding(
            path,
            "every gate here runs code of those whom it judges, which can forge a yes",
            "write `commit_by: client`, `approval: required`, or add a gate with `trust: data`",
        )
