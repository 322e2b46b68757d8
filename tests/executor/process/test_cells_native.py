"""
Cells in a native worker, seen from the server's end of its socket; the worker is a plain fork.
"""

import fcntl
import os
import select
import socket
import struct
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from codecage.worker.v1 import worker_pb2 as wire
from executor.linux.pidfd import Process
from tests.executor.process.native_world import REASON, NativeZygote, Worker, plain
from tests.executor.waiting import until


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeZygote]:
    with plain(str(tmp_path_factory.mktemp("work"))) as made:
        yield made


@pytest.fixture
def worker(zygote: NativeZygote) -> Worker:
    return zygote.spawn().begin()


def test_the_last_expression_is_the_value_and_names_stay(worker: Worker) -> None:
    assert worker.run("x = 41").value is None
    assert worker.run("x + 1").value == "42"


def test_a_semicolon_hides_the_value(worker: Worker) -> None:
    assert worker.run("41 + 1;").value is None


def test_a_traceback_has_the_cells_frames_and_no_other(worker: Worker) -> None:
    seen = worker.run("def f():\n    raise KeyError('k')\nf()")
    assert (seen.status, seen.done.error_name, seen.done.error_message) == (
        "ERROR",
        "KeyError",
        "'k'",
    )
    files = [line for line in seen.done.traceback.splitlines() if line.startswith("  File")]
    assert files == ['  File "<cell 1>", line 3, in <module>', '  File "<cell 1>", line 2, in f']


def test_streams_and_descriptors_keep_the_order_in_which_they_were_written(worker: Worker) -> None:
    code = "import os\nfor n in range(3):\n    print(n)\n    os.write(1, b'raw\\n')"
    assert worker.run(code).out == "0\nraw\n1\nraw\n2\nraw\n"


def test_standard_error_is_told_apart(worker: Worker) -> None:
    seen = worker.run("import sys, os\nprint('a', file=sys.stderr)\nos.write(2, b'b')\nprint('c')")
    assert (seen.out, seen.err) == ("c\n", "a\nb")


def test_output_over_the_limit_is_counted_dropped_and_said(zygote: NativeZygote) -> None:
    worker = zygote.spawn().begin(output_bytes=10)
    seen = worker.run("print('x' * 30)")
    assert (seen.out, seen.done.stdout_bytes, seen.done.output_truncated) == ("x" * 10, 31, True)
    seen = worker.run("print('y' * 9)")
    assert (seen.out, seen.done.stdout_bytes, seen.done.output_truncated) == (
        "y" * 9 + "\n",
        10,
        False,
    )


def test_many_small_writes_go_out_in_few_frames(worker: Worker) -> None:
    seen = worker.run("for n in range(2000):\n    print(n)")
    assert seen.out == "".join(f"{n}\n" for n in range(2000))
    assert seen.kinds.count("output") < 100


def test_output_comes_while_the_cell_goes_on(worker: Worker) -> None:
    worker.start("print('now', flush=True)\nwhile True: pass")
    worker.started()
    worker.interrupt()
    assert worker.finish().status == "INTERRUPTED"


def test_what_a_thread_writes_between_cells_comes_with_the_next_one(
    worker: Worker, tmp_path: Path
) -> None:
    for name in ("may", "did"):
        os.mkfifo(tmp_path / name)
    code = (
        "import threading\n"
        "def late():\n"
        f"    open({str(tmp_path / 'may')!r}).read()\n"
        "    print('late')\n"
        f"    open({str(tmp_path / 'did')!r}, 'w').close()\n"
        "threading.Thread(target=late).start()"
    )
    assert worker.run(code).out == ""
    (tmp_path / "may").write_text("")
    (tmp_path / "did").read_text()
    assert not select.select([worker.stream], [], [], 0)[0]
    assert worker.run("1").out == "late\n"
    assert worker.run("1").out == ""


def test_a_guest_that_closes_its_streams_descriptors_can_still_print(worker: Worker) -> None:
    closed = "import os\nos.write(1, b'a')\nos.close(1)\nos.close(2)\nprint('b')"
    assert worker.run(closed).out == "ab\n"
    # The pump has nothing left to look at, or it would look all the time.
    found = "[one._pipes for one in gc.get_objects() if type(one).__name__ == 'BoxOutput']"
    assert worker.run(f"import gc; {found}").value == "[{}]"


def test_display_shows_forms_and_refuses_what_is_none(worker: Worker) -> None:
    seen = worker.run("display({'text/html': '<b>', 'text/plain': 'b'}, raw=True)")
    assert seen.displays == [{"text/html": b"<b>", "text/plain": b"b"}]
    seen = worker.run("display({'no type': 'b'}, raw=True)")
    assert seen.displays == []
    assert seen.done.error_name == "OSError"
    assert "media type" in seen.done.error_message


def test_a_display_counts_as_output(zygote: NativeZygote) -> None:
    worker = zygote.spawn().begin(output_bytes=600)
    seen = worker.run("display({'text/plain': 'x' * 300}, raw=True)")
    assert (seen.displays, seen.done.output_truncated) == ([], True)
    seen = worker.run("display({'text/plain': 'x'}, raw=True)")
    assert (len(seen.displays), seen.done.output_truncated) == (1, False)


def test_rich_values_are_shown_and_plain_ones_are_not(worker: Worker) -> None:
    code = "class Rich:\n    def _repr_html_(self): return '<i>'\nRich()"
    assert worker.run(code).displays[0]["text/html"] == b"<i>"
    assert worker.run("3").displays == []


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "import time; time.sleep(3600)",
        "import asyncio; await asyncio.sleep(99)",
    ],
    ids=["at work", "asleep", "awaiting"],
)
def test_an_interrupt_ends_the_cell_and_keeps_the_session(worker: Worker, code: str) -> None:
    worker.run("x = 5; import asyncio")
    worker.start(f"print('on', flush=True)\n{code}")
    worker.started()
    worker.interrupt()
    seen = worker.finish()
    assert (seen.status, seen.done.error_name) == ("INTERRUPTED", "KeyboardInterrupt")
    assert worker.run("x").value == "5"


def test_an_interrupt_ends_c_code_that_looks_for_signals(worker: Worker) -> None:
    """
    Which holds the interpreter all the time, so that no other thread of Python runs.
    """
    code = "import re, time\nprint('on', flush=True)\ntime.sleep(0.1)\n"
    worker.start(code + "x = 5\nre.match(r'(a+)+$', 'a' * 60 + 'b')")
    worker.started()
    with Process(worker.pid) as process:
        busy = process.cpu_time() + 0.5
        until(lambda: process.cpu_time() > busy)
    worker.interrupt()
    seen = worker.finish()
    assert (seen.status, seen.done.error_name) == ("INTERRUPTED", "KeyboardInterrupt")
    assert "on_nudge" not in seen.done.traceback
    assert worker.run("x").value == "5"


def test_an_interrupt_that_comes_just_before_a_wait_ends_it(worker: Worker) -> None:
    """
    The interrupt is held back until it is there; then it is let in and a wait begun by functions in
    C, between which the interpreter does not look for signals.
    """
    worker.start(
        "import ctypes, functools, operator, signal\n"
        "libc, mask = ctypes.CDLL(None), ctypes.create_string_buffer(128)\n"
        "libc.sigaddset(mask, signal.SIGINT)\n"
        "steps = [\n"
        "    functools.partial(libc.pthread_sigmask, signal.SIG_UNBLOCK, mask, None),\n"
        "    functools.partial(libc.poll, None, 0, 3_600_000),\n"
        "]\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})\n"
        "print('on', flush=True)\n"
        "while signal.SIGINT not in signal.sigpending(): pass\n"
        "list(map(operator.call, steps))"
    )
    worker.started()
    worker.interrupt()
    assert worker.finish().status == "INTERRUPTED"
    assert worker.run("1").value == "1"


def test_a_program_that_goes_on_after_its_interrupt_gets_no_second_one(worker: Worker) -> None:
    worker.start(
        "import time\n"
        "try:\n    print('on', flush=True)\n    while True: pass\n"
        "except KeyboardInterrupt:\n    end = time.monotonic() + 0.2\n"
        "while time.monotonic() < end: pass\n"
        "print('caught')"
    )
    worker.started()
    worker.interrupt()
    seen = worker.finish()
    assert (seen.status, seen.out) == ("OK", "caught\n")


def test_a_limits_interrupt_says_which(worker: Worker) -> None:
    worker.start("print('on', flush=True)\nwhile True: pass", "wall time 1 s is over")
    worker.started()
    worker.interrupt(limit=True)
    assert worker.finish().done.error_message == "wall time 1 s is over"


STRIKING = """
import signal, sys
struck = []
def strike(frame, event, _):
    if event == "c_call" and frame.f_code.co_name == "_ran":
        sys.setprofile(None)
        struck.append(event)
        signal.raise_signal(signal.SIGINT)
sys.setprofile(strike)
"""


def test_an_interrupt_behind_a_cells_last_line_strikes_none(worker: Worker) -> None:
    assert worker.run(STRIKING).status == "OK"
    assert worker.run("len(struck)").value == "1"


def test_an_interrupt_between_cells_strikes_none(worker: Worker) -> None:
    worker.run("1")
    worker.interrupt()
    worker.interrupt(limit=True)
    assert worker.run("sum(range(10**6))").status == "OK"


def test_an_interrupt_that_a_program_catches_is_its_own(worker: Worker) -> None:
    worker.start(
        "try:\n    print('on', flush=True)\n    while True: pass\n"
        "except KeyboardInterrupt:\n    print('caught')"
    )
    worker.started()
    worker.interrupt()
    seen = worker.finish()
    assert (seen.status, seen.out) == ("OK", "caught\n")


def test_an_interrupt_in_the_middle_of_output_leaves_no_lock_held(worker: Worker) -> None:
    for _ in range(20):
        worker.start("while True: print('x' * 50)")
        worker.started()
        worker.interrupt()
        assert worker.finish().status == "INTERRUPTED"
    assert worker.run("print('still')").out == "still\n"


def test_an_interrupt_in_the_middle_of_a_frame_leaves_it_whole(zygote: NativeZygote) -> None:
    """
    More is shown than the socket holds, and nobody reads: the worker stands in the middle of it.
    """
    worker = zygote.spawn().begin(output_bytes=2**23)
    large = f"display({{'text/plain': 'x' * {2**21}}}, raw=True)"
    worker.start(f"print('on', flush=True)\n{large}\nwhile True: pass")
    worker.started()
    until(lambda: waiting(worker.stream) > 2**16)
    worker.interrupt()
    seen = worker.finish()
    assert (seen.status, seen.kinds.count("display")) == ("INTERRUPTED", 2)
    assert worker.run("1").value == "1"


def waiting(stream: socket.socket) -> int:
    """
    The bytes that are there to be read.
    """
    (found,) = struct.unpack("i", fcntl.ioctl(stream, termios.FIONREAD, bytes(4)))
    return int(found)


PROGRAMS = {
    "os.system": ("import os; os.system('ls')", "/bin/sh"),
    "subprocess": ("import subprocess; subprocess.run(['ls'])", "/usr/bin/ls"),
    "spawn": ("import os; os.posix_spawn('/usr/bin/ls', ['ls'], {})", "/usr/bin/ls"),
    "exec": ("import os; os.execvp('ls', ['ls'])", "ls"),
    "asyncio": (
        "import asyncio; await asyncio.create_subprocess_exec('/usr/bin/ls', '-l')",
        "/usr/bin/ls",
    ),
    "fork": ("import os; os.fork()", "fork"),
}


@pytest.mark.parametrize(("code", "program"), PROGRAMS.values(), ids=PROGRAMS)
def test_an_attempt_at_a_program_is_judged_by_the_gate(
    worker: Worker, code: str, program: str
) -> None:
    seen = worker.run(code)
    assert program in [seen.asked[0], os.path.basename(seen.asked[0])]
    assert (seen.done.error_name, REASON in seen.done.error_message) == ("PermissionError", True)


def test_a_shell_line_is_judged_and_answered_with_python(worker: Worker) -> None:
    seen = worker.run("!cat a.txt")
    assert seen.asked == ["/bin/sh"]
    assert "read_text()" in seen.done.error_message


@pytest.mark.parametrize("name", ["executor", "google", "codecage.worker", "wasmtime", "pytest"])
def test_nothing_of_the_servers_can_be_imported(worker: Worker, name: str) -> None:
    assert worker.run(f"import {name}").done.error_name == "ModuleNotFoundError"


def test_the_import_path_is_pythons_own(worker: Worker) -> None:
    code = "import os, sys\n[p for p in sys.path if not p.startswith(sys.base_prefix)]"
    assert worker.run(code).value == "[]"
    assert worker.run("import sys; (sys.argv, sys.orig_argv, sys.executable)").value == (
        "([''], [''], '')"
    )


def test_the_environment_is_constant_and_has_no_secret(worker: Worker) -> None:
    seen = worker.run("import os; sorted(os.environ)")
    assert "SECRET" not in str(seen.value)
    assert worker.run("os.environ['HOME'], os.environ['TZ']").value == "('/home/agent', 'UTC')"


def test_the_sessions_environment_is_added(zygote: NativeZygote) -> None:
    worker = zygote.spawn().begin(environment={"PROJECT": "apollo"})
    assert worker.run("import os; os.environ['PROJECT']").value == "'apollo'"
    assert zygote.spawn().begin().run("import os; os.environ.get('PROJECT', 0)").value == "0"


CHANCE = (
    "import random, uuid, secrets, tempfile\n"
    "(random.random(), uuid.uuid4(), uuid.uuid1(), secrets.token_hex(4), "
    "next(tempfile._get_candidate_names()))"
)


def test_two_sessions_draw_different_lots(zygote: NativeZygote) -> None:
    first, second = (zygote.spawn().begin(entropy=bytes([n]) * 32) for n in (1, 2))
    lots = [worker.run(CHANCE).value for worker in (first, second)]
    assert None not in lots
    assert lots[0] != lots[1]


def test_the_entropy_of_a_session_is_what_its_generators_begin_with(zygote: NativeZygote) -> None:
    first, second = (zygote.spawn().begin(entropy=b"e" * 32) for _ in range(2))
    code = "import random; random.random()"
    assert first.run(code).value == second.run(code).value


def test_tasks_outlive_their_cell_and_threads_run(worker: Worker) -> None:
    worker.run("import asyncio\nasync def f():\n    return 7\ntask = asyncio.create_task(f())")
    worker.run("task = asyncio.ensure_future(f()); await asyncio.sleep(0)")
    assert worker.run("await task").value == "7"
    assert worker.run("await asyncio.to_thread(lambda: 8)").value == "8"


def test_a_wait_that_nothing_can_end_is_told(worker: Worker) -> None:
    seen = worker.run("import asyncio; await asyncio.Future()")
    assert seen.done.error_name == "Deadlock"


def test_exit_ends_the_cell_and_not_the_session(worker: Worker) -> None:
    seen = worker.run("exit(3)")
    assert (seen.status, seen.done.exit_code) == ("EXITED", 3)
    assert worker.run("1").value == "1"


def test_os_exit_ends_the_session_and_says_so(worker: Worker) -> None:
    seen = worker.run("import os\nprint('last')\nos._exit(7)")
    assert (seen.status, seen.done.exit_code, seen.out) == ("GUEST_ENDED", 7, "last\n")
    assert seen.done.reason == "the guest's process ended with exit code 7"
    assert worker.ended()


def test_a_forked_child_speaks_by_its_parents_streams_and_sends_no_frame(worker: Worker) -> None:
    worker.answers = lambda _ask: wire.Answer()
    code = "import os\nif os.fork() == 0:\n    print('child', flush=True)\n    os._exit(5)\nos.wait()[1]"
    seen = worker.run(code)
    assert (seen.out, seen.value, seen.kinds.count("done")) == ("child\n", str(5 << 8), 1)


def test_a_forked_child_that_comes_to_the_end_of_its_cell_ends_there(worker: Worker) -> None:
    worker.answers = lambda _ask: wire.Answer()
    seen = worker.run("import os\nif os.fork() == 0:\n    1 / 0\nos.wait()[1]")
    assert (seen.value, seen.kinds.count("done")) == (str(1 << 8), 1)
    assert "ZeroDivisionError" in seen.err
    seen = worker.run("if os.fork() == 0:\n    exit(4)\nos.wait()[1]")
    assert seen.value == str(4 << 8)
    seen = worker.run("x = os.fork()\nif x: print(os.waitpid(x, 0)[1])\n'end'")
    assert (seen.out, seen.value, seen.kinds.count("done")) == ("0\n", "'end'", 1)


def test_descriptors_are_limited(zygote: NativeZygote) -> None:
    code = "import os\nfor n in range(99): os.dup(0)"
    few = zygote.spawn().begin(max_open_files=16).run(code)
    assert (few.done.error_name, "[Errno 24]" in few.done.error_message) == ("OSError", True)
    assert zygote.spawn().begin(max_open_files=200).run(code).status == "OK"


IMPOSSIBLE = {
    "seed": {"deterministic": True},
    "frozen clock": {"frozen_clock_ns": 1},
    "virtual clock": {"virtual_clock_ns": 1},
    "network": {"max_connections": 1},
    "scratch": {"mounts": [wire.MountPoint(path="/data", scratch=True)]},
}


@pytest.mark.parametrize("changed", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_a_session_that_asks_for_what_cannot_be_kept_does_not_begin(
    zygote: NativeZygote, changed: dict[str, object]
) -> None:
    worker = zygote.spawn().begin(**changed)
    assert worker.ended()
    with pytest.raises((EOFError, ConnectionError)):
        worker.run("1")


def test_files_are_put_listed_got_and_removed(worker: Worker) -> None:
    place = Path(str(worker.run("import os; os.getcwd()").value).strip("'"))
    path = str(place / "in" / "a.txt")
    assert worker.file(put=wire.PutChunk(path=path, data=b"hello")).status.size == 5
    assert worker.file(put=wire.PutChunk(path=path, offset=5, data=b" you")).status.size == 9
    got = worker.file(get=wire.GetChunk(path=path, offset=1, length=100))
    assert (got.data, got.end) == (b"ello you", True)
    listed = worker.file(list=str(place / "in"))
    assert [(entry.name, entry.status.size) for entry in listed.entries] == [("a.txt", 9)]
    assert worker.run(f"open({path!r}).read()").value == "'hello you'"
    assert worker.file(remove=path).errno == 0
    assert worker.file(get=wire.GetChunk(path=path, length=1)).errno == 2


def test_a_chunk_that_does_not_follow_on_is_refused(worker: Worker) -> None:
    path = str(worker.run("import os; os.path.abspath('gap')").value).strip("'")
    worker.file(put=wire.PutChunk(path=path, data=b"ab"))
    reply = worker.file(put=wire.PutChunk(path=path, offset=5, data=b"x"))
    assert (reply.errno, reply.reason) == (22, "a chunk must follow on from the one before")


def test_a_fifo_in_the_way_of_a_file_command_is_refused_at_once(worker: Worker) -> None:
    path = str(worker.run("import os; os.mkfifo('f'); os.path.abspath('f')").value).strip("'")
    assert worker.file(get=wire.GetChunk(path=path, length=1)).errno == 1
    assert worker.file(put=wire.PutChunk(path=path, data=b"x")).errno in {1, 6}
    worker.run("os.remove('f')")


def test_a_cell_that_tampers_with_the_runtime_harms_itself(zygote: NativeZygote) -> None:
    worker = zygote.spawn().begin()
    worker.run("import json; json.loads = None")
    assert worker.run("1").done.error_message == "the cell broke its runtime"
    assert zygote.spawn().begin().run("1").value == "1"
