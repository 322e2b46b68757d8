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
from tests.executor.process.native_world import REASON, NativeZygote, Worker, boxed, refuse

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
    assert served.run("open('/tmp/none')").asks == []
    assert served.run("open('/usr/none')").asks == []
    plain = zygote.spawn().begin(places=["/data"])
    assert plain.run("open('/data/a')").asks == []
    assert plain.run("import os; os.stat('/data/a')").asks == []


# ---- names that no mount has ---------------------------------------------------------------------

NAMES = {
    "open('/srv/a')": "read",
    "open('/srv/a', 'wb')": "write",
    "open('/srv/a', opener=lambda path, flags: os.open(path, flags))": "read",
    "os.open('/srv/a', flags=os.O_APPEND)": "write",
    "os.stat(pathlib.Path('/srv/a'))": "stat",
    "os.listdir(b'/srv/a')": "stat",
    "os.rmdir('/srv//b/../a/')": "rmdir",
    "os.utime('/srv/a')": "utime",
    "os.utime(path='/srv/a')": "utime",
    "os.rename('/tmp', '/srv/a')": "create",
    "os.link('/tmp/none', '/srv/a')": "create",
    "os.symlink('none', '/srv/a')": "create",
    "os.chdir('/'); os.remove('srv/a')": "remove",
}


@pytest.fixture(scope="module")
def plain(zygote: NativeZygote) -> Worker:
    worker = zygote.spawn().begin(places=["/data"])
    worker.answers = lambda _: wire.Answer(errno=errno.ENOENT, reason=REASON)
    worker.run("import os, pathlib, pickle")
    return worker


@pytest.mark.parametrize(("code", "action"), NAMES.items(), ids=NAMES)
def test_a_name_that_no_mount_has_is_asked_about_once(
    plain: Worker, code: str, action: str
) -> None:
    seen = plain.run(code)
    assert [(ask.refused.path, ask.refused.action) for ask in seen.asks] == [("/srv/a", action)]
    assert seen.done.error_message.startswith(f"[Errno 2] {REASON}")
    assert seen.done.error_name == "FileNotFoundError"
    assert "<codecage>" not in seen.done.traceback


def test_the_gates_number_is_the_one_that_is_raised(zygote: NativeZygote) -> None:
    worker = zygote.spawn().begin()
    worker.answers = refuse
    seen = worker.run("open('/srv/a')")
    assert seen.done.error_name == "PermissionError"
    assert seen.done.error_message == f"[Errno 13] {REASON}: '/srv/a'"
    worker.answers = allow
    seen = worker.run("open('/srv/a')")
    assert seen.done.error_message == "[Errno 2] No such file or directory: '/srv/a'"


SILENT = {
    "an import": "sys.path.append('/srv/m')\ntry: import none_of_this_name\nexcept ImportError: 1",
    "what is there": "open('/etc/passwd').close(), os.stat('/'), os.listdir('/etc')",
    "by a descriptor": "os.open('a', 0, dir_fd=os.open('/etc', 0))",
    "no name": "os.stat(977)",
    "an empty name": "os.chdir('/'); open('')",
    "an error of the cell's": "os.stat(type('P', (), {'__fspath__': lambda _: 1 / 0})())",
    "a name with a zero": "open('/srv/\\0')",
    "a name too long": "open('/srv/' + 'x' * 5000)",
    "a directory that is gone": "os.mkdir('/tmp/g'); os.chdir('/tmp/g'); os.rmdir('/tmp/g'); open('a')",
}


@pytest.mark.parametrize("code", SILENT.values(), ids=SILENT)
def test_nobody_is_asked_for(plain: Worker, code: str) -> None:
    assert plain.run(f"import os, sys\nos.chdir('/work')\n{code}").asks == []


def test_a_cell_that_breaks_what_asks_harms_itself_alone(zygote: NativeZygote) -> None:
    worker = zygote.spawn().begin()
    code = "import os\nos.path.abspath = lambda path: '/elsewhere'\nopen('a')"
    assert worker.run(code).asks[-1].refused.path == "/elsewhere"
    code = "os.path.abspath = None\nopen('a')"
    assert worker.run(code).done.error_name == "TypeError"
    assert worker.run("1 + 1").value == "2"


def test_an_interrupt_while_the_gate_is_asked_ends_the_cell_and_not_the_session(
    zygote: NativeZygote,
) -> None:
    worker = zygote.spawn().begin()

    def interrupted(_ask: wire.Ask) -> wire.Answer:
        worker.interrupt()
        return wire.Answer(errno=errno.ENOENT, reason=REASON)

    worker.answers = interrupted
    seen = worker.run("while True:\n    try: open('/srv/a')\n    except OSError: pass")
    assert (seen.status, bool(seen.asks)) == ("INTERRUPTED", True)
    worker.answers = refuse
    assert worker.run("open('/srv/a')").done.error_name == "PermissionError"


def test_a_handler_that_strikes_while_the_gate_is_asked_has_a_plain_error(plain: Worker) -> None:
    """
    Without its own turn it would wait for ever for the thread that it has interrupted.
    """
    seen = plain.run(
        "import signal\ntold = set()\ndef act(*_):\n    try: open('/srv/b')\n"
        "    except OSError as error: told.add(error.strerror)\n"
        "signal.signal(signal.SIGALRM, act); signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)\n"
        "while 'No such file or directory' not in told:\n"
        "    try: open('/srv/a')\n    except OSError: pass\n"
        "signal.setitimer(signal.ITIMER_REAL, 0); signal.signal(signal.SIGALRM, signal.SIG_IGN)"
    )
    assert (seen.status, {ask.refused.path for ask in seen.asks} <= {"/srv/a", "/srv/b"}) == (
        "OK",
        True,
    )
    assert plain.run("open('/srv/a')").done.error_message == f"[Errno 2] {REASON}: '/srv/a'"


def test_functions_of_files_are_found_by_whoever_pickles_them(plain: Worker) -> None:
    code = "all(pickle.loads(pickle.dumps(one)) is one for one in (open, os.open, os.stat))"
    assert plain.run(code).value == "True"


def test_functions_of_files_are_no_methods_of_a_class_that_keeps_them(plain: Worker) -> None:
    code = "kept = type('Kept', (), {'open': open, 'exists': os.stat})()"
    assert plain.run(f"import os; {code}; kept.open('/dev/null').read()").value == "''"
    assert plain.run("kept.exists('/dev/null').st_size").value == "0"


def test_functions_that_were_given_reasons_still_say_what_they_can(served: Worker) -> None:
    code = "os.stat in os.supports_dir_fd, os.utime in os.supports_follow_symlinks, open.__name__"
    assert served.run(f"import os; {code}").value == "(True, True, 'open')"


def test_the_gate_that_knows_nothing_leaves_the_error_as_it_is(zygote: NativeZygote) -> None:
    worker = zygote.spawn().begin(mounts=[wire.MountPoint(path="/data")])
    worker.answers = allow
    seen = worker.run("open('/data/a')")
    assert seen.done.error_message == "[Errno 2] No such file or directory: '/data/a'"
