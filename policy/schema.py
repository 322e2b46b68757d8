"""
The language of a policy file, version 1: every key, its type, its range and its default.

The models check one value at a time and say what is allowed; what depends on several values, or
on where the file lies, is in `lint.py`. Types are strict: a text is never taken for a list, nor a
number for a text. A test holds every key against the documentation.
"""

import re
from collections.abc import Collection
from typing import Annotated, Literal, NoReturn

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from policy.errors import shown
from policy.globs import glob_problem
from policy.paths import mount_problem, source_problem
from policy.types import Limits
from policy.units import (
    GIB,
    KIB,
    MIB,
    SIZE_FORMS,
    TIME_FORMS,
    parse_size,
    parse_time,
    show_size,
    show_time,
)

REFUSED = "policy"
"""The error type of this module's own refusals; the context has `message` and `hint`."""

MAX_GRANTS, MAX_DENIES, MAX_VARIABLES, MAX_IMAGES = 64, 64, 64, 16


def refuse(message: str, hint: str) -> NoReturn:
    """
    Refuse the value that is being checked; `message` continues the key's name.
    """
    raise PydanticCustomError(REFUSED, "{message}", {"message": message, "hint": hint})


def said(value: object) -> str:
    """
    How a message names a value of the file.
    """
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            return f"`{shown(value, 60)}`"
        case list():
            return "a list"
        case dict():
            return "a mapping"
    return f"the number {value}"


def _one_of(*words: str, also: str = "") -> BeforeValidator:
    first, last = ", ".join(words[:-1]), words[-1]
    allowed = f"write {first} or {last}{also}" if first else f"write {last}{also}"

    def check(value: object) -> object:
        if value not in words:
            refuse(f"cannot be {said(value)}", allowed)
        return value

    return BeforeValidator(check)


def _version(value: object) -> object:
    if type(value) is not int or value != 1:
        refuse(f"cannot be {said(value)}", "this program reads version 1: write 1")
    return value


def _size(low: int, high: int) -> BeforeValidator:
    def check(value: object) -> object:
        text = str(value) if type(value) is int else value
        size = parse_size(text) if isinstance(text, str) else None
        if size is None:
            refuse(f"{said(value)} is not a size", SIZE_FORMS)
        if not low <= size <= high:
            refuse(
                f"{said(value)} is out of range",
                f"allowed are {show_size(low)} to {show_size(high)}",
            )
        return size

    return BeforeValidator(check)


def _time(low: float, high: float) -> BeforeValidator:
    def check(value: object) -> object:
        seconds = parse_time(value) if isinstance(value, str) else None
        if seconds is None:
            refuse(f"{said(value)} is not a time", TIME_FORMS)
        if not low <= seconds <= high:
            refuse(
                f"{said(value)} is out of range",
                f"allowed are {show_time(low)} to {show_time(high)}",
            )
        return seconds

    return BeforeValidator(check)


def _count(low: int, high: int) -> BeforeValidator:
    def check(value: object) -> object:
        if type(value) is not int:
            refuse(f"{said(value)} is not a whole number", f"write a whole number, {low} to {high}")
        if not low <= value <= high:
            refuse(f"{said(value)} is out of range", f"allowed are {low} to {high}")
        return value

    return BeforeValidator(check)


def _word(pattern: str, forms: str) -> AfterValidator:
    expression = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if not expression.fullmatch(value):
            refuse(f"{said(value)} is not allowed", forms)
        return value

    return AfterValidator(check)


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


def _at_most(count: int) -> AfterValidator:
    def check(value: Collection[object]) -> Collection[object]:
        if len(value) > count:
            refuse(f"has {len(value)} entries", f"at most {count} are allowed")
        return value

    return AfterValidator(check)


def _present(value: object) -> object:
    if value is None:
        refuse("must be a mapping, not nothing", "give it a value, or leave the key out")
    return value


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


_DEFAULT = Limits()


class LimitsSection(_Section):
    """
    `limits`: what one session may use. The defaults are those of `types.Limits`.
    """

    memory: Annotated[int, _size(64 * MIB, 4 * GIB)] = _DEFAULT.memory
    cpu_time: Annotated[float, _time(0.01, 3600)] = _DEFAULT.cpu_time
    wall_time: Annotated[float, _time(0.01, 86400)] = _DEFAULT.wall_time
    output: Annotated[int, _size(KIB, 64 * MIB)] = _DEFAULT.output
    cells: Annotated[int, _count(1, 1_000_000)] = _DEFAULT.cells
    idle_timeout: Annotated[float, _time(1, 86400)] = _DEFAULT.idle_timeout
    scratch: Annotated[int, _size(0, 1 * GIB)] = _DEFAULT.scratch
    files: Annotated[int, _count(0, 1_000_000)] = _DEFAULT.files
    open_files: Annotated[int, _count(8, 256)] = _DEFAULT.open_files
    requests: Annotated[int, _count(1, 100_000_000)] = _DEFAULT.requests
    sessions: Annotated[int, _count(1, 4096)] = _DEFAULT.sessions


class GrantSection(_Section):
    """
    One entry of `filesystem`. `quota` and `max_files` belong to read-write grants alone.
    """

    mount: Annotated[str, AfterValidator(_mount)]
    source: Annotated[str, AfterValidator(_source)]
    access: Annotated[Literal["read", "read-write"], _one_of("read", "read-write")]
    deny: Annotated[list[Annotated[str, AfterValidator(_glob)]], _at_most(MAX_DENIES)] = Field(
        default_factory=list
    )
    quota: Annotated[int | None, _size(1, 1024 * GIB)] = None
    max_files: Annotated[int | None, _count(1, 10_000_000)] = None


class RandomSection(_Section):
    """
    `random`: a fixed seed makes the guest's entropy reproducible.
    """

    seed: Annotated[int, _count(0, 2**63 - 1)]


class PolicySection(_Section):
    """
    The whole file.
    """

    version: Annotated[Literal[1], BeforeValidator(_version)]
    name: Annotated[
        str, _word("[a-z0-9][a-z0-9-]{0,63}", "a name is 1 to 64 of a-z, 0-9 and - (not first)")
    ]
    description: Annotated[str, AfterValidator(_description)] = ""
    cage: Annotated[Literal["wasm"], _one_of("wasm", also=": this version has no other cage")] = (
        "wasm"
    )
    image: Annotated[
        list[Annotated[str, AfterValidator(_image)]],
        _at_most(MAX_IMAGES),
        BeforeValidator(_images),
    ] = Field(default=["core"])
    filesystem: Annotated[list[GrantSection], _at_most(MAX_GRANTS)] = Field(default_factory=list)
    network: Annotated[
        Literal["none"], _one_of("none", also=": this version grants no network")
    ] = "none"
    environment: Annotated[dict[str, str], _at_most(MAX_VARIABLES)] = Field(default_factory=dict)
    limits: LimitsSection = Field(default_factory=LimitsSection)
    random: Annotated[RandomSection | None, BeforeValidator(_present)] = None
    clock: Annotated[Literal["real", "frozen", "virtual"], _one_of("real", "frozen", "virtual")] = (
        "real"
    )
    disclose: bool = False
