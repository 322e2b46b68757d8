"""
Processes and signals for a guest that is alone: each way to them says what to do instead.

Runs inside the cage. What this Python has is refused when it is called; what it has not stays
absent, so that a library which asks `hasattr` goes another way, and the AttributeError says why.
Handlers of signals are refused to cells alone: a library that sets one when it is imported loses
nothing by one that is never called.
"""

import errno
import functools
import os
import signal
import sys

TIMERS = (
    "no timer can signal here. Ask time.monotonic() in the loop, or await with "
    "asyncio.timeout(seconds); a cell that runs too long is ended by the session."
)
SIGNALS = (
    "the only signal that arrives here is SIGINT, as KeyboardInterrupt. Put what is to be done at "
    "an end into `finally`, or register it with atexit."
)
ALONE = (
    "there is no other process to signal, and this one is the session. Raise an exception to end "
    "the cell, or call exit()."
)
PROGRAMS = "no program can be started here. Use Python and the packages of the session's image."

_kill = getattr(os, "kill", None)
_signal = signal.signal


def install(no_processes, refuse, acts):
    """
    Have every way say why: `no_processes` of children, and `refuse` of programs. `acts` are what
    is done with modules once they are imported.
    """
    made = {
        "fork": refusing(errno.ENOSYS, no_processes),
        "forkpty": refusing(errno.ENOSYS, no_processes),
        "kill": kill,
        "killpg": refusing(errno.EPERM, ALONE),
        "execv": starting(refuse),
        "execve": starting(refuse),
        "posix_spawn": starting(refuse),
        "posix_spawnp": starting(refuse),
    }
    replaced = {name: made[name] for name in made.keys() & vars(os).keys()}
    if sys.platform == "emscripten":
        replaced["system"] = system(refuse)
    for name, function in replaced.items():
        # As pickle finds it, which looks its name up again.
        function.__module__, function.__name__, function.__qualname__ = "os", name, name
        setattr(os, name, function)
    signal.signal = handle
    os.__getattr__ = telling(
        os, dict.fromkeys(made, PROGRAMS) | {"fork": no_processes, "forkpty": no_processes}
        | {"kill": ALONE, "killpg": ALONE},
    )  # fmt: skip
    signal.__getattr__ = telling(signal, {"alarm": TIMERS, "setitimer": TIMERS})

    def limit(module):
        # What ProcessPoolExecutor finds out by itself is only that semaphores are missing.
        module._system_limits_checked = True
        module._system_limited = no_processes

    def refuse_start(module):
        module.BaseProcess.start = start

    def start(self):
        raise RuntimeError(no_processes)

    acts["concurrent.futures.process"] = limit
    acts["multiprocessing.process"] = refuse_start


def refusing(number, reason):
    """A function that raises OSError, whatever it is given."""

    def refused(*_arguments, **_options):
        raise OSError(number, reason)

    return refused


def starting(refuse):
    """A way to start a program by its path: the gate says no, and is raised."""

    def refused(path, *_arguments, **_options):
        refuse(None, [path], None)

    return refused


def system(refuse):
    """os.system, whose -1 would be taken for a command's end."""

    def system(command):
        refuse(None, os.fsdecode(command), None)

    return system


def kill(pid, number, /):
    """os.kill: whether there is a process may be asked, and an interrupt be sent."""
    if number in HARMLESS:
        return _kill(pid, number)
    raise PermissionError(errno.EPERM, ALONE)


HARMLESS = (0, signal.SIGINT)


@functools.wraps(_signal)
def handle(signalnum, handler):
    cell = sys._getframe(1).f_code.co_filename.startswith("<cell ")
    if cell and signalnum != signal.SIGINT and callable(handler):
        raise RuntimeError(f"this handler would never be called: {SIGNALS}")
    return _signal(signalnum, handler)


def telling(module, reasons):
    """What a module says of a name that it has not: the usual words, and why where it is known."""

    def absent(name):
        usual = f"module {module.__name__!r} has no attribute {name!r}"
        if name in reasons:
            # Without the name, or the traceback would propose another that looks like it.
            raise AttributeError(f"{usual}: {reasons[name]}")
        raise AttributeError(usual, name=name, obj=module)

    absent.__name__ = absent.__qualname__ = "__getattr__"
    return absent
