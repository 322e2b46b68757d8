"""
The command line as a program of its own, against a server that follows a script.
"""

import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import executor
from executor import cli

ROOT = Path(executor.__file__).parents[1]
PATHS = [str(ROOT), str(ROOT / "proto")]
sys.path.append(str(ROOT / "tests" / "agent_client"))
import scripted as scripts  # noqa: E402 - it lies beside the client's tests

PATIENCE = 30
BOOT = f"import sys; sys.path += {PATHS!r}; from executor.cli import main; sys.exit(main())"
COMMAND = [sys.executable, "-P", "-c", BOOT]


@pytest.fixture
def directory():
    with tempfile.TemporaryDirectory(prefix="cc-") as name:
        yield Path(name)


@pytest.fixture
def server(directory):
    with scripts.serving(directory) as (server, address):
        server.address = address
        yield server


def codecage(*arguments, given="", env=None):
    return subprocess.run(
        [*COMMAND, *arguments],
        input=given.encode(),
        capture_output=True,
        timeout=PATIENCE,
        env={**os.environ, **(env or {})},
        check=False,
    )


def run_code(server, code, *options):
    return codecage("run", "-", "--address", server.address, *options, given=code)


def ended(done):
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("2 + 2", (0, "4\n", "")),
        ("pass", (0, "", "")),
        ("both", (0, "out 1\nout 2\n'v'\n", "err 1\n")),
        ("1/0", (1, "before\n", scripts.ERROR.traceback)),
        ("exit(0)", (0, "", "[exit(0) ended the cell; the session's variables are kept]\n")),
        ("exit(3)", (1, "", "[exit(3) ended the cell; the session's variables are kept]\n")),
        ("late", (1, "half", "[timed out after 10 s; the session's variables are kept]\n")),
        (
            "die",
            (
                3,
                "last words",
                "[the session is lost: its memory limit was reached; open a new one]\n",
            ),
        ),
        ("busy", (3, "", "codecage run: refused: CELL_RUNNING\n")),
        ("broken", (3, "", "codecage run: refused: INTERNAL\n")),
    ],
)
def test_run_prints_what_came_of_the_code_and_answers_by_its_exit_code(server, code, expected):
    assert ended(run_code(server, code)) == expected


def test_run_gives_the_policy_and_the_timeout_on(server):
    assert run_code(server, "pass", "--policy", "analyst", "--timeout", "2").returncode == 0
    assert server.created[0].policy == "analyst"
    assert server.executed[0].wall_time.ToSeconds() == 2
    assert server.closed == ["s1"]


def test_run_with_a_policy_that_is_not_there_is_wrong_usage(server):
    code, _, said = ended(run_code(server, "pass", "--policy", "analist"))
    assert code == 2
    assert "'analist'" in said
    assert server.executed == []


def test_run_splits_a_file_into_cells_of_one_session_and_stops_at_the_first_failure(
    server, directory
):
    file = directory / "cells.py"
    file.write_text("# %% first\n2 + 2\n# %%\n\n#%%\n1/0\n# %% never\npass\n")
    server_side = codecage("run", str(file), "--address", server.address)
    assert [start.code.strip() for start in server.executed] == ["2 + 2", "1/0"]
    assert {start.session_id for start in server.executed} == {"s1"}
    assert server_side.returncode == 1


def test_run_without_separators_sends_the_file_as_it_is(server, directory):
    file = directory / "one.py"
    file.write_text("x = '# %% no separator'\n  # %% nor this\n")
    codecage("run", str(file), "--address", server.address)
    assert [start.code for start in server.executed] == [file.read_text()]


def test_run_reads_the_encoding_that_the_file_declares(server, directory):
    file = directory / "latin.py"
    file.write_bytes(b"# coding: latin-1\n'caf\xe9'\n")
    codecage("run", str(file), "--address", server.address)
    assert server.executed[0].code == "# coding: latin-1\n'caf\xe9'\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read"), (b"'\xff'", "UTF-8"), (b"# coding: no-such\n", "no-such")],
)
def test_run_refuses_a_file_that_is_no_text(server, directory, content, said):
    file = directory / "bad.py"
    if content is not None:
        file.write_bytes(content)
    done = codecage("run", str(file), "--address", server.address)
    assert done.returncode == 2
    assert said in done.stderr.decode()
    assert server.executed == []


def test_run_json_is_one_line_of_ascii_for_each_cell(server):
    done = run_code(server, "# %%\nprint('hi')\n# %%\n2 + 2\n", "--json")
    assert done.stdout.isascii()
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["stdout"], first["chunks"]) == ("hi\n", [["stdout", "hi\n"]])
    assert (second["status"], second["ok"], second["session_lost"]) == ("ok", True, False)


def test_run_json_keeps_hostile_output_inside_its_field(server):
    done = run_code(server, "escapes", "--json")
    (line,) = done.stdout.splitlines()
    assert b"\x1b" not in line
    observed = json.loads(line)
    assert observed["stdout"].encode() == scripts.ESCAPES
    assert (observed["value"], observed["error"], observed["audit_head"]) == (
        "'\x1b[31m'",
        None,
        "7:abcd",
    )


def test_run_saves_what_cells_show_where_it_is_told_and_nothing_otherwise(server, directory):
    shown = directory / "shown"
    code = "# %%\nfigures\n# %%\npass\n# %%\ntable\n"
    done = run_code(server, code, "--displays", str(shown))
    assert (done.returncode, done.stderr.count(b"[image/png 640x480, 28 bytes]")) == (0, 2)
    names = ["cell-1-1.png", "cell-1-1.txt", "cell-1-2.png", "cell-1-2.txt"]
    assert sorted(os.listdir(shown)) == [*names, "cell-3-1.html", "cell-3-1.txt"]
    assert (shown / "cell-1-1.png").read_bytes() == scripts.PICTURE
    there = os.listdir(directory)
    assert run_code(server, code).returncode == 0
    assert os.listdir(directory) == there


def test_run_in_a_pipe_writes_what_the_guest_wrote(server):
    assert run_code(server, "escapes").stdout == scripts.ESCAPES + b"'\x1b[31m'\n"


def test_run_without_a_server_at_the_address_fails_and_says_what_to_do(directory):
    done = codecage("run", "-", "--address", f"unix:{directory}/none", given="pass")
    assert done.returncode == 3
    assert b"codecage serve" in done.stderr


def test_run_with_an_address_that_is_none_is_wrong_usage():
    done = codecage("run", "-", "--address", "localhost:1", given="pass")
    assert done.returncode == 2
    assert b"unix:PATH" in done.stderr


def test_a_reader_that_has_enough_is_no_failure_with_a_traceback(server):
    process = subprocess.Popen(
        [*COMMAND, "run", "-", "--address", server.address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    _, said = process.communicate(b"endless", timeout=PATIENCE)
    assert process.returncode == 1
    assert said == b""
    assert server.cancelled.wait(PATIENCE)


class Terminal:
    """
    A program on a terminal of its own.
    """

    def __init__(self, *arguments):
        self.shown, self.seen = b"", 0
        # Not pty.fork: this process has gRPC's threads.
        self.descriptor, theirs = pty.openpty()
        boot = f"import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); {BOOT}"
        self.process = subprocess.Popen(
            [*COMMAND[:-1], boot, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, "TERM": "dumb"},
        )
        os.close(theirs)

    def type(self, text):
        os.write(self.descriptor, text)

    def wait_for(self, text):
        """
        Wait until the program shows `text`, after what was waited for before.
        """
        while (at := self.shown.find(text, self.seen)) < 0:
            self.shown += self._read() or pytest.fail(f"{text!r} not in {self.shown!r}")
        self.seen = at + len(text)

    def wait_until_it_waits(self):
        """
        Python's reading of lines loses a signal that comes while it handles a key.
        """
        pending = Path(f"/proc/{self.process.pid}/syscall")
        while pending.read_text().split()[0] not in {"7", "23", "270", "271"}:  # poll, select
            pass

    def end(self):
        while piece := self._read():
            self.shown += piece
        os.close(self.descriptor)
        return self.process.wait(PATIENCE)

    def _read(self):
        try:
            return os.read(self.descriptor, 4096)
        except OSError:  # EIO: the other side is closed
            return b""


@pytest.fixture
def terminal():
    def too_late(*_):
        pytest.fail("the program did not go on")

    before = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(PATIENCE)  # nothing below waits for longer
    opened = []
    yield lambda *arguments: opened.append(Terminal(*arguments)) or opened[-1]
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    for one in opened:
        one.process.kill()
        one.process.wait(PATIENCE)


def test_run_on_a_terminal_shows_escape_sequences_escaped(server, directory, terminal):
    (directory / "f").write_text("escapes")
    shown = terminal("run", str(directory / "f"), "--address", server.address)
    assert shown.end() == 0
    assert b"\x1b" not in shown.shown
    assert b"\\x1b]52;c;ZXZpbA==\\x07\\x1b[2J\\x00RESULT" in shown.shown


def test_the_first_ctrl_c_interrupts_the_cell_and_the_end_is_waited_for(
    server, directory, terminal
):
    (directory / "f").write_text("wait")
    typed = terminal("run", str(directory / "f"), "--address", server.address)
    typed.wait_for(b"waiting")
    assert server.running.wait(PATIENCE)
    typed.type(b"\x03")
    assert typed.end() == 130
    assert server.interrupted.is_set()
    assert b"[interrupted; the session's variables are kept]" in typed.shown
    assert server.closed == ["s1"]


def test_the_second_ctrl_c_does_not_wait_for_the_cell(server, directory, terminal):
    (directory / "f").write_text("endless")
    typed = terminal("run", str(directory / "f"), "--address", server.address)
    typed.wait_for(b"more")
    typed.type(b"\x03")
    assert server.interrupted.wait(PATIENCE)
    typed.type(b"\x03")
    assert typed.end() == 130
    assert server.cancelled.wait(PATIENCE)


def test_the_shell_asks_for_the_image_that_is_named(server, terminal):
    typed = terminal("shell", "--address", server.address, "--image", "data")
    typed.wait_for(b"policy calculator, image data, W2; Ctrl-D ends the session")
    typed.wait_for(b">>> ")
    typed.type(b"\x04")
    assert typed.end() == 0


@pytest.mark.parametrize(
    ("options", "asked", "code"),
    [
        ((), "", 0),
        (("--image", "data"), "data", 0),
        (("--image", "denied"), "denied", 3),
    ],
)
def test_run_asks_for_the_image_that_is_named(server, options, asked, code):
    done = run_code(server, "2 + 2", *options)
    assert done.returncode == code, done.stderr
    assert [request.image for request in server.created] == [asked]
    assert (b"refused: IMAGE_NOT_ALLOWED" in done.stderr) == (code != 0)


def test_the_shell_runs_what_is_typed_and_knows_when_it_is_complete(server, terminal):
    typed = terminal("shell", "--address", server.address, "--policy", "analyst")
    typed.wait_for(b"policy analyst, image core, W2; Ctrl-D ends the session")
    typed.wait_for(b">>> ")
    typed.type(b"2 + 2\n")
    typed.wait_for(b"4\r\n>>> ")
    typed.type(b"for x in y:\n")
    typed.wait_for(b"... ")
    typed.type(b"  x\n\n")
    typed.wait_for(b"... ")
    typed.wait_for(b">>> ")
    typed.type(b"t'new syntax' this python )\n")
    typed.wait_for(b"this python )\r\n>>> ")
    typed.type(b"\x04")
    assert typed.end() == 0
    assert [start.code for start in server.executed] == [
        "2 + 2",
        "for x in y:\n  x\n",
        "t'new syntax' this python )",
    ]
    assert server.closed == ["s1"]


def test_ctrl_c_in_the_shell_interrupts_the_cell_and_then_only_the_line(server, terminal):
    typed = terminal("shell", "--address", server.address)
    typed.wait_for(b">>> ")
    typed.type(b"wait\n")
    typed.wait_for(b"waiting")
    assert server.running.wait(PATIENCE)
    typed.type(b"\x03")
    typed.wait_for(b"variables are kept]\r\n>>> ")
    typed.type(b"half a line")
    typed.wait_for(b"half a line")
    typed.wait_until_it_waits()
    typed.type(b"\x03")
    typed.wait_for(b"\r\n>>> ")
    typed.type(b"2 + 2\n")
    typed.wait_for(b"\r\n4\r\n>>> ")
    typed.type(b"\x04")
    assert typed.end() == 0


def test_the_shell_goes_on_in_a_new_session_when_one_is_lost(server, terminal):
    typed = terminal("shell", "--address", server.address)
    typed.wait_for(b">>> ")
    typed.type(b"die\n")
    typed.wait_for(b"the session is lost: its memory limit was reached")
    typed.wait_for(b"Ctrl-D ends the session\r\n>>> ")
    typed.type(b"\x04")
    assert typed.end() == 0
    assert len(server.created) == 2


def test_help_names_every_command_and_every_command_shows_an_example():
    shown = codecage("--help").stdout.decode()
    for command in cli.COMMANDS:
        assert f"\n    {command.name}" in shown
        assert command.help in " ".join(shown.split())


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("run",), ("version", "--nonsense")])
def test_wrong_usage_is_2_and_says_how(arguments):
    done = codecage(*arguments)
    assert done.returncode == 2
    assert b"usage: codecage" in done.stderr


def test_version_tells_what_takes_part():
    told = json.loads(codecage("version", "--json").stdout)
    assert {"codecage", "wasmtime", "grpcio", "protobuf", "python", "system"} <= set(told)
    lines = codecage("version").stdout.decode().splitlines()
    assert len(lines) == len(told)
    assert codecage("--version").stdout.startswith(b"codecage ")
