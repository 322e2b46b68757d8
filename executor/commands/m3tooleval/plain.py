"""
Blocks of the kit in plain Python: what the sandbox's time is compared with.

They run in this program, without any cage: only what the kit brings is run here, never what a
model wrote.
"""

import functools
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent_client.errors import CodecageError
from executor.commands.m3tooleval.kit import Function


@dataclass(frozen=True, slots=True)
class Ran:
    """
    What blocks printed, and the seconds that they took.
    """

    printed: str
    seconds: float

    @property
    def answer(self) -> str:
        """
        The last line.
        """
        return last_line(self.printed)


class BlockFailed(Exception):
    """
    A block did not run to its end; the text says why.
    """


def run_blocks(blocks: Sequence[str], functions: Mapping[str, Function]) -> Ran:
    """
    Run blocks one after the other in one namespace, with `functions` in it. Raises BlockFailed.
    """
    output = io.StringIO()
    names: dict[str, Any] = {**functions, "print": functools.partial(print, file=output)}
    began = time.perf_counter()
    try:
        for block in blocks:
            exec(compile(block, "<block>", "exec"), names)  # noqa: S102 - the kit's, see above
    except (BlockFailed, CodecageError):
        raise
    except Exception as error:  # a block may raise whatever it likes
        raise BlockFailed(f"{type(error).__name__}: {error}") from error
    return Ran(output.getvalue(), time.perf_counter() - began)


def last_line(printed: str) -> str:
    """
    The last line that is not empty: the actions print their answer last.
    """
    lines = printed.strip().splitlines()
    return lines[-1] if lines else ""
