"""
Stopping a cell from outside: the code is interrupted, the session keeps its state.
"""

import pytest

from tests.executor.wasm.world import Zygote

pytestmark = pytest.mark.image

LOOPS = {
    "a Python loop": "while True: pass",
    "a generator": "sum(1 for _ in iter(int, 1))",
    "a sleep": "import time; time.sleep(10**9)",
    "a poll": "import select; select.poll().poll()",
    "a sort with a key": "while True: sorted(range(10**5), key=lambda n: -n)",
    "a catastrophic pattern": "import re; re.match('(?:a|a)*b', 'a' * 60)",
    "a power of integers": "3 ** 10**7",
    "a repr": "repr(type('L', (), {'__repr__': lambda self: '' if [0 for _ in iter(int, 1)] else ''})())",
}


def stop(worker, *, limit=False):
    return (b"begun", lambda: worker.signal(limit=limit))


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_a_cell_is_interrupted_wherever_it_is_and_its_state_is_kept(session, loop):
    cell = session.run(f"kept = 5\nprint('begun')\n{loop}", on=stop(session))
    assert (cell.done.status, cell.error) == (cell.done.INTERRUPTED, "KeyboardInterrupt")
    assert session.run("kept").ok().text == "5"


def test_a_long_c_call_ends_first_and_is_interrupted_then(session):
    """
    `sum(range(n))` is one C call that never polls. The soft stop waits for it; the server's hard
    stop, which kills the process, is what bounds it (W33, W32).
    """
    cell = session.run("print('begun')\nsum(range(5 * 10**6))", on=stop(session))
    assert cell.done.status == cell.done.INTERRUPTED
    assert session.run("1").ok().text == "1"


def test_the_hard_stop_ends_what_the_soft_one_cannot(zygote):
    worker = zygote.spawn().begin()
    killed = []
    with pytest.raises((AssertionError, ConnectionError)):
        worker.run(
            "print('begun')\nsum(range(10**12))",
            on=(b"begun", lambda: (worker.signal(), worker.kill(), killed.append(True))),
        )
    assert killed == [True]
    worker.close()


def test_a_time_limit_says_so(session):
    cell = session.run("print('begun')\nwhile True: pass", on=stop(session, limit=True))
    assert cell.error == "KeyboardInterrupt: the wall time of 1 s is over"
    told = session.run("print('begun')\nwhile True: pass", on=stop(session))
    assert told.error == "KeyboardInterrupt"


def test_code_that_swallows_the_interrupt_goes_on(session):
    """
    A soft stop is a request: `except:` may decline it, and the server kills the process then.
    """
    code = "print('begun')\ntry:\n    while True: pass\nexcept BaseException:\n    print('no')"
    assert session.run(code, on=stop(session)).ok().stdout == b"begun\nno\n"


def test_cleanup_runs_when_a_cell_is_interrupted(session):
    code = "print('begun')\ntry:\n    while True: pass\nfinally:\n    print('cleaned')"
    cell = session.run(code, on=stop(session))
    assert (cell.done.status, cell.stdout) == (cell.done.INTERRUPTED, b"begun\ncleaned\n")


def test_output_before_the_interrupt_is_delivered(session):
    cell = session.run("print('begun', end='')\nwhile True: pass" .replace("begun'", "begun', flush=True"),
                       on=stop(session))  # fmt: skip
    assert cell.stdout == b"begun"


def test_an_interrupt_between_cells_hits_none(session):
    """
    The next cell waits until the signal has arrived, and it is dropped then.
    """
    for number in range(20):
        session.signal(limit=number % 2 == 0)
        assert session.run("sum(range(1000))").ok().text == "499500"


@pytest.mark.parametrize("limit", [False, True])
def test_one_that_comes_before_its_cell_has_started_is_not_lost(limit, zygote):
    """
    The server sends it after the cell, and a worker that was just forked rehearses then.
    """
    worker = zygote.spawn()
    worker.signal(limit=limit)
    worker.sent = 0  # as the frame of the cell, which went before, had it
    cell = worker.begin().run("while True: pass")
    assert cell.done.status == cell.done.INTERRUPTED
    said = ": the wall time of 1 s is over" if limit else ""
    assert cell.error == f"KeyboardInterrupt{said}"
    worker.sent = 1
    assert worker.run("1 + 1").ok().text == "2"
    worker.close()


def test_many_interrupts_of_one_cell_hit_no_later_one(session):
    def storm():
        for _ in range(10):
            session.signal()

    cell = session.run("print('begun')\nwhile True: pass", on=(b"begun", storm))
    assert cell.done.status in {cell.done.INTERRUPTED, cell.done.ERROR}
    for _ in range(5):
        assert session.run("1 + 1").ok().text == "2"


def test_w37_a_guest_that_signals_itself_interrupts_itself_alone(session, zygote):
    cell = session.run("import _thread\n_thread.interrupt_main()\nwhile True: pass")
    assert cell.done.status == cell.done.INTERRUPTED
    with zygote.session() as other:
        assert other.run("1").ok().text == "1"


def test_a_handler_of_the_guests_own_is_called_once(session):
    code = (
        "import signal\ncalls = []\n"
        "old = signal.signal(signal.SIGINT, lambda *_: calls.append(1))\n"
        "print('begun')\nwhile not calls: pass\nsignal.signal(signal.SIGINT, old)\ncalls"
    )
    assert session.run(code, on=stop(session)).ok().text == "[1]"


def test_a_busy_worker_does_not_outlive_its_zygote():
    with Zygote() as zygote:
        worker = zygote.spawn().begin()
        with pytest.raises((AssertionError, ConnectionError)):
            worker.run("print('begun')\nwhile True: pass", on=(b"begun", zygote.close))
        worker.close()
        zygote.close = lambda: None
