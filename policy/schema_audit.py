"""
The language of `audit` in a policy file: how much the record of a session holds, and which names
have no value there.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from policy.values import Section, at_most, one_of, refuse, said, some, text_like

MAX_NAMES = 32
_LEAST = 2

_NAME = text_like(
    "[A-Za-z0-9_.*-]{1,64}",
    "a name is 1 to 64 of A-Z, a-z, 0-9, `_`, `.`, `-`, and `*` for any run of characters",
)


def _enough(value: str) -> str:
    """
    A pattern that fits nearly every name would leave a record that says nothing.
    """
    if max(map(len, value.split("*"))) < _LEAST:
        refuse(f"{said(value)} fits nearly every name", f"write {_LEAST} characters between stars")
    return value


class AuditSection(Section):
    """
    `audit`: what is recorded.
    """

    level: Annotated[Literal["decisions", "replay"], one_of("decisions", "replay")] = "decisions"
    redact: Annotated[
        list[Annotated[str, _NAME, AfterValidator(_enough)]],
        at_most(MAX_NAMES),
        BeforeValidator(some),
    ] = Field(default_factory=list)
