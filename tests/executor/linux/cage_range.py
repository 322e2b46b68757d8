"""
A range for live rounds: a single-threaded process that forks one worker for each act.

Run by exec (pytest has threads, and forks badly). Each line on stdin is a JSON job, each line on
stdout its outcome. An act is a generator: what stands before its `yield` happens before the
lock, as in a worker that holds something already; what stands after it is done by the worker
that the guest has taken over. `caged` says whether the lock is there; without it the same act
must reach its target, or it proves nothing.
"""

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executor.linux import oom
from executor.linux.filters import (
    ALLOW,
    KILL_PROCESS,
    Action,
    Allow,
    Filter,
    OneOf,
    Refuse,
    Verdict,
    compile_filter,
)
from executor.linux.seccomp import install, load
from executor.wasm import jail

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
NOBODY = 65534
GROWTH = 128 * 2**20


@dataclass(frozen=True, slots=True)
class World:
    """
    What an act has: the socket to the broker, and the set of descriptors that the lock keeps.
    """

    channel: socket.socket
    kept: set[int]


Job = dict[str, Any]
Act = Callable[[World], Generator[None, None, object]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What became of an act: a value, or an errno's name, or a signal's name, or an exception.
    """

    value: object = None
    errno: str | None = None
    signal: str | None = None
    error: str | None = None
    reached: bool = True

    @property
    def short(self) -> str:
        return self.signal or self.errno or self.error or "done"


class Range:
    """
    The tests' side: starts the process, sends jobs, reads outcomes.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": ":".join([str(ROOT), str(HERE), *sys.path[1:]])},
            text=True,
        )

    def run(self, act: str, *, caged: bool, **options: object) -> Outcome:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"act": act, "caged": caged, **options}) + "\n")
        stdin.flush()
        line = stdout.readline()
        assert line, f"the range itself ended during {act}"
        return Outcome(**json.loads(line))

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def _lock_down(parent: int, world: World, job: Job) -> jail.Lockdown:
    """
    The whole lock in one process, without a zygote.
    """
    run_as = jail.Identity(NOBODY, NOBODY) if os.geteuid() == 0 else None
    confinement = jail.Confinement(
        data_growth=int(job.get("data_growth", GROWTH)),
        run_as=None if job.get("no_run_as") else run_as,
        minimum=jail.Level[job.get("minimum", "W2")],
    )
    off = int(job.get("parent_off_by", 0))
    return jail.lock_down(jail.hold(confinement), parent + off, frozenset(world.kept))


def refuse(system_call: str, number: int, option: int | None, *, kill: bool = False) -> None:
    """
    Make this kernel one that refuses a call (or one option of prctl): by a filter, for real.
    """
    action = KILL_PROCESS if kill else Action(Verdict.ERRNO, number)
    others = tuple(value for value in range(100) if value != option)
    row = (
        Refuse(system_call, "the test says so", action)
        if option is None
        else Allow(system_call, "the test says so", (OneOf(0, others),), otherwise=action)
    )
    bring = load if kill else install  # under the lock no_new_privs is set, and prctl refused
    bring(compile_filter(Filter("break", (row,), ALLOW), os.getpid()), tsync=True)


def _lock(parent: int, world: World, job: Job) -> object:
    if "refuse" in job:
        refuse(job["refuse"], getattr(errno, job.get("errno", ""), 0), job.get("option"))
    lockdown = _lock_down(parent, world, job)
    if "remove" in job:
        refuse(job["remove"], 0, None, kill=True)
    if job.get("final"):
        jail.forbid_threads()
    return repr(lockdown)


def _child(act: Act, channel: socket.socket, parent: int, job: Job) -> None:
    world = World(channel, {channel.fileno()})
    own, reached = os.getpid(), False
    rounds = act(world)
    try:
        next(rounds)
        lockdown = _lock(parent, world, job) if job["caged"] else None
        channel.send(b"+")
        reached = True
        next(rounds)
    except StopIteration as stop:
        answer = {"value": lockdown if job.get("report") else stop.value}
    except OSError as error:
        answer = {"errno": errno.errorcode.get(error.errno or 0, str(error))}
    except Exception as error:  # noqa: BLE001 - whatever it is goes to the test
        answer = {"error": f"{type(error).__name__}: {error}"}
    if os.getpid() != own:
        os._exit(0)  # an act that forks has made a second one of us
    channel.send(json.dumps({**answer, "reached": reached}).encode())
    os._exit(0)


def _fork() -> int:
    """
    Fork a child with the score of a worker.
    """
    score = oom.own()
    try:
        return score.fork()
    finally:
        os.close(score.descriptor)


def _judge(act: Act, job: Job) -> dict[str, object]:
    ours, theirs = socket.socketpair()
    parent = os.getpid()
    pid = os.fork() if job.get("without_a_score") else _fork()
    if pid == 0:
        ours.close()
        _child(act, theirs, parent, job)
    theirs.close()
    received = ours.recv(1)
    seen = _ATTENDANTS[job.get("attend", "nobody")](pid, ours)
    with contextlib.suppress(ConnectionResetError):  # a killed worker had not read everything
        received += b"".join(iter(lambda: ours.recv(65536), b""))
    ours.close()
    _, status = os.waitpid(pid, 0)
    reached, _, answer = received.partition(b"{")
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return {"signal": name, "reached": reached == b"+"}
    if not answer:
        return {"value": "another program", "reached": reached == b"+"}
    outcome = dict(json.loads(b"{" + answer))
    return {**outcome, "value": seen} if seen is not None else outcome


def _nobody(_pid: int, _channel: socket.socket) -> None:
    return None


def _look(pid: int, channel: socket.socket) -> dict[str, object]:
    """
    What the kernel says of the worker, seen from outside, once it has said that it is ready.
    """
    channel.recv(1)
    proc = Path(f"/proc/{pid}")
    tasks = [
        dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if line)
        for task in proc.glob("task/*")
    ]
    stat = (proc / "stat").read_text().rpartition(")")[2].split()
    seen = {
        "tasks": tasks,
        "session": int(stat[3]) == pid,
        "oom": (proc / "oom_score_adj").read_text().strip(),
        "limits": (proc / "limits").read_text(),
        "open": sorted(entry.name for entry in (proc / "fd").iterdir())
        if os.geteuid() == 0
        else None,
        "cwd": str((proc / "cwd").readlink()) if os.geteuid() == 0 else None,
    }
    channel.send(b"!")
    return seen


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _wait_for_state(pid: int, wanted: str) -> None:
    while _state(pid) not in wanted:
        os.sched_yield()


def _stop_and_continue(pid: int, channel: socket.socket) -> None:
    _wait_for_state(pid, "SZ")
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED)
    os.kill(pid, signal.SIGCONT)
    _wait_for_state(pid, "SZ")
    with contextlib.suppress(BrokenPipeError):  # the worker is killed when the wait may not go on
        channel.send(b"!")


_ATTENDANTS = {"nobody": _nobody, "look": _look, "stop and continue": _stop_and_continue}


def orphan(*, caged: bool) -> dict[str, object]:
    """
    A zygote forks a worker and is killed: does the worker still answer?

    The kernel signals the worker before the zygote can be reaped, and a killed process answers
    nothing, so there is no time to wait for.
    """
    ours, theirs = socket.socketpair()
    zygote = os.fork()
    if zygote == 0:
        ours.close()
        own = os.getpid()
        worker = _fork()
        if worker == 0:
            if caged:
                _lock_down(own, World(theirs, {theirs.fileno()}), {})
            theirs.send(b"+")
            theirs.send(theirs.recv(1))
            os._exit(0)
        theirs.close()
        os.waitpid(worker, 0)
    theirs.close()
    assert ours.recv(1) == b"+"
    os.kill(zygote, signal.SIGKILL)
    os.waitpid(zygote, 0)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError), ours:
        ours.send(b"?")
        return {"value": "lives on" if ours.recv(1) else "ended"}
    return {"value": "ended"}


def main() -> None:
    import cage_acts
    import cage_work

    assert cage_work.ACTS is cage_acts.ACTS

    for line in sys.stdin:
        job = json.loads(line)
        if job["act"] == "orphan":
            outcome = orphan(caged=job["caged"])
        else:
            outcome = _judge(cage_acts.ACTS[job["act"]], job)
        sys.stdout.write(json.dumps(outcome) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
