"""
The zygote that is started before its row is known, and the launcher that has it.
"""

import os
import socket
import subprocess
import sys

import psutil
import pytest

from executor.children import launcher
from executor.kernel.ahead import hand_over, take_over
from executor.kernel.starting import zygote_request

PATIENCE = 20
# Prints what is loaded when the first program is started, and ends there.
SERVE = f"""
import os, sys
sys.path += {launcher.import_paths()!r}

def at(event, _):
    if event == "subprocess.Popen":
        print(*sys.modules, flush=True)
        os._exit(0)

from executor.cli import main
sys.addaudithook(at)
main(["serve", "--listen", "unix:/nowhere/sock"])
"""
# The same at the beginning of a private server.
PRIVATE = (
    SERVE.partition("from executor.cli")[0]
    + """
from executor.private import main
sys.addaudithook(at)
main()
"""
)
# The same in the launcher, at the start of the program ahead.
LAUNCHING = f"""
import os, sys
sys.path += {launcher.import_paths()!r}

def at(event, _):
    if event == "os.posix_spawn":
        print(*sys.modules, flush=True)
        os._exit(0)

from executor.children.launching import main
sys.addaudithook(at)
main([*map(str, (*os.pipe(), os.dup(0))), "1", sys.executable])
"""
# What takes long to import, and is wanted later or by other commands.
LATE = {
    "agent_client.errors",
    "executor.kernel.spawn",
    "executor.server",
    "google.protobuf",
    "grpc",
    "logging",
    "policy.types",
}


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


def children(started):
    return psutil.Process(started.process.pid).children()


def test_a_row_comes_with_the_socket_that_it_serves(pair):
    ours, theirs = pair
    assert hand_over(ours, ["--image", "core"], ours.fileno())
    arguments, descriptor = take_over(theirs)
    assert arguments == ["--image", "core"]
    assert os.fstat(descriptor).st_ino == os.fstat(ours.fileno()).st_ino
    os.close(descriptor)


def test_who_waits_for_a_row_in_vain_is_told_so(pair):
    ours, theirs = pair
    ours.close()
    assert take_over(theirs) is None


def test_a_row_without_its_socket_is_refused(pair):
    ours, theirs = pair
    ours.send(b"[]")
    with pytest.raises(ValueError, match="0 descriptors"):
        take_over(theirs)


def test_a_row_for_one_that_is_gone_is_not_handed_over(pair):
    ours, theirs = pair
    theirs.close()
    assert not hand_over(ours, [], ours.fileno())


def test_it_is_started_before_the_server_imports_what_takes_long():
    done = subprocess.run(
        [sys.executable, "-P", "-c", SERVE],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "executor.children.launcher" in loaded
    assert loaded & LATE == set()


def test_a_private_server_starts_it_before_it_imports_what_its_command_line_needs():
    # Without what is installed (-S), which imports what it likes.
    done = subprocess.run(
        [sys.executable, "-S", "-I", "-c", PRIVATE], capture_output=True, text=True, check=True
    )
    loaded = {*done.stdout.split()}
    assert "executor.children.launcher" in loaded
    assert not loaded & {"argparse", "dataclasses", "executor.cli", "json", "pathlib", "typing"}


def test_the_program_ahead_is_started_before_the_launcher_imports_what_it_needs_itself():
    done = subprocess.run(
        [sys.executable, "-S", "-I", "-c", LAUNCHING], capture_output=True, text=True, check=True
    )
    loaded = {*done.stdout.split()}
    assert "executor.children.launching" in loaded
    assert not loaded & {"json", "runpy", "socket", "subprocess", "typing"}


def test_the_launcher_shares_its_processors_with_the_first_zygote_and_imports_little():
    needs = "json, socket, executor.children.launching, executor.kernel.ahead"
    program = f"import sys; sys.path += {launcher.import_paths()!r}; import {needs}"
    program += ", executor.kernel.starting, executor.linux.prctl; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-I", "-c", program], capture_output=True, text=True, check=True
    )
    assert not {*done.stdout.split()} & {"dataclasses", "inspect", "subprocess", "typing"}


def test_a_program_looks_for_garbage_again_when_it_has_been_imported():
    told = "import gc; main = lambda _: print(gc.isenabled(), gc.get_freeze_count() > 0)"
    command = [*launcher.program("told")]
    command[command.index("-c") + 1] = (
        f"import sys, types; sys.modules['told'] = types.ModuleType('told');"
        f"exec({told!r}, vars(sys.modules['told']));" + command[command.index("-c") + 1]
    )
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"


def test_the_launcher_waits_for_nothing_that_is_installed():
    started = launcher.launch()
    try:
        # A process that has just become another program has other arguments for a moment, or none.
        wanted = ["-S", "-I", "-B"]
        _until(lambda: _arguments(started.process.pid)[1:4] == wanted)
        assert _arguments(started.process.pid)[1:4] == wanted
    finally:
        started.stop()


def test_the_one_that_waits_ends_with_the_launcher():
    started = launcher.launch(ahead="executor.children.zygote")
    try:
        first = _first_child(started)
        _until(lambda: _arguments(first.pid)[-2:-1] == ["--ahead"])
    finally:
        started.stop()
    assert psutil.wait_procs([first], timeout=PATIENCE)[1] == []


def test_the_first_row_of_its_kind_is_the_one_that_waits_and_others_are_started():
    # Of an image that there is not: each ends when it has its row.
    row = launcher.program("executor.children.zygote", "--image", "none", "--key", "00")
    other = (sys.executable, "-c", "import time; time.sleep(60)")
    started = launcher.launch(ahead="executor.children.zygote")
    try:
        waiting = _first_child(started)
        started.give([row, other])
        started.start_ahead(1)
        _until(lambda: len(children(started)) == 2)
        started.start_ahead(0)
        assert psutil.wait_procs([waiting], timeout=PATIENCE)[1] == []
        assert started.ahead[0].recv(1) == b""
        [left] = children(started)
        left.kill()
    finally:
        started.stop()


def test_a_row_is_none_before_the_table_has_come():
    started = launcher.launch()
    try:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            socket.send_fds(started.channel, [zygote_request(1, 0)], [theirs.fileno()])
        assert started.process.wait(PATIENCE) == 1
    finally:
        started.stop()


def test_a_table_that_no_datagram_holds_is_an_error():
    started = launcher.launch()
    try:
        with pytest.raises(ValueError, match="a table of"):
            started.give([["x" * 100_000]])
    finally:
        started.stop()


def _first_child(started):
    # Between its fork and its exec it has the words of its parent.
    _until(lambda: any("--ahead" in child.cmdline() for child in children(started)))
    return children(started)[0]


def _arguments(pid):
    return psutil.Process(pid).cmdline()


def _until(holds):
    # The launcher says nothing of what it starts: it is looked for.
    for _ in range(10**6):
        if holds():
            return
        os.sched_yield()
    raise AssertionError("it did not happen")
