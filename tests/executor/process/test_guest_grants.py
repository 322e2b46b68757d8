"""
Programs and children in a box that has them, and the reasons of refusals: what a guest is told.

The gate here is the test's. That the kernel refuses whatever the guest's half leaves out is asked
in `test_box_grants.py`; that a policy decides, in `tests/policy`.
"""

import errno
from collections.abc import Iterator

import pytest

from codecage.worker.v1 import worker_pb2 as wire
from executor.images.cache import default_cache
from executor.process import images
from tests.executor.process.native_world import REASON, NativeZygote, Worker, boxed

CORE = images.image_of(images.declared_as("native-core"), default_cache())
# A program that every system here has, and that needs no other.
PROGRAM = "/usr/bin/env"


@pytest.fixture(scope="module")
def zygote() -> Iterator[NativeZygote]:
    with boxed(CORE.name, CORE.key) as made:
        if made.ready is None:
            pytest.skip(f"no box can be made here: {made.complaint.splitlines()[-1]}")
        yield made


def allow(_ask: wire.Ask) -> wire.Answer:
    return wire.Answer()


@pytest.fixture(scope="module")
def granted(zygote: NativeZygote) -> Worker:
    worker = zygote.spawn(programs=(PROGRAM,), fork=True).begin()
    worker.answers = allow
    worker.run("import asyncio, multiprocessing, os, subprocess")
    return worker


WAYS = {
    "run": f"print(subprocess.run([{PROGRAM!r}], env={{'A': 'b'}}, capture_output=True).stdout)",
    "name": "os.environ.clear(); os.environ['A'] = 'b'\nsubprocess.run(['env']).returncode",
    "line": "print(subprocess.run('env', shell=True, env={'A': 'b'}, capture_output=True).stdout)",
    "asyncio": (
        f"p = await asyncio.create_subprocess_exec({PROGRAM!r}, env={{'A': 'b'}}, stdout=-1)\n"
        "print((await p.communicate())[0])"
    ),
    "spawn": f"os.waitpid(os.posix_spawn({PROGRAM!r}, ['env'], {{'A': 'b'}}), 0)[1]",
}


@pytest.mark.parametrize("code", WAYS.values(), ids=WAYS)
def test_a_granted_program_runs_and_the_gate_was_asked(granted: Worker, code: str) -> None:
    seen = granted.run(code)
    assert seen.asked == [PROGRAM], seen.done.traceback
    assert "A=b" in seen.out


def test_a_line_of_a_notebook_runs_it_too(granted: Worker) -> None:
    assert granted.run(f"!{PROGRAM} A=b").out.endswith("A=b\n")
    assert granted.run("said = !env A=b\nsaid[-1]").value == "'A=b'"
    assert granted.run("os.system('env C=d')").out.endswith("C=d\n")


def test_a_line_that_needs_a_shell_says_that_there_is_none(zygote: NativeZygote) -> None:
    worker = zygote.spawn(programs=(PROGRAM,)).begin()
    worker.answers = lambda ask: wire.Answer(errno=13 * (ask.run == "/bin/sh"), reason=REASON)
    seen = worker.run("!env | sort")
    assert seen.asked == ["/bin/sh"]
    assert REASON in seen.done.error_message
    assert worker.run("!env A=b").status == "OK"


def test_children_work_by_every_way_to_them(granted: Worker) -> None:
    assert granted.run("if os.fork() == 0: os._exit(3)\nos.wait()[1]").value == str(3 << 8)
    pool = "with multiprocessing.Pool(2) as pool: made = pool.map(abs, [-1, -2])\nmade"
    assert granted.run(pool).value == "[1, 2]"
    pool = "with ProcessPoolExecutor(2) as pool: made = list(pool.map(abs, [-1, -2]))\nmade"
    seen = granted.run(f"from concurrent.futures import ProcessPoolExecutor\n{pool}")
    assert (seen.value, set(seen.asked)) == ("[1, 2]", {"fork"})


def test_a_child_may_become_a_granted_program_and_the_session_may_not(granted: Worker) -> None:
    code = f"if os.fork() == 0: os.execv({PROGRAM!r}, ['env', 'A=b'])\nos.wait()[1]"
    seen = granted.run(code)
    assert (seen.value, seen.out.endswith("A=b\n")) == ("0", True)
    seen = granted.run(f"os.execv({PROGRAM!r}, ['env'])")
    assert "subprocess.run" in seen.done.error_message
    assert granted.run("1").value == "1"


def test_what_the_gate_refuses_is_raised_with_its_sentence(zygote: NativeZygote) -> None:
    worker = zygote.spawn().begin()
    for code in ("os.fork()", "subprocess.run(['env'])", "os.posix_spawn('/usr/bin/env', [], {})"):
        seen = worker.run(f"import os, subprocess\n{code}")
        assert (seen.done.error_name, REASON in seen.done.error_message) == (
            "PermissionError",
            True,
        )
    seen = worker.run("import multiprocessing as m\nm.Process(target=print).start()")
    assert seen.done.error_message.endswith(REASON)


# ---- reasons -------------------------------------------------------------------------------------


def test_a_socket_that_nobody_is_given_says_why(zygote: NativeZygote) -> None:
    worker = zygote.spawn().begin()
    kinds = {"AF_INET": "tcp", "AF_UNIX": "unix", "AF_INET, socket.SOCK_DGRAM": "udp"}
    for family, kind in kinds.items():
        seen = worker.run(f"import socket; socket.socket(socket.{family})")
        assert seen.asks[-1].network.socket == kind
        assert REASON in seen.done.error_message


def test_a_name_that_is_not_resolved_says_why(zygote: NativeZygote) -> None:
    seen = zygote.spawn().begin().run("import socket; socket.getaddrinfo('example.org', 80)")
    assert (seen.asks[-1].refusal.host, seen.asks[-1].refusal.port) == ("example.org", 0)
    assert REASON in seen.done.error_message


def test_a_pair_needs_nobodys_word(zygote: NativeZygote) -> None:
    seen = (
        zygote.spawn()
        .begin()
        .run("import socket; a, b = socket.socketpair(); a.close(); b.recv(1)")
    )
    assert (seen.value, seen.asks) == ("b''", [])


@pytest.fixture(scope="module")
def served(zygote: NativeZygote) -> Worker:
    # Nothing is mounted there: what matters is whether the guest asks.
    worker = zygote.spawn().begin(mounts=[wire.MountPoint(path="/data")])
    worker.answers = lambda _: wire.Answer(errno=errno.ENOENT, reason=REASON)
    return worker


FILES = {
    "open": "open('/data/a')",
    "pathlib": "import pathlib; pathlib.Path('/data/a').read_text()",
    "relative": "os.chdir('/'); open('data/a')",
    "list": "os.listdir('/data/a')",
    "rename": "os.rename('/tmp/none', '/data/a')",
    "write": "pathlib.Path('/data/a').write_text('x')",
}


@pytest.mark.parametrize("code", FILES.values(), ids=FILES)
def test_an_error_about_a_served_file_has_the_gates_sentence(served: Worker, code: str) -> None:
    seen = served.run(f"import os\n{code}")
    assert seen.asks[-1].denial == "/data/a"
    assert seen.done.error_message.startswith(f"[Errno 2] {REASON}: ")
    assert "<codecage>" not in seen.done.traceback


def test_an_answer_to_another_question_about_the_path_is_not_told(zygote: NativeZygote) -> None:
    worker = zygote.spawn().begin(mounts=[wire.MountPoint(path="/data")])
    worker.answers = lambda _: wire.Answer(errno=errno.EACCES, reason=REASON)
    seen = worker.run("open('/data/a')")
    assert seen.done.error_message == "[Errno 2] No such file or directory: '/data/a'"


def test_other_files_and_other_sessions_are_asked_of_nobody(
    served: Worker, zygote: NativeZygote
) -> None:
    assert served.run("open('/database/a')").asks == []
    assert served.run("open('/tmp/none')").asks == []
    plain = zygote.spawn().begin()
    seen = plain.run("import os; type(open).__name__, type(os.stat).__name__")
    assert seen.value == "('builtin_function_or_method', 'builtin_function_or_method')"
    assert plain.run("open('/data/a')").asks == []


def test_functions_that_were_given_reasons_still_say_what_they_can(served: Worker) -> None:
    code = "os.stat in os.supports_dir_fd, os.utime in os.supports_follow_symlinks, open.__name__"
    assert served.run(f"import os; {code}").value == "(True, True, 'open')"


def test_the_gate_that_knows_nothing_leaves_the_error_as_it_is(zygote: NativeZygote) -> None:
    worker = zygote.spawn().begin(mounts=[wire.MountPoint(path="/data")])
    worker.answers = allow
    seen = worker.run("open('/data/a')")
    assert seen.done.error_message == "[Errno 2] No such file or directory: '/data/a'"
