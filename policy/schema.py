"""
The language of a policy file, version 1: every key, its type, its range and its default.

The models check one value at a time and say what is allowed; what depends on several values, or
on where the file lies, is in `lint.py`, `lint_network.py` and `lint_process.py`. A test holds every
key against the documentation.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from policy.globs import glob_problem
from policy.paths import mount_problem, source_problem
from policy.policy_file import CASES
from policy.schema_approvals import ApprovalValue
from policy.schema_audit import AuditSection
from policy.schema_gates import MAX_GATES, GateNames, GateSection
from policy.schema_network import MAX_NETWORK_GRANTS, NetworkSection, network_grants
from policy.schema_process import IsolationSection, ProcessSection
from policy.schema_ratchets import MAX_RATCHETS, RatchetSection
from policy.schema_tools import MAX_TOOLS, ToolSection
from policy.types import Limits
from policy.units import GIB, KIB, MIB
from policy.values import (
    REFUSED,
    Section,
    at_most,
    count_in,
    one_of,
    present,
    refuse,
    said,
    share_in,
    size_in,
    some,
    text_like,
    time_in,
)

# Image declarations are checked with the same words.
__all__ = [
    "REFUSED",
    "DenySection",
    "GrantSection",
    "ImportsSection",
    "LimitsSection",
    "PolicySection",
    "RandomSection",
    "refuse",
    "said",
]

MAX_REASON = 300
"""Longest reason of a denial, in characters: it has to fit where a guest reads its errors."""
MAX_GRANTS, MAX_DENIES, MAX_VARIABLES, MAX_IMAGES, MAX_CEILINGS = 64, 64, 64, 16, 8
MAX_MODULES = 256


def _version(value: object) -> object:
    if type(value) is not int or value != 1:
        refuse(f"cannot be {said(value)}", "this program reads version 1: write 1")
    return value


def _image(value: str) -> str:
    if not _IMAGE.fullmatch(value):
        refuse(f"{said(value)} is not allowed", _IMAGE_FORMS)
    return value


# What `codecage image build` can build has a name that a policy can say.
_IMAGE = re.compile("[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_IMAGE_FORMS = "an image is 1 to 64 of a-z, 0-9, `.`, `_` and - (the first a letter or digit)"


def _images(value: object) -> object:
    """
    A name alone is a list of one; it is checked here, where the mistake still has its place.
    """
    if isinstance(value, str):
        return [_image(value)]
    if not isinstance(value, list):
        refuse(f"must be a name or a list of names, not {said(value)}", _IMAGES_FORMS)
    if not value:
        refuse("must have an entry", _IMAGES_FORMS)
    return value


_IMAGES_FORMS = "write core, or [core, data]: the first unless a session asks for another"


def _description(value: str) -> str:
    if len(value) > 1000:
        refuse(f"has {len(value)} characters", "at most 1000 are allowed")
    if not all(char.isprintable() or char == "\n" for char in value):
        refuse("has characters that cannot be printed", "remove them")
    return value


def _policy_name(value: str) -> str:
    if value == CASES:
        refuse(f"cannot be {said(value)}", f"{CASES}.yaml is a file of cases: choose another name")
    return value


def _mount(value: str) -> str:
    if problem := mount_problem(value):
        refuse(f"{said(value)}: {problem[0]}", problem[1])
    return value


def _source(value: str) -> str:
    if problem := source_problem(value):
        refuse(f"{said(value)}: {problem[0]}", problem[1])
    return value


def _glob(value: str) -> str:
    if problem := glob_problem(value):
        refuse(f"{said(value)}: {problem}", _GLOB_HINT)
    return value


_GLOB_HINT = "`*` and `?` stay within a component, `**/` crosses directories: **/*.key, .git"


def _absolute_glob(value: str) -> str:
    if not value.startswith("/"):
        refuse(f"{said(value)} is not absolute", "write a path of the guest: /data/private/**")
    if problem := glob_problem(value[1:]):
        refuse(f"{said(value)}: {problem}", _GLOB_HINT)
    return value


def _reason(value: str) -> str:
    if not (0 < len(value) <= MAX_REASON and value.isprintable()):
        refuse("is not allowed", f"a reason has 1 to {MAX_REASON} printable characters")
    return value


_DEFAULT = Limits()


_NAME = text_like("[a-z0-9][a-z0-9-]{0,63}", "a name is 1 to 64 of a-z, 0-9 and - (not first)")


_CEILING = text_like(
    "(ceilings/)?[a-z0-9][a-z0-9-]{0,63}",
    "write the name of a policy file beside this one, or ceilings/NAME",
)
_INHERITED = text_like(
    "((ceilings|builtin)/)?[a-z0-9][a-z0-9-]{0,63}",
    "write the name of a policy file beside this one, ceilings/NAME or builtin/NAME",
)


_MODULE = text_like(
    "[A-Za-z_][A-Za-z0-9_]{0,63}([.][A-Za-z_][A-Za-z0-9_]{0,63}){0,7}([.][*])?",
    "a module is its dotted name: numpy, os.path, or numpy.* for the same",
)


class LimitsSection(Section):
    """
    `limits`: what one session may use. The defaults are those of `types.Limits`.
    """

    memory: Annotated[int, size_in(64 * MIB, 4 * GIB)] = _DEFAULT.memory
    cpu_time: Annotated[float, time_in(0.01, 3600)] = _DEFAULT.cpu_time
    wall_time: Annotated[float, time_in(0.01, 86400)] = _DEFAULT.wall_time
    output: Annotated[int, size_in(KIB, 64 * MIB)] = _DEFAULT.output
    cells: Annotated[int, count_in(1, 1_000_000)] = _DEFAULT.cells
    idle_timeout: Annotated[float, time_in(1, 86400)] = _DEFAULT.idle_timeout
    scratch: Annotated[int, size_in(0, 1 * GIB)] = _DEFAULT.scratch
    files: Annotated[int, count_in(0, 1_000_000)] = _DEFAULT.files
    open_files: Annotated[int, count_in(8, 256)] = _DEFAULT.open_files
    requests: Annotated[int, count_in(1, 100_000_000)] = _DEFAULT.requests
    connections: Annotated[int, count_in(1, 256)] = _DEFAULT.connections
    sessions: Annotated[int, count_in(1, 4096)] = _DEFAULT.sessions
    cpus: Annotated[float, share_in(0.05, 1024)] = _DEFAULT.cpus


class GrantSection(Section):
    """
    One entry of `filesystem`. `quota` and `max_files` belong to grants that write, `commit_by` and
    `gate` to transactions alone.
    """

    mount: Annotated[str, AfterValidator(_mount)]
    source: Annotated[str, AfterValidator(_source)]
    access: Annotated[
        Literal["read", "read-write", "transaction"], one_of("read", "read-write", "transaction")
    ]
    deny: Annotated[list[Annotated[str, AfterValidator(_glob)]], at_most(MAX_DENIES)] = Field(
        default_factory=list
    )
    quota: Annotated[int | None, size_in(1, 1024 * GIB)] = None
    max_files: Annotated[int | None, count_in(1, 10_000_000)] = None
    commit_by: Annotated[
        Literal["guest", "client", "approver"] | None, one_of("guest", "client", "approver")
    ] = None
    gate: GateNames = Field(default_factory=list)
    approval: ApprovalValue = None


class DenySection(Section):
    """
    One entry of `deny`: names that no grant shows.
    """

    path: Annotated[str, AfterValidator(_absolute_glob)]
    reason: Annotated[str, AfterValidator(_reason)] = ""


class RandomSection(Section):
    """
    `random`: a fixed seed makes the guest's entropy reproducible.
    """

    seed: Annotated[int, count_in(0, 2**63 - 1)]


class ImportsSection(Section):
    """
    `imports`: modules that the guest is meant to use. Guidance, which nothing enforces.
    """

    allow: Annotated[list[Annotated[str, _MODULE]], at_most(MAX_MODULES), BeforeValidator(some)]


class PolicySection(Section):
    """
    The whole file.
    """

    version: Annotated[Literal[1], BeforeValidator(_version)]
    name: Annotated[str, _NAME, AfterValidator(_policy_name)]
    description: Annotated[str, AfterValidator(_description)] = ""
    mode: Annotated[Literal["enforce", "audit"], one_of("enforce", "audit")] = "enforce"
    cage: Annotated[Literal["wasm", "process", "any"], one_of("wasm", "process", "any")] = "wasm"
    image: Annotated[
        list[Annotated[str, AfterValidator(_image)]],
        at_most(MAX_IMAGES),
        BeforeValidator(_images, json_schema_input_type=str | list[str]),
    ] = Field(default=["core"])
    filesystem: Annotated[list[GrantSection], at_most(MAX_GRANTS)] = Field(default_factory=list)
    deny: Annotated[list[DenySection], at_most(MAX_DENIES)] = Field(default_factory=list)
    network: Annotated[
        list[NetworkSection],
        at_most(MAX_NETWORK_GRANTS),
        BeforeValidator(
            network_grants, json_schema_input_type=Literal["none"] | list[NetworkSection]
        ),
    ] = Field(default_factory=list)
    isolation: Annotated[IsolationSection | None, BeforeValidator(present)] = None
    process: Annotated[ProcessSection | None, BeforeValidator(present)] = None
    audit: Annotated[AuditSection | None, BeforeValidator(present)] = None
    imports: Annotated[ImportsSection | None, BeforeValidator(present)] = None
    tools: Annotated[list[ToolSection], at_most(MAX_TOOLS)] = Field(default_factory=list)
    after: Annotated[list[RatchetSection], at_most(MAX_RATCHETS)] = Field(default_factory=list)
    gates: Annotated[dict[str, GateSection], at_most(MAX_GATES)] = Field(default_factory=dict)
    environment: Annotated[dict[str, str], at_most(MAX_VARIABLES)] = Field(default_factory=dict)
    limits: LimitsSection = Field(default_factory=LimitsSection)
    random: Annotated[RandomSection | None, BeforeValidator(present)] = None
    clock: Annotated[Literal["real", "frozen", "virtual"], one_of("real", "frozen", "virtual")] = (
        "real"
    )
    disclose: bool = False
    within: Annotated[
        list[Annotated[str, _CEILING]], at_most(MAX_CEILINGS), BeforeValidator(some)
    ] = Field(default_factory=list)
    defaults: Annotated[str, _INHERITED] = ""
