"""
The language of `gates` in a policy file: programs that judge a commit, each in a cage of its own.

What depends on several values, or on the mounts, is in `parse_gates.py`.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from policy.globs import glob_problem
from policy.units import GIB, MIB
from policy.values import (
    Section,
    at_most,
    count_in,
    one_of,
    refuse,
    said,
    size_in,
    some,
    text_like,
    time_in,
)

MAX_GATES, MAX_GLOBS, MAX_PLUGINS = 16, 64, 32
TIMEOUT, MEMORY = 20.0, 512 * MIB
"""How long a gate may take (seconds), and its memory (bytes), where the policy does not say."""
GATE_NAME = "[a-z0-9][a-z0-9-]{0,47}"
GATE_FORMS = "a gate's name is 1 to 48 of a-z, 0-9 and - (not first)"


def _glob(value: str) -> str:
    if problem := glob_problem(value):
        refuse(f"{said(value)}: {problem}", "`*` stays within a component, `**/` crosses them")
    return value


def _file(value: str) -> str:
    parts = value.split("/")
    plain = len(value) <= _LONGEST and value.isprintable() and not {"*", "?"} & {*value}
    if not plain or {"", ".", ".."} & {*parts}:
        refuse(f"{said(value)} is no file below the mount", "write main.beancount, or books/main")
    return value


_LONGEST = 1024


def _program(value: str) -> str:
    if not value.startswith("/") or not value.isprintable() or len(value) > _LONGEST:
        refuse(f"{said(value)} is not an absolute path", "write /etc/codecage/gates/check.py")
    return value


def _builtin(value: object) -> object:
    if value != "bean-check":
        refuse(f"cannot be {said(value)}", "write bean-check, or name a `program` of your own")
    return value


def _gate_names(value: object) -> object:
    """
    A name alone is a list of one.
    """
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        refuse(f"must be a name or a list of names, not {said(value)}", "name entries of `gates`")
    return some(value)


_PLUGIN = text_like(
    "[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*){0,7}",
    "a plugin is a module's dotted name: beancount.plugins.leafonly",
)
_Glob = Annotated[str, AfterValidator(_glob)]
GateNames = Annotated[
    list[Annotated[str, text_like(GATE_NAME, GATE_FORMS)]],
    at_most(MAX_GATES),
    BeforeValidator(_gate_names, json_schema_input_type=str | list[str]),
]


class GateSection(Section):
    """
    One entry of `gates`.
    """

    builtin: Annotated[Literal["bean-check"] | None, BeforeValidator(_builtin)] = None
    program: Annotated[str, AfterValidator(_program)] = ""
    sha256: Annotated[str, text_like("[0-9a-f]{64}", "write what sha256sum prints")] = ""
    image: Annotated[str, text_like("[a-z0-9][a-z0-9._-]{0,63}", "write core, or native-core")] = ""
    file: Annotated[str, AfterValidator(_file)] = ""
    entry: Annotated[Literal["fixed", "editable"], one_of("fixed", "editable")] = "fixed"
    on: Annotated[list[_Glob], at_most(MAX_GLOBS), BeforeValidator(some)] = Field(
        default_factory=list
    )
    protected: Annotated[list[_Glob], at_most(MAX_GLOBS)] = Field(default_factory=list)
    trust: Annotated[Literal["data", "code"], one_of("data", "code")] = "data"
    timeout: Annotated[float, time_in(0.1, 600)] = TIMEOUT
    memory: Annotated[int, size_in(64 * MIB, 4 * GIB)] = MEMORY
    max_deleted: Annotated[int | None, count_in(0, 1_000_000)] = None
    plugins: Annotated[list[Annotated[str, _PLUGIN]], at_most(MAX_PLUGINS)] = Field(
        default_factory=list
    )
