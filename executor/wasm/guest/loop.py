"""
asyncio for a guest with one thread: runs inside the cage, after `import asyncio`.

The standard library's loop wakes itself through a socket pair, which cannot be made here and is
not needed: nothing else runs that could wake it. What is left is waiting, for a timer or for
descriptors, and that is one poll(2). Programs see the usual loop, as the default of the policy;
cells that await share one loop for the session, so that their tasks outlive a cell.

Interrupts decide the rest of the shape. One that strikes a program's code is raised there, as
everywhere. One that strikes asyncio's own code would lose a callback or wake nobody, so the
runtime puts it off until that code is left: for a program, or for `Selector.select`, where
nothing can be lost. Whichever way it comes, what was being run to its end is cancelled, may clean
up, and the loop can be used again. (Rejected: asyncio.run's own handler, which only cancels: it
does not end a coroutine that never awaits.)
"""

import asyncio
import math
import os
import select
import selectors
import socket
import time
from asyncio import events, futures, runners, sslproto, tasks, unix_events

# Between two equal reads of a clock that steps by milliseconds: timers keep the order in which
# they were set, which a heap does not for equal times.
TICK = 1e-9
# Timers that are due within this many seconds run in the same turn: 100,000 ticks.
TURN = 1e-4
DIRECTORY = os.path.dirname(asyncio.run.__code__.co_filename) + "/"
FILENAME = "<codecage>"

NO_THREADS = None
refuse_program = None
_run = asyncio.run
_connection_made = sslproto.SSLProtocol.connection_made
_session = None


def install(no_threads, refuse):
    """Make `EventLoop` what every way to a loop gives."""
    global NO_THREADS, refuse_program
    NO_THREADS, refuse_program = no_threads, refuse
    unix_events._UnixDefaultEventLoopPolicy._loop_factory = EventLoop
    for module in (asyncio, unix_events):
        module.SelectorEventLoop = module.EventLoop = EventLoop
    events._event_loop_policy = Policy()
    asyncio.run = runners.run = run
    sslproto.SSLProtocol.connection_made = secure


def drive(coroutine, context):
    """
    Run a cell's coroutine to its end on the session's loop, in the session's context.

    The tasks that it leaves wait for the next cell, unless it was interrupted: then they end
    with it.
    """
    loop = session_loop()
    before = tasks.all_tasks(loop)
    task = loop.create_task(coroutine, context=context)
    try:
        return loop.run_until_complete(task)
    except KeyboardInterrupt:
        cancel(loop, tasks.all_tasks(loop) - before)
        raise
    finally:
        # However the cell ended, its own code does not go on in the next one.
        task.cancel()


def cancel(loop, left):
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(tasks.gather(*left, return_exceptions=True))


def session_loop():
    """The loop of the cells; a new one when the guest has closed it."""
    global _session
    if _session is None or _session.is_closed():
        _session = EventLoop()
    return _session


def run(main, **options):
    """asyncio.run, also inside a running loop, which then stands still as for any other call."""
    outer = events._get_running_loop()
    if outer is None:
        return _run(main, **options)
    task = tasks._swap_current_task(outer, None)
    events._set_running_loop(None)
    try:
        return _run(main, **options)
    finally:
        events._set_running_loop(outer)
        tasks._swap_current_task(outer, task)


run.__doc__ = _run.__doc__


def secure(self, transport):
    """SSLProtocol.connection_made, which knows nothing of sockets: its object of `ssl` has to."""
    self._sslobj.carrier = transport.get_extra_info("socket")
    _connection_made(self, transport)


def is_at_work(frame):
    """Whether asyncio's own code runs in `frame`, which an exception would leave half done."""
    return frame is not None and frame.f_code.co_filename.startswith(DIRECTORY)


class Deadlock(RuntimeError):
    """Everything waits, and nothing is left that could end the waiting."""

    __module__ = "builtins"


class Policy(unix_events._UnixDefaultEventLoopPolicy):
    """The policy under which a cell always has a loop."""

    def get_event_loop(self):
        return session_loop() if self._local._loop is None else self._local._loop


class Selector(getattr(selectors, "PollSelector", selectors.SelectSelector)):
    """
    The selector that is there, and the one place where the guest waits.

    What ends a wait early is a descriptor, or an exception: a signal handler of the guest's own
    that raises none, and calls the loop instead, is heard when the wait is over.
    """

    loop = None

    def select(self, timeout=None):
        if timeout is None and not self.get_map():
            raise Deadlock(
                "every task waits, and no timer, callback or open descriptor is left that could "
                "wake one: see what is awaited here, and who should have set, put or released it"
            )
        before = time.monotonic()
        found = self._wait(timeout)
        if timeout and not found and time.monotonic() == before:
            self.loop.stood_still += timeout
        return found

    def _wait(self, timeout):
        if self.get_map():
            return super().select(timeout)
        if timeout > 0:
            pause(timeout)
        return []


if hasattr(select, "poll"):
    _poller = select.poll()

    def pause(seconds):
        """Wait; an interrupt ends it at once."""
        _poller.poll(math.ceil(seconds * 1000))

else:
    pause = time.sleep


class EventLoop(unix_events._UnixSelectorEventLoop):
    """The standard loop without its pipe to itself, its threads and its processes."""

    # Seconds by which this loop is ahead of a clock that stands still, by order of a policy.
    stood_still = 0.0
    _last = 0.0

    def __init__(self, selector=None):
        selector = Selector() if selector is None else selector
        super().__init__(selector)
        self._clock_resolution = TURN
        selector.loop = self

    def time(self):
        now = time.monotonic() + self.stood_still
        self._last = now if now > self._last else self._last + TICK
        return self._last

    def run_until_complete(self, future):
        self._check_closed()
        self._check_running()
        made = not futures.isfuture(future)
        future = tasks.ensure_future(future, loop=self)
        if made:
            future._log_destroy_pending = False
        try:
            return super().run_until_complete(future)
        except BaseException as end:
            # A plain RuntimeError says that the loop was stopped or is running.
            if not future.done() and type(end) is not RuntimeError:
                return self._wind_up(future, end)
            raise
        finally:
            if future.done() and not future.cancelled():
                # Raised here already: asyncio must not complain that nobody looked at it.
                future.exception()

    def _wind_up(self, future, end):
        """Cancel what was to be run to its end, let it clean up, and raise what ended it."""
        future.cancel()
        try:
            value = super().run_until_complete(future)
        except asyncio.CancelledError as cancelled:
            if struck_waiting(end):
                end.__traceback__ = cancelled.__traceback__
        else:
            if isinstance(end, KeyboardInterrupt):
                return value
        raise end

    def call_exception_handler(self, context):
        # These have left the loop already, and ended what was run: somebody did look at them.
        if not isinstance(context.get("exception"), (KeyboardInterrupt, SystemExit)):
            super().call_exception_handler(context)

    # ---- what needs a second thread or process ------------------------------------------------

    def run_in_executor(self, executor, func, *args):
        if executor is None:
            raise RuntimeError(NO_THREADS)
        return super().run_in_executor(executor, func, *args)

    async def getaddrinfo(self, host, port, *, family=0, type=0, proto=0, flags=0):
        return socket.getaddrinfo(host, port, family, type, proto, flags)

    async def getnameinfo(self, sockaddr, flags=0):
        return socket.getnameinfo(sockaddr, flags)

    async def subprocess_exec(self, protocol_factory, program, *args, **options):
        refuse_program(None, [program], None)

    async def subprocess_shell(self, protocol_factory, cmd, **options):
        refuse_program(None, cmd, None)

    def add_signal_handler(self, sig, callback, *args):
        raise NotImplementedError(
            "the loop takes no signal handlers: an interrupt arrives as KeyboardInterrupt"
        )

    # ---- no pipe to itself --------------------------------------------------------------------

    def _make_self_pipe(self):
        self._ssock = self._csock = None

    def _close_self_pipe(self):
        pass

    def _write_to_self(self):
        pass


def struck_waiting(end):
    """Whether no task's code was running: the last frame that is not of the runtime is asyncio's."""
    last = ""
    trace = end.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name != FILENAME:
            last = name
        trace = trace.tb_next
    return last.startswith(DIRECTORY) or last.endswith("/selectors.py")
