"""
A sender of the record that goes on: after a call, a restart and the end of a file; checkpoints.
"""

import json

import pytest
from audit_world import SESSION, append_all, draft
from collecting import attributes
from review_world import START, asked, fill, run
from trace_world import ended_world, send

from executor.audit.checkpoint import make_key, read_key, sign
from executor.audit.record import Clocks, Event
from executor.audit.review import following
from executor.audit.review.collector import collector as reached
from executor.audit.review.tracing import Sent, Trace
from executor.audit.rotation import Rotation
from executor.audit.store import AuditStore


def test_what_is_added_is_sent_by_the_next_call(path, over_grpc):
    fill(path, ended_world())
    before = send(path, over_grpc.url).reached
    with AuditStore.open(path) as store:
        more = [draft(Event.SESSION_CREATE, session="new"), draft(Event.SESSION_END, session="new")]
        (first, _) = append_all(store, more)
        last = draft(Event.SESSION_END, session="new", refers=first.sequence, outcome="ok")
        append_all(store, [last])
    over_grpc.got.clear()
    send(path, over_grpc.url, after=before)
    told = [attributes(span)["codecage.session"] for span in over_grpc.got.spans]
    assert "new" in told
    assert SESSION not in told


def test_a_sender_that_starts_again_goes_on_where_it_was(path, tmp_path, over_grpc, capsys):
    fill(path, ended_world())
    key, signed, state = (tmp_path / name for name in ("key", "checkpoints", "state.json"))
    make_key(key, "audit.example/log")
    sign(path, read_key(key), signed)
    args = ("--to", over_grpc.url, "--checkpoints", signed, "--state", state, "--audit", path)
    assert run("trace", *args) == 0
    assert state.stat().st_mode & 0o777 == 0o600
    first = over_grpc.got.count
    assert first
    assert run("trace", *args) == 0
    assert over_grpc.got.count == first, "nothing is sent, or counted, twice"
    with AuditStore.open(path) as store:
        append_all(store, [asked("read /later")])
    over_grpc.got.clear()
    assert run("trace", *args) == 0
    assert [e.event_name for e in over_grpc.got.events] == ["codecage.decision"]
    assert run("trace", "--after", 3, *args) == 1
    assert "--after or --state" in capsys.readouterr().err


@pytest.mark.parametrize(
    "told",
    [
        "",
        "[]",
        "{}",
        '{"reached": -1, "checkpoints": 0}',
        '{"reached": true, "checkpoints": 0}',
        '{"reached": 1e3, "checkpoints": 0}',
        '{"reached": 99999999999999999999999, "checkpoints": 0}',
        '{"reached": 3, "checkpoints": 0, "identity": "of another"}',
        "[" * 100_000,
    ],
)
def test_what_does_not_tell_how_far_is_an_error_and_nothing_is_sent(
    path, tmp_path, over_grpc, told, capsys
):
    fill(path, ended_world())
    state = tmp_path / "state.json"
    state.write_text(told)
    assert run("trace", "--to", over_grpc.url, "--state", state, "--audit", path) == 1
    assert str(state) in capsys.readouterr().err
    assert over_grpc.got.count == 0
    assert state.read_text() == told


def test_a_sender_that_was_stopped_amid_the_record_sends_one_page_again(
    path, tmp_path, over_grpc, monkeypatch
):
    monkeypatch.setattr(following, "_BATCH", 4)
    fill(path, ended_world())
    state = tmp_path / "state.json"
    to = reached(over_grpc.url)
    trace = Trace(path, to, Sent(0), state)
    sent_parts = trace._send_part

    def stop_at_the_third(part):
        sent_parts(part)
        if part.page.reached == 12:
            raise KeyboardInterrupt

    monkeypatch.setattr(trace, "_send_part", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        trace.send()
    assert json.loads(state.read_text())["reached"] == 8
    again = Trace(path, to, Sent(0), state)
    again.send()
    to.close()
    told = [attributes(e)["codecage.sequence"] for e in over_grpc.got.events]
    assert told == [4, 6, 7, 9, 9, 13, 14]


def session_of(name):
    return [
        draft(Event.SESSION_CREATE, session=name),
        asked(f"read /{name}", session=name, cell=None),
        draft(Event.SESSION_END, session=name),
    ]


def test_a16_what_was_closed_before_it_was_sent_is_sent_from_the_closed_file(
    path, over_grpc, monkeypatch
):
    """
    A file is closed between two polls, and once more amid one: nothing is passed over.
    """
    monkeypatch.setattr(following, "_BATCH", 2)
    times = iter(range(START, START + 10**17, 86_400 * 10**9))
    clocks = Clocks(lambda: next(times), lambda: 5)
    with AuditStore.open(path, clocks=clocks, rotation=Rotation(daily=True)) as store:
        append_all(store, session_of("first"))
        to = reached(over_grpc.url)
        trace = Trace(path, to, Sent(0))
        trace.send()
        append_all(store, session_of("second"))
        append_all(store, session_of("third"))

        def between(signal, _):
            if signal == "logs" and len(over_grpc.got.events) == 2:
                append_all(store, session_of("fourth"))

        over_grpc.behave = between
        trace.send()
        to.close()
    told = [attributes(event)["codecage.session"] for event in over_grpc.got.events]
    assert told == ["first", "second", "third", "fourth"]
    assert trace.sent.reached == 12


def test_signed_checkpoints_are_events_that_can_be_verified_from_what_was_received(
    path, tmp_path, over_grpc, capsys
):
    fill(path, ended_world())
    key, signed = tmp_path / "key", tmp_path / "checkpoints"
    public = make_key(key, "audit.example/log")
    sign(path, read_key(key), signed)
    args = ("trace", "--to", over_grpc.url, "--checkpoints", signed, "--audit", path)
    assert run(*args) == 0
    (event,) = [e for e in over_grpc.got.events if e.event_name == "codecage.checkpoint"]
    assert attributes(event) == {"codecage.sequence": 16}
    kept = tmp_path / "kept"
    kept.write_text(event.body.string_value)
    capsys.readouterr()
    assert run("verify", "--checkpoints", kept, "--key", public, "--audit", path) == 0
    kept.write_text(event.body.string_value.replace("17", "16"))
    assert run("verify", "--checkpoints", kept, "--key", public, "--audit", path) == 1


def test_a_checkpoint_is_sent_once(path, tmp_path, over_grpc):
    fill(path, ended_world())
    key, signed = tmp_path / "key", tmp_path / "checkpoints"
    make_key(key, "audit.example/log")
    to = reached(over_grpc.url)
    trace = Trace(path, to, Sent(0))
    heads = []
    for _ in range(2):
        heads.append(sign(path, read_key(key), signed).head.sequence)
        trace.send_checkpoints(signed)
        trace.send_checkpoints(signed)
        with AuditStore.open(path) as store:
            append_all(store, [asked("read /later")])
    to.close()
    assert [attributes(e)["codecage.sequence"] for e in over_grpc.got.events] == heads
    assert len(heads) == 2
