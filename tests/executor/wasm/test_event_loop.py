"""
asyncio in the guest: the usual loop, `await` in cells, interrupts, and what one thread cannot do.
"""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.image

PROGRAMS = {
    "sleeps end in the order of their times": """
        async def nap(name, seconds):
            await asyncio.sleep(seconds)
            print(name)
            return name
        async def main():
            print(await asyncio.gather(nap("c", 0.03), nap("a", 0.01), nap("b", 0.02)))
    """,
    "equal sleeps end in the order of their calls": """
        async def nap(number, seen):
            await asyncio.sleep(0.005)
            seen.append(number)
        async def main():
            seen = []
            await asyncio.gather(*(nap(number, seen) for number in range(200)))
            print(seen == list(range(200)))
    """,
    "callbacks and timers": """
        async def main():
            loop, done = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
            loop.call_later(0.02, done.set_result, "later")
            loop.call_at(loop.time() + 0.01, print, "at")
            loop.call_soon_threadsafe(print, "soon, from a thread")
            loop.call_soon(print, "soon")
            loop.call_later(0.015, print, "cancelled").cancel()
            print(await done)
    """,
    "timeouts": """
        async def main():
            try:
                await asyncio.wait_for(asyncio.sleep(60), 0.01)
            except TimeoutError as error:
                print(repr(error))
            try:
                async with asyncio.timeout(0.01):
                    await asyncio.Event().wait()
            except TimeoutError:
                print("over")
            done, pending = await asyncio.wait([asyncio.create_task(asyncio.sleep(60))], timeout=0)
            print(len(done), len(pending))
    """,
    "a task group cancels the others": """
        async def wait():
            try:
                await asyncio.sleep(60)
            finally:
                print("cancelled")
        async def fail():
            raise ValueError("no")
        async def main():
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(wait())
                    group.create_task(fail())
            except* ValueError as errors:
                print(errors.exceptions)
    """,
    "a queue between two tasks": """
        async def produce(queue):
            for number in range(5):
                await queue.put(number)
            await queue.put(None)
        async def main():
            queue = asyncio.Queue(2)
            maker = asyncio.create_task(produce(queue))
            while (number := await queue.get()) is not None:
                print(number, queue.qsize())
            await maker
    """,
    "a lock, a semaphore and an event": """
        async def work(name, lock, gate, ready):
            await ready.wait()
            async with gate, lock:
                print(name, "in")
                await asyncio.sleep(0)
                print(name, "out")
        async def main():
            lock, gate, ready = asyncio.Lock(), asyncio.Semaphore(2), asyncio.Event()
            tasks = [asyncio.create_task(work(n, lock, gate, ready)) for n in "abc"]
            await asyncio.sleep(0)
            ready.set()
            await asyncio.gather(*tasks)
    """,
    "an asynchronous generator is closed with its loop": """
        async def count():
            try:
                for number in range(10):
                    yield number
                    await asyncio.sleep(0)
            finally:
                print("closed")
        async def main():
            async for number in count():
                print(number)
                if number == 2:
                    break
            print([n * 2 async for n in count() if n > 7])
    """,
    "cancelling": """
        async def stubborn():
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError as error:
                print("asked", error.args)
                raise
        async def main():
            task = asyncio.create_task(stubborn())
            await asyncio.sleep(0)
            task.cancel("please")
            print(await asyncio.gather(task, return_exceptions=True))
            print(task.cancelled())
    """,
    "a pipe that is watched": """
        async def main():
            import os
            loop, done = asyncio.get_running_loop(), asyncio.Event()
            reader, writer = os.pipe()
            loop.add_reader(reader, lambda: (print(os.read(reader, 100)), done.set()))
            loop.call_later(0.01, os.write, writer, b"through a pipe")
            await done.wait()
            print(loop.remove_reader(reader), loop.remove_reader(reader))
            loop.add_writer(writer, lambda: (print("room"), loop.remove_writer(writer)))
            await asyncio.sleep(0.01)
            os.close(reader), os.close(writer)
    """,
    "streams over pipes": """
        async def main():
            import os
            loop = asyncio.get_running_loop()
            ends = [os.fdopen(end, mode) for end, mode in zip(os.pipe(), ("rb", "wb"))]
            reader = asyncio.StreamReader()
            await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), ends[0])
            writer, _ = await loop.connect_write_pipe(asyncio.Protocol, ends[1])
            writer.write(b"a line\\n" + b"x" * 300_000)
            print(await reader.readline())
            print(len(await reader.readexactly(300_000)))
            writer.close()
            print(await reader.read())
    """,
    "debug mode": """
        async def main():
            print(asyncio.get_running_loop().get_debug())
            asyncio.get_running_loop().set_debug(True)
            await asyncio.sleep(0.01)
            print(asyncio.get_running_loop().get_debug())
    """,
    "every way to a loop": """
        async def main():
            kinds = {type(asyncio.get_running_loop()), type(asyncio.new_event_loop())}
            print(len(kinds | {asyncio.SelectorEventLoop}) == 1)
            print(asyncio.get_event_loop() is asyncio.get_running_loop())
    """,
}  # fmt: skip
HEAD = "import asyncio, warnings\nwarnings.simplefilter('error', DeprecationWarning)\n"


def dedented(program):
    lines = program.strip("\n").rstrip().split("\n")
    return HEAD + "\n".join(line[8:] for line in lines) + "\n"


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_prints_what_it_prints_on_plain_python(session, program):
    """
    Under asyncio.run and awaited by the cell itself.
    """
    code = dedented(program)
    native = subprocess.run(
        [sys.executable, "-I", "-c", f"{code}asyncio.run(main())"], capture_output=True, check=True
    )
    assert native.stdout
    cell = session.run(f"{code}asyncio.run(main())").ok()
    assert (cell.stdout, cell.stderr) == (native.stdout, b"")
    again = session.run(f"{code}await main()\nimport gc; gc.collect(); await asyncio.sleep(0)").ok()
    assert (again.stdout, again.stderr) == (native.stdout, b"")


def test_asyncio_is_not_imported_before_a_cell_asks_for_it(session):
    assert session.run("import sys; 'asyncio' in sys.modules").ok().text == "False"
    assert session.run("import asyncio; asyncio.__spec__.loader").ok().text.startswith("<zipimport")


# ---- cells that await --------------------------------------------------------------------------

ADD = "async def add(a, b):\n    import asyncio\n    await asyncio.sleep(0)\n    return a + b\n"


def test_a_cell_may_await_and_its_last_expression_is_the_value(session):
    assert session.run(ADD + "await add(1, 2)").ok().text == "3"
    assert session.run("x = await add(3, 4)").ok().value is None
    assert session.run("x + await add(1, 1)").ok().text == "9"
    assert session.run("_ + 1").ok().text == "10"
    assert session.run("await add(1, 2);").ok().value is None


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("[n async for n in count()]", "[0, 1, 2]"),
        ("seen = []\nasync for n in count(): seen.append(n)\nseen", "[0, 1, 2]"),
        ("async with asyncio.Lock() as lock: pass\nlock", "None"),
        ("[await asyncio.sleep(0, n) for n in range(3)]", "[0, 1, 2]"),
        ("if await asyncio.sleep(0, True): y = 1\ny", "1"),
        ("await asyncio.sleep(0)\nasyncio.get_event_loop().is_running()", "True"),
        ("asyncio.get_event_loop().run_until_complete(asyncio.sleep(0, 5))", "5"),
    ],
)
def test_what_stands_in_a_coroutine_stands_in_a_cell(session, code, text):
    head = "import asyncio\nasync def count():\n    for n in range(3): yield n\n"
    assert (session.run(head + code).ok().text or "None") == text


@pytest.mark.parametrize(
    "code",
    ["def f(): await x", "lambda: await x", "class C: await x", "[await x for x in y]\nyield 1"],
)
def test_what_stands_in_no_coroutine_stands_in_no_cell(session, code):
    cell = session.run(f"print('ran')\n{code}").raised("SyntaxError")
    assert cell.stdout == b""
    assert f"    {code.splitlines()[-1]}\n" in cell.done.traceback


def test_a_task_waits_until_the_next_cell_that_awaits(session):
    session.run(
        "import asyncio\nlog = []\n"
        "async def work():\n    for n in range(5):\n        log.append(n); await asyncio.sleep(0)\n"
        "    return 'finished'\n"
        "task = asyncio.create_task(work()); await asyncio.sleep(0)"
    ).ok()
    log = session.run("log").ok().text
    assert log in {"[0]", "[0, 1]"}
    assert session.run("log").ok().text == log
    assert session.run("await task, log").ok().text == "('finished', [0, 1, 2, 3, 4])"


def test_a_task_needs_a_cell_that_awaits(session):
    told = session.run("import asyncio\nasyncio.create_task(asyncio.sleep(0))")
    assert told.raised("RuntimeError").error == "RuntimeError: no running event loop"


def test_context_variables_last_from_cell_to_cell(session):
    session.run("import asyncio, decimal, contextvars\nname = contextvars.ContextVar('name')").ok()
    session.run("await asyncio.sleep(0)\ndecimal.getcontext().prec = 50\nname.set(1)").ok()
    assert session.run("decimal.getcontext().prec, name.get()").ok().text == "(50, 1)"
    session.run("name.set(2)").ok()
    assert session.run("await asyncio.sleep(0, name.get())").ok().text == "2"


def test_asyncio_run_works_inside_a_cell_that_awaits(session):
    code = (
        "loop = asyncio.get_running_loop()\n"
        "other = asyncio.create_task(add(1, 1))\n"
        "inner = asyncio.run(add(2, 3))\n"
        "inner, await other, asyncio.get_running_loop() is loop, asyncio.current_task() is not None"
    )
    assert session.run("import asyncio\n" + ADD + code).ok().text == "(5, 2, True, True)"
    failing = "try: asyncio.run(asyncio.sleep('x'))\nexcept TypeError: pass\nawait add(1, 2)"
    assert session.run(failing).ok().text == "3"


def test_a_loop_that_runs_is_run_by_nobody_else(session):
    """
    The twin: asyncio.run makes a loop of its own; the cell's own loop is running already.
    """
    code = "import asyncio\nloop = asyncio.get_running_loop()\nawait asyncio.sleep(0)\n"
    told = session.run(code + "loop.run_until_complete(loop.create_future())").raised(
        "RuntimeError"
    )
    assert told.error == "RuntimeError: This event loop is already running"
    session.run(code + "loop.close()").raised("RuntimeError")


def test_a_session_whose_loop_was_closed_gets_another(session):
    session.run("import asyncio\nloop = asyncio.get_event_loop()\nloop.close()").ok()
    assert session.run("await asyncio.sleep(0, loop.is_closed())").ok().text == "True"


def test_code_of_a_cell_that_stopped_the_loop_does_not_go_on_later(session):
    code = (
        "import asyncio\nasyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop)\n"
        "await asyncio.sleep(0.01)\nprint('went on')"
    )
    session.run(code).raised("RuntimeError")
    assert session.run("await asyncio.sleep(0.02)").ok().stdout == b""


def test_leaving_a_cell_that_awaits_gives_its_code(session):
    for code in (
        "await asyncio.sleep(0)\nexit(3)",
        "asyncio.create_task(leave())\nawait asyncio.sleep(60)",
        "asyncio.run(leave())",
    ):
        cell = session.run("import asyncio\nasync def leave(): exit(3)\n" + code)
        assert (cell.done.status, cell.done.exit_code) == (cell.done.EXITED, 3), code
        assert session.run("await asyncio.sleep(0.001, 1)").ok().text == "1"
        assert cell.stderr == b""


def test_a_module_of_the_guests_own_called_asyncio_is_named_as_what_is_in_the_way(session):
    session.run("import sys\nsys.path.insert(0, '/work')\nopen('asyncio.py', 'w').close()").ok()
    session.run("async def f(): return 1").ok()
    told = session.run("await f()").raised("RuntimeError").error
    assert "from '/work/asyncio.py'> was imported: give that file another name" in told
    session.run("import os\nos.remove('asyncio.py')\ndel sys.modules['asyncio']").ok()
    assert session.run("await f()").ok().text == "1"


# ---- errors ------------------------------------------------------------------------------------

FAIL = "import asyncio\nasync def fail():\n    await asyncio.sleep(0)\n    return 1 / 0\n"


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("await fail()", "    await fail()\n"),
        ("asyncio.run(fail())", "    asyncio.run(fail())\n    ~~~~~~~~~~~^^^^^^^^\n"),
        (
            "asyncio.get_event_loop().run_until_complete(fail())",
            "    asyncio.get_event_loop().run_until_complete(fail())\n"
            "    ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~^^^^^^^^\n",
        ),
    ],
)
def test_a_traceback_shows_the_cells_frames_and_no_machinery(session, code, line):
    told = session.run(FAIL + code).raised("ZeroDivisionError").done.traceback
    assert told == (
        "Traceback (most recent call last):\n"
        f'  File "<cell 1>", line 5, in <module>\n{line}'
        '  File "<cell 1>", line 4, in fail\n'
        "    return 1 / 0\n           ~~^~~\n"
        "ZeroDivisionError: division by zero\n"
    )


def test_an_error_that_asyncio_raises_itself_shows_where(session):
    told = session.run("import asyncio\nawait asyncio.wait_for(asyncio.sleep(60), 0.001)")
    traceback = told.raised("TimeoutError").done.traceback
    assert "asyncio/timeouts.py" in traceback
    assert "base_events" not in traceback
    assert "<codecage>" not in traceback
    assert '  File "<cell 1>", line 2, in <module>\n' in traceback


def test_an_error_that_nobody_awaits_is_told_on_stderr(session):
    code = "t = asyncio.create_task(fail())\nawait asyncio.sleep(0.001)\ndel t"
    stderr = session.run(FAIL + code).ok().stderr.decode()
    assert stderr.startswith("Task exception was never retrieved\n")
    assert '  File "<cell 1>", line 4, in fail\n' in stderr
    assert "<codecage>" not in stderr


@pytest.mark.parametrize(
    "code",
    [
        "await ready.wait()",
        "asyncio.run(main())",
        "asyncio.get_event_loop().run_until_complete(main())",
    ],
)
def test_a_program_that_can_never_go_on_is_told_so(session, code):
    """
    Plain Python waits for ever; here nothing is left that could end the waiting.
    """
    head = "import asyncio\nready = asyncio.Event()\nasync def main():\n    await ready.wait()\n"
    cell = session.run(head + code).raised("Deadlock")
    assert cell.done.traceback.splitlines()[-1].startswith("Deadlock: every task waits")
    assert "await ready.wait()" in cell.done.traceback
    code = f"asyncio.get_event_loop().call_later(0.01, ready.set)\n{code}"
    assert session.run("ready = asyncio.Event()\nasync def main():\n    asyncio.get_running_loop()"
                       f".call_later(0.01, ready.set)\n    await ready.wait()\n{code}").ok()  # fmt: skip


def test_a_clock_that_stands_still_does_not_hold_timers(zygote):
    """
    A policy may freeze the clock: the loop counts what it has slept, and timers keep their order.
    """
    code = (
        "import asyncio, time\nloop = asyncio.get_running_loop()\nbegan = loop.time()\nseen = []\n"
        "for n in (3, 1, 2): loop.call_later(n / 100, seen.append, n)\n"
        "await asyncio.sleep(0.05)\n"
        "seen, round(loop.time() - began, 3), time.monotonic()"
    )
    with zygote.session(frozen_clock_ns=10**18) as frozen:
        assert frozen.run(code).ok().text == "([1, 2, 3], 0.05, 0.0)"
    with zygote.session() as running:
        assert running.run(code + " > 0").ok().text.endswith(", True)")


# ---- what needs a second thread or process -----------------------------------------------------

ALONE = (
    "this Python has one thread and one process. Call the function directly, in a plain loop, or "
    "await coroutines together with asyncio.gather."
)
POOL = "from concurrent.futures import *\nwith {}() as pool: print(list(pool.map(abs, [-1])))"


@pytest.mark.parametrize(
    ("code", "name", "start"),
    [
        ("import threading\nthreading.Thread(target=print).start()", "RuntimeError", "can't start new thread"),
        ("import threading\nthreading.Timer(0, print).start()", "RuntimeError", "can't start new thread"),
        (POOL.format("ThreadPoolExecutor"), "RuntimeError", "can't start new thread"),
        (POOL.format("ProcessPoolExecutor"), "NotImplementedError", "can't start new process"),
        ("import asyncio\nawait asyncio.to_thread(abs, -1)", "RuntimeError", "can't start new thread"),
        ("import asyncio\nasyncio.run(asyncio.to_thread(abs, -1))", "RuntimeError", "can't start new thread"),
        (
            "import asyncio\nawait asyncio.get_running_loop().run_in_executor(None, abs, -1)",
            "RuntimeError", "can't start new thread",
        ),
        ("import multiprocessing\nmultiprocessing.Pool(2)", "ModuleNotFoundError", "No module named '_multiprocessing'"),
        (
            "import multiprocessing\nmultiprocessing.Process(target=print).start()",
            "RuntimeError",
            "can't start new process",
        ),
        (
            "from multiprocessing.pool import ThreadPool\nThreadPool(2).map(abs, [1])",
            "ModuleNotFoundError", "No module named '_multiprocessing'",
        ),
    ],
)  # fmt: skip
def test_threads_and_processes_are_refused_with_what_to_do_instead(session, code, name, start):
    cell = session.run(code).raised(name)
    assert (cell.error, cell.stdout) == (f"{name}: {start}: {ALONE}", b"")
    assert "<codecage>" not in cell.done.traceback
    assert session.run("1").ok().text == "1"


def test_an_executor_that_needs_no_thread_works(session):
    code = (
        "import asyncio, concurrent.futures\n"
        "class Inline(concurrent.futures.Executor):\n"
        "    def submit(self, call, *args):\n"
        "        future = concurrent.futures.Future()\n"
        "        future.set_result(call(*args))\n"
        "        return future\n"
        "await asyncio.get_running_loop().run_in_executor(Inline(), abs, -3)"
    )
    assert session.run(code).ok().text == "3"


@pytest.mark.parametrize("call", ["exec('ls', '-l')", "shell('ls -l')"])
def test_a_subprocess_is_refused_in_the_policys_words_as_everywhere(session, call):
    told = session.run(f"import asyncio\nawait asyncio.create_subprocess_{call}")
    plain = session.run("import subprocess\nsubprocess.run(['ls'])")
    assert told.raised("PermissionError").error == plain.raised("PermissionError").error.replace("'ls'", repr(
        "ls" if call.startswith("exec") else "ls -l"))  # fmt: skip
    assert [ask.WhichOneof("ask") for ask in told.asks] == [
        ask.WhichOneof("ask") for ask in plain.asks
    ]


def test_the_loop_takes_no_signal_handlers(session):
    code = "import asyncio, signal\nawait asyncio.sleep(0)\n"
    add = "asyncio.get_running_loop().add_signal_handler(signal.SIGINT, print)"
    told = session.run(code + add).raised("NotImplementedError")
    assert told.error == (
        "NotImplementedError: the loop takes no signal handlers: an interrupt arrives as "
        "KeyboardInterrupt"
    )
