"""
A program of the session's machine, run as a cell: `Session.command`.

It needs no door of its own. The cell is one line of Python around the command's words, which are
written as literals; the policy's `process.programs` decides whether there is such a program, and
the record has it as it has every other. In WebAssembly there are no programs, and the refusal
says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from agent_client.errors import InvalidRequest
from agent_client.events import Status
from agent_client.observation import Observation

_LONGEST = 128 * 1024


@dataclass(frozen=True, slots=True)
class CommandResult:
    """
    What came of a program.

    `exit_code` is None where it was not started or did not end by itself; below zero it is the
    signal that ended it. `timed_out` says that its time was over. `error` is why there is no exit
    code otherwise, such as a refusal of the policy. `stdout` and `stderr` are what came until then,
    and `observation` has the rest.
    """

    exit_code: int | None
    stdout: str
    stderr: str
    timed_out: bool
    error: str
    observation: Observation


def code_of(words: Sequence[str]) -> str:
    """
    The cell that runs a program. Raises InvalidRequest for what is no list of words.
    """
    if isinstance(words, str) or not words or not all(type(word) is str for word in words):
        raise InvalidRequest(
            f"{words!r} was given as a command; give the program's absolute path and its arguments "
            "as a list, such as ['/usr/bin/git', 'status']: no shell reads them"
        )
    if any("\0" in word for word in words) or sum(map(len, words)) > _LONGEST:
        raise InvalidRequest(
            f"the command has NUL or more than {_LONGEST:,} characters; put data into files"
        )
    # Without a statement that imports: the session may have a list of what may be named there.
    return f"(lambda p: p.run({[*words]!r}, stdin=p.DEVNULL).returncode)(__import__('subprocess'))"


def result_of(seen: Observation) -> CommandResult:
    """
    What the observation of that cell says; its words are the guest's.
    """
    # The guest may have put something else into the place of what runs programs.
    known = seen.status is Status.OK and seen.value is not None
    try:
        exit_code = int(seen.value or "") if known and len(seen.value or "") < 12 else None
    except ValueError:
        exit_code = None
    timed_out = seen.status in {Status.TIMED_OUT, Status.CPU_LIMIT}
    return CommandResult(
        exit_code, seen.stdout, seen.stderr, timed_out, _error(seen, exit_code), seen
    )


def _error(seen: Observation, exit_code: int | None) -> str:
    if exit_code is not None:
        return ""
    if seen.error is not None:
        return f"{seen.error.name}: {seen.error.message}"
    return seen.reason or f"the program did not end: {seen.status}"
