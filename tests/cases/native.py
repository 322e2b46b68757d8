"""
Runs programs on the Python that runs this file, each in a forked child with a directory of its
own: a batch costs one start of the interpreter.

Reads a JSON object of programs by name from standard input, writes one of results to standard
output. A program is run as a cell is: as `__main__`, with its last expression's value told.
"""

import ast
import asyncio
import contextlib
import io
import json
import linecache
import os
import resource
import signal
import sys
import tempfile
import traceback
import types
from typing import Any

FILENAME = "<cell 1>"
CPU_SECONDS = 30
_COROUTINE = 0x80  # CO_COROUTINE of `inspect`


def run_all(codes: dict[str, str]) -> dict[str, Any]:
    """
    What every program told, by its name.
    """
    return {name: _run_apart(code) for name, code in codes.items()}


def _run_apart(code: str) -> Any:
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory() as directory:
        child = os.fork()
        if child == 0:
            _be_the_child(code, directory, writing)
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as pipe:
            answer = pipe.read()
        _, status = os.waitpid(child, 0)
    return json.loads(answer) if answer else {"died": status}


def _be_the_child(code: str, directory: str, writing: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    # A shell that starts tests in the background has them ignore it, and so would the program.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(directory)
    os.environ["TMPDIR"] = os.environ["HOME"] = directory
    with os.fdopen(writing, "w", encoding="utf-8") as pipe:
        json.dump(_run(code), pipe)
    # Nothing of this process is the child's to clean up, and a program may have left anything.
    os._exit(0)


def _run(code: str) -> dict[str, Any]:
    told: dict[str, Any] = {"value": None, "error": "", "message": "", "traceback": ""}
    linecache.cache[FILENAME] = (len(code), None, code.splitlines(keepends=True), FILENAME)
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    sys.argv = [""]
    written = io.BytesIO()
    output = io.TextIOWrapper(written, encoding="utf-8", errors="backslashreplace")
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()):
        try:
            told["value"] = _value(code, main.__dict__)
        except SystemExit as error:
            told |= {"error": "SystemExit", "message": str(_exit_code(error.code))}
        except BaseException as error:  # noqa: BLE001 - whatever a program raises is its result
            told |= {"error": type(error).__name__, "message": _message(error)}
            told["traceback"] = traceback.format_exc()
    output.flush()
    return told | {"output": written.getvalue().decode()}


def _value(code: str, namespace: dict[str, Any]) -> str | None:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(code, FILENAME, "exec", flags | ast.PyCF_ONLY_AST)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    _evaluated(compile(tree, FILENAME, "exec", flags), namespace)
    if last is None:
        return None
    value = _evaluated(
        compile(ast.Expression(last.value), FILENAME, "eval", flags),
        namespace,
    )
    return None if value is None else repr(value)


def _evaluated(part: types.CodeType, namespace: dict[str, Any]) -> Any:
    value = eval(part, namespace)
    if not part.co_flags & _COROUTINE:
        return value

    async def waiting() -> Any:
        return await value

    return asyncio.run(waiting())


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a program's exception may have a __str__ that fails
        return "<str() of the exception failed>"


def _exit_code(code: object) -> int:
    if code is None:
        return 0
    return code & 0xFF if isinstance(code, int) else 1


if __name__ == "__main__":
    answers = run_all(json.load(sys.stdin))
    json.dump(answers, sys.stdout)
