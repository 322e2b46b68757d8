"""
The WASI guest on our kernel: started, called, interrupted, limited, and always the same.

The guest runs in this process, without a worker's jail; what the jail adds is tested where the
jail is.
"""

import ast
import dataclasses
import os
import threading

import pytest
import wasmtime

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel.errors import InternalError
from executor.wasm import engine
from executor.wasm.abi import Errno, GuestFault
from executor.wasm.booted import GuestOutOfMemoryError
from executor.wasm.calls import GuestTrapped
from executor.wasm.linkage import signature_of
from executor.wasm.process import Exited
from executor.wasm.space import Space
from executor.wasm.wasi_signal import SignalWords
from tests.executor.wasm.tiny_kernel import Gate
from tests.executor.wasm.wasi_world import WASI_ROWS, Data, data_parts
from tests.executor.wasm.world import MIB

pytestmark = pytest.mark.image


@pytest.fixture(scope="module")
def data():
    """
    One guest with a session. No test of this module may end it.
    """
    return Data(data_parts()).begin()


def test_two_boots_leave_the_same_memory():
    """
    Requirement 7: the clock, the entropy and the hash seed of a zygote are the image's. All that
    the image imports is compared with a real zygote in `test_wasi_shared.py`.
    """
    warm = ("numpy", "tempfile")
    first, second = (Data(data_parts(warm)).digest for _ in range(2))
    assert first == second != Data(data_parts()).digest


def test_the_compiled_module_wants_exactly_the_rows_with_their_signatures():
    """
    S01, and totality in both directions.
    """
    module = wasmtime.Module.deserialize_file(engine.new_engine(), data_parts().python)
    wanted = {(one.module, one.name): signature_of(one.type) for one in module.imports}
    assert wanted == {(row.module, row.name): row.signature for row in WASI_ROWS.values()}


def test_a_cell_has_its_value_output_and_names(data):
    assert data.value("print('out'); x = 6\nx * 7") == "42"
    assert data.output[1] == b"out\n"
    assert data.value("x, __name__") == "(6, '__main__')"
    assert data.value("sorted(name for name in dir() if not name.startswith('_'))") == "['x']"


def test_an_error_has_the_frames_of_the_cell_alone(data):
    answer = data.run("def f():\n    1 / 0\nf()")
    assert answer["name"] == "ZeroDivisionError"
    assert "<cell" in answer["traceback"]
    assert "<codecage>" not in answer["traceback"]
    assert "<reactor>" not in answer["traceback"]


def test_a_missing_module_is_not_blamed_on_site(data):
    answer = data.run("import nothing_of_that_name")
    assert answer["traceback"].splitlines()[-1].endswith("No module named 'nothing_of_that_name'")


def test_a_session_is_where_it_was_told_and_has_its_environment():
    told = Data(data_parts()).begin(ME="7")
    assert told.value("import os; os.getcwd(), os.environ['ME'], os.environ['PYTHONHASHSEED']") == (
        "('/work', '7', '0')"
    )


def test_chance_is_the_sessions():
    code = (
        "import numpy as np, random, tempfile, uuid, os\n"
        "(random.random(), np.random.rand(), np.random.default_rng().random(), uuid.uuid4().hex,"
        " os.urandom(8), tempfile.mktemp())"
    )
    seeds = ("00" * 32, "00" * 32, "11" * 32)
    drawn = [Data(data_parts(("numpy", "tempfile"))).begin(seed=seed).value(code) for seed in seeds]
    first, again, other = map(ast.literal_eval, drawn)
    assert first == again
    assert all(one != two for one, two in zip(first, other, strict=True))


# ---- interrupts -----------------------------------------------------------------------------


LOOPS = {
    "a Python loop": "while True: pass",
    "a generator": "sum(1 for _ in iter(int, 1))",
    "a sort with a key": "while True: sorted(range(10**5), key=lambda n: -n)",
    "a catastrophic pattern": "import re; re.match('(?:a|a)*b', 'a' * 60)",
    "array arithmetic": "import numpy as np\na = np.ones(10**4)\nwhile True: a = a * 1.000001",
}
WAITS = {
    "a sleep": "import time; time.sleep(10**9)",
    "a poll": "import select; select.poll().poll()",
    "a poll with a time": "import select; select.poll().poll(10**6)",
    "a select": "import select; select.select([], [], [])",
}


def interrupt_at_output(data):
    """
    Another thread interrupts the cell once it has said that it has begun.
    """
    threads = []

    def said(stream, written):
        data.output[stream] += written
        if b"begun" in written:
            threads.append(threading.Thread(target=data.guest.set_signal, kwargs={"pending": True}))
            threads[-1].start()

    data.guest.hooks.on_output = said
    return threads


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_running_code_is_interrupted_and_its_state_kept(data, loop):
    threads = interrupt_at_output(data)
    answer = data.run(f"kept = 5\nprint('begun', flush=True)\n{loop}")
    for thread in threads:
        thread.join()
    data.guest.hooks.on_output = data._write
    assert len(threads) == 1
    assert (answer["status"], answer["name"]) == ("interrupted", "KeyboardInterrupt")
    assert "<cell" in answer["traceback"]
    assert not data.guest.signal_pending()
    assert data.value("kept") == "5"


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_waiting_code_is_interrupted(data, wait):
    waited = []

    def on_wait(seconds):
        waited.append(seconds)
        data.guest.set_signal(pending=True)
        return True

    data.guest.hooks.on_wait = on_wait
    answer = data.run(f"kept = 6\n{wait}")
    data.guest.hooks.on_wait = None
    assert len(waited) == 1
    assert answer["status"] == "interrupted"
    assert "<cell" in answer["traceback"]
    assert data.value("kept") == "6"


def test_an_interrupt_that_is_taken_back_hits_nothing(data):
    data.guest.set_signal(pending=True)
    assert data.guest.signal_pending()
    data.guest.set_signal(pending=False)
    assert not data.guest.signal_pending()
    assert data.value("sum(range(1000))") == "499500"


def test_a_handler_of_the_guests_own_is_called_once(data):
    threads = interrupt_at_output(data)
    code = (
        "import signal\ncalls = []\n"
        "old = signal.signal(signal.SIGINT, lambda *_: calls.append(1))\n"
        "print('begun', flush=True)\nwhile not calls: pass\n"
        "for _ in range(10**5): pass\nsignal.signal(signal.SIGINT, old)\ncalls"
    )
    assert data.value(code) == "[1]"
    threads[0].join()
    data.guest.hooks.on_output = data._write
    assert not data.guest.signal_pending()


def test_the_reason_of_an_interrupt_is_in_its_message(data):
    def said(stream, written):
        data.guest.process.deny(GuestFault(Errno.EINTR, "the wall time of 1 s is over"))
        data.guest.set_signal(pending=True)

    data.guest.hooks.on_output = said
    answer = data.run("print('begun', flush=True)\nwhile True: pass")
    data.guest.hooks.on_output = data._write
    assert answer["message"] == "the wall time of 1 s is over"


def test_a_guest_with_wrong_addresses_does_not_start():
    """
    A build of another interpreter under these facts would be one that cannot be stopped softly.
    """
    given = data_parts()
    words = dict(given.facts)
    wrong = words | {"tripped": words["tripped"] + 4096}
    for facts in (wrong, {name: words[name] for name in ("tripped", "is_tripped")}):
        with pytest.raises(InternalError, match=r"did not arrive|does not say where"):
            Data(dataclasses.replace(given, facts=facts))


def test_only_our_bit_of_the_interpreters_word_changes(data):
    memory, words = data.guest.memory, SignalWords.found(data_parts().facts)
    before = memory.read(words.eval_breaker - 8, 16)
    words.set(memory, pending=True)
    during = memory.read(words.eval_breaker - 8, 16)
    words.set(memory, pending=False)
    assert memory.read(words.eval_breaker - 8, 16) == before
    differing = [at for at in range(16) if before[at] != during[at]]
    assert differing == [8]
    assert before[8] ^ during[8] == words.eval_breaker_mask


# ---- memory ---------------------------------------------------------------------------------


def test_memory_beyond_the_sessions_is_a_memory_error_and_the_session_goes_on():
    data = Data(data_parts()).begin(256 * MIB)
    assert data.error("x = bytearray(10**9)") == "MemoryError"
    assert data.value("x = bytearray(10**8); len(x)") == "100000000"
    assert data.guest.memory.size <= 256 * MIB
    assert data.guest.process.total.peak <= 256 * MIB


def test_files_and_linear_memory_are_one_counter():
    """
    Requirement 9: whichever grows first leaves so much less to the other.
    """
    data = Data(data_parts()).begin(200 * MIB)
    scratch = Space(1000 * MIB, 500, data.guest.process.total)
    data.guest.process.files.add_directory("/big", scratch)
    fill = "f = open('/big/f', 'wb')\nfor _ in range({}): f.write(bytes(2**20))\nf.flush()"
    assert data.run(fill.format(100))["status"] == "ok"
    assert data.error("x = bytearray(80 * 2**20)") == "MemoryError"
    assert data.run("import os; f.close(); os.remove('/big/f')")["status"] == "ok"
    assert data.value("x = bytearray(80 * 2**20); len(x)") == str(80 * MIB)
    assert data.error(fill.format(100)) == "OSError"
    assert data.guest.process.total.used <= 200 * MIB
    assert data.guest.process.total.peak <= 200 * MIB


def test_the_peak_includes_linear_memory():
    data = Data(data_parts()).begin(512 * MIB)
    before = data.guest.process.total.peak
    assert before >= data.guest.memory.size
    data.value("len(bytearray(100 * 2**20))")
    assert data.guest.process.total.peak >= before + 90 * MIB


def test_a_request_that_does_not_fit_is_an_error_after_which_the_guest_lives_on():
    data = Data(data_parts()).begin(128 * MIB)
    with pytest.raises(GuestOutOfMemoryError):
        data.run("#" + "x" * (120 * MIB))
    assert data.value("1 + 1") == "2"


# ---- the end --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status"), [("os._exit(5)", 5), ("os._exit(0)", 0), ("os._exit(-1)", 255)]
)
def test_exit_ends_the_guest_with_its_code(code, status):
    data = Data(data_parts()).begin()
    with pytest.raises(Exited) as ended:
        data.run(f"import os\n{code}")
    assert ended.value.code == status


def test_a_trap_ends_the_guest():
    data = Data(data_parts()).begin()
    with pytest.raises(GuestTrapped):
        data.run("import os\nos.abort()")


def test_a_guest_that_breaks_its_runtime_harms_itself_alone(data):
    broken = Data(data_parts()).begin()
    assert broken.run("import _reactor; _reactor._run_turn = lambda *_: None")["status"] == "ok"
    with pytest.raises(GuestOutOfMemoryError):
        broken.run("1")
    assert data.value("1 + 1") == "2"


def test_an_answer_that_a_cell_forges_is_replaced_by_the_real_one(data):
    code = 'import _host\n_host.call(b\'={"status": "exited", "code": 1}\')\n7'
    assert data.value(code) == "7"


# ---- the gate -------------------------------------------------------------------------------


def refusing(reason="[policy test] not granted"):
    def refuse(_request: wire.Ask) -> wire.Answer:
        raise GuestFault(Errno.EACCES, reason)

    return Gate(refuse)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("open('/etc/passwd')", "open"),
        ("import os; os.stat('/etc')", "stat"),
        ("import os; os.listdir('/proc/self')", "stat"),
        ("import os; os.system('id')", "run"),
        ("import subprocess; subprocess.run(['id', '-u'])", "run"),
        ("import socket; socket.socket()", "network"),
        ("import socket; socket.getaddrinfo('example.com', 443)", "resolve"),
        ("import urllib.request; urllib.request.urlopen('http://example.com')", "resolve"),
    ],
)
def test_what_is_outside_is_asked_of_the_gate_and_its_reason_told(code, kind):
    data = Data(data_parts())
    data.gate = refusing()
    data.begin()
    answer = data.run(code)
    assert answer["status"] == "error"
    assert "[policy test] not granted" in answer["message"]
    assert data.gate.kinds == [kind]


def test_an_attempt_names_its_host():
    data = Data(data_parts())
    data.gate = refusing()
    data.begin().run("import socket; socket.create_connection(('Example.com', 8443))")
    assert [asked.resolve for asked in data.gate.asked] == ["example.com"]


# ---- files ----------------------------------------------------------------------------------


FILES = (
    "import os, pathlib, shutil, tempfile\n"
    "os.makedirs('a/b'); pathlib.Path('a/b/f').write_text('one\\n')\n"
    "with open('a/b/f', 'a') as f: f.write('two\\n')\n"
    "os.symlink('b/f', 'a/l'); os.rename('a/b/f', 'a/b/g'); os.symlink('/work/a/b/g', 'a/m')\n"
    "shutil.copytree('a', 'c', symlinks=True); os.utime('c/b/g', (5, 6)); mtime = os.stat('c/b/g').st_mtime\n"
    "with tempfile.NamedTemporaryFile() as t: t.write(b'x'); t.flush(); size = os.path.getsize(t.name)\n"
    "with open('c/b/g', 'r+') as f: f.seek(2); f.truncate(); f.seek(0, 2); f.write('!')\n"
    "walked = sorted((r, sorted(d), sorted(f)) for r, d, f in os.walk('.'))\n"
)


def test_files_behave_as_they_do_natively(data, tmp_path, monkeypatch):
    """
    The same program here and there; only `/work` is another directory here.
    """
    shown = (
        "walked, size, os.readlink('a/l'), os.path.exists('a/l'), pathlib.Path('a/m').read_text(),"
        " pathlib.Path('c/b/g').read_text(), mtime, [os.path.islink(f'a/{n}') for n in"
        " sorted(os.listdir('a'))], pathlib.Path('a/../c').resolve().name"
    )
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(FILES.replace("/work", str(tmp_path)), scope)
    assert ast.literal_eval(data.value(FILES + shown)) == eval(shown, scope)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("open('/work/none')", "FileNotFoundError"),
        ("open('/usr/local/lib/python315.zip', 'r+b')", "OSError"),
        ("open('/usr/new', 'w')", "OSError"),
        ("import os; os.mkdir('/work')", "FileExistsError"),
        ("import os; os.rmdir('/tmp')", "OSError"),
        ("import os; os.link('/work/x', '/work/y')", "PermissionError"),
        ("open('/work')", "IsADirectoryError"),
        ("import os; os.listdir('/dev/null')", "NotADirectoryError"),
    ],
)
def test_what_cannot_be_done_is_the_error_of_posix(data, code, error):
    assert data.error(code) == error


def test_closing_everything_leaves_a_session_that_works(data):
    assert data.value("import os; os.closerange(3, 64); open('/work/k', 'w').write('k')") == "1"


def test_matplotlibs_data_is_where_its_code_looks(data):
    code = "import matplotlib, os\nos.listdir(matplotlib.get_data_path()) != []"
    assert data.value(code) == "True"
    assert os.path.isabs(ast.literal_eval(data.value("matplotlib.get_data_path()")))
