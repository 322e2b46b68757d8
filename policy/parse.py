"""
From a text to a Policy, or to every reason why there is none.

Four passes: `document.py` reads YAML and remembers places, `schema.py` checks each value,
`lint.py` checks them together, and only where all three found nothing `_assemble` makes a Policy.
A pass goes on where an earlier one found problems, so that they are reported together.
"""

import os
import posixpath
from collections.abc import Callable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from typing import cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from policy.digest import digest_of
from policy.document import Document, Path, read_document
from policy.errors import PolicyError, Problem, shown
from policy.lint import (
    Finding,
    Placed,
    environment_findings,
    grant_findings,
    image_findings,
    source_findings,
)
from policy.paths import SCRATCH, source_problem
from policy.policy_file import open_policy_directory, policy_names, read_policy_file
from policy.schema import REFUSED, GrantSection, LimitsSection, PolicySection, RandomSection, said
from policy.types import Access, Clock, FileGrant, Limits, Policy, Rule
from policy.units import MIB

DEFAULT_QUOTA = 64 * MIB
"""What a session may add below a writable host mount where the policy does not say, in bytes."""
DEFAULT_MAX_FILES = 1000


def parse(text: str, *, file: str, base: str, protected: tuple[str, ...] = ()) -> Policy:
    """
    The policy that `text` says. Nothing of the file system is touched.

    `file` is the name that messages show; `base` the absolute directory at which relative
    sources start; `protected` are absolute directories of the server, which no grant may hold
    or lie in. Raises PolicyError with every problem found, and ValueError where `base` or
    `protected` is not absolute.
    """
    return _parse(text, file, base, protected, lambda path: path)


def load(path: str, protected: tuple[str, ...] = (), base: str | None = None) -> Policy:
    """
    The policy in the file `path`, which is opened once, as `read_policy_file` says.

    Relative sources start at `base`, or at the file's directory where that is None. Sources and
    protected directories are compared with symbolic links followed, as they are now.
    Raises PolicyError.
    """
    directory, name = posixpath.split(_normalised(path))
    text = read_policy_file(path)
    return _parse(text, shown(name), base or directory, _followed(protected), os.path.realpath)


def load_directory(
    path: str, protected: tuple[str, ...] = (), base: str | None = None
) -> dict[str, Policy]:
    """
    All policies of a directory by name: its files `NAME.yaml`, each with `name: NAME`.

    Relative sources start at `base`, or at the directory itself where that is None. Raises
    PolicyError with the problems of all files; nothing is loaded then.
    """
    start = base or _normalised(path)
    directory = open_policy_directory(path)
    policies: dict[str, Policy] = {}
    problems: list[Problem] = []
    try:
        for name in policy_names(directory):
            try:
                policy = _load_member(name, directory, start, protected)
            except PolicyError as error:
                problems += error.problems
            else:
                policies[policy.name] = policy
    finally:
        os.close(directory)
    if problems:
        raise PolicyError(tuple(problems))
    return policies


def _load_member(name: str, directory: int, base: str, protected: tuple[str, ...]) -> Policy:
    text = read_policy_file(name, directory)
    policy = _parse(text, shown(name), base, _followed(protected), os.path.realpath)
    if f"{policy.name}.yaml" != name:
        rule = policy.rule("name")
        message = f"name: `{policy.name}` is not the name of the file"
        hint = f"call the file {policy.name}.yaml, or write name: {name.removesuffix('.yaml')}"
        raise PolicyError((Problem(rule.file, rule.line, rule.column, message, hint, rule.text),))
    return policy


def _followed(protected: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*protected, *map(os.path.realpath, protected)]))


def _parse(
    text: str, file: str, base: str, protected: tuple[str, ...], resolve: Callable[[str], str]
) -> Policy:
    for path in (base, *protected):
        if not path.startswith("/"):
            raise ValueError(f"{path!r} is not an absolute path; give one")
    protected = tuple(map(_normalised, protected))
    document = read_document(text, file)
    model, problems = _validated(document)
    base = _normalised(base)
    placed = _placed_grants(document, base)
    limits = _limits(document)
    findings = [
        *grant_findings(placed, protected, limits.scratch, resolve),
        *_unplaced_findings(document, placed, base, protected, resolve),
        *image_findings(_images(document)),
        *environment_findings(_environment(document)),
    ]
    problems += [_found(document, finding) for finding in findings]
    if model is None or problems:
        raise PolicyError(tuple(sorted(problems, key=lambda one: (one.line, one.column))))
    return _assemble(document, model, tuple(one.grant for one in placed), limits)


def _normalised(path: str) -> str:
    """
    `path` made absolute, by its text alone. POSIX lets `//etc` be something else than `/etc`;
    here, as on Linux, it is the same.
    """
    return "/" + posixpath.abspath(path).lstrip("/")


def _validated(document: Document) -> tuple[PolicySection | None, list[Problem]]:
    """
    The model, and the problems of reading and of single values; None where there are any.
    """
    problems = list(document.problems)
    if problems and document.data is None:
        return None, problems
    try:
        return PolicySection.model_validate(document.data), problems
    except ValidationError as error:
        for detail in error.errors(include_url=False)[:_MAX_DETAILS]:
            # What is missing from a text that could not be read to its end may yet come.
            spurious = detail["type"] == "missing" and not document.closed
            if not spurious and not document.is_broken(detail["loc"]):
                problems.append(_described(document, detail))
        return None, problems


_MAX_DETAILS = 200

_WANTED = {
    "bool_type": ("true or false", "write true or false, without quotes"),
    "dict_type": ("a mapping", "write `key: value`, one a line, or {key: value}"),
    "list_type": ("a list", "write [first, second], or one `- item` a line"),
    "model_type": ("a mapping", "write `key: value`, one a line, or {key: value}"),
    "string_unicode": ("a text of Unicode characters", "a surrogate is no character: remove it"),
    "string_type": ("a text", "put it in quotes if a text is meant"),
}


def _described(document: Document, detail: ErrorDetails) -> Problem:
    """
    One of pydantic's errors in our words, at its place.
    """
    path: Path = detail["loc"]
    kind, value = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return _unknown_key(document, path)
    if kind == "missing":
        keys = ", ".join(_known_keys(path[:-1]))
        message = f"the key `{path[-1]}` is missing"
        return _at(document, path[:-1], message, f"the keys here are {keys}")
    if kind == REFUSED:
        context = detail["ctx"]
        return _at(document, path, context["message"], context["hint"])
    wanted, hint = _WANTED[kind]
    return _at(document, path, f"must be {wanted}, not {said(value)}", hint)


def _unknown_key(document: Document, path: Path) -> Problem:
    key, known = str(path[-1]), _known_keys(path[:-1])
    message = f"unknown key `{shown(key, 40)}`"
    if close := get_close_matches(key[:40].lower(), known, n=1):
        message += f"; did you mean `{close[0]}`?"
    if holder := label(path[:-1]):
        message = f"{holder}: {message}"
    place = document.keys.get(path, document.where(path))
    return document.problem(place, message, f"the keys here are {', '.join(known)}")


def _known_keys(path: Path) -> list[str]:
    """
    The keys of the mapping at `path`, as the schema has them.
    """
    return list(_SECTIONS[str(path[0]) if path else ""].model_fields)


_SECTIONS: dict[str, type[BaseModel]] = {
    "": PolicySection,
    "filesystem": GrantSection,
    "limits": LimitsSection,
    "random": RandomSection,
}


def _at(document: Document, path: Path, message: str, hint: str) -> Problem:
    name = label(path)
    return document.problem(document.where(path), f"{name}: {message}" if name else message, hint)


def _found(document: Document, finding: Finding) -> Problem:
    if finding.on_key:
        place = document.keys[finding.path]
        return document.problem(place, finding.message, finding.hint)
    return _at(document, finding.path, finding.message, finding.hint)


def label(path: Path) -> str:
    """
    How a rule and a message name a place: `filesystem[0].deny[1]`.
    """
    parts = [f"[{part}]" if isinstance(part, int) else f".{shown(part, 40)}" for part in path]
    return "".join(parts).removeprefix(".")


def _section(document: Document, key: str) -> object:
    return document.data.get(key) if isinstance(document.data, dict) else None


def _placed_grants(document: Document, base: str) -> list[Placed]:
    """
    The grants whose own values are right, also where something else in the file is wrong.
    """
    entries = _section(document, "filesystem")
    placed: list[Placed] = []
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        try:
            section = GrantSection.model_validate(entry)
        except ValidationError:
            continue
        grant = _grant(document, index, section, base)
        placed.append(Placed(index, grant, section.quota, section.max_files))
    return placed


def _unplaced_findings(
    document: Document,
    placed: list[Placed],
    base: str,
    protected: tuple[str, ...],
    resolve: Callable[[str], str],
) -> Iterator[Finding]:
    """
    The dangerous sources of the entries that have another mistake, so that both are reported.
    """
    entries, right = _section(document, "filesystem"), {one.index for one in placed}
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        source = entry.get("source") if isinstance(entry, dict) else None
        if index in right or not isinstance(source, str) or source_problem(source):
            continue
        path: Path = ("filesystem", index, "source")
        absolute = _absolute(source, base)
        if absolute is not None and not document.is_broken(path):
            writable = entry.get("access") != "read"
            yield from source_findings(path, absolute, protected, resolve, writable)


def _grant(document: Document, index: int, section: GrantSection, base: str) -> FileGrant:
    access, path = Access(section.access), ("filesystem", index)
    writes = access is Access.READ_WRITE
    quota = DEFAULT_QUOTA if section.quota is None else section.quota
    max_files = DEFAULT_MAX_FILES if section.max_files is None else section.max_files
    return FileGrant(
        mount=section.mount,
        source=_absolute(section.source, base),
        access=access,
        deny=tuple(section.deny),
        quota=quota if writes else 0,
        max_files=max_files if writes else 0,
        rule=_rule(document, path),
        deny_rules=tuple(
            _rule(document, (*path, "deny", number)) for number in range(len(section.deny))
        ),
    )


def _absolute(source: str, base: str) -> str | None:
    if source == SCRATCH:
        return None
    return posixpath.normpath(posixpath.join(base, source))


def _limits(document: Document) -> Limits:
    """
    The limits of the file, or the defaults where they cannot be read.
    """
    try:
        section = LimitsSection.model_validate(_section(document, "limits") or {})
    except ValidationError:
        return Limits()
    return Limits(**section.model_dump())


def _images(document: Document) -> list[object]:
    """
    The list of images as it stands there; nothing where it is one name, or none.
    """
    section = _section(document, "image")
    return section if isinstance(section, list) else []


def _environment(document: Document) -> dict[str, str]:
    """
    The variables that are texts; the others have been complained about.
    """
    section = _section(document, "environment")
    variables = cast("dict[str, object]", section if isinstance(section, dict) else {})
    return {
        name: value
        for name, value in variables.items()
        if isinstance(value, str) and not document.is_broken(("environment", name))
    }


def _assemble(
    document: Document, model: PolicySection, grants: tuple[FileGrant, ...], limits: Limits
) -> Policy:
    policy = Policy(
        name=model.name,
        description=model.description,
        file=document.file,
        images=tuple(model.image),
        filesystem=grants,
        limits=limits,
        environment=tuple(sorted(model.environment.items())),
        clock=Clock(model.clock),
        seed=model.random.seed if model.random else None,
        disclose=model.disclose,
        rules=tuple(
            _rule(document, path)
            for path in document.keys
            if len(path) == 1 or path[0] != "filesystem"
        ),
    )
    return replace(policy, digest=digest_of(policy))


def _rule(document: Document, path: Path) -> Rule:
    place = document.keys.get(path, document.where(path))
    text = document.lines[place.line - 1]
    return Rule(label(path), document.file, place.line, place.column, text)
