"""
What came of a cell, as fields for a program and as one text for a model.

The fields are the truth. The text is what a model reads next, so it is bounded, and the guest's
own output may contain anything, also lines that look like our marks: decide by `status`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from agent_client.displays import Display
from agent_client.events import Ended, Final, Status, Stream, Value
from agent_client.records import AuditHead, CellFailure

DEFAULT_MAX_CHARS = 20_000
MIN_MAX_CHARS = 500  # a text with less room would be marks alone
_REASON_CHARS = 200


class Cut(StrEnum):
    """
    What a text loses that is too long: its middle, or all but its head; NONE leaves it as it is.
    """

    MIDDLE = "middle"
    HEAD = "head"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Observation:
    """
    The result of one cell.

    `chunks` holds the output in the order in which it was written, `stdout` and `stderr` the same
    by stream. `displays` holds what was shown besides, and `display_places` how many chunks came
    before each of them. `value` is the repr of the last expression, None where there is none; it
    is text, never interpreted. `error` is the exception that ended the cell. `truncated` says that
    the server delivered less than the guest wrote or showed. `duration` and `cpu_time` are
    seconds, `peak_memory` bytes; `requests` counts what the code asked of the policy
    (`requests_by_kind`: `read`, `connect`, `http` and the like), and `denied` how often it was
    refused; `connections`, `http_requests`, `network_sent` and `network_received` what of it went
    to the network (the last two in bytes); `tool_calls` those of this client's tools. Where the
    code gave its answer by `final_answer`, `is_final` is true and `final` the answer. `ended` has
    the rest.
    """

    status: Status
    chunks: tuple[tuple[Stream, str], ...]
    displays: tuple[Display, ...]
    value: str | None
    error: CellFailure | None
    truncated: bool
    duration: float
    cpu_time: float
    peak_memory: int
    requests: int
    denied: int
    audit_head: AuditHead
    session_lost: bool
    reason: str
    shown_bytes: int
    ended: Ended = field(repr=False)
    display_places: tuple[int, ...] = field(default=(), repr=False)
    value_cut_from: int | None = field(default=None, repr=False)
    max_chars: int = field(default=DEFAULT_MAX_CHARS, repr=False)
    connections: int = 0
    http_requests: int = 0
    network_sent: int = 0
    network_received: int = 0
    requests_by_kind: Mapping[str, int] = field(default_factory=dict)
    tool_calls: int = 0
    is_final: bool = False
    final: object = field(default=None, compare=False)

    @property
    def ok(self) -> bool:
        """
        Whether the code ran to its end; `exit(0)` counts as an end.
        """
        exited = self.status is Status.EXITED and self.ended.exit_code == 0
        return self.status is Status.OK or exited

    @property
    def stdout(self) -> str:
        """
        All of the standard output.
        """
        return self._of(Stream.STDOUT)

    @property
    def stderr(self) -> str:
        """
        All of the standard error output.
        """
        return self._of(Stream.STDERR)

    @property
    def text(self) -> str:
        """
        What a model reads next, in at most the `max_chars` characters that `run` was given.
        """
        return self.render(self.max_chars)

    def render(self, max_chars: int, empty: str = "[no output]", cut: Cut = Cut.MIDDLE) -> str:
        """
        The output and what was shown, the value, the traceback and what else is to be said, in
        this order. Of what was shown it has the text, and in brackets what else there is.

        Takes at most `max_chars` characters (500 or more): a longer text loses what `cut` names,
        and says how much. The marks in brackets at the end are never cut. `empty` is the text where
        there is nothing else to say.
        """
        marks = "\n".join(self.marks())
        body = self._body()
        if not marks:
            return shortened(body, max_chars, cut) or empty
        if not body:
            return marks
        return f"{shortened(body, max_chars - len(marks) - 1, cut)}\n{marks}"

    def marks(self) -> list[str]:
        """
        What is to be said besides the output, each in brackets: cuts, and an end by force.
        """
        marks = []
        if self.truncated:
            marks.append(f"output truncated: {self._cut()}")
        if self.value_cut_from is not None and self.value is not None:
            shown = f"{len(self.value):,} of {self.value_cut_from:,}"
            marks.append(f"value truncated: {shown} characters shown")
        if self.is_final:
            marks.append("the final answer was given")
        if self.audit_mode:
            marks.append("audit mode: the policy may have let pass what it denies")
        if ending := self._ending():
            marks.append(ending)
        return [f"[{mark}]" for mark in marks]

    @property
    def audit_mode(self) -> bool:
        """
        Whether the policy was in audit mode, and may have let pass what it denies.
        """
        return self.ended.audit_mode

    def _of(self, stream: Stream) -> str:
        return "".join(text for written, text in self.chunks if written is stream)

    def _cut(self) -> str:
        total = self.ended.output_bytes
        if self.shown_bytes < total:
            return f"{self.shown_bytes:,} of {total:,} bytes shown"
        return "something to display had no room left in the policy's limit"

    def _body(self) -> str:
        failed = (self.error.traceback or _headline(self.error)) if self.error else ""
        own = [shown.mark() for shown in self.displays if self._shows_value(shown)]
        parts = (*self._written(), self.value or "", *own, failed)
        return "\n".join(part.removesuffix("\n") for part in parts if part)

    def _written(self) -> Iterator[str]:
        """
        The output, and between its parts what was shown. What shows the value stands with it.
        """
        begin = 0
        for place, shown in zip(self.display_places, self.displays, strict=True):
            yield "".join(text for _, text in self.chunks[begin:place])
            begin = place
            if not self._shows_value(shown):
                yield from (shown.text or "", shown.mark())
        yield "".join(text for _, text in self.chunks[begin:])

    def _shows_value(self, shown: Display) -> bool:
        """
        Whether it is the value's own: its plain form is then what the value says already.
        """
        return self.value is not None and shown.text_of("text/plain") == self.value

    def _ending(self) -> str:
        if self.session_lost or self.status is Status.WORKER_LOST:
            reason = _shortened(self.reason) or "its process ended"
            return f"the session is lost: {reason}; open a new one"
        if self.status is Status.EXITED:
            return f"exit({self.ended.exit_code}) ended the cell; {_KEPT}"
        seconds = {Status.TIMED_OUT: self.duration, Status.CPU_LIMIT: self.cpu_time}
        spent = f"{seconds.get(self.status, 0):.3g} s"
        return _ENDINGS.get(self.status, "").format(spent=spent)


_KEPT = "the session's variables are kept"
_ENDINGS = {
    Status.INTERRUPTED: f"interrupted; {_KEPT}",
    Status.TIMED_OUT: f"timed out after {{spent}}; {_KEPT}",
    Status.CPU_LIMIT: f"stopped after {{spent}} of CPU time; {_KEPT}",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """
    What a cell wrote and showed: `displays` with the number of chunks that came before each, and
    `written` the bytes of the chunks.
    """

    chunks: tuple[tuple[Stream, str], ...]
    displays: tuple[tuple[int, Display], ...]
    written: int


def observe(
    shown: Shown,
    value: Value | None,
    ended: Ended,
    max_chars: int = DEFAULT_MAX_CHARS,
    final: Final | None = None,
) -> Observation:
    """
    The observation that a cell's events add up to.
    """
    return Observation(
        status=ended.status,
        chunks=shown.chunks,
        displays=tuple(display for _, display in shown.displays),
        value=value.text if value else None,
        error=ended.error,
        truncated=ended.output_truncated or shown.written < ended.output_bytes,
        duration=ended.duration,
        cpu_time=ended.cpu_time,
        peak_memory=ended.peak_memory,
        requests=ended.requests,
        denied=ended.denied,
        audit_head=ended.audit_head,
        session_lost=ended.session_lost,
        reason=ended.reason,
        shown_bytes=shown.written,
        ended=ended,
        display_places=tuple(place for place, _ in shown.displays),
        value_cut_from=value.full_length if value and value.truncated else None,
        max_chars=max_chars,
        connections=ended.connections,
        http_requests=ended.http_requests,
        network_sent=ended.network_sent,
        network_received=ended.network_received,
        requests_by_kind=ended.requests_by_kind,
        tool_calls=ended.tool_calls,
        is_final=final is not None,
        final=final.value if final is not None else None,
    )


def shortened(text: str, limit: int, cut: Cut) -> str:
    """
    `text` in at most `limit` characters: its beginning, its end unless that is `cut`, and how much
    is missing. With Cut.NONE it is the whole text.

    The end keeps as much as the beginning, since a traceback says at its end what happened. A
    limit that leaves no room for the mark gives the mark alone.
    """
    if len(text) <= limit or cut is Cut.NONE:
        return text
    # The number is never longer than that of the whole text, so that this is room enough.
    room = max(0, limit - len(_gap(len(text))))
    tail = room // 2 if cut is Cut.MIDDLE else 0
    head = room - tail
    return text[:head] + _gap(len(text) - head - tail) + text[len(text) - tail :]


def _gap(count: int) -> str:
    return f"\n[... {count:,} characters cut here ...]\n"


def _headline(error: CellFailure) -> str:
    return f"{error.name}: {error.message}" if error.message else error.name


def _shortened(reason: str) -> str:
    return reason if len(reason) <= _REASON_CHARS else f"{reason[:_REASON_CHARS]}..."
