"""
A10: the record in the forms of other programs, in which a guest's text stays a text.

What green does not prove: that every program which reads CSV agrees with Python's reader, or that
a later version of OCSF still has these classes. The events of these worlds were held against the
published schema of 1.6.0 when the mapping was written.
"""

import csv
import io
import json
import os

import pytest
from audit_world import SESSION, append_all, draft, tamper
from review_world import HOSTILE, OTHER, asked, fill, hostile_world, run, world

from executor.audit.escape import visible
from executor.audit.read import records
from executor.audit.record import Answer, Cut, Event, Origin
from executor.audit.report import record_json
from executor.audit.review import search
from executor.audit.review.export import CSV_COLUMNS, Form, export
from executor.audit.review.filters import Filter
from executor.audit.store import AuditStore


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "state" / "audit.sqlite3"
    fill(path, world())
    return path


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "state" / "audit.sqlite3"
    fill(path, hostile_world())
    return path


def cells(path, **fields):
    """
    The CSV as a program reads it: a dictionary for each line.
    """
    text = "\n".join(export(path, Form.CSV, Filter(**fields)))
    return list(csv.DictReader(io.StringIO(text), strict=True))


def events(path, **fields):
    return [json.loads(line) for line in export(path, Form.OCSF, Filter(**fields))]


def test_json_lines_are_all_records_as_show_prints_them(log):
    assert list(export(log, Form.JSONL)) == [record_json(record) for record in records(log)]


@pytest.mark.parametrize("form", list(Form))
def test_an_export_in_several_pages_is_the_whole(log, form, monkeypatch):
    whole = list(export(log, form))
    monkeypatch.setattr(search, "_BATCH", 2)
    assert list(export(log, form)) == whole
    assert len(whole) == 16 + (form is Form.CSV)


def test_what_is_written_during_an_export_is_left_to_the_next_one(path, monkeypatch):
    fill(path, world())
    monkeypatch.setattr(search, "_BATCH", 2)
    with AuditStore.open(path) as store:
        last = store.head().sequence
        lines = export(path, Form.JSONL)
        first = next(lines)
        append_all(store, [asked("read /later")])
        assert len([first, *lines]) == last
        (later,) = export(path, Form.JSONL, after=last)
        assert json.loads(later)["request"] == "read /later"


def test_csv_has_one_line_for_each_record_and_the_columns_that_are_named(log):
    found = cells(log)
    assert len(found) == 16
    assert tuple(found[0]) == CSV_COLUMNS
    one = records(log)[7]
    assert found[7] == {
        "sequence": "8",
        "time": "2025-12-17T19:33:27.123Z",
        "origin": "broker",
        "event": "outcome",
        "session": SESSION,
        "cell": "1",
        "refers": "7",
        "request": "",
        "decision": "",
        "rule": "",
        "rule_place": "",
        "policy_digest": "",
        "outcome": "ECONNRESET",
        "bytes": "30",
        "digest": "",
        "detail": "",
        "hash": one.hash.hex(),
        "root": one.root.hex(),
    }
    assert found[10]["detail"] == '{"denied": 1, "wall_us": 1500}'


def test_a10_no_text_leaves_its_line_or_its_cell_of_csv(hostile):
    lines = list(export(hostile, Form.CSV))
    assert len(lines) == len(records(hostile)) + 1
    assert all(line.isprintable() for line in lines)
    shown = [row["outcome"].removeprefix("'") for row in cells(hostile) if row["refers"]]
    texts = [record.outcome for record in records(hostile) if record.event is Event.OUTCOME]
    assert shown == [visible(text) for text in texts]
    assert any(isinstance(text, Cut) for text in texts)


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@A1", "\t=1", " =1", "\r\n=1", "'=1", "\uff1d1", "\u00a0=1", "\u3000+1"],
)
def test_a10_no_cell_of_csv_is_a_formula(path, text):
    fill(path, [draft(Event.SESSION_CREATE), draft(request=text, outcome=text, rule=text)])
    row = cells(path)[1]
    for cell in (row["request"], row["rule"], row["outcome"]):
        assert cell == f"'{visible(text)}" or cell.startswith("\\")
        assert not cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d"))


def test_a_text_that_is_no_formula_has_no_mark(path):
    fill(path, [draft(request="read /a=b", outcome="ok")])
    assert cells(path)[0]["request"] == "read /a=b"


@pytest.mark.parametrize("form", [Form.JSONL, Form.OCSF])
def test_a10_json_is_ascii_without_controls_and_keeps_every_text(hostile, form):
    lines = list(export(hostile, form))
    assert len(lines) == len(records(hostile))
    assert all(line.isascii() and line.isprintable() for line in lines)
    texts = {word for line in lines for word in strings(json.loads(line))}
    assert {text for text in HOSTILE if len(text.encode("utf-8", "surrogatepass")) <= 4096} <= texts


def strings(value):
    if isinstance(value, str):
        yield value
    for part in value.values() if isinstance(value, dict) else ():
        yield from strings(part)


@pytest.mark.parametrize(
    ("sequence", "kind", "name"),
    [
        (1, 6002, "Application Lifecycle: Start"),
        (2, 6003, "API Activity: Create"),
        (3, 6003, "API Activity: cell.start"),
        (4, 1001, "File System Activity: Read"),
        (5, 1001, "File System Activity: Read"),
        (7, 4001, "Network Activity: Open"),
        (8, 4001, "Network Activity: Fail"),
        (9, 4002, "HTTP Activity: Get"),
        (13, 1001, "File System Activity: Update"),
        (14, 6003, "API Activity: image"),
    ],
)
def test_a_record_is_an_event_of_the_class_of_what_was_asked(log, sequence, kind, name):
    event = events(log)[sequence - 1]
    assert (event["class_uid"], event["type_name"]) == (kind, name)
    assert event["type_uid"] == kind * 100 + event["activity_id"]
    assert event["metadata"]["sequence"] == sequence


def test_a_denial_is_an_event_that_says_by_which_rule(log):
    event = events(log)[5]
    assert (event["status"], event["action"], event["disposition"], event["severity"]) == (
        "Failure",
        "Denied",
        "Blocked",
        "Low",
    )
    assert event["firewall_rule"] == {"name": "filesystem[0]", "uid": "notebook.yaml:14"}
    assert event["status_detail"] == "because of it"
    assert event["file"] == {"name": "id.pem", "path": "/data/keys/id.pem", "type_id": 0}
    assert event["actor"]["session"] == {"uid": SESSION}
    assert event["time"] == 1_766_000_005_123


def test_an_allowed_act_is_not_known_to_have_succeeded_until_its_outcome(log):
    asked_for, came = events(log)[3:5]
    assert (asked_for["status"], asked_for["action"]) == ("Unknown", "Allowed")
    assert (came["status"], came["status_code"], came["unmapped"]["bytes"]) == ("Success", "ok", 9)
    assert came["metadata"]["correlation_uid"] == asked_for["metadata"]["uid"]
    identity, _, sequence = asked_for["metadata"]["uid"].partition(":")
    assert (len(identity), sequence) == (64, "4")


def test_a_request_of_the_network_names_its_host(log):
    found = events(log)
    assert found[6]["dst_endpoint"] == {"hostname": "API.Example.com", "port": 443}
    assert found[8]["http_request"]["http_method"] == "GET"
    assert found[8]["http_request"]["url"]["hostname"] == "api.example.com"


@pytest.mark.parametrize(
    ("request_text", "answer", "name"),
    [
        ("resolve a.example", Answer.ALLOW, "DNS Activity: Query"),
        ("run /bin/ls -l", Answer.DENY, "Process Activity: Launch"),
        ("dial a.example:1 at 192.0.2.1", Answer.DENY, "Network Activity: Refuse"),
        ("BREW https://a.example:443/pot", Answer.ALLOW, "HTTP Activity: BREW"),
        ("rename /a", Answer.ALLOW, "File System Activity: Rename"),
        ("commit /work", Answer.ALLOW, "File System Activity: Update"),
        ("call find(limit=5)", Answer.DENY, "API Activity: call"),
        ("utter nonsense", Answer.DENY, "API Activity: decision"),
    ],
)
def test_every_kind_of_request_has_its_activity(path, request_text, answer, name):
    fill(path, [asked(request_text, answer)])
    assert events(path)[0]["type_name"] == name


def test_the_command_writes_what_the_filter_lets_through(log, capsys):
    assert run("export", "--format", "csv", "--session", OTHER, "--audit", log) == 0
    assert [line.partition(",")[0] for line in capsys.readouterr().out.splitlines()] == [
        '"sequence"',
        '"12"',
        '"13"',
        '"15"',
    ]
    assert run("export", "--audit", log, "--after", 15) == 0
    assert json.loads(capsys.readouterr().out)["event"] == "session.end"
    assert run("export", "--format", "ocsf", "--decision", "deny", "--audit", log) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_form_that_there_is_not_is_usage(log, capsys):
    with pytest.raises(SystemExit) as stop:
        run("export", "--format", "xml", "--audit", log)
    assert stop.value.code == 2
    assert "jsonl, csv, ocsf or parquet" in capsys.readouterr().err


def test_an_export_to_a_file_is_its_owners_and_takes_its_place_whole(log, tmp_path, capsys):
    to = tmp_path / "out.jsonl"
    to.write_text("what was there")
    assert run("export", "--to", to, "--audit", log) == 0
    assert to.read_text().splitlines() == list(export(log, Form.JSONL))
    assert to.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["out.jsonl"]
    assert capsys.readouterr().out == ""


def test_an_export_that_stops_leaves_the_file_as_it_was(path, tmp_path):
    fill(path, world())
    tamper(path, ("UPDATE record SET body = zeroblob(90) WHERE sequence = 6", ()))
    to = tmp_path / "out"
    to.write_text("what was there")
    for form in ("csv", "parquet"):
        assert run("export", "--format", form, "--to", to, "--audit", path) == 1
        assert to.read_text() == "what was there"
    assert sorted(os.listdir(tmp_path)) == ["out", "state"]


def test_an_export_stops_at_a_damaged_record_and_says_so(path, capsys):
    fill(path, [*world(), draft(Event.WORKER_NOTE, origin=Origin.WORKER)])
    tamper(path, ("UPDATE record SET body = zeroblob(90) WHERE sequence = 6", ()))
    assert run("export", "--audit", path) == 1
    out, err = capsys.readouterr()
    assert "record 6" in err
    assert len(out.splitlines()) <= 5
