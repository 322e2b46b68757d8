"""
`codecage audit`: what it prints, and its exit status.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from audit_world import SESSION, allow, append_all, draft, tamper

from executor.audit import cli
from executor.audit.place import default_path
from executor.audit.read import records
from executor.audit.record import OK, Answer, Clocks, Event
from executor.audit.report import SESSION_COLUMNS, table
from executor.audit.review.rows import COLUMNS
from executor.audit.store import AuditStore

START = 1_766_000_000_123_456_789


@pytest.fixture
def log(path):
    times = iter(range(START, START + 10**12, 10**9))
    with AuditStore.open(path, clocks=Clocks(lambda: next(times), lambda: 5)) as store:
        append_all(
            store,
            [
                draft(Event.SESSION_CREATE, detail=(("policy", "notebook"),)),
                draft(Event.CELL_START, cell=1),
                allow("read /work/a.txt", cell=1),
                draft(Event.OUTCOME, cell=1, refers=3, outcome=OK),
                draft(
                    cell=1,
                    request="read /etc/\x1b[2Jpasswd\n9  forged",
                    answer=Answer.DENY,
                    rule_place="policy.yaml:1",
                ),
                draft(Event.CELL_END, cell=1, outcome=OK),
                draft(Event.SESSION_END, outcome="closed"),
            ],
        )
        return path, store.head()


def run(*arguments):
    parser = argparse.ArgumentParser()
    cli.register(parser.add_subparsers())
    args = parser.parse_args(["audit", *map(str, arguments)])
    return args.run(args)


def test_show_prints_a_row_for_each_record_and_an_outcome_with_its_decision(log, capsys, expected):
    assert run("show", SESSION, "--audit", log[0]) == 0
    expected("show", capsys.readouterr().out)


def test_show_as_json_gives_every_field_of_every_record(log, capsys):
    assert run("show", SESSION, "--json", "--audit", log[0]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["sequence"] for line in lines] == list(range(1, 8))
    assert lines[4]["request"] == "read /etc/\x1b[2Jpasswd\n9  forged"
    assert lines[-1]["root"] == log[1].hash.hex()
    assert lines[2] == {
        "sequence": 3,
        "wall_ns": START + 2 * 10**9,
        "monotonic_ns": 5,
        "ordinal": 3,
        "origin": "broker",
        "event": "decision",
        "session": SESSION,
        "cell": 1,
        "refers": None,
        "request": "read /work/a.txt",
        "decision": "allow",
        "rule": "filesystem[0]",
        "rule_place": "policy.yaml:12",
        "policy_digest": "ab" * 32,
        "outcome": None,
        "bytes": None,
        "digest": None,
        "detail": {},
        "previous": lines[1]["hash"],
        "hash": lines[3]["previous"],
        "root": str(records(log[0])[2].head).partition(":")[2],
    }


def test_list_prints_the_sessions(log, capsys, expected):
    assert run("list", "--audit", log[0]) == 0
    expected("list", capsys.readouterr().out)
    assert run("list", "--json", "--audit", log[0]) == 0
    assert json.loads(capsys.readouterr().out)["denied"] == 1


def test_a_page_says_where_the_next_one_begins(log, capsys):
    assert run("show", SESSION, "--audit", log[0], "--limit", 3) == 0
    assert "--after 3" in capsys.readouterr().err
    assert run("show", SESSION, "--audit", log[0], "--after", 3, "--json") == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_verify_of_a_whole_record_is_0_and_says_what_is_unanchored(log, capsys):
    path, head = log
    assert run("verify", "--audit", path) == 0
    assert capsys.readouterr().out == (
        f"whole: 7 records, head {head}\n"
        "unanchored since seq 1: no head kept outside vouches for it; compare with one by "
        "--head SEQ:HASH\n"
    )
    assert run("verify", "--audit", path, "--head", head) == 0
    assert capsys.readouterr().out == f"whole: 7 records, head {head}\n"


def test_verify_of_an_altered_record_is_1_and_names_it(log, capsys):
    path, _ = log
    tamper(path, ("UPDATE record SET answer = 'allow' WHERE sequence = 5", ()))
    assert run("verify", "--audit", path) == 1
    first, _ = capsys.readouterr().out.splitlines()
    assert first == (
        "NOT WHOLE, first bad record: 5 (column): column answer says 'allow'; "
        "the record says 'deny'"
    )
    assert run("verify", "--json", "--audit", path) == 1
    assert json.loads(capsys.readouterr().out)["first_bad_sequence"] == 5


def test_verify_of_a_cut_record_is_1_only_against_its_head(log, capsys):
    path, head = log
    tamper(path, ("DELETE FROM record WHERE sequence > 5", ()))
    assert run("verify", "--audit", path) == 0
    assert run("verify", "--audit", path, "--head", head) == 1
    assert "2 records are missing" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["list"], ["show", "x"], ["verify"]])
def test_no_store_and_a_broken_store_are_1_with_a_sentence(command, path, capsys):
    assert run(*command, "--audit", path) == 1
    assert "there is no audit store" in capsys.readouterr().err
    path.parent.mkdir()
    path.write_bytes(b"no database" * 1000)
    assert run(*command, "--audit", path) == 1
    out, err = capsys.readouterr()
    assert "not a database" in out + err


def test_an_unknown_session_is_1_and_its_name_is_shown_escaped(log, capsys):
    assert run("show", "\x1b[31m", "--audit", log[0]) == 1
    assert capsys.readouterr().err == ("codecage audit: no record of session \\x1b[31m\n")


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["show"],
        ["verify", "--head", "nonsense"],
        ["list", "--limit", "0"],
        ["erase"],
        ["why", "5e55"],
    ],
)
def test_a_command_that_is_not_understood_is_2(command, capsys):
    with pytest.raises(SystemExit) as stop:
        run(*command)
    assert stop.value.code == 2


def test_the_place_follows_xdg_and_ignores_a_relative_one(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "codecage" / "audit.sqlite3"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", value)
        # Root's own home is closed to the user that a server of root's becomes.
        for user, state in ((1000, tmp_path / "home/.local/state"), (0, Path("/var/lib"))):
            monkeypatch.setattr(os, "geteuid", lambda user=user: user)
            assert default_path() == state / "codecage" / "audit.sqlite3"


@pytest.mark.parametrize("width", [90, 100, 140, 500])
def test_a_table_fits_the_terminal_where_it_can(width):
    row = ("1", "t", "1", "deny (supervisor)", "名" * 100, "p" * 100, "ok")
    lines = table(COLUMNS, [row], width)
    assert [line.count("\n") for line in lines] == [0, 0]
    whole = table(COLUMNS, [row])[1]
    assert (lines[1] == whole) == (width == 500)
    assert ("…" in lines[1]) == (width < 500)


def test_an_empty_table_is_its_headings():
    assert table(SESSION_COLUMNS, [], 20)[0].split() == [
        "session",
        "policy",
        "started",
        "(UTC)",
        "ended",
        "(UTC)",
        "cells",
        "denied",
        "dropped",
        "outcome",
    ]


def test_the_audit_package_needs_the_standard_library_and_policy_alone():
    code = """
import sys
before = set(sys.modules)
import executor.audit.cli, executor.audit.session
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before}
      - set(sys.stdlib_module_names)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["executor", "policy"]
