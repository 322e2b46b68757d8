"""
The guest's half of a cell: runs inside the cage, on the guest's Python, at the guest's mercy.

Nothing here protects anything. It makes a cell behave as an agent expects: one namespace, the
last expression's value, plain tracebacks of its own frames, refusals that say why. The host
calls `entry` with JSON and gets JSON back; a cell that tampers with this module harms itself.
"""

import ast
import builtins
import json
import linecache
import math
import os
import random
import select
import signal
import subprocess
import sys
import time
import traceback

FILENAME = "<codecage>"
TEXT_MAX = 2**16
# Flags of `from __future__` statements, which hold for later cells as in the REPL.
FUTURES = 0
for _name in __import__("__future__").all_feature_names:
    FUTURES |= getattr(__import__("__future__"), _name).compiler_flag

# Given up when memory runs out, so that the error can be told and the next cell can make room.
RESERVE = 2**18

_main = sys.modules["__main__"]
_flags = 0
_reserve = bytearray(RESERVE)


def entry(payload):
    request = json.loads(payload)
    try:
        answer = begin(request) if request["op"] == "begin" else run(request)
    except BaseException as error:
        # An interrupt or an exhausted memory can strike between any two lines of this file.
        answer = failed(error)
    return json.dumps(answer).encode()


def begin(request):
    """Take the session's facts: environment, directory, fresh randomness."""
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    random.seed(bytes.fromhex(request["seed"]))
    return {"status": "ok"}


def run(request):
    global _flags
    name = f"<cell {request['cell']}>"
    code = request["code"]
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    value = None
    try:
        tree = compile(code, name, "exec", _flags | ast.PyCF_ONLY_AST, dont_inherit=True)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        body = compile(tree, name, "exec", _flags, dont_inherit=True)
        _flags |= body.co_flags & FUTURES
        exec(body, _main.__dict__)
        if last is not None:
            result = eval(
                compile(ast.Expression(last.value), name, "eval", _flags, dont_inherit=True),
                _main.__dict__,
            )
            if result is not None and not code.rstrip().endswith(";"):
                _main.__dict__["_"] = result
                value = shown(result)
        answer = {"status": "ok", "value": value}
        restock()
    except SystemExit as error:
        answer = {"status": "exited", "code": exit_code(error.code)}
    except BaseException as error:
        answer = failed(error)
    flush()
    return answer


def restock():
    global _reserve
    if _reserve is None:
        try:
            _reserve = bytearray(RESERVE)
        except MemoryError:
            pass


def shown(result):
    text = plain(repr(result))
    return {"text": text[:TEXT_MAX], "length": len(text)}


def plain(text):
    """An exact str: a subclass can have a length and slices of its own."""
    return str.join("", (text,))


def exit_code(code):
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            # The cell may have closed or replaced the stream; what is buffered is then lost.
            pass
    if sys.stdout is not STDOUT or STDOUT.closed:
        try:
            STDOUT.flush()
        except BaseException:
            pass


def failed(error):
    global _reserve
    if isinstance(error, MemoryError):
        _reserve = None
    kind = "interrupted" if isinstance(error, KeyboardInterrupt) else "error"
    try:
        told = "".join(formatted(error))
    except BaseException:
        told = f"{type.__dict__['__name__'].__get__(type(error))}: <the traceback could not be formatted>\n"
    try:
        message = plain(str(error))
    except BaseException:
        message = "<str() of the exception failed>"
    return {
        "status": kind,
        # Not `type(error).__name__`, which a metaclass can answer.
        "name": type.__dict__["__name__"].__get__(type(error)),
        "message": message[:TEXT_MAX],
        "traceback": cut(told),
    }


def formatted(error):
    told = traceback.TracebackException(
        type(error), error, error.__traceback__, limit=None, compact=True
    )
    clean(told, set())
    return told.format(colorize=False)


def clean(told, seen):
    """Drop this module's frames from an exception and from all that it came from."""
    if told is None or id(told) in seen:
        return
    seen.add(id(told))
    told.stack[:] = [frame for frame in told.stack if frame.filename != FILENAME]
    clean(told.__cause__, seen)
    clean(told.__context__, seen)
    for part in told.exceptions or ():
        clean(part, seen)


def cut(text):
    if len(text) <= TEXT_MAX:
        return text
    half = TEXT_MAX // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


# ---- refusals that say why ---------------------------------------------------------------------


def explain(code, offset, error):
    """Give an OSError the reason that the gate gave for the refusal behind it."""
    if not isinstance(error, OSError):
        return
    number, _, reason = _readlink("/dev/denial").partition(" ")
    if reason and (error.errno == int(number) or (error.errno or 0) < 0):
        error.strerror = reason
        if error.filename is None and len(error.args) == 2:
            error.args = (error.errno, reason)


class NoJavaScript:
    """The last finder: modules that Pyodide has and this guest cannot have."""

    NAMES = {"js", "pyodide_js", "_pyodide_core"}

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in cls.NAMES:
            raise ModuleNotFoundError(
                f"No module named {name!r}: there is no JavaScript here. This is Python in "
                "WebAssembly without a browser; use the standard library.",
                name=name,
            )
        return None


def refuse_program(process, arguments, executable, *rest):
    """subprocess has no processes to make: have the gate say so, and raise what it says."""
    program = executable if isinstance(executable, str) else None
    if program is None:
        first = arguments if isinstance(arguments, (str, bytes)) else next(iter(arguments), "")
        program = os.fsdecode(first)
    os.system(program)
    number, _, reason = _readlink("/dev/denial").partition(" ")
    raise PermissionError(int(number) or 2, reason or "programs cannot be started here")


def refuse_init(self, args, *rest, executable=None, **options):
    self._child_created = False
    self.returncode = None
    refuse_program(self, args, executable)


def sleep(seconds, /):
    """time.sleep that an interrupt ends at once."""
    seconds = float(seconds)
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    if seconds != seconds:
        raise ValueError("Invalid value NaN (not a number)")
    # One wait, not a loop around the clock: a policy may have the clock stand still. What is
    # longer than poll can be told (24 days) is longer than any cell.
    _poller.poll(math.ceil(min(seconds * 1000, 2**31 - 1)))


def stop(code=None):
    raise SystemExit(code)


def on_interrupt(number, frame):
    reason = _readlink("/dev/denial").partition(" ")[2]
    raise KeyboardInterrupt(*([reason] if reason else []))


def quiet_input(prompt="", /):
    """There is nobody to ask: the prompt is shown, and the end of file is what was typed."""
    sys.stdout.write(str(prompt))
    sys.stdout.flush()
    raise EOFError("input() has nobody to ask here: no standard input is connected")


def install():
    signal.signal(signal.SIGINT, on_interrupt)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    monitoring = sys.monitoring
    monitoring.use_tool_id(4, "codecage")
    monitoring.register_callback(4, monitoring.events.RAISE, explain)
    monitoring.set_events(4, monitoring.events.RAISE)
    sys.meta_path.append(NoJavaScript)
    subprocess.Popen.__init__ = refuse_init
    time.sleep = sleep
    builtins.exit = builtins.quit = stop
    builtins.input = quiet_input
    _main.__dict__.pop("__annotations__", None)
    sys.argv = [""]


_readlink = os.readlink
_poller = select.poll()
STDOUT = sys.stdout
install()
