"""
The record as spans, events and metrics of OpenTelemetry: what collectors are sent.

The collectors are servers of the protocol's own stubs. What green does not prove: that every
collector agrees with them.
"""

import json

import pytest
from audit_world import SESSION, append_all, draft
from collecting import attributes
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from review_world import START, asked, fill, hostile_world, run
from trace_world import DECISIONS, ended_world, send

from executor.audit.record import UNKNOWN, Answer, Clocks, Event
from executor.audit.review import tracing
from executor.audit.review.otlp import MAX_EVENTS
from executor.audit.store import AuditStore

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_session_and_its_cell_are_spans_with_their_times_and_what_was_denied(
    path, collector, capsys
):
    fill(path, ended_world())
    assert run("trace", "--to", collector.url, "--audit", path) == 0
    assert capsys.readouterr().out == "to record 16: 2 spans and 6 events taken\n"
    cell, session = collector.got.spans
    assert (cell.name, session.name) == ("execute_tool python", "codecage.session")
    assert cell.parent_span_id == session.span_id
    assert cell.trace_id == session.trace_id
    assert session.parent_span_id == b""
    assert cell.start_time_unix_nano == START + 2 * 10**9
    assert cell.end_time_unix_nano == START + 10 * 10**9
    assert cell.status == Status(code=Status.STATUS_CODE_ERROR, message="error")
    assert session.status == Status()
    told = attributes(cell)
    assert told["gen_ai.operation.name"] == "execute_tool"
    assert told["gen_ai.tool.name"] == "python"
    assert told["codecage.denied"] == 1
    (event,) = cell.events
    assert event.name == "codecage.denied"
    assert attributes(event)["codecage.request"] == "read /data/keys/id.pem"
    assert attributes(session)["codecage.policy"] == "notebook"


def test_each_decision_is_an_event_in_the_span_of_its_cell(path, collector):
    fill(path, ended_world())
    assert run("trace", "--to", collector.url, "--audit", path) == 0
    cell, _ = collector.got.spans
    events = collector.got.events
    assert len(events) == DECISIONS
    assert {event.event_name for event in events} == {"codecage.decision"}
    (denied,) = [e for e in events if "id.pem" in e.body.string_value]
    assert (denied.trace_id, denied.span_id) == (cell.trace_id, cell.span_id)
    assert denied.severity_text == "WARN"
    assert denied.time_unix_nano == START + 5 * 10**9
    told = attributes(denied)
    assert told == {
        "codecage.decision": "deny",
        "codecage.kind": "read",
        "codecage.reason": "because of it",
        "codecage.session": SESSION,
        "codecage.policy_digest": "",
        "codecage.cell": 1,
        "codecage.request": "read /data/keys/id.pem",
        "codecage.rule": "filesystem[0]",
        "codecage.rule_place": "notebook.yaml:14",
        "codecage.sequence": 6,
    }
    allowed = events[0]
    assert (allowed.severity_text, attributes(allowed)["codecage.decision"]) == ("INFO", "allow")
    (outside,) = [e for e in events if attributes(e)["codecage.request"] == "image big"]
    assert (outside.trace_id, outside.span_id) == (b"", b"")


def test_each_decision_of_a_later_cell_is_in_that_cells_span(path, over_grpc):
    """
    Also where a page ends amid a cell, or the sending began there.
    """
    cells = [
        one
        for cell in (1, 2)
        for one in (
            draft(Event.CELL_START, cell=cell),
            asked(f"read /{cell}", cell=cell),
            draft(Event.CELL_END, cell=cell, refers=3 * cell - 1, outcome="ok"),
        )
    ]
    outside = asked("commit /work", cell=None)
    fill(path, [draft(Event.SESSION_CREATE), *cells, outside, draft(Event.SESSION_END, refers=1)])
    send(path, over_grpc.url)
    first, second, session = over_grpc.got.spans
    assert first.span_id != second.span_id
    expected = [first.span_id, second.span_id, session.span_id]
    assert [event.span_id for event in over_grpc.got.events] == expected
    over_grpc.got.clear()
    send(path, over_grpc.url, after=5)
    assert [event.span_id for event in over_grpc.got.events] == expected[1:]


def test_decisions_are_counted_and_starts_cells_acts_tools_and_memory_measured(path, collector):
    drafts = ended_world()
    drafts[14:14] = [
        draft(Event.DROPPED, detail=(("deny read", 7), ("worker.note", 2), ("refused call", 1)))
    ]
    drafts += [
        asked("call tool", session=None, cell=None),
        draft(Event.OUTCOME, session=None, refers=18, outcome="ok"),
        asked("call tool", session=None, cell=None),
        draft(Event.OUTCOME, session=None, refers=20, outcome=UNKNOWN),
    ]
    ticks = iter(range(0, 10**12, 10**9))
    with AuditStore.open(path, clocks=Clocks(lambda: START, lambda: next(ticks))) as store:
        append_all(store, drafts)
    assert run("trace", "--to", collector.url, "--audit", path) == 0
    metrics = collector.got.metrics
    found = {
        tuple(attributes(point).values()): point.as_int
        for point in metrics["codecage.decisions"].sum.data_points
    }
    assert found == {
        ("allow", "call"): 2,
        ("allow", "connect"): 1,
        ("allow", "http"): 1,
        ("allow", "read"): 1,
        ("allow", "write"): 1,
        ("deny", "call"): 1,
        ("deny", "image"): 1,
        ("deny", "read"): 8,
    }
    assert metrics["codecage.decisions"].sum.is_monotonic
    (sessions,) = metrics["codecage.sessions"].gauge.data_points
    assert sessions.as_int == 1, "one of the two has no end"

    def measured(name):
        return [
            (tuple(attributes(point).values()), point.count, point.sum)
            for point in metrics[name].histogram.data_points
        ]

    assert measured("codecage.session.start.duration") == [((), 1, 0.002)]
    assert measured("codecage.cell.duration") == [((), 1, 0.0015)]
    assert measured("codecage.cell.memory.peak") == [((), 1, 2**25)]
    assert measured("codecage.tool.duration") == [(("call",), 1, 1.0)]
    assert measured("codecage.decision.duration") == [
        (("connect",), 1, 1.0),
        (("read",), 1, 1.0),
        (("write",), 1, 3.0),
    ]
    (point,) = metrics["codecage.cell.duration"].histogram.data_points
    assert sum(point.bucket_counts) == 1
    place = list(point.bucket_counts).index(1)
    assert point.explicit_bounds[place - 1] < 0.0015 <= point.explicit_bounds[place]


def test_the_number_of_open_sessions_is_known_where_the_sending_began_later(path, over_grpc):
    fill(path, ended_world())
    send(path, over_grpc.url, after=12)
    (sessions,) = over_grpc.got.metrics["codecage.sessions"].gauge.data_points
    assert sessions.as_int == 1


@pytest.mark.parametrize(
    ("labels", "taken"),
    [
        (json.dumps({"traceparent": PARENT}), True),
        (json.dumps({"traceparent": PARENT.upper()}), False),
        (json.dumps({"traceparent": "00-" + "0" * 32 + PARENT[35:]}), False),
        (json.dumps({"traceparent": [PARENT]}), False),
        (json.dumps([PARENT]), False),
        ('{"traceparent": ', False),
        ("[" * 2000, False),
    ],
)
def test_the_clients_traceparent_is_the_parent_where_it_is_one(path, over_grpc, labels, taken):
    fill(path, ended_world(labels))
    send(path, over_grpc.url)
    cell, session = over_grpc.got.spans
    _, trace, parent, _ = PARENT.split("-")
    assert cell.trace_id == session.trace_id
    assert (session.trace_id.hex() == trace) is taken
    assert (session.parent_span_id.hex() == parent) is taken


def test_where_the_clock_went_back_no_span_ends_before_it_begins(path, over_grpc):
    times = iter(range(START, 0, -(10**9)))
    with AuditStore.open(path, clocks=Clocks(lambda: next(times), lambda: 5)) as store:
        append_all(store, ended_world())
    send(path, over_grpc.url)
    found = [(span.start_time_unix_nano, span.end_time_unix_nano) for span in over_grpc.got.spans]
    assert len(found) == 2
    assert all(start == end for start, end in found)


def test_what_is_sent_again_is_the_same_span(path, collector):
    fill(path, ended_world())
    for _ in range(2):
        send(path, collector.url)
    assert collector.got.spans[:2] == collector.got.spans[2:]


def test_spans_of_two_stores_are_never_the_same(path, tmp_path, over_grpc):
    for store in (path, tmp_path / "other" / "audit.sqlite3"):
        fill(store, ended_world())
        send(store, over_grpc.url)
    assert len({span.trace_id for span in over_grpc.got.spans}) == 2
    assert len({span.span_id for span in over_grpc.got.spans}) == 4


def test_only_what_is_behind_a_sequence_is_sent_and_starts_are_found_before_it(path, over_grpc):
    fill(path, ended_world())
    assert run("trace", "--after", 11, "--to", over_grpc.url, "--audit", path) == 0
    assert [span.name for span in over_grpc.got.spans] == ["codecage.session"]


def test_a_flood_of_denials_is_a_bounded_span_that_says_so(path, over_grpc):
    denials = [asked(f"read /{n}", Answer.DENY) for n in range(MAX_EVENTS + 50)]
    start = [draft(Event.SESSION_CREATE), draft(Event.CELL_START, cell=1)]
    fill(path, [*start, *denials, draft(Event.CELL_END, cell=1, refers=2, outcome="ok")])
    send(path, over_grpc.url)
    (cell,) = over_grpc.got.spans
    assert len(cell.events) == MAX_EVENTS
    assert cell.dropped_events_count == 1


def test_no_message_is_longer_than_collectors_take(path, over_grpc):
    """
    Collectors refuse messages over 4 MiB; a page of long texts is more.
    """
    long = [asked(f"read /{n}/{'x' * 4000}", rule="y" * 4000) for n in range(900)]
    fill(path, [draft(Event.SESSION_CREATE), *long])
    sent = send(path, over_grpc.url)
    assert (sent.events, sent.events_lost) == (900, 0)
    assert len(over_grpc.got.events) == 900
    sizes = [request.ByteSize() for request in over_grpc.got.requests["logs"]]
    assert len(sizes) > 8
    assert max(sizes) <= tracing._MESSAGE_MAX


def test_a10_hostile_texts_are_strings_and_nothing_else(path, collector):
    drafts = hostile_world()
    fill(path, [*drafts[:-1], draft(Event.CELL_END, cell=1, refers=1, outcome="\ud800<b>\n")])
    assert run("trace", "--to", collector.url, "--audit", path) == 0
    (cell,) = collector.got.spans
    assert cell.status.message == "\\ud800<b>\n"
    kinds = {attributes(event)["codecage.kind"] for event in collector.got.events}
    assert kinds == {"read", "connect"}


def test_credentials_for_the_collector_come_from_the_environment(path, collector, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-codecage-test=open%20sesame")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "agents")
    fill(path, ended_world())
    collector.got.headers.clear()
    send(path, collector.url)
    found = [
        {key.lower(): value for key, value in headers.items()} for headers in collector.got.headers
    ]
    assert {headers.get("x-codecage-test") for headers in found} == {"open sesame"}
    resource = collector.got.requests["traces"][0].resource_spans[0].resource
    told = attributes(resource)
    assert told["service.name"] == "agents"
    monkeypatch.delenv("OTEL_SERVICE_NAME")
    collector.got.clear()
    send(path, collector.url)
    resource = collector.got.requests["traces"][0].resource_spans[0].resource
    assert attributes(resource)["service.name"] == "codecage"
    assert len(told["codecage.audit.identity"]) == 64
