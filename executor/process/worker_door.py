"""
The one way from the guest's half of a cell to the worker around it, in one process.

Functions here raise nothing for the guest to see: what is refused is returned as an error number
and a reason, so that no frame of the worker's is in a traceback. `CODES` are the functions' own
code: an interrupt that finds one of them at work is put off until it is left, because an
exception between any two of its lines would leave a lock held or a frame half sent. So is one that
finds the worker before the guest's entry or behind it: it strikes in the entry, or no cell at all.
"""

import contextlib
import errno
import os
from collections.abc import Mapping
from types import CodeType
from typing import Protocol

from executor.kernel.bundles import BUNDLE_MAX, FORMS_MAX, is_media_type
from executor.kernel.toolframes import refused

Refusal = tuple[int, str]
_ERRORS = 2
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
        Have the gate judge, and record, an attempt at a program, or at a child by the word "fork".
        """

    def denial(self, path: str) -> Refusal:
        """
        Why something was refused at an absolute path of a served mount.
        """

    def verdict(self, path: str, action: str) -> Refusal:
        """
        What the policy says of an act on an absolute path that the kernel has refused by itself.
        """

    def refusal(self, host: str, port: int, own_port: int) -> Refusal:
        """
        Why a name was not resolved (`port` 0), or a connection was refused or broken.
        """

    def address(self, host: str) -> Refusal:
        """
        The address of a name which libc does not know, in the place of a reason.
        """

    def socket(self, kind: str) -> Refusal:
        """
        Why there is no socket of a kind.
        """

    def tool(self, frame: bytes) -> bytes:
        """
        Make a call of one of the client's functions: the reply.
        """

    def transact(self, verb: str, mount: str) -> Refusal:
        """
        Commit a transaction, drop it, or ask what a commit would do: 0 and a report.
        """

    def is_child(self) -> bool:
        """
        Whether this is a process that the guest has forked.
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

    def interrupt_may_come(self) -> bool:
        """
        Asked once for each nudge: whether it was for an interrupt that is still to be brought.
        """


class Door:
    """
    What the guest's half calls. Until a worker is behind it, nothing runs, and what is printed is
    the zygote's: its errors are the server's to read, the rest vanishes.
    """

    def __init__(self) -> None:
        self.host: Host | None = None
        # Where no interrupt strikes; whoever calls the guest's entry for a cell is one of them.
        self.codes: frozenset[CodeType] = self.CODES

    def write(self, stream: int, data: bytes) -> None:
        """
        The guest wrote on stream 1 or 2.
        """
        if self.host is not None:
            self.host.write(stream, data)
        elif stream == _ERRORS:
            with contextlib.suppress(OSError):
                os.write(_ERRORS, data)

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
        The guest wants a program started, or a child; a zygote forks without asking.
        """
        return DONE if self.host is None else self.host.run(program)

    def denial(self, path: str) -> Refusal:
        """
        The guest was refused something at `path`.
        """
        return DONE if self.host is None else self.host.denial(path)

    def verdict(self, path: str, action: str) -> Refusal:
        """
        The kernel refused the guest an act on a path that nobody serves.
        """
        return DONE if self.host is None else self.host.verdict(path, action)

    def refusal(self, host: str, port: int, own_port: int) -> Refusal:
        """
        The guest looked a name up, or has a connection.
        """
        return DONE if self.host is None else self.host.refusal(host, port, own_port)

    def address(self, host: str) -> Refusal:
        """
        The guest looked a name up where libc has nobody to ask.
        """
        nobody = errno.ENOENT, "no session has begun"
        return nobody if self.host is None else self.host.address(host)

    def socket(self, kind: str) -> Refusal:
        """
        The guest was refused a socket.
        """
        return DONE if self.host is None else self.host.socket(kind)

    def tool(self, frame: bytes) -> bytes:
        """
        The guest calls one of the client's functions: a frame, and its reply.
        """
        if self.host is None or not isinstance(frame, bytes):
            return refused(errno.EAGAIN, "no session has begun")
        return self.host.tool(frame)

    def transact(self, verb: str, mount: str) -> Refusal:
        """
        The guest wants something done with a transaction.
        """
        nobody = errno.ENOSYS, "there is no server to ask"
        return nobody if self.host is None else self.host.transact(verb, os.fspath(mount))

    def is_child(self) -> bool:
        """
        Whether nobody can be asked from this process.
        """
        return self.host is not None and self.host.is_child()

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

    def interrupt_may_come(self) -> bool:
        """
        Asked once for each nudge: whether it was for an interrupt that is still to be brought.
        """
        return self.host is not None and self.host.interrupt_may_come()

    CODES: frozenset[CodeType] = frozenset(
        {
            function.__code__
            for function in (
                *(write, show, run, denial, verdict, refusal, address, socket, tool, transact),
                *(end, reason),
            )
        }
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
        The gate is not asked from here: the kernel decides, by the same policy.
        """
        return DONE

    def denial(self, _path: str) -> Refusal:
        """
        Nothing is known.
        """
        return DONE

    def verdict(self, _path: str, _action: str) -> Refusal:
        """
        Nothing is known.
        """
        return DONE

    def refusal(self, _host: str, _port: int, _own_port: int) -> Refusal:
        """
        Nothing is known.
        """
        return DONE

    def address(self, _host: str) -> Refusal:
        """
        Nothing is known.
        """
        return errno.ENOENT, "only the session's first process can ask for names"

    def socket(self, _kind: str) -> Refusal:
        """
        Nothing is known.
        """
        return DONE

    def tool(self, _frame: bytes) -> bytes:
        """
        There is nobody to perform it.
        """
        return refused(errno.EPERM, "only the session's first process can call its tools")

    def transact(self, _verb: str, _mount: str) -> Refusal:
        """
        What a child has written, its session's first process commits.
        """
        return errno.EPERM, "only the session's first process can commit"

    def is_child(self) -> bool:
        """
        It is.
        """
        return True

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

    def interrupt_may_come(self) -> bool:
        """
        Nobody brings it one.
        """
        return False


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
