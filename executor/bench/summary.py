"""
A run in a few lines, as the README shows it: what a reader asks first, beside floors and peers.
"""

from dataclasses import dataclass
from typing import Final

from executor.bench.figures import Figure, figure
from executor.bench.results import Result, RowResult, Series
from executor.bench.table import three_digits

PEERS: Final = ("bubblewrap + python", "ipykernel", "Pyodide on Node")
"""The peers that have a column: other whole Pythons, of which two hold the code in something."""


@dataclass(frozen=True, slots=True)
class Line:
    """
    One line: the contestants `names` of the row `row`, which have one aim.
    """

    what: str
    row: str
    names: tuple[str, ...]


LINES: Final = (
    Line("create a session to its first output: `core`, `data`", "create", ("core", "data")),
    Line("the same: `native-data`", "create", ("native-data",)),
    Line("the same, none parked: `core`, `native-data`", "create",
         ("core, none parked", "native-data, none parked")),
    Line("a one-line cell: `core`, `native-core`", "cell", ("core", "native-core")),
    Line("a call of a client's tool: `core`, `native-core`", "tool",
         ("core, a tool that reads", "native-core, a tool that reads")),
    Line("memory of one more idle session: `core`, `native-data`", "memory",
         ("core", "native-data")),
    Line("CPU, fifteen programs: `core`, `python313`", "cpu", ("core", "python313")),
    Line("the same: `native-core`", "cpu", ("native-core",)),
    Line("output of 50 MB: `core`, `native-core`", "output", ("core", "native-core")),
    Line("a file of 100 MB in, out: `core`", "file", ("core, in", "core, out")),
    Line("open, read and close a granted file: `core`", "open", ("core",)),
    Line("a policy's answer: a path, with five globs", "decision",
         ("path, no glob", "path, five globs")),
    Line("a record, committed", "record", ("record, committed",)),
    Line("the record's and a capture's share of a cell", "share",
         ("recorded", "captured for replay")),
    Line("sessions a second, 16 clients", "rate", ("sessions, 16 clients",)),
    Line("cells a second, 16 clients", "rate", ("cells, 16 clients",)),
    Line("M3ToolEval, all cells: `core`, `native-core`", "m3tooleval", ("core", "native-core")),
    Line("a server's start to the first result", "server", ("server, image cached",)),
)  # fmt: skip


def markdown(result: Result) -> str:
    """
    The table, without a word about the machine. A line that was not measured says so.
    """
    lines = [
        f"| what | measured | times its floor | aim | {' | '.join(PEERS)} |",
        f"| --- | ---: | --- | --- | {' | '.join('---:' for _ in PEERS)} |",
    ]
    return "\n".join([*lines, *(_line(result, one) for one in LINES)]) + "\n"


def _line(result: Result, line: Line) -> str:
    row = result.rows.get(line.row)
    found = [] if row is None else [one for name in line.names if (one := row.series.get(name))]
    if row is None or not all(one.measured for one in found) or len(found) < len(line.names):
        return f"| {line.what} | not measured | | | {' | '.join('' for _ in PEERS)} |"
    figures = [figure(row, one) for one in found]
    cells = [
        line.what,
        _measured(row, figures),
        _floors(found, figures),
        _aims(found, figures),
        *(_peer(row, name) for name in PEERS),
    ]
    return f"| {' | '.join(cells)} |"


def _measured(row: RowResult, figures: list[Figure]) -> str:
    medians = [three_digits(one.median) for one in figures if one.median is not None]
    return f"{', '.join(medians)} {row.unit}" if medians else ""


def _floors(found: list[Series], figures: list[Figure]) -> str:
    ratios = [three_digits(one.ratio) for one in figures if one.ratio is not None]
    floors = dict.fromkeys(one.floor for one in found if one.floor)
    return f"{', '.join(ratios)} ({'; '.join(floors)})" if ratios else ""


def _aims(found: list[Series], figures: list[Figure]) -> str:
    """
    Each aim once, with what came of it where it is the same for all.
    """
    words = {True: " met", False: " missed", None: ""}
    said = (
        f"{series.aim:g}{words[one.met]}"
        for series, one in zip(found, figures, strict=True)
        if series.aim is not None
    )
    return ", ".join(dict.fromkeys(said))


def _peer(row: RowResult, name: str) -> str:
    series = row.series.get(name)
    if series is None:
        return ""
    found = figure(row, series)
    value = found.ratio if found.median is None else found.median
    return "" if value is None else three_digits(value)
