"""
What a policy file says of the process cage: `cage`, `isolation` and `process`.
"""

from pydantic import ValidationError

from policy.document import Document, Path
from policy.places import rule_at
from policy.schema_process import IsolationSection, ProcessSection
from policy.types import CageKind, Isolation, IsolationLevel, Policy, ProcessGrant

KEYS = ("isolation", "process")
"""The keys that are about the process cage alone."""


def cage_in(data: object, inherited: Policy | None) -> CageKind | None:
    """
    The cage of a file whose content is `data`; None where what stands there is no cage.
    """
    if not isinstance(data, dict) or "cage" not in data:
        return inherited.cage if inherited else CageKind.WASM
    return next((one for one in CageKind if one.value == data["cage"]), None)


def isolation_in(section: object, inherited: Policy | None) -> Isolation:
    """
    The isolation that a file asks for; its own is left out where it cannot be read.
    """
    if section is None:
        return inherited.isolation if inherited else Isolation()
    try:
        read = IsolationSection.model_validate(section)
    except ValidationError:
        return Isolation()
    return Isolation(IsolationLevel(read.min), frozenset(read.require))


def process_in(document: Document, section: object) -> ProcessGrant | None:
    """
    The grant of `process` where its own values are right, also where something else is wrong.
    """
    try:
        read = ProcessSection.model_validate(section)
    except ValidationError:
        return None
    path: Path = ("process",)
    places = range(len(read.programs))
    return ProcessGrant(
        fork=read.fork,
        programs=tuple(read.programs),
        new_code=read.new_code == "allow",
        rule=rule_at(document, path),
        program_rules=tuple(rule_at(document, (*path, "programs", index)) for index in places),
    )
