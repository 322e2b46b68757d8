"""
How one value of a policy file is checked: kinds of values, and how a refusal is said.

Each check is a validator of pydantic's that refuses in our words. Types are strict: a text is
never taken for a list, nor a number for a text.
"""

import re
from collections.abc import Collection
from typing import Annotated, NoReturn

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from policy.errors import shown
from policy.units import (
    SIZE_FORMS,
    TIME_FORMS,
    parse_size,
    parse_time,
    show_size,
    show_time,
)

REFUSED = "policy"
"""The error type of this module's own refusals; the context has `message` and `hint`."""


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


def one_of(*words: str) -> BeforeValidator:
    """
    One of `words`, of which there are two at least.
    """
    allowed = f"write {', '.join(words[:-1])} or {words[-1]}"

    def check(value: object) -> object:
        if value not in words:
            refuse(f"cannot be {said(value)}", allowed)
        return value

    return BeforeValidator(check)


_WRITTEN_SIZE = int | Annotated[str, Field(pattern="^(0|[1-9][0-9]{0,12})(Ki|Mi|Gi)?$")]
_WRITTEN_TIME = Annotated[str, Field(pattern="^[0-9]{1,6}(\\.[0-9]+)?(ms|s|m|h)$")]


def size_in(low: int, high: int) -> BeforeValidator:
    """
    A size of `low` to `high` bytes.
    """

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

    return BeforeValidator(check, json_schema_input_type=_WRITTEN_SIZE)


def time_in(low: float, high: float) -> BeforeValidator:
    """
    A time of `low` to `high` seconds.
    """

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

    return BeforeValidator(check, json_schema_input_type=_WRITTEN_TIME)


def count_in(low: int, high: int) -> BeforeValidator:
    """
    A whole number of `low` to `high`.
    """

    def check(value: object) -> object:
        if type(value) is not int:
            refuse(f"{said(value)} is not a whole number", f"write a whole number, {low} to {high}")
        if not low <= value <= high:
            refuse(f"{said(value)} is out of range", f"allowed are {low} to {high}")
        return value

    return BeforeValidator(check, json_schema_input_type=Annotated[int, Field(ge=low, le=high)])


def share_in(low: float, high: float) -> BeforeValidator:
    """
    A number of `low` to `high`, whole or with one or two decimals.
    """
    allowed = f"write a number with at most two decimals, {low:g} to {high:g}: 1, 0.5, 2.25"

    def check(value: object) -> object:
        if not isinstance(value, int | float) or isinstance(value, bool):
            refuse(f"{said(value)} is not a number", allowed)
        if not low <= value <= high:
            refuse(f"{said(value)} is out of range", allowed)
        if round(value, 2) != value:
            refuse(f"{said(value)} is finer than hundredths", allowed)
        return float(value)

    written = Annotated[float, Field(ge=low, le=high)]
    return BeforeValidator(check, json_schema_input_type=written)


def text_like(pattern: str, forms: str) -> AfterValidator:
    """
    A text that `pattern` matches as a whole; `forms` says which ones those are.
    """
    expression = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if not expression.fullmatch(value):
            refuse(f"{said(value)} is not allowed", forms)
        return value

    return AfterValidator(check)


def at_most(count: int) -> AfterValidator:
    """
    A list or mapping of at most `count` entries.
    """

    def check(value: Collection[object]) -> Collection[object]:
        if len(value) > count:
            refuse(f"has {len(value)} entries", f"at most {count} are allowed")
        return value

    return AfterValidator(check)


def some(value: object) -> object:
    """
    A list that is there has an entry: one without would have to mean all, or nothing.
    """
    if value == []:
        refuse("must have an entry", "write one, or leave the key out")
    return value


def present(value: object) -> object:
    """
    A mapping that may be absent, but not empty-handed.
    """
    if value is None:
        refuse("must be a mapping, not nothing", "give it a value, or leave the key out")
    return value


class Section(BaseModel):
    """
    A mapping of the file: its keys are known, its types strict.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
