"""
What people use instead, each in an interpreter of its own, driven by `guest/driver.py`.

The peers' packages stay out of this installation: `codecage bench peers` makes environments for
them from lock files, and installs Pyodide for Node by npm. What is not there is named in each row
with the reason.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO, Any, Final, Self

from executor.bench.contest import Act, Contestant, Failed, Missing, Role, Setting

_GUEST: Final = Path(__file__).parent / "guest"
_END_SECONDS: Final = 10.0
_ANSWER_SECONDS: Final = 180.0
_LEFT_OUT: Final = "left out in this form of the benchmark"
# What of an agent's environment a peer has a use for; its keys are not among it.
_KEPT: Final = ("HOME", "LANG", "PATH", "TMPDIR")


class Home(Enum):
    """
    Where a peer's program runs: this Python, an environment of the peers, or Node.
    """

    HERE = ""
    ENVIRONMENT = "python"
    NEWER = "python312"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class Peer:
    """
    A peer: its name in tables, in the driver, where it lives, and what is fair to say about it.
    """

    name: str
    driver: str
    home: Home
    says: str


PEERS: Final = (
    Peer("python -c", "once", Home.HERE, "no boundary, no state"),
    Peer("python on a pipe", "pipe", Home.HERE, "no boundary"),
    Peer(
        "bubblewrap + python", "bubblewrap", Home.HERE, "namespaces; no seccomp filter, no policy"
    ),
    Peer("ipykernel", "ipykernel", Home.ENVIRONMENT, "no boundary; rich output, CodeAct's engine"),
    Peer("pydantic-monty", "monty", Home.ENVIRONMENT, "a part of Python, no packages; a process"),
    Peer("smolagents, local", "smolagents", Home.ENVIRONMENT, "no boundary: inside the caller"),
    Peer("llm-wasm-sandbox", "llm-wasm-sandbox", Home.ENVIRONMENT, "wasm, compiled for each code"),
    Peer("pysandbox-wasi", "pysandbox-wasi", Home.NEWER, "wasm, many guests in one process"),
    Peer(
        "Pyodide on Node", "plain", Home.NODE, "wasm, whose JavaScript side has the host's rights"
    ),
    Peer("Pyodide on Node, snapshot", "snapshot", Home.NODE, "the same, from a memory snapshot"),
)


def contestants(
    setting: Setting, op: str, scale: float, without: Sequence[str] = (), **asked: Any
) -> list[Contestant]:
    """
    The peers as contestants that measure `op`; seconds are multiplied by `scale`.

    Those named in `without` are left out with a word why, as `driver name: why`.
    """
    reasons = dict(one.split(": ", 1) for one in without)

    def entered(peer: Peer) -> Contestant:
        def begin(stack: ExitStack) -> Act:
            if peer.driver in reasons:
                raise Missing(reasons[peer.driver])
            driven = begun(peer, setting, stack)
            return lambda _case: float(driven.ask(op, **asked)) * scale

        return Contestant(peer.name, Role.PEER, begin, note=peer.says)

    return [entered(peer) for peer in PEERS]


def begun(peer: Peer, setting: Setting, stack: ExitStack) -> "Driven":
    """
    Start a peer's program. Raises Missing where its parts are not here.
    """
    if not setting.effort.peers:
        raise Missing(_LEFT_OUT)
    driven = stack.enter_context(Driven(_command(peer, setting)))
    try:
        driven.ask("version")
    except Failed as error:
        raise Missing(str(error)) from None
    return driven


class Driven:
    """
    A peer's program, which answers one question at a time, in a directory of its own.

    `patience` is the seconds that an answer may take.
    """

    patience = _ANSWER_SECONDS

    def __init__(self, command: Sequence[str]) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="codecage-peer-")
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._directory.name,
            env=environment,
            start_new_session=True,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        _wait_and_kill(process)
        process.stdout.close()
        self._directory.cleanup()

    @property
    def pid(self) -> int:
        """
        The top of the peer's processes.
        """
        return self._process.pid

    def ask(self, op: str, **asked: Any) -> Any:
        """
        Have the peer do something and wait for its answer. Raises Failed with the peer's words.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{json.dumps({'op': op, **asked})}\n")
            self._process.stdin.flush()
            line = self._answer(self._process.stdout)
        except BrokenPipeError:
            line = ""
        if not line:
            raise Failed("the peer's process ended")
        try:
            answer = json.loads(line)
        except ValueError:
            raise Failed(f"the peer said {line[:80]!r}, which is no answer") from None
        if "error" in answer:
            raise Failed(answer["error"])
        return answer["value"]

    def _answer(self, answers: IO[str]) -> str:
        """
        One line for each question, so nothing waits in the buffer when the next is asked.
        """
        ready, _, _ = select.select([answers], [], [], self.patience)
        if not ready:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise Failed(f"the peer did not answer in {self.patience:g} s, and was killed")
        return answers.readline()


def _wait_and_kill(process: "subprocess.Popen[str]") -> None:
    """
    Give it time to end, then kill its group: what a peer started and left goes with it.

    It is reaped last, because until then nobody else can have its number.
    """
    if process.returncode is not None:
        return
    handle = os.pidfd_open(process.pid)
    try:
        select.select([handle], [], [], _END_SECONDS)
    finally:
        os.close(handle)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _command(peer: Peer, setting: Setting) -> list[str]:
    driver = str(_GUEST / "driver.py")
    if peer.home is Home.HERE:
        return [sys.executable, "-P", driver, peer.driver]
    place = setting.peers / peer.home.value if setting.peers else None
    if peer.home is Home.NODE:
        module = place / "node_modules" / "pyodide" / "pyodide.mjs" if place else None
        node = shutil.which("node")
        if node is None or module is None or not module.is_file():
            raise Missing("needs Node and Pyodide: codecage bench peers")
        return [node, str(_GUEST / "pyodide.mjs"), str(module), peer.driver]
    python = place / "bin" / "python" if place else None
    if python is None or not python.is_file():
        newer = " (with Python 3.12 or later)" if peer.home is Home.NEWER else ""
        raise Missing(f"not installed: codecage bench peers{newer}")
    return [str(python), "-P", driver, peer.driver]
