"""
asyncio of a native guest: one loop for the session's cells, with threads and processes as the
box allows them. Runs after `import asyncio`, over the loop of the wasm guest.

What that one leaves out because the guest is alone is put back from the standard loop: the pipe
by which threads wake it, its executor, its signal handlers, and its programs, for which the gate is
asked. What stays is what an agent sees of the other cage: tasks outlive a cell, asyncio.run nests,
an interrupt loses no callback, and a wait that nothing can end is told.
"""

import asyncio
import threading
from asyncio import events, runners, tasks, unix_events

STANDARD = unix_events._UnixSelectorEventLoop
RESTORED = (
    "run_in_executor", "getaddrinfo", "getnameinfo", "add_signal_handler", "_make_self_pipe",
    "_close_self_pipe", "_write_to_self",
)  # fmt: skip


def install(shared, programs):
    """Make the loop of `shared`, so amended, what every way to a loop gives."""

    class Selector(shared.Selector):
        def _wait(self, timeout):
            if timeout is None and self.loop is not None and alone(self.loop):
                raise shared.Deadlock(
                    "every task waits, and no timer, callback or open descriptor is left that "
                    "could wake one: see what is awaited here, and who should have set, put or "
                    "released it"
                )
            return super()._wait(timeout)

    class EventLoop(shared.EventLoop):
        def __init__(self, selector=None):
            super().__init__(Selector() if selector is None else selector)

        # The transport makes a Popen, which asks the gate.
        subprocess_exec, subprocess_shell = STANDARD.subprocess_exec, STANDARD.subprocess_shell

    for name in RESTORED:
        setattr(EventLoop, name, getattr(STANDARD, name))
    shared.EventLoop = EventLoop
    unix_events._UnixDefaultEventLoopPolicy._loop_factory = EventLoop
    for module in (asyncio, unix_events):
        module.SelectorEventLoop = EventLoop
        if hasattr(module, "EventLoop"):
            module.EventLoop = EventLoop
    events._event_loop_policy = shared.Policy()
    if not hasattr(tasks, "_swap_current_task"):
        shared.tasks = Tasks(tasks)
    asyncio.run = runners.run = shared.run


def alone(loop):
    """Whether only the loop's own pipe is waited for, and nobody is there to write to it."""
    waited = len(loop._selector.get_map())
    return waited == 1 and threading.active_count() == 1 and not loop._signal_handlers


class Tasks:
    """asyncio.tasks with what later releases have in it."""

    def __init__(self, module):
        self._module = module

    def __getattr__(self, name):
        return getattr(self._module, name)

    def _swap_current_task(self, loop, task):
        outer = self._module.current_task(loop)
        if outer is not None:
            self._module._leave_task(loop, outer)
        if task is not None:
            self._module._enter_task(loop, task)
        return outer
