"""
W rows that the other files of this folder leave open, over the whole service.

An attack runs in a real session, and its twin shows that the same call works where it may. What
is outside is looked at from outside: a neighbour's session, the worker's process, the record. What
green does not prove: bugs of the engine, which the worker's process is locked for.
"""

import ast
import threading

import psutil
import pytest

import agent_client
from agent_client import SessionLost, Status
from executor.images.catalog import find
from tests.e2e.serving import private_directory
from tests.security.granted import field

pytestmark = pytest.mark.image

OVER = {Status.TIMED_OUT, Status.CPU_LIMIT, Status.WORKER_LOST}


@pytest.fixture(scope="module")
def world():
    with field() as made:
        yield made


@pytest.fixture
def session(world):
    with world.session() as one:
        yield one


@pytest.fixture(autouse=True)
def a_neighbour_notices_nothing(world):
    """
    The neighbour's state from before the attack is there after it.
    """
    with world.session() as neighbour:
        neighbour.run("kept = 40")
        yield
        assert neighbour.run("kept + 2").value == "42"


def workers(world):
    """
    The processes below the world's server, by their ids: those of other servers come and go.
    """
    (server,) = (one for one in psutil.Process().children() if str(world.folder) in shown(one))
    return {child.pid for child in server.children(recursive=True)}


def shown(process):
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def is_ours(pid):
    try:
        return "executor" in " ".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return True


# ---- W15, W32, W33: what does not end by itself ----------------------------------------------------


def test_w15_a_cell_over_its_time_is_interrupted_in_the_same_process_and_keeps_its_state(
    world, session
):
    session.run("kept = [1]")
    before = workers(world)
    observation = session.run("print('partial', flush=True)\nwhile True: kept[0] += 1", timeout=2)
    assert (observation.status, observation.stdout) == (Status.TIMED_OUT, "partial\n")
    assert observation.error.name == "KeyboardInterrupt"
    assert int(session.run("kept[0]").value) > 1
    # None has ended; the pool may have made one meanwhile.
    assert before <= workers(world)


def test_w15_a_cell_that_declines_to_end_loses_its_process_and_no_other(world, session):
    before = workers(world)
    observation = session.run(
        "print('partial', flush=True)\nwhile True:\n"
        "    try:\n        while True: pass\n    except BaseException: pass",
        timeout=2,
    )
    assert (observation.status, observation.stdout) == (Status.WORKER_LOST, "partial\n")
    assert observation.session_lost
    with pytest.raises(SessionLost):
        session.run("1")
    assert len(before - workers(world)) <= 1


def test_w32_filling_memory_for_ever_inside_one_c_call_ends_with_the_time(session):
    """
    No byte of Python runs between two fills, so nothing looks at the signal: the process ends.
    """
    fill = "import collections, itertools\n"
    bounded = fill + "len(collections.deque(map(bytearray, itertools.repeat(2**20, 20)), 1).pop())"
    assert session.run(bounded).value == str(2**20)
    endless = fill + "collections.deque(map(bytearray, itertools.repeat(2**26)), maxlen=0)"
    assert session.run(endless, timeout=0.5).status in OVER


@pytest.mark.parametrize(
    "code",
    [
        "import re\nre.match('(?:a|a)*b', 'a' * {})",
        "len(str(3 ** (10 ** {})))",
        "class L(int):\n    def __lt__(self, other):\n        for _ in range(10 ** {}): pass\n        return True\nlen(sorted(map(L, range(50))))",
        "'a' * 10 ** {} * 0",
    ],
    ids=["re", "power", "lt", "repeat"],
)
def test_w33_c_code_that_takes_for_ever_ends_with_the_time(world, code):
    with world.session() as one:
        assert one.run(code.format(3)).status in {Status.OK, Status.ERROR}
    with world.session() as one:
        observation = one.run(code.format(60 if "re." in code else 12), timeout=0.5)
    assert observation.status in OVER | {Status.ERROR}, observation.text
    if observation.status is Status.ERROR:
        assert observation.error.name in {"MemoryError", "OverflowError"}


# ---- W14, W35, W44: the engine's own limits ----------------------------------------------------------


def test_w14_exceptions_of_c_code_are_caught_for_ever_without_filling_the_host(session):
    """
    setjmp and longjmp of C code are the engine's exceptions; a hundred thousand leave nothing
    behind. Hoarding them needs code that no image has: test_wasm_rows_calls.py.
    """
    code = (
        "import sqlite3\nc = sqlite3.connect(':memory:')\nfor n in range({}):\n"
        "    try:\n        c.execute('nonsense')\n    except sqlite3.Error:\n        pass\nn"
    )
    first = session.run(code.format(1000))
    more = session.run(code.format(100_000))
    assert (first.value, more.value) == ("999", "99999")
    assert more.peak_memory - first.peak_memory < 2**22


NESTED = """
import ctypes
kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
deepest = 0
def down(n):
    global deepest
    deepest = n
    return 0 if n == LIMIT else back(n + 1)
back = kind(down)
back(1)
deepest
"""


def test_w35_calls_in_and_out_of_native_code_nest_to_a_limit(world):
    with world.session() as one:
        assert one.run(NESTED.replace("LIMIT", "20")).value == "20"
        observation = one.run(NESTED.replace("LIMIT", "10**9"))
        # The innermost callback's error has nobody to go to: ctypes writes it, and returns.
        assert "RecursionError" in observation.stderr
        assert 20 < int(observation.value) < 200
        assert one.run("'alive'").value == "'alive'"


@pytest.mark.parametrize(
    "code",
    [
        # A reference count of a million lies, an object type that is none, and code beyond its end.
        "import ctypes\nx = object()\nctypes.memset(id(x), 255, 16)\ndel x\n[object() for _ in range(9)]",
        "import ctypes\nx = [1]\nctypes.c_uint32.from_address(id(x) + 4).value = 0xfffffff0\nrepr(x)",
        "f = lambda: 0\nf.__code__ = f.__code__.replace(co_code=bytes([83, 255] * 50), co_stacksize=0)\nf()",
        "f = lambda: 0\nf.__code__ = f.__code__.replace(co_consts=(), co_names=())\nf()",
        "import ctypes\nctypes.memset(0, 255, 2**20)",
        "import ctypes\nfor at in range(2**16, 2**26, 2**16): ctypes.memset(at, at & 255, 4096)",
    ],
    ids=["refcount", "type", "bytecode", "constants", "zero page", "all memory"],
)
def test_w44_corrupting_the_interpreter_harms_that_session_alone(world, code):
    before = world.digest()
    with world.session() as one:
        observation = one.run(code, timeout=5)
        assert observation.status in {*OVER, Status.OK, Status.ERROR}, observation.text
    assert world.digest() == before
    with world.session() as fresh:
        assert fresh.run("open('/data/readme.txt').read()").value == "'hello'"


# ---- W30, W31, W54: what a guest costs others -------------------------------------------------------

LIMITED = """\
version: 1
name: limited
filesystem:
  - {{mount: /data, source: {source}, access: read, deny: [{deny}]}}
  - {{mount: /out, source: {out}, access: read-write, quota: 64Ki, max_files: 10}}
limits: {{memory: 256Mi, cpu_time: 1s, wall_time: 20s, output: 16Ki, requests: 200}}
"""
# Nobody who backtracks comes back from this one.
BOMB = "**/" + "a*" * 100 + "b"


@pytest.fixture(scope="module")
def limited():
    with private_directory() as folder:
        folder.chmod(0o755)
        for name in ("policies", "data", "out"):
            (folder / name).mkdir(mode=0o755)
        (folder / "out").chmod(0o777)
        (folder / "data" / ("a" * 250)).write_text("not denied")
        (folder / "data" / ("a" * 249 + "b")).write_text("denied")
        (folder / "policies" / "limited.yaml").write_text(
            LIMITED.format(source=folder / "data", out=folder / "out", deny=f'"{BOMB}"')
        )
        with agent_client.connect(policies=folder / "policies") as cage:
            yield cage


def test_w30_cheap_calls_without_end_are_stopped_by_the_cpu_time(limited):
    """
    While one session does nothing but calls, a neighbour of the same policy goes on working.
    """
    code = "import os, time\nkept = 1\nwhile True: time.time(); os.getcwd(); os.umask(0)"
    ended = []
    with limited.session("limited") as busy, limited.session("limited") as neighbour:
        flood = threading.Thread(target=lambda: ended.append(busy.run(code)))
        flood.start()
        answers = {neighbour.run("6 * 7").value for _ in range(20)}
        flood.join()
        assert busy.run("kept").value == "1"
    assert answers == {"42"}
    assert ended[0].status is Status.CPU_LIMIT
    assert ended[0].cpu_time >= 1


def test_w31_a_glob_bomb_costs_its_policy_no_more_than_a_name(limited):
    with limited.session("limited") as one:
        assert one.run("open('/data/' + 'a' * 250).read()").value == "'not denied'"
        assert one.run("open('/data/' + 'a' * 249 + 'b')").error.name == "FileNotFoundError"
        assert one.run("import os; len(os.listdir('/data'))").value == "1"


@pytest.mark.parametrize(
    "code",
    [
        "for n in range(10**6):\n    try: open(f'/data/absent{n}')\n    except OSError: pass",
        "open('/out/big', 'wb').write(bytes(2**20))",
        "for n in range(10**6): open(f'/out/{n}', 'w').close()",
        "while True: print('x' * 1000)",
        "kept = []\nwhile True: kept.append(bytearray(2**20))",
        "while True: pass",
    ],
    ids=["record", "quota", "files", "output", "memory", "cpu"],
)
def test_w54_what_one_session_uses_up_is_its_own(limited, code):
    with limited.session("limited") as greedy:
        observation = greedy.run(code)
        assert not observation.ok or observation.truncated, observation.text
        with limited.session("limited") as neighbour:
            assert neighbour.run("open('/data/' + 'a' * 250).read()").value == "'not denied'"
            assert neighbour.run("len(bytearray(2**24)), print('x' * 1000)").ok


# ---- W41, W52, W53: what passes between sessions, and to the server --------------------------------


def test_w41_a_value_that_would_run_code_where_it_is_unpickled_is_a_text(world, session):
    """
    The same bytes do run code for whoever unpickles them: the guest, which has no programs.
    """
    code = (
        "import os, pickle\nclass A:\n    def __reduce__(self): return os.system, ('id',)\n"
        "    def __repr__(self): return 'A()'\n"
    )
    before = workers(world)
    assert session.run(code + "A()").value == "A()"
    assert session.run("pickle.dumps(A())").value.startswith("b'")
    session.run("open('/work/out/a.pickle', 'wb').write(pickle.dumps(A()))")
    assert not [record for record in session.audit() if record.request.startswith("run ")]
    # The pool may have made a worker meanwhile, which is a program of ours.
    assert all(map(is_ours, workers(world) - before))
    assert session.run("pickle.loads(pickle.dumps(A()))").error.name == "PermissionError"
    asked = [record.decision for record in session.audit() if record.request == "run id"]
    assert asked == ["deny"]


def test_w52_a_session_begins_with_three_descriptors_and_no_file_of_another(world):
    code = (
        "import os\ndef there(n):\n    try: os.fstat(n)\n    except OSError: return False\n"
        "    return True\n[n for n in range(1024) if there(n)]"
    )
    with world.session() as one:
        one.run("kept = [open('/data/readme.txt') for _ in range(20)]")
        with world.session() as two:
            assert two.run(code).value == "[0, 1, 2]"
        assert len(ast.literal_eval(one.run(code).value)) == 23


def test_w52_the_clock_and_the_chance_of_a_session_are_its_own(world):
    code = "import random, time\nrandom.random(), time.monotonic() < 60"
    with world.session() as one, world.session() as two:
        first, second = (ast.literal_eval(each.run(code).value) for each in (one, two))
    assert first[0] != second[0]
    assert first[1] is second[1] is True


@pytest.mark.parametrize("act", ["open", "os.stat", "os.listdir", "os.readlink", "os.remove"])
@pytest.mark.parametrize(
    "paths",
    [("/etc/passwd", "/root", "/proc/1/root", "/nowhere/at/all"), ("/data/a.key", "/data/no.key")],
    ids=["outside", "denied"],
)
def test_w53_what_is_there_and_not_granted_is_told_as_what_is_nowhere(session, act, paths):
    """
    One error and one sentence, but for the name that the guest itself said.
    """
    told = {
        session.run(
            f"import os\npath = {path!r}\ntry:\n    {act}(path)\nexcept OSError as error:\n"
            "    said = type(error).__name__, error.errno, error.strerror.replace(path, 'PATH')\nsaid"
        ).value
        for path in paths
    }
    assert len(told) == 1, told
    assert "FileNotFoundError" in told.pop()
    assert session.run("os.stat('/data/readme.txt').st_size").value == "5"


# ---- W63: the same again ------------------------------------------------------------------------------

SEEDED = """\
version: 1
name: seeded
image: [{images}]
filesystem: [{{mount: /data, source: {data}, access: read, deny: ["*.key"]}}]
random: {{seed: 7}}
clock: virtual
limits: {{memory: 256Mi}}
"""
CELLS = (
    "import random, uuid, time, os\nrandom.random(), uuid.uuid4(), time.time(), os.urandom(4)",
    "open('/data/a').read()",
    "open('/data/a.key')",
    "open('/etc/passwd')",
    "print({'a', 'b', 1.5}, id([])); time.sleep(3); time.time()",
    "import os; os.system('id')",
    "1 / 0",
)
DETERMINISTIC = ("core", "python313", "math", "web")


@pytest.fixture(scope="module")
def seeded():
    built = [name for name in DETERMINISTIC if find(name) is not None]
    with private_directory() as folder:
        folder.chmod(0o755)
        for name in ("policies", "data"):
            (folder / name).mkdir(mode=0o755)
        for name in ("a", "a.key"):
            (folder / "data" / name).write_text(name)
        text = SEEDED.format(images=", ".join(built), data=folder / "data")
        (folder / "policies" / "seeded.yaml").write_text(text)
        other = text.replace("seeded", "other").replace("seed: 7", "seed: 8")
        (folder / "policies" / "other.yaml").write_text(other)
        with agent_client.connect(policies=folder / "policies") as cage:
            yield cage


def told(cage, policy, image):
    """
    What a session of the cells told: its bytes, and its record without sequence, time and hash.
    """
    with cage.session(policy, image=image) as one:
        seen = [one.run(code) for code in CELLS]
    bytes_told = [
        (each.stdout, each.value, each.error, each.requests, each.denied) for each in seen
    ]
    record = [
        (each.origin, each.cell, each.event, each.request, each.decision, each.rule, each.outcome)
        for each in one.audit()
    ]
    return bytes_told, record, {each.policy_digest for each in one.audit()}


@pytest.mark.parametrize("image", DETERMINISTIC)
def test_w63_the_same_cells_give_the_same_bytes_and_the_same_record(seeded, image):
    if find(image) is None:
        pytest.skip(f"the image `{image}` is not built: run `codecage image build {image}`")
    one, two, other = (told(seeded, policy, image) for policy in ("seeded", "seeded", "other"))
    assert one == two
    assert one[0][1] == other[0][1], "a file is what it is"
    assert one[0][0] != other[0][0], "the seed is what makes them alike"
    requests = [request for _, _, event, request, *_ in one[1] if event == "decision"]
    assert requests == ["read /data/a", "read /data/a.key", "read /etc/passwd", "run id"]
