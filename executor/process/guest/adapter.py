"""
What makes the guest's half of a cell, written for one interpreter in wasm, right for a native one.

Runs beside the agent's code, in the same interpreter, and protects nothing: the box does. `door`
is what the worker gives: `write`, `show`, `run`, `reason` and `end`, which raise nothing.
"""

import builtins
import gc
import io
import os
import sys
import time
import traceback
import types

NO_PROCESSES = (
    "can't start new process: this Python has one process. Call the function directly, in a plain "
    "loop, or in threads."
)
# Images of WebAssembly may have it: a session cannot have these here.
NOWHERE = "no native image that comes with Codecage has it; use what is here"
_exit, _abort, _sleep = os._exit, os.abort, time.sleep
# Seconds, of which most are left when the interrupt comes.
NUDGED = 0.05


class Output(io.RawIOBase):
    """A standard stream: straight to the worker, in the order in which things are written."""

    def __init__(self, number):
        self._number = number
        self.name = ("<stdin>", "<stdout>", "<stderr>")[number]
        self.mode = "wb"

    def writable(self):
        return True

    def fileno(self):
        return self._number

    def write(self, data):
        data = bytes(data)
        door.write(self._number, data)
        return len(data)


class Told(traceback.TracebackException):
    """A traceback that can be asked for no colours, as later releases can."""

    def format(self, *, chain=True, _ctx=None, colorize=False):
        return super().format(chain=chain, _ctx=_ctx)


def stream(number):
    return io.TextIOWrapper(
        io.BufferedWriter(Output(number)),
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )


def install(runtime):
    """Put the runtime into force. Its own way of doing so is a wasm guest's."""
    global _runtime
    _runtime = runtime
    runtime.NO_PROCESSES = NO_PROCESSES
    runtime.Absent.REASONS = {"IPython": runtime.Absent.REASONS["IPython"]}
    del runtime.After.ACTS["anyio.streams.tls"], runtime.After.ACTS["socket"]
    programs.install()
    programs.children(runtime)
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    sys.stdout = sys.__stdout__ = stream(1)
    sys.stderr = sys.__stderr__ = stream(2)
    runtime.STDOUT = sys.stdout
    runtime._readlink = lambda _path: door.reason()
    runtime.judge = programs.judge
    if sys.version_info < (3, 13):
        runtime._tracebacks.traceback = types.SimpleNamespace(TracebackException=Told)
    runtime._display.send = send
    runtime._tools.knock = knock
    sys.modules["codecage"].ask = door.transact
    runtime._magics.notebook.judge = programs.judge
    runtime._magics.notebook.NOWHERE = NOWHERE
    runtime._magics.notebook.execute = programs.execute
    sys.unraisablehook = runtime.unraisable
    os._exit, os.abort = leave, abort
    builtins.exit = builtins.quit = runtime.stop
    builtins.input = runtime.quiet_input
    sys.argv = [""]


def use_parts(runtime, given, ways):
    """Take the other files in: `given` is the door, `ways` the code of its parts."""
    global door, programs, files
    door = given
    parts = (runtime.module(f"_codecage_{name}", code) for name, code in ways.items())
    programs, files, sockets = parts
    programs.door = files.door = sockets.door = given
    if "socket" in sys.modules:
        sockets.install(sys.modules["socket"])
    else:
        runtime.After.ACTS["socket"] = sockets.install


def use_loop(runtime, shared, own):
    """Have `import asyncio` run `shared`, the loop of wasm guests, as `own` amends it."""

    def act(asyncio):
        if hasattr(asyncio, "unix_events"):
            loop = runtime.module("_codecage_loop", shared)
            runtime.module("_codecage_native_loop", own).install(loop, programs)
            runtime._loop = loop

    runtime.After.ACTS["asyncio"] = act


def on_interrupt(number, frame):
    """KeyboardInterrupt, but not where the worker is at work, nor between cells."""
    if not door.running():
        return
    if frame is not None and frame.f_code is on_nudge.__code__:
        frame = frame.f_back
    above = frame
    while above is not None and above.f_code is not _runtime.entry.__code__:
        if above.f_code in door.codes:
            _runtime.again()
            return
        above = above.f_back
    _runtime.on_interrupt(number, frame)


def on_nudge(number, frame):
    """
    Let other threads run: one of them brings an interrupt. C code that holds the interpreter and
    looks for signals, such as `re`, comes here, and then finds it. Where it has been brought,
    what waited was woken to take it, and that is all.
    """
    if door.interrupt_may_come():
        _sleep(NUDGED)


# ---- what goes out -------------------------------------------------------------------------------


def send(forms):
    """One bundle to show. Raises OSError, which says what is allowed."""
    if not forms:
        return
    _runtime._display.flush()
    number, reason = door.show(forms)
    if number:
        raise OSError(number, reason or os.strerror(number))


def knock(frame):
    """A call of one of the client's functions, and what came of it."""
    _runtime._tools.flush()
    return door.tool(frame)


def leave(status):
    door.end(status, f"the guest's process ended with exit code {status & 0xFF}")
    _exit(status & 0xFF)


def abort():
    door.end(134, "the guest's process aborted")
    _abort()


# ---- before the fork -----------------------------------------------------------------------------


def exercise():
    """Use what was imported once: what a package makes at its first use is then shared."""
    if "pandas" in sys.modules:
        pandas = sys.modules["pandas"]
        frame = pandas.DataFrame({"a": range(8), "b": [number % 2 for number in range(8)]})
        repr(frame.groupby("b").a.sum()), repr(frame.describe()), frame._repr_html_()
        frame.to_csv(io.StringIO())
        pandas.read_csv(io.StringIO("day,units\n2026-01-02,3\n"), parse_dates=["day"])
    if "matplotlib.pyplot" in sys.modules:
        # Not by pyplot, which would remember the figure.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure()
        figure.subplots().plot([1, 2])
        FigureCanvasAgg(figure).print_png(io.BytesIO())
        # Where its settings are it is to look again, in the box.
        for name in ("get_configdir", "get_cachedir"):
            forget = getattr(getattr(sys.modules["matplotlib"], name), "cache_clear", None)
            if forget is not None:
                forget()
    gc.collect()


door = None
programs = None
files = None
_runtime = None
