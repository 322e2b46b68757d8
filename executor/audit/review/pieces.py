"""
What a page about a session is made of: its denials, its cells, its network, what it used.

The file that `report --html` writes and the review pages show the same with the same words; the
pages have a link where the file has a number.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Final

from executor.audit.escape import visible
from executor.audit.read import SessionSummary
from executor.audit.record import Event, Record, Text
from executor.audit.report import moment
from executor.audit.review.html import NOTHING, Html, element, guest, link, pairs, seen, table, text
from executor.audit.review.rows import ERASED, Look, asked, came_of, look
from executor.audit.review.search import Page, Step
from executor.audit.review.sheet import by_host, ended

Numbered = Callable[[int], Html]
"""How the number of a record is shown."""

_STEP_HEADINGS: Final = ("seq", "time (UTC)", "event", "request", "decision", "rule", "outcome")
_USAGE: Final = (
    *("requests", "denied", "tool_calls", "connections", "exchanges", "sent", "received"),
    *("stdout", "stderr"),
)
_HELD: Final = (
    *("image", "image_key", "cage", "isolation", "isolation_parts", "labels"),
    "boot_digest",
)
_ID_SHOWN: Final = 12
NO_CODE: Final = (
    "The code of a cell is not in the record: its size and SHA-256 are, so that a copy kept "
    "elsewhere can be compared with what ran."
)


def number(sequence: int) -> Html:
    """
    A record's number, and nothing more.
    """
    return text(str(sequence))


def facts(short: SessionSummary, start: Record) -> Html:
    """
    What a session was: its policy, its cage, when, and how it ended.
    """
    held = dict(start.detail)
    return pairs(
        [
            ("policy", guest(short.policy)),
            ("its digest", guest(start.policy_digest or "-")),
            *((name.replace("_", " "), value_of(held.get(name))) for name in _HELD),
            ("started", text(moment(short.started_ns))),
            ("ended", text(ended(short))),
            ("outcome", NOTHING if short.outcome is None else guest(short.outcome)),
            ("cells", text(str(short.cells))),
            ("denied", text(str(short.denied))),
            ("not recorded one by one", text(str(short.dropped)) if short.dropped else NOTHING),
        ]
    )


def denials(steps: Sequence[Step], numbered: Numbered = number) -> Html:
    """
    The denied requests, with the rule and what the agent was told.
    """
    if not steps:
        return quiet("Nothing was denied.")
    headings = ("seq", "cell", "request", "rule", "what the agent was told")
    return table(headings, (("denied", _denial(step.record, numbered)) for step in steps))


def _denial(record: Record, numbered: Numbered) -> Sequence[Html]:
    return (
        numbered(record.sequence),
        text("" if record.cell is None else str(record.cell)),
        value_of(record.request),
        value_of(record.rule_place),
        value_of(dict(record.detail).get("reason")),
    )


def timeline(steps: Sequence[Step], numbered: Numbered = number) -> Iterator[Html]:
    """
    The records in order, those of a cell together.
    """
    for cell, group in groupby(steps, key=lambda step: step.record.cell):
        yield element("section", *_group(cell, tuple(group), numbered), kind="cell")


def _group(cell: int | None, steps: Sequence[Step], numbered: Numbered) -> Iterator[Html]:
    if cell is None:
        yield element("h3", text("Outside of cells"))
    else:
        yield element("h3", text(f"Cell {cell}"))
        yield pairs(_cell_facts(steps))
    shown = [step for step in steps if step.record.event not in _CELL_EVENTS]
    if shown:
        yield steps_table(shown, numbered)


def steps_table(steps: Sequence[Step], numbered: Numbered = number) -> Html:
    """
    Records as rows, an outcome beside its decision.
    """
    return table(_STEP_HEADINGS, ((_KINDS[look(step)], _cells(step, numbered)) for step in steps))


_CELL_EVENTS = frozenset({Event.CELL_START, Event.CELL_END})
_KINDS = {Look.DENIED: "denied", Look.FAILED: "failed", Look.QUIET: "quiet", Look.PLAIN: ""}


def _cell_facts(steps: Sequence[Step]) -> Iterator[tuple[str, Html]]:
    for record in (step.record for step in steps):
        if record.event is Event.CELL_START:
            yield "began", text(moment(record.wall_ns))
            digest = record.digest.hex() if record.digest else "-"
            yield "code", Html(text(f"{record.size or 0} bytes, SHA-256 ") + guest(digest))
        elif record.event is Event.CELL_END:
            yield "ended", Html(text(moment(record.wall_ns) + ", ") + value_of(record.outcome))
            yield "used", text(_times(record))
            yield "printed", text(_printed(record))


def found_table(
    steps: Sequence[Step], numbered: Numbered, place_of: Callable[[str], str | None]
) -> Html:
    """
    Records of several sessions as rows, each with its session: `place_of` is where that one's
    page is, None where it has none.
    """
    headings = ("seq", "time (UTC)", "session", *_STEP_HEADINGS[2:])
    return table(
        headings,
        ((_KINDS[look(step)], _found(step, numbered, place_of)) for step in steps),
    )


def _found(step: Step, numbered: Numbered, place_of: Callable[[str], str | None]) -> Sequence[Html]:
    record = step.record
    sequence, _, *rest = _cells(step, numbered)
    session = text("-")
    if record.session is not None:
        place, short = place_of(record.session), guest(record.session[:_ID_SHOWN])
        session = short if place is None else link(place, short)
    return sequence, text(moment(record.wall_ns)[:19].replace("T", " ")), session, *rest


def fields_of(record: Record) -> Html:
    """
    All that a record holds, but for what its tree says of it.
    """
    held = [
        ("sequence", text(str(record.sequence))),
        ("time (UTC)", text(moment(record.wall_ns))),
        ("event", text(record.event.value)),
        ("said by", text(record.origin.value)),
        ("session", value_of(record.session)),
        ("cell", value_of(record.cell)),
        ("of record", NOTHING if record.refers is None else text(str(record.refers))),
        ("request", text(ERASED) if record.erased else value_of(record.request)),
        ("decision", text(record.answer.value) if record.answer else NOTHING),
        ("rule", value_of(record.rule)),
        ("rule's place", value_of(record.rule_place)),
        ("policy digest", value_of(record.policy_digest)),
        ("outcome", value_of(record.outcome)),
        ("bytes", value_of(record.size)),
        ("SHA-256", value_of(record.digest.hex() if record.digest else None)),
    ]
    details = [(visible(key), value_of(value)) for key, value in record.detail]
    return pairs([*held, *details])


def _cells(step: Step, numbered: Numbered) -> Sequence[Html]:
    record = step.record
    word = record.answer.value if record.answer else ""
    # `asked` and `came_of` have made their texts visible already.
    return (
        numbered(record.sequence),
        text(moment(record.wall_ns)[11:-1]),
        text(record.event.value),
        seen(asked(step)),
        element("strong", text(word)),
        value_of(record.rule_place),
        element("strong", seen(came_of(step.outcome or record))),
    )


def network(steps: Sequence[Step]) -> Html:
    """
    The hosts that were asked for, with how often and how much.
    """
    if not steps:
        return quiet("The session asked for nothing of the network.")
    headings = ("host", "allowed", "denied", "bytes")
    counted = by_host(steps)
    return table(
        headings,
        (
            (
                "denied" if denied else "",
                (guest(host), *map(text, map(str, (allowed, denied, size)))),
            )
            for host, (allowed, denied, size) in sorted(counted.items())
        ),
    )


def usage(ends: Sequence[Record]) -> Html:
    """
    What each cell used, of the records of their ends, and all together.
    """
    if not ends:
        return quiet("No cell has ended.")
    total: Counter[str] = Counter()
    for end in ends:
        total.update({key: value for key, value in end.detail if isinstance(value, int)})
    rows = [("", _used(str(end.cell or ""), dict(end.detail))) for end in ends]
    rows.append(("quiet", _used("all", dict(total))))
    named = (name.replace("_", " ") for name in _USAGE)
    return table(("cell", "wall ms", "cpu ms", *named), rows)


def _used(cell: str, found: dict[str, Text | int] | dict[str, int]) -> Sequence[Html]:
    times = [_milliseconds(found.get(key)) for key in ("wall_us", "cpu_us")]
    return tuple(map(text, (cell, *times, *(_count(found.get(key)) for key in _USAGE))))


def _times(end: Record) -> str:
    found = dict(end.detail)
    wall, cpu = _milliseconds(found.get("wall_us")), _milliseconds(found.get("cpu_us"))
    return f"{wall} ms, {cpu} ms of them computing" if wall else ""


def _printed(end: Record) -> str:
    found = dict(end.detail)
    said = [f"{_count(found[key])} bytes to {key}" for key in ("stdout", "stderr") if key in found]
    if found.get("displays"):
        said.append(f"{_count(found['displays'])} displays")
    more = " (cut)" if found.get("truncated") else ""
    return ", ".join(said) + more


def _milliseconds(value: Text | int | None) -> str:
    return f"{value / 1000:.1f}" if isinstance(value, int) else ""


def _count(value: Text | int | None) -> str:
    return str(value) if isinstance(value, int) else ""


def rest(found: Page, what: str) -> Iterator[Html]:
    """
    What is said where there is more than is shown.
    """
    if not found.ended:
        yield quiet(
            f"These are the first {len(found.steps)} {what}; the rest: codecage audit show, from "
            f"--after {found.reached}."
        )


def quiet(words: str) -> Html:
    """
    A sentence that stands back.
    """
    return element("p", text(words), kind="quiet")


def value_of(value: Text | int | None) -> Html:
    """
    A text that may be anybody's, or a number; nothing where there is none.
    """
    if value is None or value == "":
        return NOTHING
    return text(str(value)) if isinstance(value, int) else guest(value)
