"""
The schema's pass over a document: each value against its model, each refusal in our words.
"""

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from policy.document import Document, Path
from policy.errors import Problem, shown
from policy.places import label
from policy.schema import (
    DenySection,
    GrantSection,
    ImportsSection,
    LimitsSection,
    PolicySection,
    RandomSection,
)
from policy.schema_approvals import ApprovalSection
from policy.schema_audit import AuditSection
from policy.schema_gates import GateSection
from policy.schema_network import CredentialsSection, HttpSection, NetworkSection
from policy.schema_process import IsolationSection, ProcessSection
from policy.schema_ratchets import RatchetSection
from policy.schema_tools import BoundSection, ToolSection
from policy.spelling import did_you_mean
from policy.values import REFUSED, said

Model = TypeVar("Model", bound=BaseModel)
Sections = Mapping[str, type[BaseModel]]
"""The models of a file's mappings by their places, such as `network.http`; "" is the file's own
and `*` stands for any last key."""


def validated(document: Document) -> tuple[PolicySection | None, list[Problem]]:
    """
    The policy's model, and the problems of reading and of single values; None where there are any.
    """
    return checked(document, PolicySection, SECTIONS)


def checked(
    document: Document, model: type[Model], sections: Sections
) -> tuple[Model | None, list[Problem]]:
    """
    The model of any file that is written as policies are; None where there are problems.
    """
    problems = list(document.problems)
    if problems and document.data is None:
        return None, problems
    try:
        return model.model_validate(document.data), problems
    except ValidationError as error:
        for detail in error.errors()[:_MAX_DETAILS]:
            # What is missing from a text that could not be read to its end may yet come.
            spurious = detail["type"] == "missing" and not document.closed
            if not spurious and not document.is_broken(detail["loc"]):
                problems.append(_described(document, detail, sections))
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


def _described(document: Document, detail: ErrorDetails, sections: Sections) -> Problem:
    """
    One of pydantic's errors in our words, at its place.
    """
    path: Path = detail["loc"]
    kind, value = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return _unknown_key(document, path, sections)
    if kind == "missing":
        keys = ", ".join(_known_keys(path[:-1], sections))
        message = f"the key `{path[-1]}` is missing"
        return problem_at(document, path[:-1], message, f"the keys here are {keys}")
    if kind == REFUSED:
        context = detail["ctx"]
        return problem_at(document, path, context["message"], context["hint"])
    wanted, hint = _WANTED[kind]
    return problem_at(document, path, f"must be {wanted}, not {said(value)}", hint)


# What a key is called elsewhere, where it does not look like ours.
_OTHER_WORDS = {"exec": "programs", "execute": "programs", "commands": "programs"}


def _unknown_key(document: Document, path: Path, sections: Sections) -> Problem:
    key, known = str(path[-1]), _known_keys(path[:-1], sections)
    message = f"unknown key `{shown(key, 40)}`"
    message += did_you_mean(_OTHER_WORDS.get(key.lower(), key.lower()), known)
    if holder := label(path[:-1]):
        message = f"{holder}: {message}"
    place = document.keys.get(path, document.where(path))
    return document.problem(place, message, f"the keys here are {', '.join(known)}")


def _known_keys(path: Path, sections: Sections) -> list[str]:
    """
    The keys of the mapping at `path`, as the schema has them.
    """
    name = ".".join(part for part in path if isinstance(part, str))
    # The names of a tool's arguments are the tool's own.
    section = sections.get(name) or sections[f"{name.rpartition('.')[0]}.*"]
    return list(section.model_fields)


SECTIONS: Sections = {
    "": PolicySection,
    "after": RatchetSection,
    "audit": AuditSection,
    "deny": DenySection,
    "filesystem": GrantSection,
    "filesystem.approval": ApprovalSection,
    "gates.*": GateSection,
    "imports": ImportsSection,
    "isolation": IsolationSection,
    "limits": LimitsSection,
    "network": NetworkSection,
    "network.credentials": CredentialsSection,
    "network.http": HttpSection,
    "process": ProcessSection,
    "random": RandomSection,
    "tools": ToolSection,
    "tools.approval": ApprovalSection,
    "tools.arguments.*": BoundSection,
}
"""The mappings of a policy file."""


def problem_at(document: Document, path: Path, message: str, hint: str) -> Problem:
    """
    A problem with the value at `path`, which the message names.
    """
    name = label(path)
    return document.problem(document.where(path), f"{name}: {message}" if name else message, hint)
