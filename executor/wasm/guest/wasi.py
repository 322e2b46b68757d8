"""
The guest's way in and out where the interpreter is a WASI reactor, and what WASI leaves out.

The reactor runs a turn's text with `_run_turn`. Here the text is a request for `entry` and no
source, so nothing is compiled for it. The answer goes out by the host's one door, as do attempts
at programs, for which WASI has no call: the gate is to hear of them. A frame's first byte says
which it is.
"""

import array
import errno
import gc
import io
import json
import linecache
import os
import sys
import traceback
import types

import _host
import _reactor

CHECK, ANSWER, PROGRAM = b"?", b"=", b"!"
# CPython's counts of references where pointers have 32 bits (refcount.h): what an object that it
# does not count begins with, and where those of others end.
IMMORTAL, MORTAL_END = 5 << 28, 1 << 30
CHUNK = 2**13
INTERRUPTED = json.dumps(
    {
        "status": "interrupted",
        "name": "KeyboardInterrupt",
        "message": "",
        "traceback": "KeyboardInterrupt\n",
    }
).encode()

knock = _host.call


def install(entry):
    def run(text, _name):
        try:
            answer = entry(text)
        except KeyboardInterrupt:
            # It struck where the entry does not look for it: before the cell, or after.
            answer = INTERRUPTED
        while True:
            try:
                knock(ANSWER + answer)
            except KeyboardInterrupt:
                continue
            return

    _reactor._run_turn = run
    # The turn that installs this was kept as the source of a session's code.
    linecache._interactive_cache.clear()


def exercise():
    """
    Use what was imported once, before the fork: what a package makes when it is first used, and
    what the interpreter then writes into its code, is shared instead of made in every session.
    """
    if "pandas" in sys.modules:
        exercise_pandas(sys.modules["pandas"])
    if "matplotlib.pyplot" in sys.modules:
        exercise_matplotlib()
    gc.collect()
    if "numpy" in sys.modules:
        # What was frozen before is not among the objects that the collector tells of.
        gc.unfreeze()
        make_immortal(sys.modules["numpy"])
    gc.freeze()


def exercise_pandas(pandas):
    frame = pandas.DataFrame({"a": range(8), "b": [number % 2 for number in range(8)]})
    repr(frame.groupby("b").a.sum())
    repr(frame.describe())
    text = "day,region,units\n" + "2026-01-02,North,3\n2026-02-03,South,4\n" * 4
    table = pandas.read_csv(io.StringIO(text), parse_dates=["day"])
    totals = table.groupby(["region", table.day.dt.to_period("Q")]).units.agg(["sum", "mean"])
    repr(totals.reset_index().sort_values("sum"))
    repr(table.merge(table.groupby("region").size().rename("n"), on="region").head())
    repr(table.pivot_table(index="region", values="units", aggfunc="sum"))
    table.to_csv(io.StringIO())


def exercise_matplotlib():
    # Not by pyplot, which would remember the figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot([1, 2])
    FigureCanvasAgg(figure).print_png(io.BytesIO())


class Memory:
    """All of linear memory as words, for numpy."""

    START = 8
    __array_interface__ = {
        "version": 3,
        "typestr": "<u4",
        "shape": (2**29 - 16,),
        "data": (START, False),
    }


def make_immortal(numpy):
    """
    Have the interpreter count no references of what exists: a count is written for every use, and
    the first write to a page copies it from memory that all sessions share.

    What a session then lets go of is not freed, so what it can ask to be freed is left out: its
    reserve of memory, and frames. The words are written as numbers: nothing in Python sets them.
    """
    memory = numpy.asarray(Memory)
    known = gc.get_objects()
    for start in range(0, len(known), CHUNK):
        things = [one for one in known[start : start + CHUNK] if type(one) is not types.FrameType]
        while things:
            stop_counting(things, memory, numpy)
            things = untold(things)
    if not sys._is_immortal(make_immortal):
        raise RuntimeError("objects could not be made immortal: the words of this Python differ")


def untold(things):
    """The mortal objects that others refer to and the collector does not tell of."""
    found = gc.get_referents(*things)
    for one in things:
        if type(one) is types.CodeType:
            found += (one.co_consts, one.co_names, one.co_filename, one.co_name, one.co_qualname)
            found += (one.co_linetable, one.co_exceptiontable)
    return [
        one
        for one in found
        if not (gc.is_tracked(one) or sys._is_immortal(one) or type(one) is bytearray)
    ]


def stop_counting(things, memory, numpy):
    words = (numpy.array(array.array("I", map(id, things))) - Memory.START) >> 2
    memory[words[memory[words] < MORTAL_END]] = IMMORTAL


def check():
    """Have the host interrupt this once: what it knows of the interpreter's memory is right."""
    try:
        knock(CHECK)
        for _ in range(10**4):
            pass
    except KeyboardInterrupt:
        return
    raise RuntimeError("the host's interrupt did not arrive")


def system(command, /):
    """os.system, which WASI does not have: there are no programs."""
    knock(PROGRAM + os.fsencode(command))
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def told_without_site():
    """
    Python 3.15 adds to every ModuleNotFoundError that site initialisation is off, and to look for
    a virtual environment. There is none, and an agent would look for it.
    """
    plain = traceback.TracebackException.__init__

    def init(self, exc_type, exc_value, *rest, **more):
        plain(self, exc_type, exc_value, *rest, **more)
        if isinstance(exc_value, ModuleNotFoundError):
            self._str = self._str.partition(". Site initialization is disabled")[0]

    traceback.TracebackException.__init__ = init


os.system = system
told_without_site()
