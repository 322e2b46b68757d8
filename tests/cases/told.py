"""
What a run of a program tells, and what it is for two runs to agree: decided here, once.

Two runs agree where the standard output, the last expression's value, the class of the exception
and the program's own lines in its traceback are the same, and the exception's message too. Left
out are the addresses of objects, and the number of an errno in a message. The standard error is
not compared: a warning there is worded by the release.
"""

import re
from dataclasses import dataclass, fields, replace
from enum import Enum

_FRAME = re.compile(r'File "<cell 1>", line (\d+)(?:, in (.*))?')
_ADDRESS = re.compile(r"\bat 0x[0-9a-f]+")
# The guests' numbers are those of WASI; the names in `errno` are the same.
_ERRNO = re.compile(r"^\[Errno \d+\]")


class Part(Enum):
    """
    A part of what a run tells, by the name of its field.
    """

    OUTPUT = "output"
    VALUE = "value"
    ERROR = "error"
    MESSAGE = "message"
    FRAMES = "frames"


@dataclass(frozen=True, slots=True)
class Told:
    """
    What one run told: `error` and `message` are empty where it ended well.
    """

    output: str
    value: str | None
    error: str
    message: str
    frames: tuple[str, ...]


def frames(traceback: str) -> tuple[str, ...]:
    """
    The program's own lines in a traceback, as "7 in total".
    """
    return tuple(f"{line} in {name}" for line, name in _FRAME.findall(traceback))


def differences(one: Told, other: Told) -> frozenset[Part]:
    """
    The parts in which two runs do not agree; none where they agree.
    """
    names = [field.name for field in fields(Told)]
    one, other = _compared(one), _compared(other)
    return frozenset(Part(name) for name in names if getattr(one, name) != getattr(other, name))


def _compared(told: Told) -> Told:
    message = _ERRNO.sub("[Errno]", _ADDRESS.sub("at 0x", told.message))
    return replace(told, output=_ADDRESS.sub("at 0x", told.output), message=message)
