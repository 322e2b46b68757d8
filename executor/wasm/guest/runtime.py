"""
The guest's half of a cell: runs inside the cage, on the guest's Python, at the guest's mercy.

Nothing here protects anything. It makes a cell behave as an agent expects: one namespace, the
last expression's value, `await` at the top level, plain tracebacks of its own frames, refusals
that say why. The host calls `entry` with JSON and gets JSON back; a cell that tampers with this
module harms itself.
"""

import _thread
import ast
import builtins
import contextvars
import errno
import gc
import json
import linecache
import math
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
import types

TEXT_MAX = 2**16
# Flags of `from __future__` statements, which hold for later cells as in the REPL.
FUTURES = 0
for _name in __import__("__future__").all_feature_names:
    FUTURES |= getattr(__import__("__future__"), _name).compiler_flag
AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
CO_COROUTINE = 0x80  # as in inspect, which is too large to import for a number
ALONE = (
    "this Python has one thread and one process. Call the function directly, in a plain loop, or "
    "await coroutines together with asyncio.gather."
)
NO_THREADS = f"can't start new thread: {ALONE}"
NO_PROCESSES = f"can't start new process: {ALONE}"

# Calls that a recursion may be deep: frames and a traceback of them are some 40 MB.
RECURSION_MAX = 120_000
# Given up when memory runs out, so that the error can be told and the next cell can make room.
RESERVE = 2**18

_main = sys.modules["__main__"]
_flags = 0
_reserve = bytearray(RESERVE)
# One for the session: what a cell sets in a context variable, a later cell finds.
_context = contextvars.copy_context()


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
    reseed(bytes.fromhex(request["seed"]))
    _tools.begin(request.get("given"))
    authorize(request.get("given"))
    return {"status": "ok"}


def remember_generators():
    """Keep every generator that the imports before the fork made: sessions would share it."""
    kinds = (random.Random,)
    if "numpy.random" in sys.modules:
        made = sys.modules["numpy.random"]
        kinds += (made.RandomState, made.Generator)
    found = (one for one in gc.get_objects() if issubclass(type(one), kinds))
    GENERATORS[:] = [one for one in found if not isinstance(one, random.SystemRandom)]


def reseed(seed):
    """Give this session chance of its own, wherever it was drawn from before the fork."""
    for number, one in enumerate(GENERATORS):
        random.seed(b"%d:%b" % (number, seed))
        words = [random.getrandbits(32) for _ in range(16)]
        if isinstance(one, random.Random):
            one.seed(repr(words))
        elif hasattr(one, "bit_generator"):
            one.bit_generator.state = type(one.bit_generator)(words).state
        else:
            one.seed(words)
    if "numpy.random" in sys.modules:
        random.seed(b"numpy:" + seed)
        sys.modules["numpy.random"].seed([random.getrandbits(32) for _ in range(16)])
    if "tempfile" in sys.modules:
        sys.modules["tempfile"]._name_sequence = None
    random.seed(seed)


def run(request):
    name = f"<cell {request['cell']}>"
    code = request["code"]
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    value = None
    try:
        _tools.check()
        if request.get("directory"):
            os.chdir(request["directory"])
        result = evaluated(compiled(code, name, request.get("assigned")))
        if result is not None and not code.rstrip().endswith(";"):
            _main.__dict__["_"] = result
            value = shown(result)
            if _display is not None:
                _display.show_value(result, value["text"])
        answer = {"status": "ok", "value": value}
        restock()
    except SystemExit as error:
        answer = {"status": "exited", "code": exit_code(error.code)}
    except _tools.FinalAnswer:
        answer = {"status": "ok", "value": None}
    except BaseException as error:
        answer = failed(error)
    try:
        if _display is not None:
            _display.end_cell(answer["status"] == "interrupted")
    finally:
        flush()
    return answer


def compiled(code, name, assigned=False):
    """The cell's statements, and an expression of its value if its end has one."""
    try:
        return parts_of(code, name, assigned)
    except SyntaxError as error:
        wrong = error
    try:
        tree = _magics.tree(code, name, _flags | AWAIT)
        if tree is not None:
            return parts_of(tree, name, assigned)
    except SyntaxError as error:
        wrong = error
    # What is found wrong in a tree, and not in text, comes without its line.
    if wrong.text is None and wrong.lineno:
        wrong.text = linecache.getline(name, wrong.lineno)
    raise wrong.with_traceback(None)


def parts_of(code, name, assigned):
    global _flags
    flags = _flags | AWAIT
    tree = compile(code, name, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
    last = bound(tree.body[-1]) if assigned and tree.body else None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = tree.body.pop().value
    body = compile(tree, name, "exec", flags, dont_inherit=True)
    flags |= body.co_flags & FUTURES
    parts = [body]
    if last is not None:
        parts.append(compile(ast.Expression(last), name, "eval", flags, dont_inherit=True))
    _flags |= body.co_flags & FUTURES
    return parts


def bound(statement):
    """What an assignment gave to names, as an expression; to look up anything else would run code."""
    target = getattr(statement, "targets", [getattr(statement, "target", None)])[-1]
    names = target.elts if isinstance(target, ast.Tuple) else [target]
    if not (names and getattr(statement, "value", None)) or {*map(type, names)} != {ast.Name}:
        return None
    source = ", ".join(one.id for one in names) + "," * (names != [target])
    return ast.parse(source, mode="eval").body


def evaluated(parts):
    """Run a cell; the value of its last part. One that awaits is a task on the session's loop."""
    if any(part.co_flags & CO_COROUTINE for part in parts):
        import asyncio

        if _loop is None:
            lacks = f"a cell that awaits needs the standard library's asyncio, and {asyncio!r} was"
            raise RuntimeError(f"{lacks} imported: give that file another name")
        return _loop.drive(in_turn_awaited(parts), _context)
    return _context.run(in_turn, parts)


def in_turn(parts):
    for part in parts:
        value = eval(part, _main.__dict__)
    return value


async def in_turn_awaited(parts):
    for part in parts:
        value = eval(part, _main.__dict__)
        if part.co_flags & CO_COROUTINE:
            value = await value
    return value


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
        told = _tracebacks.written(error)
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
        "traceback": _tracebacks.cut(told, TEXT_MAX),
    }


# ---- refusals that say why ---------------------------------------------------------------------


def explain(code, offset, error):
    """Give an OSError the reason that the gate gave for the refusal behind it."""
    if type(error) is RuntimeError and error.args == ("ffi_prep_closure failed with 1",):
        # ctypes knows the number alone; what was refused is the callback of the raising line.
        error.args = (_readlink("/dev/denial").partition(" ")[2] or error.args[0],)
    if not isinstance(error, OSError) or error.errno == errno.ENOTCONN:
        # A socket that a refusal leaves behind is shown in a warning, and asks for its peer.
        return
    number, reason = denial()
    if reason and (error.errno == number or (error.errno or 0) < 0):
        error.strerror = reason
        if error.filename is None and len(error.args) == 2:
            error.args = (error.errno, reason)


def denial():
    """The errno of the last refusal and the reason that the gate gave for it, once."""
    try:
        number, _, reason = _readlink("/dev/denial").partition(" ")
    except OSError:
        return 0, ""
    return int(number or 0), reason


def module(name, code):
    """A module of this runtime's, which is in no list of modules."""
    made = types.ModuleType(name)
    exec(code, made.__dict__)
    return made


def use_tracebacks(code):
    """Have `code` write what is told of an error."""
    global _tracebacks
    _tracebacks = module("_codecage_tracebacks", code)


def use_hashing(code):
    """Have `code` give `hashlib` what only OpenSSL has, as soon as that is imported."""
    module("_codecage_hashing", code).install(After.ACTS)


def use_display(code):
    """Run `code`, which shows more than text, before anything else is imported."""
    global _display
    _display = module("_codecage_display", code)
    _display.install()


def use_tools(values, code):
    """Run `code`, which calls functions of the client with what `values` can write."""
    global _tools
    _tools = module("_codecage_tools", code)
    _tools.values = module("_codecage_values", values)


def use_finders(code):
    """Have `code` look at what is imported: it knows what is not here, and acts on what is."""
    global Absent, After, authorize
    finders = module("_codecage_finders", code)
    Absent, After, authorize = finders.Absent, finders.After, finders.authorize
    Absent.REASONS["_multiprocessing"] = ALONE
    sys.meta_path.insert(0, After)
    sys.meta_path.append(Absent)


def use_transactions(code):
    """Have `import codecage` give what `code` makes: committing, by links that are read."""
    sys.modules["codecage"] = module("codecage", code)


def use_magics(code, notebook, advice):
    """
    Have cells that are no Python looked at by `code`, whose commands `notebook` does, or answers
    with what `advice` says.
    """
    global _magics
    _magics = module("_codecage_magics", code)
    _magics.notebook = module("_codecage_notebook", notebook)
    _magics.notebook.advice = module("_codecage_advice", advice)
    _magics.notebook.judge = judge
    if _display is not None:
        _magics.notebook.draw_as = _display.draw_as


def use_loop(code):
    """Have `import asyncio` run `code`, the event loop of this guest."""

    def act(asyncio):
        global _loop
        if hasattr(asyncio, "unix_events"):
            _loop = module("_codecage_loop", code)
            _loop.install(NO_THREADS, refuse_program)

    After.ACTS["asyncio"] = act


def use_processes(code):
    """Have processes and signals refused by `code`, where there are none."""
    module("_codecage_processes", code).install(NO_PROCESSES, refuse_program, After.ACTS)


def refuse_thread(self):
    raise RuntimeError(NO_THREADS)


def refuse_program(process, arguments, executable, *rest):
    """subprocess has no processes to make: have the gate say so, and raise what it says."""
    program = executable if isinstance(executable, str) else None
    if program is None:
        first = arguments if isinstance(arguments, (str, bytes)) else next(iter(arguments), "")
        program = os.fsdecode(first)
    judge(program)
    number, reason = denial()
    raise PermissionError(number or 2, reason or "programs cannot be started here")


def judge(command):
    """Have the gate judge, and record, an attempt at a program."""
    if _system is not None:
        _system(command)


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


def limit_recursion(limit, /):
    """
    sys.setrecursionlimit, up to what memory holds. Where it runs out some 700,000 calls deep, the
    interpreter chains a MemoryError for each, and its C code overflows in letting go of them.
    """
    _setrecursionlimit(min(limit, RECURSION_MAX) if isinstance(limit, int) else limit)


def stop(code=None):
    raise SystemExit(code)


def on_interrupt(number, frame):
    global _interrupted
    if _loop is not None and _loop.is_at_work(frame):
        again()
        return
    arguments, _interrupted = _interrupted, ()
    if not arguments:
        _, reason = denial()
        arguments = (reason,) if reason else ()
    raise KeyboardInterrupt(*arguments)


def again():
    """
    Have the interrupt strike anew, a step later.

    By unpacking a map: after a call the interpreter looks at signals, and would come back to
    the handler from here, for ever; after unpacking it does not.
    """
    [_] = map(_interrupt_main, (signal.SIGINT,))


def unraisable(report):
    """A finaliser can raise nothing, so an interrupt that struck one strikes what comes after."""
    global _interrupted
    if isinstance(report.exc_value, KeyboardInterrupt):
        _interrupted = report.exc_value.args
        again()
    else:
        sys.__unraisablehook__(report)


def quiet_input(prompt="", /):
    """There is nobody to ask: the prompt is shown, and the end of file is what was typed."""
    sys.stdout.write(str(prompt))
    sys.stdout.flush()
    raise EOFError("input() has nobody to ask here: no standard input is connected")


def install():
    signal.signal(signal.SIGINT, on_interrupt)
    sys.unraisablehook = unraisable
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    monitoring = sys.monitoring
    monitoring.use_tool_id(4, "codecage")
    monitoring.register_callback(4, monitoring.events.RAISE, explain)
    monitoring.set_events(4, monitoring.events.RAISE)
    sys.setrecursionlimit = limit_recursion
    subprocess.Popen.__init__ = refuse_init
    threading.Thread.start = refuse_thread
    if _poller is not None:
        time.sleep = sleep
    builtins.exit = builtins.quit = stop
    builtins.input = quiet_input
    _main.__dict__.pop("__annotations__", None)
    sys.argv = [""]


_readlink = os.readlink
_system = getattr(os, "system", None)
_setrecursionlimit = sys.setrecursionlimit
_interrupt_main = _thread.interrupt_main
# Where there is none, time.sleep itself ends at an interrupt.
_poller = select.poll() if hasattr(select, "poll") else None
_loop = None
_tracebacks = None
_display = None
_tools = None
GENERATORS = []
_magics = None
# What an interrupt says that is still to be raised.
_interrupted = ()
STDOUT = sys.stdout
install()
