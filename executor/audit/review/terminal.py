"""
What a terminal gets that a file does not: its width, and colours.

Colours are for a terminal alone, and for none where `NO_COLOR` says so (https://no-color.org) or
`TERM` is `dumb`. They are put around whole lines that are already without a control character.
"""

import os
import shutil
import sys
from collections.abc import Iterable

from executor.audit.review.rows import Look


def width() -> int | None:
    """
    The columns of the terminal that stdout is, None where it is none.
    """
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_lines(lines: Iterable[tuple[str, Look]]) -> None:
    """
    Print each line, coloured where that is wanted, and let it be seen at once.
    """
    coloured = _wants_colour()
    for line, look in lines:
        print(_painted(line, look) if coloured else line)
    sys.stdout.flush()


def _wants_colour() -> bool:
    environment = os.environ
    wanted = not environment.get("NO_COLOR") and environment.get("TERM", "") != "dumb"
    return wanted and sys.stdout.isatty()


def _painted(line: str, look: Look) -> str:
    return f"\x1b[{look.value}m{line}\x1b[0m" if look.value else line
