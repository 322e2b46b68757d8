"""
`tail`, and what a terminal sees: lines that fit, colours where they are wanted, and no others.
"""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from audit_world import SESSION, append_all
from review_world import OTHER, START, asked, fill, hostile_world, run, world

from executor.audit.escape import columns
from executor.audit.record import Answer, Clocks
from executor.audit.review.filters import Filter
from executor.audit.review.search import find
from executor.audit.review.tail import line
from executor.audit.store import AuditStore

ROOT = Path(__file__).parents[3]
PROGRAM = (sys.executable, "-m", "executor.cli", "audit")
COLOUR = re.compile(r"\x1b\[(?:31;1|33|2)m|\x1b\[0m")


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("tail") / "state" / "audit.sqlite3"
    fill(path, world())
    return path


def seen_on_a_terminal(width, *arguments, **environment):
    """
    What a terminal of so many columns gets from the command, as text.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    plain = {key: os.environ[key] for key in os.environ if key not in {"NO_COLOR", "COLUMNS"}}
    process = subprocess.Popen(
        [*PROGRAM, *map(str, arguments)],
        cwd=ROOT,
        stdout=slave,
        stderr=subprocess.PIPE,
        env={**plain, "TERM": "xterm", **environment},
    )
    os.close(slave)
    # A terminal whose other end is gone answers EIO: that is the end.
    data = b""
    with contextlib.suppress(OSError):
        while piece := os.read(master, 65_536):
            data += piece
    os.close(master)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return data.decode()


def test_a_terminal_gets_colours_for_denials_and_lines_that_fit(log):
    text = seen_on_a_terminal(120, "show", SESSION, "--audit", log)
    lines = text.split("\r\n")[:-1]
    (denial,) = [one for one in lines if "deny" in one]
    assert denial.startswith("\x1b[31;1m")
    assert denial.endswith("\x1b[0m")
    plain = [COLOUR.sub("", one) for one in lines]
    assert all(one.isprintable() and columns(one) <= 120 for one in plain)
    # All is of one day, so the heading says it and the rows do not.
    assert plain[0].split()[:2] == ["seq", "2025-12-17"]
    assert plain[1].split()[1] == "19:33:21.123"
    assert "read /data/keys/id.pem" in denial


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_no_colours_gets_none(log, environment):
    text = seen_on_a_terminal(100, "tail", "--audit", log, **environment)
    assert "deny" in text
    assert "\x1b" not in text


def test_a10_a_terminal_gets_no_control_character_of_a_guest(path):
    fill(path, hostile_world())
    text = seen_on_a_terminal(80, "tail", "-n", 100, "--audit", path)
    lines = COLOUR.sub("", text).split("\r\n")
    assert len(lines) > 50
    assert all(one.isprintable() for one in lines)
    assert all(columns(one) <= 80 for one in lines)


def test_a_file_gets_no_colours_and_whole_lines(log, capsys):
    assert run("tail", "-n", 3, "--audit", log) == 0
    assert capsys.readouterr().out.splitlines() == [
        "      14  2025-12-17T19:33:33.123Z  -                   deny (server)     image big  "
        "by notebook.yaml:12",
        "      15  2025-12-17T19:33:34.123Z  0ddba115            outcome           of 13: "
        "write /data/b.csv  ENOSPC",
        "      16  2025-12-17T19:33:35.123Z  5e551011            session.end       closed",
    ]


def test_tail_filters_and_gives_json_as_show_does(log, capsys):
    assert run("tail", "--json", "--host", "*.example.com", "-n", 2, "--audit", log) == 0
    found = [json.loads(one) for one in capsys.readouterr().out.splitlines()]
    assert [one["sequence"] for one in found] == [8, 9]
    assert run("tail", "--session", "none", "--audit", log) == 0
    assert [one.split()[0] for one in capsys.readouterr().out.splitlines()] == ["1", "14"]


def test_each_of_a_terminals_lines_is_short_whatever_it_tells(path):
    fill(path, hostile_world())
    for step in find(path, Filter(), limit=1000).steps:
        whole, _ = line(step, None)
        short, _ = line(step, 70)
        assert columns(short) <= 70
        assert short == whole or short.rstrip().endswith("…")


def next_line(process, buffer):
    while b"\n" not in buffer:
        ready, _, _ = select.select([process.stdout], [], [], 60)
        assert ready, "nothing came for a minute"
        piece = os.read(process.stdout.fileno(), 65_536)
        assert piece, process.stderr.read()
        buffer.extend(piece)
    text, _, rest = bytes(buffer).partition(b"\n")
    buffer[:] = rest
    return json.loads(text)


def test_a_tail_that_follows_tells_what_is_added_and_that_alone(path):
    fill(path, world())
    with AuditStore.open(path) as store:
        command = [*PROGRAM, "tail", "-f", "--json", "-n", "1", "--decision", "deny"]
        process = subprocess.Popen(
            [*command, "--audit", path], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            buffer = bytearray()
            assert next_line(process, buffer)["sequence"] == 14
            append_all(store, [asked("read /new"), asked("read /x", Answer.DENY, session=OTHER)])
            assert next_line(process, buffer)["request"] == "read /x"
            append_all(store, [asked("read /y", Answer.DENY)])
            assert next_line(process, buffer)["request"] == "read /y"
            assert not buffer
        finally:
            process.terminate()
            process.communicate()


def test_a_reader_that_has_enough_is_no_error_to_tell(log):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*PROGRAM, "tail", "--audit", log],
            cwd=ROOT,
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_table_over_several_days_says_the_day_in_each_line(path):
    days = iter(range(START, START + 10**18, 86_400 * 10**9))
    with AuditStore.open(path, clocks=Clocks(lambda: next(days), lambda: 5)) as store:
        append_all(store, [asked("read /1"), asked("read /2")])
    heading, first, second, _ = seen_on_a_terminal(
        120, "show", SESSION, "--audit", path, NO_COLOR="1"
    ).split("\r\n")
    assert "time (UTC)" in heading
    assert [row.split()[1] for row in (first, second)] == [
        "2025-12-17T19:33:20.123",
        "2025-12-18T19:33:20.123",
    ]


@pytest.mark.parametrize("broken", ["--limit", "-n"])
def test_a_number_that_cannot_be_is_usage(broken):
    with pytest.raises(SystemExit) as stop:
        run("tail" if broken == "-n" else "list", broken, "10001")
    assert stop.value.code == 2
