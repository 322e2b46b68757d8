"""
The guest of the process cage: this interpreter, with the guest's half of the cells put into it.

That half is the one of the wasm guests, read from where it lies and run as it is; four further
files, in `guest/` beside this one, say what is otherwise here. All of them run without the names
of their files, and their frames are left out of tracebacks. What is not shared:

patches.py, tls*.py, hashing.py, wasi*.py   stand in for OpenSSL, sockets and calls that wasm
                                            lacks; a native Python has its own
`install()` at the end of runtime.py        refuses threads, takes time.sleep from poll(2), and
                                            asks a device for the reason of each OSError: here
                                            threads are there, sleep ends at a signal, and the
                                            kernel refuses without a reason
`install()` of loop.py                      makes a loop without threads and without a pipe
"""

import ast
import json
import signal
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any, Final

from executor.kernel.errors import InternalError
from executor.kernel.spawn import NUDGE_SIGNAL
from executor.process.worker_door import Door

# The frames of these files are left out of tracebacks, by this name.
_FILE: Final = "<codecage>"
# A function is rewritten for what it sees after eight runs, an instruction in it after some more:
# what happens here happens in no session, on pages of its own.
_SESSIONS: Final = 10
_REHEARSAL: Final[tuple[dict[str, Any], ...]] = (
    {"op": "begin", "environment": {}, "seed": "00" * 64, "directory": "/"},
    {"op": "cell", "cell": 0, "code": ""},
)

# What is told of a cell that has tampered with the guest's half until it gives no answer.
BROKEN: Final[Mapping[str, Any]] = {
    "status": "error",
    "name": "RuntimeError",
    "message": "the cell broke its runtime",
}


def _read(package: str) -> dict[str, str]:
    folder = resources.files(package).joinpath("guest")
    files = [entry for entry in folder.iterdir() if entry.name.endswith(".py")]
    return {entry.name: entry.read_text(encoding="utf-8") for entry in files}


# Read when this is imported: a zygote hides its own files before it takes a guest in.
SHARED: Final = _read("executor.wasm")
OWN: Final = _read("executor.process")
VALUES: Final = {
    "values.py": resources.files("codecage").joinpath("values.py").read_text(encoding="utf-8")
}


class NativeGuest:
    """
    The guest in this process: one namespace, one function to call. There can be one only.

    `image` and `elsewhere` are told where an import fails: the image's name, and the images that
    have a module which this one has not.
    """

    def __init__(self, door: Door, image: str, elsewhere: Mapping[str, tuple[str, ...]]) -> None:
        sys.modules["__main__"] = _new_main()
        self._runtime: Final = _runtime()
        self._adapter: Final = _module("_codecage_adapter", _code(OWN, "adapter.py"))
        self._hidden: tuple[types.ModuleType, ...] = ()
        self._put_in(door, image, elsewhere)
        self._entry: Final[Callable[[bytes], bytes]] = self._runtime.entry

    def _put_in(self, door: Door, image: str, elsewhere: Mapping[str, tuple[str, ...]]) -> None:
        runtime, adapter = self._runtime, self._adapter
        runtime.use_tracebacks(_code(SHARED, "tracebacks.py"))
        runtime.use_finders(_code(SHARED, "finders.py"))
        ways = {name: _code(OWN, f"{name}.py") for name in ("programs", "files", "sockets")}
        adapter.use_parts(runtime, door, ways)
        runtime.use_display(_code(SHARED, "display.py"))
        runtime.use_tools(_code(VALUES, "values.py"), _code(SHARED, "tools.py"))
        runtime.use_transactions(_code(SHARED, "transactions.py"))
        commands = (_code(SHARED, f"{name}.py") for name in ("magics", "notebook", "advice"))
        runtime.use_magics(*commands)
        adapter.use_loop(runtime, _code(SHARED, "loop.py"), _code(OWN, "loop.py"))
        adapter.install(runtime)
        runtime.Absent.IMAGE = image
        runtime.Absent.ELSEWHERE = dict(elsewhere)

    def hold(self, hidden: Sequence[types.ModuleType]) -> None:
        """
        Keep modules alive that are no longer found by name: our own, which go on working.
        """
        self._hidden = tuple(hidden)

    def listen(self) -> None:
        """
        Have SIGINT be the guest's, in this process, and let it be nudged.
        """
        signal.signal(signal.SIGINT, self._adapter.on_interrupt)
        signal.signal(NUDGE_SIGNAL, self._adapter.on_nudge)

    def warm_up(self) -> None:
        """
        Use what has been imported once, keep its generators of chance, and begin as a session.

        Before the fork: what is made here is shared by all sessions.
        """
        self._adapter.exercise()
        self._runtime.remember_generators()
        for _ in range(_SESSIONS):
            self.rehearse()

    def rehearse(self) -> None:
        """
        Begin and run an empty cell, which leaves nothing that a session's own begin does not set.
        """
        for request in _REHEARSAL:
            self.call(request)

    def serve(self, places: Sequence[str], mounts: Sequence[str]) -> None:
        """
        Have errors about files say why: the gate is asked what it has said of those below `places`,
        and what the policy says of those outside `mounts`.
        """
        self._adapter.files.serve(places, mounts)

    def call(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """
        Call the guest's entry with a request, and return its answer, checked for being one.

        An interrupt that strikes outside the entry leaves this by KeyboardInterrupt.
        """
        return _decoded(self._entry(json.dumps(dict(request)).encode()))


def _new_main() -> types.ModuleType:
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = sys.modules["builtins"]
    return main


def _runtime() -> Any:
    """
    The shared runtime, as far as its last statement, which installs it into a wasm guest.
    """
    tree = ast.parse(SHARED["runtime.py"])
    last = ast.unparse(tree.body.pop())
    if last != "install()":
        raise InternalError(f"the guest's runtime ends with {last!r}, not with its installation")
    return _module("_codecage", compile(tree, _FILE, "exec"))


def _code(sources: Mapping[str, str], file: str) -> types.CodeType:
    return compile(sources[file], _FILE, "exec")


def _module(name: str, code: types.CodeType) -> Any:
    made = types.ModuleType(name)
    exec(code, made.__dict__)  # noqa: S102 - our own source, in a module of its own
    return made


def _decoded(answer: bytes) -> dict[str, Any]:
    try:
        found = json.loads(answer)
    except (ValueError, TypeError, RecursionError):
        found = None
    return found if isinstance(found, dict) else dict(BROKEN)
