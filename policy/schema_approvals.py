"""
The language of `approval` in a policy file: `none`, `required`, or a mapping that says how long an
approval is waited for.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator

from policy.types import APPROVAL_EXPIRES
from policy.values import Section, refuse, said, time_in

_FORMS = "write none, required, or {required: true, expires: 10m}"


def _true(value: bool) -> bool:
    if not value:
        refuse("cannot be false", "write `approval: none`, or leave the key out")
    return value


class ApprovalSection(Section):
    """
    An approval that is wanted for each act; who asks waits for `expires` at most.
    """

    required: Annotated[bool, AfterValidator(_true)]
    expires: Annotated[float, time_in(1, 86400)] = APPROVAL_EXPIRES


def _approval(value: object) -> object:
    if value == "none":
        return None
    if value == "required":
        return {"required": True}
    if not isinstance(value, dict):
        refuse(f"cannot be {said(value)}", _FORMS)
    return value


ApprovalValue = Annotated[
    ApprovalSection | None,
    BeforeValidator(
        _approval, json_schema_input_type=Literal["none", "required"] | ApprovalSection
    ),
]
"""What stands at `approval`: None where none is wanted."""
