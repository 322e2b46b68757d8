"""
From one text to a Policy, or to every reason why there is none.

Four passes: `document.py` reads YAML and remembers places, `schema.py` checks each value,
`lint.py` and `lint_network.py` check them together, and only where all of them found nothing is
there a Policy. A pass goes on where an earlier one found problems, so that they are reported
together. What other files have to do with it is for `related.py` to say.
"""

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import cast

from pydantic import ValidationError

from policy.cages import cage_gaps
from policy.digest import digest_of
from policy.document import Document, Path
from policy.errors import PolicyError, Problem
from policy.lint import (
    Finding,
    Placed,
    PlacedApproval,
    deny_findings,
    environment_findings,
    grant_findings,
    hides_below,
    image_findings,
    source_findings,
)
from policy.lint_network import network_findings, repeated_findings
from policy.lint_process import (
    cage_findings,
    meaningless_findings,
    program_findings,
    repeated_item_findings,
)
from policy.parse_audit import audit_in, redaction_findings
from policy.parse_gates import Gates, gate_findings, gates_of, placed_gates
from policy.parse_network import placed_network
from policy.parse_process import KEYS, cage_in, isolation_in, process_in
from policy.parse_ratchets import placed_ratchets, ratchet_findings
from policy.parse_tools import placed_tools, tool_findings
from policy.paths import SCRATCH, source_problem
from policy.places import rule_at
from policy.schema import DenySection, GrantSection, LimitsSection, PolicySection
from policy.types import (
    APPROVAL_EXPIRES,
    Access,
    Approval,
    CageKind,
    Clock,
    CommitBy,
    Deny,
    FileGrant,
    Isolation,
    Limits,
    Mode,
    Policy,
    Rule,
)
from policy.units import MIB
from policy.validation import problem_at, validated

DEFAULT_QUOTA = 64 * MIB
"""What a session may add below a writable host mount where the policy does not say, in bytes."""
DEFAULT_MAX_FILES = 1000


@dataclass(frozen=True, slots=True)
class Ground:
    """
    Where a text stands: `base` is the directory at which relative sources start, `protected` are
    directories of the server, all absolute and normalised; `resolve` follows symbolic links where
    the caller may touch the file system.
    """

    base: str
    protected: tuple[str, ...]
    resolve: Callable[[str], str]


def ground(base: str, protected: tuple[str, ...], resolve: Callable[[str], str]) -> Ground:
    """
    A ground of any absolute paths. Raises ValueError where one is not absolute.
    """
    for path in (base, *protected):
        if not path.startswith("/"):
            raise ValueError(f"{path!r} is not an absolute path; give one")
    return Ground(normalised(base), tuple(map(normalised, protected)), resolve)


def normalised(path: str) -> str:
    """
    `path` made absolute, by its text alone. POSIX lets `//etc` be something else than `/etc`;
    here, as on Linux, it is the same.
    """
    return "/" + posixpath.abspath(path).lstrip("/")


def read_policy(document: Document, where: Ground, inherited: Policy | None) -> Policy:
    """
    The policy that a document says by itself, with what it does not say from `inherited`, and
    not yet narrowed to anything. Raises PolicyError with every problem of the document.
    """
    model, problems = validated(document)
    limits = _limits(document, inherited)
    denies = _denies(document)
    judges = section_of(document, "gates")
    gates = placed_gates(document, judges)
    placed = _placed_grants(document, where.base, denies, gates)
    network = placed_network(document, section_of(document, "network"))
    tools = placed_tools(document, section_of(document, "tools"))
    ratchets = placed_ratchets(document, section_of(document, "after"))
    entries = section_of(document, "filesystem")
    whole = len(placed) == (len(entries) if isinstance(entries, list) else 0)
    findings = [
        *grant_findings(placed, where.protected, limits.scratch, where.resolve),
        *_unplaced_findings(document, placed, where),
        *(deny_findings(denies, placed) if whole else ()),
        *(ratchet_findings(ratchets, placed, tools) if whole else ()),
        *(gate_findings(judges, placed, gates, where.resolve) if whole else ()),
        *image_findings(_images(document)),
        *network_findings(network),
        *repeated_findings(section_of(document, "network")),
        *_process_findings(document, placed, where, inherited),
        *tool_findings(tools),
        *_mode_findings(document),
        *redaction_findings(section_of(document, "audit")),
        *environment_findings(_environment(document)),
    ]
    problems += [_found(document, finding) for finding in findings]
    if model is None or problems:
        raise PolicyError(in_order(problems))
    policy = replace(
        _assemble(document, model, limits, inherited),
        filesystem=tuple(one.grant for one in placed),
        deny=tuple(deny for _, deny in denies),
        network=tuple(one.grant for one in network),
        tools=tuple(grant for _, grant in tools),
        after=tuple(ratchet for _, ratchet in ratchets),
        mode=Mode(model.mode),
    )
    if gaps := cage_gaps(policy, policy.cage):
        raise PolicyError(gaps)
    return replace(policy, digest=digest_of(policy))


def _process_findings(
    document: Document, placed: list[Placed], where: Ground, inherited: Policy | None
) -> Iterator[Finding]:
    """
    What is wrong with what the file says of its cage. A cage that is none has been complained
    about, and what depends on it waits.
    """
    cage = cage_in(document.data, inherited)
    if cage is not None:
        yield from cage_findings(cage, _placed_images(document, inherited))
        given = [key for key in KEYS if section_of(document, key) is not None]
        yield from meaningless_findings(cage, given)
    isolation = section_of(document, "isolation")
    items = isolation.get("require") if isinstance(isolation, dict) else None
    yield from repeated_item_findings(items if isinstance(items, list) else [])
    if grant := process_in(document, section_of(document, "process")):
        yield from program_findings(grant.programs, placed, where.protected, where.resolve)


def _mode_findings(document: Document) -> Iterator[Finding]:
    if section_of(document, "mode") == "audit" and not section_of(document, "within"):
        message = "audit mode lets pass what a ceiling allows, and this file names none"
        yield Finding(("mode",), message, "name the most that may happen in `within`")


def _placed_images(document: Document, inherited: Policy | None) -> list[tuple[Path, str]]:
    """
    The images of the file, or those that it inherits, each with the place to point at.
    """
    section = section_of(document, "image")
    if isinstance(section, list):
        entries = enumerate(section)
        return [(("image", index), one) for index, one in entries if isinstance(one, str)]
    if isinstance(section, str):
        return [(("image",), section)]
    place: Path = ("cage",) if section_of(document, "cage") else ()
    return [(place, one) for one in (inherited.images if inherited else ("core",))]


def in_order(problems: list[Problem]) -> tuple[Problem, ...]:
    """
    Problems in the order of their places.
    """
    return tuple(sorted(problems, key=lambda one: (one.line, one.column)))


def _found(document: Document, finding: Finding) -> Problem:
    if finding.on_key:
        place = document.keys[finding.path]
        return document.problem(place, finding.message, finding.hint)
    return problem_at(document, finding.path, finding.message, finding.hint)


def section_of(document: Document, key: str) -> object:
    """
    What stands at a key of the file, whatever it is; None where nothing does.
    """
    return document.data.get(key) if isinstance(document.data, dict) else None


def _denies(document: Document) -> list[tuple[int, Deny]]:
    """
    The entries of `deny` whose own values are right, with their indexes.
    """
    entries = section_of(document, "deny")
    denies: list[tuple[int, Deny]] = []
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        try:
            section = DenySection.model_validate(entry)
        except ValidationError:
            continue
        rule = rule_at(document, ("deny", index))
        denies.append((index, Deny(section.path, section.reason, rule)))
    return denies


def _placed_grants(
    document: Document, base: str, denies: list[tuple[int, Deny]], gates: Gates
) -> list[Placed]:
    """
    The grants whose own values are right, also where something else in the file is wrong.
    """
    entries = section_of(document, "filesystem")
    placed: list[Placed] = []
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        try:
            section = GrantSection.model_validate(entry)
        except ValidationError:
            continue
        grant = _grant(document, index, section, base)
        if grant.access is Access.TRANSACTION:
            grant = _committed(grant, section, gates)
        denied = any(hides_below(deny, grant.mount) for _, deny in denies)
        placed.append(
            Placed(
                index,
                grant,
                section.quota,
                section.max_files,
                denied,
                section.commit_by is not None,
                _placed_approval(section),
                tuple(section.gate),
            )
        )
    return placed


def _placed_approval(section: GrantSection) -> PlacedApproval:
    if "approval" not in section.model_fields_set:
        return PlacedApproval.UNSAID
    if section.approval is None and section.commit_by == "approver":
        return PlacedApproval.CONTRADICTED
    return PlacedApproval.SAID


def _unplaced_findings(
    document: Document, placed: list[Placed], where: Ground
) -> Iterator[Finding]:
    """
    The dangerous sources of the entries that have another mistake, so that both are reported.
    """
    entries, right = section_of(document, "filesystem"), {one.index for one in placed}
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        source = entry.get("source") if isinstance(entry, dict) else None
        if index in right or not isinstance(source, str) or source_problem(source):
            continue
        path: Path = ("filesystem", index, "source")
        absolute = _absolute(source, where.base)
        if absolute is not None and not document.is_broken(path):
            writable = entry.get("access") != "read"
            yield from source_findings(path, absolute, where.protected, where.resolve, writable)


def _grant(document: Document, index: int, section: GrantSection, base: str) -> FileGrant:
    access, path = Access(section.access), ("filesystem", index)
    writes = access.writes
    quota = DEFAULT_QUOTA if section.quota is None else section.quota
    max_files = DEFAULT_MAX_FILES if section.max_files is None else section.max_files
    return FileGrant(
        mount=section.mount,
        source=_absolute(section.source, base),
        access=access,
        deny=tuple(section.deny),
        quota=quota if writes else 0,
        max_files=max_files if writes else 0,
        rule=rule_at(document, path),
        deny_rules=tuple(
            rule_at(document, (*path, "deny", number)) for number in range(len(section.deny))
        ),
    )


def _committed(grant: FileGrant, section: GrantSection, gates: Gates) -> FileGrant:
    """
    A transaction with what the file says of its commits: by whom, past which gates, and whether
    each waits for an approval.
    """
    asked = section.approval is not None or section.commit_by == "approver"
    return replace(
        grant,
        # Whom an approver lets commit may be anybody: nothing is done before the approval.
        commit_by=CommitBy.CLIENT if section.commit_by == "client" else CommitBy.GUEST,
        gates=gates_of(section.gate, gates),
        approval=Approval.REQUIRED if asked else Approval.NONE,
        approval_expires=section.approval.expires if section.approval else APPROVAL_EXPIRES,
    )


def _absolute(source: str, base: str) -> str | None:
    if source == SCRATCH:
        return None
    return posixpath.normpath(posixpath.join(base, source))


def _limits(document: Document, inherited: Policy | None) -> Limits:
    """
    The limits of the file over those that it inherits; its own are left out where they cannot be
    read.
    """
    others = inherited.limits if inherited else Limits()
    try:
        section = LimitsSection.model_validate(section_of(document, "limits") or {})
    except ValidationError:
        return others
    return replace(others, **{key: getattr(section, key) for key in section.model_fields_set})


def _images(document: Document) -> list[object]:
    """
    The list of images as it stands there; nothing where it is one name, or none.
    """
    section = section_of(document, "image")
    return section if isinstance(section, list) else []


def _environment(document: Document) -> dict[str, str]:
    """
    The variables that are texts; the others have been complained about.
    """
    section = section_of(document, "environment")
    variables = cast("dict[str, object]", section if isinstance(section, dict) else {})
    return {
        name: value
        for name, value in variables.items()
        if isinstance(value, str) and not document.is_broken(("environment", name))
    }


def _assemble(
    document: Document, model: PolicySection, limits: Limits, inherited: Policy | None
) -> Policy:
    """
    The policy without its grants and its digest.
    """
    others = inherited or Policy("", "", "")
    given = model.model_fields_set
    cage = CageKind(model.cage) if "cage" in given else others.cage
    held = cage is not CageKind.WASM
    return Policy(
        name=model.name,
        description=model.description,
        file=document.file,
        images=tuple(model.image) if "image" in given else others.images,
        limits=limits,
        environment=tuple(sorted({**dict(others.environment), **model.environment}.items())),
        clock=Clock(model.clock) if "clock" in given else others.clock,
        seed=model.random.seed if model.random else others.seed,
        disclose=model.disclose,
        rules=_rules(document, others.rules),
        cage=cage,
        isolation=isolation_in(section_of(document, "isolation"), inherited)
        if held
        else Isolation(),
        process=process_in(document, section_of(document, "process")) if held else None,
        imports=_modules(model.imports.allow) if model.imports else others.imports,
        audit=audit_in(model.audit, others.audit),
    )


def _modules(allowed: list[str]) -> tuple[str, ...]:
    """
    The modules, each with what lies below it, whether that is written or not.
    """
    return tuple(dict.fromkeys(name.removesuffix(".*") for name in allowed))


def _rules(document: Document, inherited: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """
    The places of the file's keys, and those of the keys that it inherits and has not itself.
    """
    own = [
        rule_at(document, path)
        for path in document.keys
        if len(path) == 1 or path[0] not in {"filesystem", "deny"}
    ]
    named = {rule.name for rule in own}
    return (*own, *(one for one in inherited if one.name not in named and _is_inherited(one)))


_INHERITED = {
    *("limits", "image", "clock", "random", "environment", "cage", "isolation", "imports"),
    "audit",
}


def _is_inherited(rule: Rule) -> bool:
    return rule.name.partition(".")[0] in _INHERITED
