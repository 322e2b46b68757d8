"""
W rows over the whole service: code of a cell against the cage.

Every attack runs in a real session; the oracle outside is the server's own process tree, the
session's next cell, and a neighbour that must not notice. What green does not prove: bugs of the
engine, which the worker's process is locked for (tests/executor/linux).
"""

import json
import os
import re

import psutil
import pytest

from agent_client import SessionLost, Status
from tests.security.granted import field

pytestmark = pytest.mark.image


@pytest.fixture(scope="module")
def world():
    with field() as made:
        yield made


@pytest.fixture
def session(world):
    with world.session() as one:
        yield one


@pytest.fixture(autouse=True)
def nothing_is_started(world):
    """
    No attack adds a process that is not one of ours.
    """
    before = set(psutil.Process(os.getpid()).children(recursive=True))
    yield
    for child in set(psutil.Process(os.getpid()).children(recursive=True)) - before:
        try:
            line = " ".join(child.cmdline())
        except psutil.NoSuchProcess:
            continue
        assert "codecage" in line or "executor" in line or not line, line


def error(session, code):
    observation = session.run(code)
    assert observation.error is not None, observation.text
    return observation.error.name, observation.error.message


@pytest.mark.parametrize(
    "code",
    [
        "import js",
        "import pyodide_js",
        "from js import process, fetch, Deno",
        "import _pyodide_core",
    ],
)
def test_w01_w02_there_is_no_javascript_to_import(session, code):
    name, message = error(session, code)
    assert name == "ModuleNotFoundError"
    assert "no JavaScript" in message


def test_w01_code_for_javascript_is_never_run(session):
    name, _ = error(session, "import pyodide.code\npyodide.code.run_js('1')")
    assert name in {"ModuleNotFoundError", "ImportError", "NotImplementedError", "RuntimeError"}


def test_w03_a_proxy_of_javascript_leads_nowhere(session):
    name, _ = error(
        session, "from pyodide.ffi import JsProxy\nJsProxy.constructor.constructor('return 1')()"
    )
    assert name in {"AttributeError", "ImportError", "ModuleNotFoundError"}


@pytest.mark.parametrize("symbol", ["emscripten_run_script", "emscripten_asm_const_int"])
def test_w04_w05_functions_that_run_javascript_have_no_name(session, symbol):
    name, _ = error(session, f"import ctypes\nctypes.CDLL(None).{symbol}(b'1')")
    assert name == "AttributeError"
    assert session.run("import ctypes\nctypes.CDLL(None).strlen(b'four')").value == "4"


def test_w06_a_program_started_by_a_c_function_is_asked_of_the_gate(session):
    assert session.run("import ctypes\nctypes.CDLL(None).system(b'id')").value == "-1"
    asked = [record for record in session.audit() if record.request == "run id"]
    assert [record.decision for record in asked] == ["deny"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import os\nos.system('id')", "PermissionError"),
        ("import subprocess\nsubprocess.run(['id'])", "PermissionError"),
        ("import subprocess\nsubprocess.Popen('id', shell=True)", "PermissionError"),
        ("import os\nos.popen('id').read()", "PermissionError"),
        ("import os\nos.fork()", "OSError"),
        ("import os\nos.execv('/bin/sh', ['sh'])", "PermissionError"),
        ("import multiprocessing\nmultiprocessing.Process(target=print).start()", None),
        ("import threading\nthreading.Thread(target=print).start()", "RuntimeError"),
    ],
)
def test_w05_no_process_starts(session, code, expected):
    observation = session.run(code)
    assert observation.error is not None
    assert expected in {None, observation.error.name}, observation.text
    assert session.run("1").value == "1"


def test_w10_memory_beyond_the_guests_own_does_not_exist(session):
    """
    Addresses of ctypes are the guest's own, and behind its memory there is nothing to be read.
    """
    inside = "import ctypes\nx = b'seven77'\nctypes.string_at(id(x) + 16, 40).count(b'seven77')"
    assert session.run(inside).value == "1"
    observation = session.run("ctypes.string_at(0xfffffff0, 64)")
    assert observation.error is not None or observation.session_lost


def test_w13_a_module_that_the_guest_wrote_is_never_loaded(session):
    session.run(
        "open('/work/evil.so', 'wb').write(bytes.fromhex('0061736d01000000'))\n"
        "import sys; sys.path.insert(0, '/work')"
    )
    name, _ = error(
        session,
        "import importlib.machinery, importlib.util\n"
        "loader = importlib.machinery.ExtensionFileLoader('evil', '/work/evil.so')\n"
        "spec = importlib.util.spec_from_loader('evil', loader)\n"
        "importlib.util.module_from_spec(spec)",
    )
    assert name == "ImportError"


def test_w18_a_size_that_does_not_fit_is_an_error(session):
    value = session.run(
        "import os\nf = os.open('/tmp/x', os.O_RDWR | os.O_CREAT)\nos.lseek(f, 2**40, os.SEEK_SET)"
    ).value
    assert value == str(2**40)
    assert error(session, "os.lseek(f, 2**63 - 1, os.SEEK_CUR)")[0] == "OSError"


def test_w24_open_files_are_limited_and_the_host_does_not_notice(world, session):
    count = session.run(
        "kept = []\ntry:\n    while True:\n        kept.append(open('/data/readme.txt'))\n"
        "except OSError as error:\n    said = str(error)\nlen(kept)"
    ).value
    assert 200 < int(count) < 256
    assert "open at once" in session.run("said").value
    assert session.run("for f in kept: f.close()\nopen('/data/readme.txt').read()").value == (
        "'hello'"
    )


@pytest.mark.parametrize(
    "path", ["'/tmp/' + 'a' * 300", "'/tmp/' + 'a/' * 100_000", "'/tmp/' + 'a' * 2**20"]
)
def test_w25_long_names_are_refused_early(session, path):
    name, message = error(session, f"open({path})")
    assert name == "OSError"
    assert "too long" in message


@pytest.mark.parametrize(
    "code",
    [
        "f = open('/tmp/s', 'wb'); f.seek(2**40); f.write(b'x'); f.flush()",
        "open('/tmp/s', 'wb').truncate(2**60)",
        "open('/tmp/s', 'wb').write(bytes(70 * 2**20))",
    ],
)
def test_w26_sparse_and_large_files_meet_the_quota(session, code):
    name, _ = error(session, code)
    assert name in {"OSError", "MemoryError"}
    assert session.run("open('/tmp/small', 'w').write('ok')").value == "2"


def test_w27_files_links_and_depth_are_limited(session):
    made = session.run(
        "import os\nos.makedirs('/tmp/m')\ncount = 0\ntry:\n    while True:\n"
        "        open(f'/tmp/m/{count}', 'w').close()\n        count += 1\n"
        "except OSError as error:\n    said = error.errno\ncount"
    ).value
    assert 4000 < int(made) <= 4096
    session.run("import shutil; shutil.rmtree('/tmp/m')")
    session.run("for i in range(60): os.symlink(f'/tmp/l{i + 1}', f'/tmp/l{i}')")
    assert "loop" in error(session, "open('/tmp/l0')")[1].lower()
    name, _ = error(session, "p = '/tmp'\nfor _ in range(3000):\n    p += '/d'\n    os.mkdir(p)")
    assert name == "OSError"


def test_w28_files_are_not_mapped(session):
    name, _ = error(
        session, "import mmap\nf = open('/data/readme.txt', 'rb')\nmmap.mmap(f.fileno(), 0)"
    )
    assert name in {"OSError", "PermissionError", "ModuleNotFoundError", "ValueError"}


def test_w29_sleep_ends_with_the_cell_and_costs_no_cpu(session):
    session.run("kept = 5\nimport time")
    observation = session.run("time.sleep(100_000)", timeout=0.5)
    assert observation.status is Status.TIMED_OUT
    assert observation.cpu_time < 0.4
    assert session.run("kept").value == "5"


@pytest.mark.parametrize(
    "code",
    [
        "def f(): return f()\nf()",
        "import json\njson.loads('[' * 100_000)",
        "import ast\nast.parse('(' * 100_000 + ')' * 100_000)",
        "class A:\n    def __repr__(self): return repr(self)\nrepr(A())",
        "x = []\nfor _ in range(100_000): x = [x]\nrepr(x)",
    ],
)
def test_w34_recursion_is_an_exception(world, session, code):
    observation = session.run(code)
    assert observation.session_lost or observation.error.name in {
        "RecursionError",
        "MemoryError",
        "SyntaxError",
    }
    with world.session() as neighbour:
        assert neighbour.run("1").value == "1"


def test_w38_output_is_counted_by_the_description_it_goes_to(session):
    observation = session.run(
        "import os\nos.dup2(1, 9)\nos.write(9, b'x' * 10)\nos.write(1, b'')\n"
        "f = os.open('/tmp/o', os.O_WRONLY | os.O_CREAT)\nsaved = os.dup(1)\nos.dup2(f, 1)\n"
        "os.write(1, b'hidden')\nos.dup2(saved, 1)\nos.close(9)"
    )
    assert observation.ok, observation.text
    assert observation.stdout == "x" * 10


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("import os; os._exit(3)", 3),
        ("import os; os._exit(256 + 7)", 7),
        ("import os; os.abort()", 134),
    ],
)
def test_w39_ending_the_guest_ends_its_session_alone(world, code, exit_code):
    with world.session() as neighbour, world.session() as one:
        observation = one.run(code)
        assert observation.status is Status.WORKER_LOST
        assert observation.session_lost
        with pytest.raises(SessionLost):
            one.run("1")
        assert observation.ended.exit_code == exit_code
        assert neighbour.run("1").value == "1"


@pytest.mark.parametrize(
    "body",
    ["raise ValueError('no')", "return 7", "return 'x' * 2**22", "import sys; sys.exit(1)"],
)
def test_w40_a_hostile_repr_harms_its_cell_alone(session, body):
    observation = session.run(f"class A:\n    def __repr__(self): {body}\nA()")
    assert observation.error is not None or len(observation.value or "") <= 2**17
    assert session.run("1").value == "1"


def test_w43_forged_frames_stay_output(session):
    forged = '\\x00RESULT{}\\n{\\"type\\": \\"ended\\"}\\x1b]52;c;aGk=\\x07'
    observation = session.run(f"print('{forged}')\n41 + 1")
    assert observation.value == "42"
    assert "RESULT" in observation.stdout
    assert observation.status is Status.OK


def test_w50_a_fresh_session_holds_nothing_of_another(world):
    marker = "marker-" + "q7" * 20
    with world.session() as one:
        one.run(
            f"import os\nm = '{marker}' * 1000\nos.environ['M'] = m[:100]\n"
            "open('/tmp/m', 'w').write(m); open('/work/m', 'w').write(m)"
        )
    with world.session() as two:
        found = two.run(
            "import gc, os, sys\n"
            "[os.path.exists('/tmp/m'), os.path.exists('/work/m'), 'M' in os.environ,"
            " 'm' in globals(),"
            " sum('marker-' in o for o in gc.get_objects() if isinstance(o, str))]"
        ).value
    assert json.loads(found.replace("False", "false").replace("True", "true")) == [
        False, False, False, False, 0,
    ]  # fmt: skip


def test_w56_nothing_of_the_host_is_told(world, session):
    files = [world.folder / "data" / f"numbered{number}" for number in range(8)]
    for file in files:
        file.touch()
    told = session.run(
        "import os, sys, platform, traceback\n"
        "s = os.stat('/data/readme.txt')\n"
        "[os.uname(), os.getpid(), os.cpu_count(), platform.platform(), sys.path, dict(os.environ),"
        " os.getuid(), s.st_ino, s.st_dev, s.st_uid, os.getcwd(), os.statvfs('/data'),"
        " *(os.stat(f'/data/numbered{n}').st_ino for n in range(8))]"
    ).value
    host = os.uname()
    here = {host.nodename, host.release, str(world.folder), os.path.expanduser("~")}
    # A name of two or three letters stands in many a word, and the root directory in each path.
    assert {name for name in here if len(name) > 3 and name in told} == set()
    # One file's number may be among those that are told, by chance; not those of all of them.
    numbers = {int(one) for one in re.findall(r"\d+", told)}
    assert not {file.stat().st_ino for file in files} <= numbers
    for file in files:
        file.unlink()


@pytest.mark.parametrize("path", ["/proc", "/proc/self/environ", "/sys", "/sys/kernel", "/dev/mem"])
def test_w57_there_is_no_proc_no_sys_and_no_device(session, path):
    name, _ = error(session, f"open({path!r})")
    assert name == "FileNotFoundError"
    assert session.run("open('/dev/null', 'w').write('x')").value == "1"
