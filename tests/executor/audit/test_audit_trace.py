"""
A19: sessions and cells as spans, sent to a collector that may be slow, gone or hostile.

What green does not prove: that every collector agrees. The bodies of these worlds were read with
the published definitions of the protocol when this was written.
"""

import contextlib
import http.server
import json
import threading

import pytest
from audit_world import SESSION, append_all, draft
from review_world import START, asked, fill, hostile_world, run, world

from executor.audit.record import Answer, Clocks, Event
from executor.audit.review.otlp import MAX_EVENTS
from executor.audit.store import AuditStore

PIECE = 65_536
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collector(http.server.BaseHTTPRequestHandler):
    """
    Keeps what it is sent, and answers as its server says.
    """

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, json.loads(body)))
        if self.server.status is None:
            self.wfile.write(b"no status line\r\n\r\n")
            return
        self.send_response(self.server.status)
        if self.server.status in {302, 307}:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        # Who reads no further than it needs closes before all is written.
        with contextlib.suppress(ConnectionError):
            for start in range(0, len(self.server.answer), PIECE):
                self.wfile.write(self.server.answer[start : start + PIECE])
                self.server.written += PIECE

    def log_message(self, *_):
        pass


@pytest.fixture
def collector():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        server.got, server.status, server.answer, server.written = [], 200, b"{}", 0
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ended_world(labels="{}"):
    """
    The world's session, with a cell and an end that say which record they end.
    """
    drafts = world()
    detail = (("policy", "notebook"), ("image", "core"), ("labels", labels))
    drafts[1] = draft(Event.SESSION_CREATE, detail=detail)
    used = (("wall_us", 1500), ("denied", 1))
    drafts[10] = draft(Event.CELL_END, cell=1, refers=3, outcome="error", detail=used)
    drafts[15] = draft(Event.SESSION_END, refers=2, outcome="closed by the client")
    return drafts


def spans(collector):
    return [
        span
        for path, body in collector.got
        if path == "/v1/traces"
        for resource in body["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def attributes(of):
    return {one["key"]: next(iter(one["value"].values())) for one in of["attributes"]}


def test_a_session_and_its_cell_are_spans_with_their_times_and_what_was_denied(
    path, collector, capsys
):
    fill(path, ended_world())
    assert run("trace", "--to", collector.url, "--audit", path) == 0
    assert capsys.readouterr().out == "to record 16: 2 spans taken\n"
    cell, session = spans(collector)
    assert (cell["name"], session["name"]) == ("execute_tool python", "codecage.session")
    assert cell["parentSpanId"] == session["spanId"]
    assert cell["traceId"] == session["traceId"]
    assert "parentSpanId" not in session
    assert cell["startTimeUnixNano"] == str(START + 2 * 10**9)
    assert cell["endTimeUnixNano"] == str(START + 10 * 10**9)
    assert cell["status"] == {"code": 2, "message": "error"}
    assert session["status"] == {}
    told = attributes(cell)
    assert told["gen_ai.operation.name"] == "execute_tool"
    assert told["gen_ai.tool.name"] == "python"
    assert told["codecage.denied"] == "1"
    (event,) = cell["events"]
    assert attributes(event)["codecage.request"] == "read /data/keys/id.pem"
    assert attributes(session)["codecage.policy"] == "notebook"


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
def test_the_clients_traceparent_is_the_parent_where_it_is_one(path, collector, labels, taken):
    fill(path, ended_world(labels))
    assert run("trace", "--to", collector.url, "--audit", path) == 0
    session = spans(collector)[1]
    _, trace, parent, _ = PARENT.split("-")
    assert (session["traceId"] == trace, session.get("parentSpanId") == parent) == (taken, taken)


def test_where_the_clock_went_back_no_span_ends_before_it_begins(path, collector):
    times = iter(range(START, 0, -(10**9)))
    with AuditStore.open(path, clocks=Clocks(lambda: next(times), lambda: 5)) as store:
        append_all(store, ended_world())
    assert run("trace", "--to", collector.url, "--audit", path) == 0
    found = [(span["startTimeUnixNano"], span["endTimeUnixNano"]) for span in spans(collector)]
    assert len(found) == 2
    assert all(start == end for start, end in found)


def test_what_is_sent_again_is_the_same_span(path, collector):
    fill(path, ended_world())
    for _ in range(2):
        run("trace", "--to", collector.url, "--audit", path)
    first, second = spans(collector)[:2], spans(collector)[2:]
    assert first == second


def test_spans_of_two_stores_are_never_the_same(path, tmp_path, collector):
    for store in (path, tmp_path / "other" / "audit.sqlite3"):
        fill(store, ended_world())
        run("trace", "--to", collector.url, "--audit", store)
    found = spans(collector)
    assert len({span["traceId"] for span in found}) == 2
    assert len({span["spanId"] for span in found}) == 4


def test_decisions_are_counted_and_cells_measured(path, collector):
    fill(path, ended_world())
    run("trace", "--to", collector.url, "--audit", path)
    (body,) = [body for where, body in collector.got if where == "/v1/metrics"]
    (scope,) = body["resourceMetrics"][0]["scopeMetrics"]
    decisions, durations = scope["metrics"]
    found = {tuple(attributes(p).values()): p["asInt"] for p in decisions["sum"]["dataPoints"]}
    assert found == {
        ("allow", "connect"): "1",
        ("allow", "http"): "1",
        ("allow", "read"): "1",
        ("allow", "write"): "1",
        ("deny", "image"): "1",
        ("deny", "read"): "1",
    }
    (point,) = durations["histogram"]["dataPoints"]
    assert (point["count"], point["sum"], point["bucketCounts"][0]) == ("1", 0.0015, "1")


def test_only_what_is_behind_a_sequence_is_sent_and_starts_are_found_before_it(path, collector):
    fill(path, ended_world())
    assert run("trace", "--after", 11, "--to", collector.url, "--audit", path) == 0
    assert [span["name"] for span in spans(collector)] == ["codecage.session"]


def test_a_flood_of_denials_is_a_bounded_span_that_says_so(path, collector):
    denials = [asked(f"read /{n}", Answer.DENY) for n in range(MAX_EVENTS + 50)]
    start = [draft(Event.SESSION_CREATE), draft(Event.CELL_START, cell=1)]
    fill(path, [*start, *denials, draft(Event.CELL_END, cell=1, refers=2, outcome="ok")])
    run("trace", "--to", collector.url, "--audit", path)
    (cell,) = spans(collector)
    assert len(cell["events"]) == MAX_EVENTS
    assert cell["droppedEventsCount"] == 1


def test_a10_hostile_texts_are_strings_and_nothing_else(path, collector):
    drafts = hostile_world()
    fill(path, [*drafts[:-1], draft(Event.CELL_END, cell=1, refers=1, outcome="\ud800<b>\n")])
    assert run("trace", "--to", collector.url, "--audit", path) == 0
    (cell,) = spans(collector)
    assert cell["status"]["message"] == "\\ud800<b>\n"


@pytest.mark.parametrize("status", [500, 400, 302, 307])
def test_a19_a_collector_that_refuses_is_counted_and_told(path, collector, status, capsys):
    collector.status = status
    fill(path, ended_world())
    assert run("trace", "--to", collector.url, "--json", "--audit", path) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["reached"], said["taken"], said["lost"]) == (16, 0, 2)
    assert str(status) in said["why"]
    assert {where for where, _ in collector.got} == {"/v1/traces", "/v1/metrics"}


def test_a19_a_collector_that_does_not_speak_http_is_counted_and_told(path, collector, capsys):
    collector.status = None
    fill(path, ended_world())
    assert run("trace", "--to", collector.url, "--audit", path) == 1
    assert "0 spans taken, 2 not (no status line" in capsys.readouterr().out


def test_a19_a_collector_that_is_not_there_is_counted_and_told(path, capsys):
    fill(path, ended_world())
    assert run("trace", "--to", "http://127.0.0.1:1", "--audit", path) == 1
    assert "0 spans taken, 2 not" in capsys.readouterr().out


def test_a19_an_answer_without_end_is_read_no_further_than_it_matters(path, collector):
    collector.answer = b"x" * 50_000_000
    fill(path, ended_world())
    assert run("trace", "--to", collector.url, "--audit", path) == 0
    # Of two answers; some of each waits in buffers of the kernel.
    assert collector.written < 50_000_000


def test_what_is_added_is_sent_by_the_next_call(path, collector, capsys):
    fill(path, ended_world())
    run("trace", "--to", collector.url, "--json", "--audit", path)
    reached = json.loads(capsys.readouterr().out)["reached"]
    with AuditStore.open(path) as store:
        more = [draft(Event.SESSION_CREATE, session="new"), draft(Event.SESSION_END, session="new")]
        (first, _) = append_all(store, more)
        last = draft(Event.SESSION_END, session="new", refers=first.sequence, outcome="ok")
        append_all(store, [last])
    collector.got.clear()
    assert run("trace", "--after", reached, "--to", collector.url, "--audit", path) == 0
    told = [attributes(span)["codecage.session"] for span in spans(collector)]
    assert "new" in told
    assert SESSION not in told


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:4318", "ftp://x", "http://", "http://h/?q", "file:///etc/passwd", "http://h /"],
)
def test_what_is_no_collector_is_usage(url, path, capsys):
    with pytest.raises(SystemExit) as stop:
        run("trace", "--to", url, "--audit", path)
    assert stop.value.code == 2
    assert "write http://HOST:PORT" in capsys.readouterr().err
