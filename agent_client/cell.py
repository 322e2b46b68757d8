"""
From the bytes of a running cell to typed events and, at its end, an observation.

Both clients feed it; it does no waiting of its own.
"""

import codecs
from collections.abc import Callable

from agent_client.displays import Display
from agent_client.errors import ServerUnavailable
from agent_client.events import (
    Ended,
    Event,
    Final,
    Output,
    Started,
    Status,
    Stream,
    ToolCalled,
    ToolCancelled,
    Value,
)
from agent_client.observation import DEFAULT_MAX_CHARS, Observation, Shown, observe
from agent_client.records import AuditHead, CellFailure
from codecage import values
from codecage.v1 import codecage_pb2 as pb

OnOutput = Callable[[str, str], None]
OnDisplay = Callable[[Display], None]
_STREAMS = {pb.STREAM_STDOUT: Stream.STDOUT, pb.STREAM_STDERR: Stream.STDERR}
_STATUSES = {
    pb.CELL_STATUS_OK: Status.OK,
    pb.CELL_STATUS_ERROR: Status.ERROR,
    pb.CELL_STATUS_EXITED: Status.EXITED,
    pb.CELL_STATUS_INTERRUPTED: Status.INTERRUPTED,
    pb.CELL_STATUS_TIMED_OUT: Status.TIMED_OUT,
    pb.CELL_STATUS_CPU_LIMIT: Status.CPU_LIMIT,
    pb.CELL_STATUS_WORKER_LOST: Status.WORKER_LOST,
}
# Guests write any bytes, cut anywhere. What is not UTF-8 stays readable as \xff.
_DECODER = codecs.getincrementaldecoder("utf-8")
_NOT_ENDED = (
    "the server ended the cell's events before the cell's end; "
    "look at the session with Cage.sessions(), or open a new one"
)


class CellReader:
    """
    Reads the events of one cell, in order.

    `cell` is the cell's number and `sequence` that of the last event read, which are what
    `attach` takes to go on from there; `shown_bytes` counts the output. Not thread-safe.
    """

    def __init__(self) -> None:
        self.cell = 0
        self.sequence = 0
        self.shown_bytes = 0
        # Of the streams on which something has come.
        self._decoders: dict[Stream, codecs.IncrementalDecoder] = {}
        self._ended = False

    def read(self, event: pb.Event) -> list[Event]:
        """
        What one message of the server means: its events, none for a part of a character.

        An event that this client does not know is skipped: servers may be newer than clients.
        """
        found = self._one(event)
        for later in event.more:
            found += self._one(later)
        return found

    def _one(self, event: pb.Event) -> list[Event]:
        self.sequence = event.sequence
        match event.WhichOneof("event"):
            case "started":
                self.cell = event.started.cell
                return [Started(cell=self.cell)]
            case "output":
                return self._output(event.output)
            case "display":
                return [Display(dict(event.display.data))]
            case "value":
                value = event.value
                return [Value(value.text, value.full_length, value.truncated)]
            case "tool_call":
                call = event.tool_call
                return [ToolCalled(call.call, call.name, call.arguments, call.beside)]
            case "tool_cancelled":
                return [ToolCancelled(event.tool_cancelled.call)]
            case "final":
                return [_final(event.final.value)]
            case "ended":
                self._ended = True
                return [*self._leftovers(), _ended(event.ended)]
        return []

    def finish(self) -> None:
        """
        The server has nothing more to send. Raises ServerUnavailable if the end is missing.
        """
        if not self._ended:
            raise ServerUnavailable(_NOT_ENDED)

    def _output(self, output: pb.Output) -> list[Event]:
        # A stream that this client cannot name is shown rather than lost.
        stream = _STREAMS.get(output.stream, Stream.STDERR)
        data = output.data
        self.shown_bytes += len(data)
        decoder = self._decoders.get(stream)
        if decoder is None:
            decoder = self._decoders[stream] = _DECODER("backslashreplace")
        text = decoder.decode(data)
        return [Output(stream, text)] if text else []

    def _leftovers(self) -> list[Event]:
        if not self._decoders:
            return []
        found = [(stream, self._decoders[stream]) for stream in Stream if stream in self._decoders]
        ends = [(stream, decoder.decode(b"", final=True)) for stream, decoder in found]
        return [Output(stream, text) for stream, text in ends if text]


class Collector:
    """
    Adds the events of one cell up to its observation, and hands on what is written and shown.
    """

    def __init__(
        self,
        max_chars: int = DEFAULT_MAX_CHARS,
        on_output: OnOutput | None = None,
        on_display: OnDisplay | None = None,
    ) -> None:
        self._max_chars = max_chars
        self._on_output = on_output
        self._on_display = on_display
        self._runs: list[tuple[Stream, list[str]]] = []
        self._displays: list[tuple[int, Display]] = []
        self._value: Value | None = None
        self._final: Final | None = None
        self._ended: Ended | None = None

    def add(self, event: Event) -> None:
        """
        Take one event; output of one stream that follows itself becomes one chunk, unless
        something was shown between.
        """
        match event:
            case Output():
                self._write(event)
                if self._on_output is not None:
                    self._on_output(event.stream.value, event.text)
            case Display():
                self._displays.append((len(self._runs), event))
                if self._on_display is not None:
                    self._on_display(event)
            case Value():
                self._value = event
            case Final():
                self._final = event
            case Ended():
                self._ended = event
            case Started() | ToolCalled() | ToolCancelled():
                pass

    def observation(self, shown_bytes: int) -> Observation:
        """
        The sum, `shown_bytes` being the reader's count.

        Raises ServerUnavailable while the end is missing.
        """
        if self._ended is None:
            raise ServerUnavailable(_NOT_ENDED)
        shown = Shown(self.chunks(), tuple(self._displays), shown_bytes)
        return observe(shown, self._value, self._ended, self._max_chars, self._final)

    def chunks(self) -> tuple[tuple[Stream, str], ...]:
        """
        The output so far, in order.
        """
        return tuple((stream, "".join(texts)) for stream, texts in self._runs)

    def _write(self, output: Output) -> None:
        interrupted = bool(self._displays) and self._displays[-1][0] == len(self._runs)
        if interrupted or not self._runs or self._runs[-1][0] is not output.stream:
            self._runs.append((output.stream, []))
        self._runs[-1][1].append(output.text)


def _final(data: bytes) -> Final:
    try:
        return Final(values.decode(data))
    except values.Refused as error:
        return Final(None, str(error))


def _ended(ended: pb.CellEnded) -> Ended:
    usage = ended.usage
    return Ended(
        # Of an end that this client cannot name it must not say that all went well.
        status=_STATUSES.get(ended.status, Status.ERROR),
        error=_failure(ended),
        exit_code=ended.exit_code,
        duration=usage.wall_time.ToNanoseconds() / 1e9,
        cpu_time=usage.cpu_time.ToNanoseconds() / 1e9,
        peak_memory=usage.peak_memory_bytes,
        output_bytes=usage.stdout_bytes + usage.stderr_bytes,
        output_truncated=usage.output_truncated,
        requests=usage.requests,
        denied=usage.denied,
        audit_head=AuditHead(ended.audit_head.sequence, ended.audit_head.hash),
        session_lost=ended.session_lost,
        reason=ended.reason,
        connections=usage.connections,
        http_requests=usage.http_requests,
        network_sent=usage.network_sent_bytes,
        network_received=usage.network_received_bytes,
        requests_by_kind=dict(usage.requests_by_kind),
        tool_calls=usage.tool_calls,
        audit_mode=ended.audit_mode,
    )


def _failure(ended: pb.CellEnded) -> CellFailure | None:
    if not ended.HasField("error"):
        return None
    error = ended.error
    return CellFailure(error.name, error.message, error.traceback)
