"""
The image `data` as sessions see it: a real zygote, and its locked workers.
"""

import ast

import pytest

from codecage.worker.v1 import worker_pb2 as wire
from tests.executor.wasm.world import MIB, regular_file

pytestmark = pytest.mark.image

LOOPS = {
    "a Python loop": "while True: pass",
    "a sleep": "import time; time.sleep(10**9)",
    "a poll": "import select; select.poll().poll()",
    "array arithmetic": "import numpy as np\na = np.ones(10**4)\nwhile True: a = a * 1.000001",
}


@pytest.fixture
def zygote(data_zygote):
    return data_zygote


@pytest.fixture
def session(zygote):
    with zygote.session(memory_bytes=512 * MIB) as worker:
        yield worker


def stop(worker, *, limit=False):
    return (b"begun", lambda: worker.signal(limit=limit))


def test_the_data_stack_runs_in_a_locked_worker(session):
    assert session.run("import pandas as pd").ok().text is None
    code = (
        "d = pd.DataFrame({'q': [n % 4 for n in range(100)], 'v': range(100)})\n"
        "d.to_csv('d.csv', index=False)\npd.read_csv('d.csv').groupby('q').v.sum().tolist()"
    )
    assert session.run(code).ok().text == "[1200, 1225, 1250, 1275]"
    assert session.ready.isolation.startswith("W")


def test_w51_sessions_of_one_zygote_draw_different_numbers(zygote):
    code = (
        "import numpy as np, random, uuid, tempfile, os\n"
        "(np.random.rand(), np.random.default_rng().random(), random.random(), uuid.uuid4().hex,"
        " tempfile.mktemp(), os.urandom(8))"
    )
    drawn = []
    for _ in range(5):
        with zygote.session(memory_bytes=512 * MIB) as worker:
            drawn.append(ast.literal_eval(worker.run(code).ok().text or ""))
    for column in zip(*drawn, strict=True):
        assert len(set(column)) == len(drawn)


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_a_cell_is_interrupted_wherever_it_is_and_its_state_is_kept(session, loop):
    cell = session.run(f"kept = 5\nprint('begun')\n{loop}", on=stop(session))
    assert (cell.done.status, cell.error) == (cell.done.INTERRUPTED, "KeyboardInterrupt")
    assert session.run("kept").ok().text == "5"


def test_an_interrupt_that_was_taken_wakes_no_later_sleep(session):
    """
    The guest takes the signal without asking the host, so the host has to look.
    """
    code = (
        "print('begun')\ntry:\n    while True: pass\nexcept KeyboardInterrupt: pass\n"
        "import time\nstart = time.monotonic(); time.sleep(0.05)\ntime.monotonic() - start >= 0.04"
    )
    assert session.run(code, on=stop(session)).ok().text == "True"


def test_an_interrupt_between_cells_hits_none(session):
    for number in range(20):
        session.signal(limit=number % 2 == 0)
        assert session.run("sum(range(1000))").ok().text == "499500"


def test_a_time_limit_says_so(session):
    cell = session.run("print('begun')\nwhile True: pass", on=stop(session, limit=True))
    assert cell.error == "KeyboardInterrupt: the wall time of 1 s is over"


def test_files_and_memory_together_stay_within_the_sessions(zygote):
    """
    Requirement 9: linear memory, which grows without asking, counts with the files.
    """
    limit = 256 * MIB
    with zygote.session(memory_bytes=limit, scratch_bytes=limit) as worker:
        fill = "f = open('f', 'wb')\nfor _ in range(100): f.write(bytes(2**20))\nf.close()"
        worker.run(fill).ok()
        worker.run("x = bytearray(90 * 2**20)").raised("MemoryError")
        cell = worker.run("import os\nos.remove('f')\nx = bytearray(90 * 2**20); len(x)").ok()
        assert cell.text == str(90 * MIB)
        assert cell.done.peak_memory_bytes <= limit


def test_an_attempt_outside_is_refused_with_the_policys_reason(session):
    for code in ("open('/etc/passwd')", "import subprocess; subprocess.run(['id'])"):
        cell = session.run(code).raised("PermissionError")
        assert "not granted" in cell.error
        assert len(cell.asks) == 1


# ---- granted directories --------------------------------------------------------------------


MOUNTS = [wire.MountPoint(path="/data", writable=True)]
FILE = wire.FileStatus(kind=wire.KIND_FILE, size=12, mode=0o644, modified_ns=10**18)


@pytest.fixture
def mounted(zygote):
    with zygote.session(memory_bytes=512 * MIB, mounts=MOUNTS) as worker:
        yield worker


def test_pandas_reads_a_granted_file_through_the_descriptor_that_was_passed(mounted, tmp_path):
    (tmp_path / "f").write_bytes(b"a,b\n1,2\n3,4\n")
    mounted.gate = lambda ask: (
        regular_file(tmp_path / "f") if ask.HasField("open") else wire.Answer(status=FILE)
    )
    cell = mounted.run("import pandas as pd\npd.read_csv('/data/sub/../f').sum().tolist()").ok()
    assert cell.text == "[4, 6]"
    assert [ask.open.path for ask in cell.asks if ask.HasField("open")] == ["/data/f"]
    assert not any(ask.open.write for ask in cell.asks)


def test_pandas_reads_nothing_that_is_not_granted(mounted):
    cell = mounted.run("import pandas as pd\npd.read_csv('/data/f')").raised("PermissionError")
    assert "not granted" in cell.error


def test_what_is_written_to_a_granted_file_goes_through_the_gate(mounted):
    written = []

    def gate(ask):
        kind = ask.WhichOneof("ask")
        if kind == "open":
            return wire.Answer(opened=wire.Opened(handle=7, status=FILE))
        if kind == "write":
            written.append((ask.write.handle, ask.write.offset, ask.write.data))
            return wire.Answer(count=len(ask.write.data))
        return wire.Answer(status=FILE)

    mounted.gate = gate
    cell = mounted.run("with open('/data/g', 'w') as f: f.write('one\\ntwo\\n')").ok()
    assert written == [(7, 0, b"one\ntwo\n")]
    opened = [ask.open for ask in cell.asks if ask.HasField("open")]
    assert [(one.path, one.write, one.create, one.truncate) for one in opened] == [
        ("/data/g", True, True, True)
    ]
    assert cell.asks[-1].WhichOneof("ask") == "close"


def test_a_granted_directory_is_listed_as_the_gate_says(mounted):
    entries = [wire.Entry(name=name, kind=wire.KIND_FILE) for name in ("b", "a")]

    def gate(ask):
        if ask.HasField("list"):
            return wire.Answer(listing=wire.Listing(entries=entries))
        return wire.Answer(status=wire.FileStatus(kind=wire.KIND_DIRECTORY, mode=0o755))

    mounted.gate = gate
    assert mounted.run("import os; sorted(os.listdir('/data'))").ok().text == "['a', 'b']"
    assert mounted.run("os.symlink('x', '/data/l')").raised("PermissionError")


@pytest.mark.parametrize("errno", [1, 2, 13, 17, 20, 21, 30, 39, 122])
def test_the_gates_refusal_is_the_guests_error_by_name(mounted, errno):
    mounted.gate = lambda _: wire.Answer(errno=errno, reason="because of the rule")
    code = (
        "import errno\ntry: open('/data/f')\n"
        "except OSError as e: r = errno.errorcode[e.errno], e.strerror\nr"
    )
    name = __import__("errno").errorcode[errno]
    assert mounted.run(code).ok().text == repr((name, "because of the rule"))
