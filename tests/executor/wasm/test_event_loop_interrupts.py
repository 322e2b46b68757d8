"""
Interrupting a program of asyncio's: it ends, wherever it is, and the loop can be used again.
"""

import pytest

pytestmark = pytest.mark.image

WAITS = {
    "a sleep in a cell": "await asyncio.sleep(10**6)",
    "a sleep under asyncio.run": "asyncio.run(asyncio.sleep(10**6))",
    "a sleep under run_until_complete": "asyncio.get_event_loop().run_until_complete(asyncio.sleep(99))",
    "many sleeps": "await asyncio.gather(*(asyncio.sleep(10**6) for _ in range(10)))",
    "a task group": "async with asyncio.TaskGroup() as g: g.create_task(asyncio.sleep(10**6))",
    "a nested run": "await asyncio.sleep(0)\nasyncio.run(asyncio.sleep(10**6))",
    "a pipe": "asyncio.get_event_loop().add_reader(os.pipe()[0], print)\nawait asyncio.Event().wait()",
    "a busy coroutine": "await busy()",
    "a busy task": "asyncio.create_task(busy())\nawait asyncio.sleep(10**6)",
    "a busy callback": "asyncio.get_event_loop().call_soon(spin)\nawait asyncio.sleep(10**6)",
    "a busy nested run": "await asyncio.sleep(0)\nasyncio.run(busy())",
    "nothing but turns": "while True: await asyncio.sleep(0)",
    "tasks that take turns": "await asyncio.gather(*(turns() for _ in range(5)))",
    "turns under asyncio.run": "asyncio.run(turns())",
}
HELD = (
    "import asyncio, os\nkept = 5\n"
    "def spin():\n    while True: pass\n"
    "async def busy(): spin()\n"
    "async def turns():\n    while True: await asyncio.sleep(0)\n"
)


def stop(worker, *, limit=False):
    return (b"begun", lambda: worker.signal(limit=limit))


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_an_interrupt_ends_a_cell_and_leaves_the_loop_usable(session, wait):
    session.run(HELD).ok()
    for limit, error in ((False, ""), (True, ": the wall time of 1 s is over")):
        cell = session.run(f"print('begun')\n{wait}", on=stop(session, limit=limit))
        assert (cell.done.status, cell.error) == (
            cell.done.INTERRUPTED,
            f"KeyboardInterrupt{error}",
        )
        assert "<codecage>" not in cell.done.traceback
        assert (cell.stderr, cell.done.traceback.count("KeyboardInterrupt")) == (b"", 1)
        after = "t = asyncio.create_task(asyncio.sleep(0.001, 2))\nawait asyncio.sleep(0.001, kept) + await t"
        assert session.run(after).ok().text == "7"


def test_the_traceback_of_an_interrupt_says_where_the_program_waited(session):
    code = "import asyncio\nasync def main():\n    print('begun')\n    await asyncio.sleep(99)\n"
    for call in ("await main()", "asyncio.run(main())"):
        told = session.run(code + call, on=stop(session)).done.traceback
        assert told.startswith("Traceback (most recent call last):\n")
        assert "line 4, in main\n    await asyncio.sleep(99)\n" in told
        assert told.splitlines()[-1] == "KeyboardInterrupt"


def test_tasks_clean_up_when_a_cell_is_interrupted(session):
    code = (
        "import asyncio\n"
        "async def work():\n"
        "    try:\n        print('begun')\n        await asyncio.sleep(99)\n"
        "    finally:\n        await asyncio.sleep(0.001)\n        print('cleaned')\n"
    )
    for call in ("await work()", "asyncio.run(work())", "await asyncio.gather(work())"):
        cell = session.run(code + call, on=stop(session))
        assert (cell.done.status, cell.stdout) == (cell.done.INTERRUPTED, b"begun\ncleaned\n"), call


def test_an_interrupted_cell_takes_the_tasks_it_started_with_it(session):
    """
    The twin, a cell that ends by itself, leaves them to the next cell that awaits.
    """
    # Tasks that rest: one that runs may be what the interrupt strikes.
    rests = "async def rests(): await asyncio.sleep(3600)\n"
    session.run(HELD + rests + "older = asyncio.create_task(rests())\nawait asyncio.sleep(0)").ok()
    start = "newer = asyncio.create_task(rests())\nprint('begun')\nawait asyncio.sleep({})"
    session.run(start.format(0)).ok()
    assert session.run("older.done(), newer.done()").ok().text == "(False, False)"
    session.run(start.format(99), on=stop(session))
    assert session.run("older.done(), newer.cancelled()").ok().text == "(False, True)"


def test_an_interrupt_that_strikes_a_finaliser_strikes_what_comes_after(session):
    """
    Plain Python prints it there and forgets it.
    """
    code = (
        "class Slow:\n    def __del__(self):\n        print('begun')\n        while True: pass\n"
        "Slow()\nprint('went on')\nwhile True: pass"
    )
    for limit, error in ((False, ""), (True, ": the wall time of 1 s is over")):
        cell = session.run(code, on=stop(session, limit=limit))
        assert (cell.done.status, cell.error) == (
            cell.done.INTERRUPTED,
            f"KeyboardInterrupt{error}",
        )
        assert (cell.stdout, cell.stderr) == (b"begun\n", b"")
    raising = "class Odd:\n    def __del__(self): raise ValueError('told')\nOdd() and None"
    assert b"ValueError: told" in session.run(raising).ok().stderr


def test_a_task_that_declines_to_be_cancelled_goes_on(session):
    code = (
        "import asyncio\nprint('begun')\n"
        "try: await asyncio.sleep(99)\nexcept asyncio.CancelledError: print('no')\n"
        "await asyncio.sleep(0.001)\n'done'"
    )
    cell = session.run(code, on=stop(session)).ok()
    assert (cell.stdout, cell.text) == (b"begun\nno\n", "'done'")


def test_interrupts_at_any_moment_never_break_the_loop(session):
    """
    Each round stops a hundred tasks that pass a token at another point of the loop's work.
    """
    session.run(
        "import asyncio\n"
        "async def ring(get, put):\n"
        "    while True:\n        put.put_nowait(await get.get() + 1)\n        await asyncio.sleep(0)\n"
        "async def race(seconds=None):\n"
        "    queues = [asyncio.Queue() for _ in range(100)]\n"
        "    pairs = zip(queues, queues[1:] + queues[:1])\n"
        "    tasks = [asyncio.create_task(ring(*pair)) for pair in pairs]\n"
        "    queues[0].put_nowait(0)\n"
        "    for delay in range(10**9):\n        await asyncio.sleep(delay % 3 / 1000)\n"
        "        if seconds is not None and delay > 20: break\n"
        "    for task in tasks: task.cancel()\n"
        "    await asyncio.gather(*tasks, return_exceptions=True)\n"
    ).ok()
    for number in range(25):
        call = ("await race()", "asyncio.run(race())")[number % 2]
        cell = session.run(f"print('begun')\n{call}", on=stop(session))
        assert cell.done.status == cell.done.INTERRUPTED, cell.done
        assert "<codecage>" not in cell.done.traceback
        assert cell.stderr == b""
    assert session.run("len(asyncio.all_tasks(asyncio.get_event_loop()))").ok().text == "0"
    assert session.run("await race(0.001)\n'sound'").ok().text == "'sound'"
