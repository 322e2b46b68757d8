"""
A virtual clock is moved by the session alone, so the same cells give the same bytes.

W60 and W63. What green does not prove: that a cell which a limit ends is the same twice; it is
not, because limits are held in real time.
"""

import ast
import time
from dataclasses import replace

import pytest

from executor.facts import FROZEN_NS, begin_frame, new_facts
from executor.wasm.process import VIRTUAL_MAX_NS, VIRTUAL_STEP_NS, Clock, VirtualClock
from policy.parse import parse
from tests.executor.wasm.tiny_kernel import Kernel
from tests.executor.wasm.wasi_world import WasiKernel
from tests.executor.wasm.world import MIB

START = 10**18
SECOND = 10**9
SEEDED = {"entropy": b"a" * 32, "deterministic": True}


def of(kernel, clock):
    """
    The clock's time in nanoseconds, as the guest asks for it.
    """
    assert kernel.call("clock_time_get", clock, 0, kernel.BUFFER) == 0
    return int.from_bytes(kernel.tiny.guest.read(kernel.BUFFER, 8), "little")


@pytest.fixture(params=[Kernel, WasiKernel], ids=["emscripten", "wasi"])
def virtual(request):
    kernel = request.param()
    kernel.process.keep_time(VirtualClock(START))
    return kernel


def test_every_look_at_any_clock_puts_all_of_them_on_by_one_step(virtual):
    seen = [of(virtual, 1), of(virtual, 0) - START, of(virtual, 2), of(virtual, 3), of(virtual, 1)]
    assert seen == [n * VIRTUAL_STEP_NS for n in range(5)]


def test_two_virtual_clocks_tell_the_same_times_and_real_ones_do_not():
    def looks(clock):
        return [clock.wall_ns(), clock.monotonic_ns(), clock.cpu_ns(), clock.wall_ns()]

    assert looks(VirtualClock(START)) == looks(VirtualClock(START))
    assert looks(Clock(None))[0] != looks(VirtualClock(START))[0]


def test_a_wait_is_over_at_once_and_the_time_has_passed(virtual):
    process = virtual.process
    before, used = process.clock.monotonic_ns(), process.clock.cpu_ns()
    assert process.sleeper.wait(3600.0) is False
    assert virtual.waited == [0]
    assert process.clock.monotonic_ns() - before == 3600 * SECOND + 2 * VIRTUAL_STEP_NS
    assert process.clock.cpu_ns() - used == 2 * VIRTUAL_STEP_NS


def test_the_same_wait_on_the_default_clock_is_waited_for():
    kernel = Kernel()
    kernel.process.keep_time(Clock(None))
    kernel.process.sleeper.wait(3600.0)
    assert kernel.waited == [3600.0]


def test_a_wait_that_is_interrupted_moves_no_clock():
    clock = VirtualClock(START)
    assert clock.wait(5.0, lambda _seconds: True) is True
    assert clock.monotonic_ns() == 0


def test_a_wait_without_end_is_really_waited_for(virtual):
    virtual.process.sleeper.wait(float("inf"))
    assert virtual.waited == [float("inf")]
    assert virtual.process.clock.monotonic_ns() == 0


def test_the_clock_stands_still_before_it_overflows(virtual):
    for _ in range(20):
        virtual.process.sleeper.wait(1e300)
    assert of(virtual, 1) == of(virtual, 1) == VIRTUAL_MAX_NS
    assert of(virtual, 0) == START + VIRTUAL_MAX_NS < 2**63


def test_a_clock_says_in_which_steps_it_goes(virtual):
    kernel = Kernel()
    for tested, step in ((virtual, VIRTUAL_STEP_NS), (kernel, 1_000_000)):
        assert tested.call("clock_res_get", 1, tested.BUFFER) == 0
        told = tested.tiny.guest.read(tested.BUFFER, 8)
        assert int.from_bytes(told, "little") == step


@pytest.mark.parametrize(
    ("clock", "frozen", "virtual"),
    [("real", 0, 0), ("frozen", FROZEN_NS, 0), ("virtual", 0, FROZEN_NS)],
)
def test_the_worker_is_told_the_clock_of_the_policy(clock, frozen, virtual):
    text = f"version: 1\nname: a\nclock: {clock}\nrandom: {{seed: 7}}\n"
    facts = new_facts(parse(text, file="a.yaml", base="/"), "core", {})
    begin = begin_frame(facts).begin
    assert (begin.frozen_clock_ns, begin.virtual_clock_ns) == (frozen, virtual)
    assert begin.deterministic


@pytest.mark.parametrize(
    ("clock", "captured", "told"),
    [("real", True, True), ("real", False, False), ("frozen", True, False)],
)
def test_the_worker_is_told_when_a_captured_session_was_created(clock, captured, told):
    text = f"version: 1\nname: a\nclock: {clock}\n"
    facts = new_facts(parse(text, file="a.yaml", base="/"), "core", {})
    begin = begin_frame(replace(facts, captured=captured)).begin
    assert begin.created_ns == (facts.created_ns if told else 0)


# ---- sessions ---------------------------------------------------------------------------------

CELLS = (
    "import os, random, secrets, tempfile, uuid\n"
    "print(random.random(), secrets.token_hex(), os.urandom(9), uuid.uuid4(), uuid.uuid1(),\n"
    "      tempfile.mktemp(), tempfile.NamedTemporaryFile().name, random.SystemRandom().random())",
    "import time, datetime\n"
    "print(time.time(), time.monotonic(), time.perf_counter_ns(), time.process_time(),\n"
    "      os.times()[:4], datetime.datetime.now(), datetime.date.today(),\n"
    "      time.get_clock_info('monotonic'), time.ctime(), time.localtime())",
    "print({'a', 'b', 'c', 1.5, None}, hash('x'), id([]), object(), {print, len, lambda: 0})",
    "open('f', 'w').write('x'); print(os.stat('f'), os.stat('/tmp'), os.listdir('/'))",
    "import asyncio\nasync def tick(n):\n    await asyncio.sleep(n / 100)\n    return n, time.time()\n"
    "print(await asyncio.gather(*map(tick, (5, 3, 4, 1))))",
    "time.sleep(10); print(time.time(), time.process_time())",
    "end = time.monotonic() + 0.05\nn = 0\nwhile time.monotonic() < end: n += 1\nn",
    "import sys; print(sys.getrefcount(None), len(sys.modules), dict(os.environ), os.getpid())",
    "%time sum(range(1000))",
    "class A: pass\nA()",
    "raise ValueError(object(), time.time())",
)  # fmt: skip
NUMPY = (
    "import numpy as np, pandas as pd\n"
    "print(np.random.rand(3), np.random.default_rng().random(), np.random.RandomState().rand())",
    "print(pd.Series(range(50)).sample(5).tolist(), pd.Timestamp.now())",
)


def run(zygote, cells, **facts):
    with zygote.session(**facts) as worker:
        ran = [worker.run(code) for code in cells]
    return [(one.stdout, one.stderr, one.text, one.done.traceback) for one in ran]


@pytest.mark.image
def test_w63_the_same_cells_give_the_same_bytes_on_a_virtual_clock(zygote):
    runs = [run(zygote, CELLS, **SEEDED, virtual_clock_ns=START) for _ in range(2)]
    assert runs[0] == runs[1]
    failed = [traceback for _, _, _, traceback in runs[0][:-1] if traceback]
    assert failed == []
    assert "ValueError" in runs[0][-1][3]


@pytest.mark.image
def test_w63_another_seed_or_a_running_clock_gives_others(zygote):
    first = run(zygote, CELLS[:2], **SEEDED, virtual_clock_ns=START)
    other = run(zygote, CELLS[:2], entropy=b"b" * 32, deterministic=True, virtual_clock_ns=START)
    real = run(zygote, CELLS[:2], **SEEDED)
    assert (first[0] != other[0], first[1] == other[1]) == (True, True)
    assert (first[0] == real[0], first[1] != real[1]) == (False, True)


@pytest.mark.image
def test_w60_a_virtual_clock_knows_nothing_of_the_work_between_two_looks(zygote):
    code = (
        "import time\nlook = time.monotonic_ns\n"
        "def cost(act):\n    before = look(); act(); return look() - before\n"
        "cost(lambda: None), cost(lambda: sum(range(3 * 10**6))), cost(lambda: open('f', 'w').close())"
    )
    with zygote.session(virtual_clock_ns=START) as worker:
        nothing, work, _ = ast.literal_eval(worker.run(code).ok().text)
    assert nothing == work == VIRTUAL_STEP_NS
    with zygote.session() as worker:
        nothing, work, _ = ast.literal_eval(worker.run(code).ok().text)
    assert work > nothing


@pytest.mark.image
def test_a_thousand_hours_of_sleep_are_over_at_once_and_their_time_has_passed(zygote):
    code = (
        "import time\nbefore = time.time()\nfor _ in range(1000): time.sleep(3600)\n"
        "round(time.time() - before)"
    )
    before = time.monotonic()
    with zygote.session(virtual_clock_ns=START) as worker:
        assert worker.run(code).ok().text == "3600000"
    assert time.monotonic() - before < 3600


@pytest.mark.image
def test_a_cell_that_sleeps_for_ever_is_interrupted(zygote):
    with zygote.session(virtual_clock_ns=START) as worker:
        code = "import time\nprint('begun')\nwhile True: time.sleep(100)"
        cell = worker.run(code, on=(b"begun", worker.signal))
        assert cell.done.status == cell.done.INTERRUPTED
        assert worker.run("1 + 1").ok().text == "2"


@pytest.mark.image
def test_w63_the_data_stack_gives_the_same_bytes_too(data_zygote):
    facts = {**SEEDED, "virtual_clock_ns": START, "memory_bytes": 512 * MIB}
    runs = [run(data_zygote, CELLS + NUMPY, **facts) for _ in range(2)]
    assert runs[0] == runs[1]
    assert [one[3] for one in (*runs[0][: len(CELLS) - 1], *runs[0][len(CELLS) :])] == [""] * (
        len(CELLS) + len(NUMPY) - 1
    )
    other = run(data_zygote, NUMPY, **{**facts, "entropy": b"b" * 32})
    assert other[0] != runs[0][len(CELLS)]
