"""
What a captured session's cells were and printed: read from the capture, held against the record.

Nothing is run. A capture that the record does not vouch for is said to be so, as `codecage audit
replay` would say it before it runs anything.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from executor.capture.errors import CaptureError, CaptureMissing
from executor.capture.place import places
from executor.capture.vault import Vault
from executor.replay.errors import ReplayError
from executor.replay.reading import open_session
from executor.replay.steps import Show, Step, steps

_GONE: Final = (
    "The session was captured, as the record says, and the capture is not beside it any more: it "
    "was erased, or is elsewhere."
)
MOST_BYTES: Final = 16 * 2**20
"""Of a capture's file; a larger one is for `codecage audit replay`."""
MOST_UNPACKED: Final = 64 * 2**20
"""Of its events: a guest may print, or read, what compresses to a thousandth."""
MOST_TEXT: Final = 64 * 1024
"""Characters shown of a cell's code, and of each of its outputs."""
MOST_SHOWN: Final = 1_000_000
"""Characters on a page."""
MOST_COLOURED: Final = 128 * 1024
"""Characters of code on a page that are taken apart for colours: two seconds at the worst."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """
    A text's beginning, and how many characters of it are not here.
    """

    text: str
    left_out: int

    @classmethod
    def of(cls, text: str) -> "Excerpt":
        """
        The beginning of `text`.
        """
        return cls(text[:MOST_TEXT], max(0, len(text) - MOST_TEXT))


@dataclass(frozen=True, slots=True)
class Cell:
    """
    A cell's number, its code, with `colours` or plain, and what it printed to each stream, joined.
    """

    number: int
    code: Excerpt
    stdout: Excerpt
    stderr: Excerpt
    colours: bool = True


@dataclass(frozen=True, slots=True)
class Cells:
    """
    The cells of a capture, from the first; `more` says that not all are here. `lost` says why the
    capture ends early, `disagreement` what the record says otherwise; "" where there is nothing.
    """

    cells: tuple[Cell, ...]
    more: bool
    lost: str
    disagreement: str


def cells(audit: Path, session: str, *, captured: bool) -> Cells:
    """
    Read a session's capture; `captured` is whether the record says that there was one.

    Raises LookupError where there is none that can be shown, with the reason; AuditDamaged,
    OSError.
    """
    try:
        vault = Vault(audit)
        vault.cipher(session)
        size = (places(audit)[0] / f"{session}.capture").stat().st_size
        if size > MOST_BYTES:
            raise LookupError(f"the capture has {size} bytes; `codecage audit replay` reads it")
        found = open_session(audit, vault, session, MOST_UNPACKED)
        made = [_cell(step) for step in steps(found.events) if step.cell]
    except (CaptureError, ReplayError, ValueError) as error:
        if captured and isinstance(error, CaptureMissing):
            raise LookupError(_GONE) from error
        raise LookupError(str(error)) from error
    shown = _fitting(made)
    return Cells(shown, len(shown) < len(made), found.lost, found.disagreement)


def _cell(step: Step) -> Cell:
    run = step.begins.run
    return Cell(
        step.cell,
        Excerpt.of(run.code),
        Excerpt.of(_printed(step, Show.STDOUT)),
        Excerpt.of(_printed(step, Show.STDERR)),
    )


def _printed(step: Step, stream: Show) -> str:
    parts = [bytes(data) for kind, data in step.shown.parts if kind is stream]
    return b"".join(parts).decode("utf-8", "replace")


def _fitting(made: Iterable[Cell]) -> tuple[Cell, ...]:
    shown: list[Cell] = []
    length = coloured = 0
    for cell in made:
        coloured += len(cell.code.text)
        length += sum(len(one.text) for one in (cell.code, cell.stdout, cell.stderr))
        if length > MOST_SHOWN and shown:
            break
        shown.append(cell if coloured <= MOST_COLOURED else replace(cell, colours=False))
    return tuple(shown)
