"""
The one way from the guest's half of a cell to the worker around it, in one process.

Functions here raise nothing for the guest to see: what is refused is returned as an error number
and a reason, so that no frame of the worker's is in a traceback. `CODES` are the functions' own
code: an interrupt that finds one of them at work is put off until it is left, because an
exception between any two of its lines would leave a lock held or a frame half sent.
"""

import contextlib
import errno
import os
from collections.abc import Mapping
from types import CodeType
from typing import Protocol

from executor.kernel.bundles import BUNDLE_MAX, FORMS_MAX, is_media_type

Refusal = tuple[int, str]
DONE: Refusal = (0, "")


class Host(Protocol):
    """
    What the worker does for its guest.
    """

    def write(self, stream: int, data: bytes) -> None:
        """
        Send output of stream 1 or 2.
        """

    def show(self, forms: Mapping[str, bytes]) -> Refusal:
        """
        Send a bundle whose form has been checked.
        """

    def run(self, program: str) -> Refusal:
        """
        Have the gate judge, and record, an attempt at a program.
        """

    def end(self, code: int, how: str) -> None:
        """
        Say that the guest ends itself now, with an exit code of 0 to 255.
        """

    def reason(self) -> str:
        """
        Why the last interrupt came: an errno, a blank and words; "0" where there are none.
        """

    def running(self) -> bool:
        """
        Whether a cell runs.
        """


class Door:
    """
    What the guest's half calls. Until a worker is behind it, output vanishes and nothing runs.
    """

    def __init__(self) -> None:
        self.host: Host | None = None

    def write(self, stream: int, data: bytes) -> None:
        """
        The guest wrote on stream 1 or 2.
        """
        if self.host is not None:
            self.host.write(stream, data)

    def show(self, forms: Mapping[str, bytes]) -> Refusal:
        """
        The guest wants something shown: its forms by media type.
        """
        refusal = _refused(forms)
        if refusal != DONE or self.host is None:
            return refusal
        return self.host.show(forms)

    def run(self, program: str) -> Refusal:
        """
        The guest wants a program started.
        """
        if self.host is None:
            return errno.EPERM, "programs cannot be started here"
        return self.host.run(program)

    def end(self, code: int, how: str) -> None:
        """
        The guest ends itself.
        """
        if self.host is not None:
            self.host.end(code & 0xFF, how)

    def reason(self) -> str:
        """
        What the last interrupt says.
        """
        return "0" if self.host is None else self.host.reason()

    def running(self) -> bool:
        """
        Whether an interrupt has a cell to strike.
        """
        return self.host is not None and self.host.running()

    CODES: frozenset[CodeType] = frozenset(
        {function.__code__ for function in (write, show, run, end, reason)}
    )


class Child:
    """
    The host of a process that the guest has forked: it has no session, and speaks by its pipes.
    """

    def write(self, stream: int, data: bytes) -> None:
        """
        To the pipe that the worker empties; what a broken one does not take is lost.
        """
        rest = memoryview(data)
        with contextlib.suppress(OSError):
            while rest:
                rest = rest[os.write(stream, rest) :]

    def show(self, _forms: Mapping[str, bytes]) -> Refusal:
        """
        Nobody would see it.
        """
        return errno.EPERM, "only the session's first process can show something"

    def run(self, _program: str) -> Refusal:
        """
        The gate is not asked from here.
        """
        return errno.EPERM, "programs cannot be started here"

    def end(self, _code: int, _how: str) -> None:
        """
        Whoever forked it waits for it.
        """

    def reason(self) -> str:
        """
        There is none.
        """
        return "0"

    def running(self) -> bool:
        """
        An interrupt that it is sent is its own.
        """
        return True


def _refused(forms: Mapping[str, bytes]) -> Refusal:
    if not 1 <= len(forms) <= FORMS_MAX:
        return errno.EINVAL, f"this is no display: it has no 1 to {FORMS_MAX} forms"
    for kind in forms:
        if not is_media_type(kind):
            name = "a form's name is no media type such as image/png"
            return errno.EINVAL, f"this is no display: {name}"
    total = sum(map(len, forms.values()))
    if total > BUNDLE_MAX:
        return errno.EFBIG, (
            f"the display has {total:,} bytes and {BUNDLE_MAX:,} are allowed; "
            "make it smaller, or save it as a file"
        )
    return DONE
