"""
A range for live rounds: a process with one thread that makes one box for each attack.

Run by exec (pytest has threads, and forks badly). Each line on stdin is a JSON job, each line on
stdout its outcome. An attack is a function of the `Host`: it returns a text that begins with "!"
when it got what it wanted, raises when it was refused. Without a box (`boxed` false) the same
function must reach its target, or it proves nothing.
"""

import ctypes
import errno
import fcntl
import importlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from box_kernels import be_older, refuse
from box_others import Others

from executor.linux import cgroups, descriptors, libc, mounts, prctl
from executor.linux.errors import MechanismError, MechanismFailed
from executor.linux.lock_steps import Step
from executor.process import jail, selftest
from executor.process.plan import (
    BoxPlan,
    Identity,
    Level,
    Link,
    NewCode,
    Scratch,
    View,
    identity_of,
)
from executor.process.site import Site

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
SLOT = 77
SECRET = "zygote-secret-4711"
RESULT = 3
HELD_FILE, HELD_DIRECTORY, HELD_TERMINAL = 50, 51, 52
FAMILIES = ("fs", "md", "pr", "sys", "net", "res")
_LONGEST = 65536
_DONE = {"done": True}


@dataclass(frozen=True, slots=True)
class Host:
    """
    What an attack is aimed at: a directory with a canary file, a process, listeners.
    """

    directory: str
    canary: str
    process: int
    port: int
    stream: str
    datagram: str
    abstract: str
    shared_memory: str


Job = dict[str, Any]
Attack = Callable[[Host], str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What became of an attack: its text, or an errno's name, a signal's name, an exception.
    """

    said: str
    level: str = ""
    refused: list[str] = field(default_factory=list)
    holds: dict[str, str] = field(default_factory=dict)
    code: int = 0

    @property
    def reached(self) -> bool:
        return self.said.startswith("!")


@contextmanager
def large_stacks():
    """
    What is started inside has them, as on some hosts: a thread of a box must not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (2**28, hard))
    yield
    resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))


class Range:
    """
    The tests' side: starts the process, sends jobs, reads outcomes.
    """

    program = __file__

    def __init__(self, *, user: int | None = None) -> None:
        self.user = user
        python = sys.executable if user is None else "/usr/bin/python3"
        extra = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        path = [str(ROOT), str(HERE)]
        with large_stacks():
            self._process = subprocess.Popen(
                [python, "-B", str(Path(self.program).resolve())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={"PYTHONPATH": ":".join(path), "PATH": os.defpath, "SECRET": SECRET},
                cwd="/",
                text=True,
                **extra,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, **job: object) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(job) + "\n")
        stdin.flush()
        line = stdout.readline()
        assert line, f"the range itself ended during {job}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self, attack: str, host: Host, *, boxed: bool, **options: object) -> Outcome:
        job = {"attack": attack, "host": asdict(host), "boxed": boxed, **options}
        return Outcome(**self.ask(**job))

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def plan(**changes: Any) -> BoxPlan:
    """
    The plan of a small box that shows this host's programs and this Python.
    """
    names = ("bin", "lib", "lib64", "sbin")
    links = tuple(
        Link(f"/{name}", os.readlink(f"/{name}")) for name in names if os.path.islink(f"/{name}")
    )
    defaults: dict[str, Any] = {
        "mounts": (View("/usr", "/usr"),),
        "links": links,
        "scratch": (Scratch("/work", 16 << 20, 500),),
        "tmp_bytes": 4 << 20,
        "tmp_files": 500,
        "memory": 256 << 20,
        "open_files": 128,
        "tasks": 24,
        "environment": (("HOME", "/home/agent"), ("LANG", "C.UTF-8")),
        "identity": identity_of(SLOT) if os.geteuid() == 0 else None,
    }
    return BoxPlan(**(defaults | changes))


def found(name: str) -> Attack:
    """
    The attack of that name, of whichever family.
    """
    module = importlib.import_module("box_work")
    calls = importlib.import_module("box_calls").CALLS
    grants = importlib.import_module("box_grants").GRANTS
    needs = importlib.import_module("box_needs").NEEDS
    spins = importlib.import_module("box_spin").SPINS
    work: dict[str, Attack] = module.WORK | module.TRACES | calls | grants | needs | spins
    if name in work:
        return work[name]
    for family in FAMILIES:
        module = importlib.import_module(f"attack_{family}")
        if name in module.ATTACKS:
            attack: Attack = module.ATTACKS[name].act
            return attack
    raise KeyError(name)


def _act(attack: Attack, host: Host) -> None:
    """
    Run it and write what it came to; the process ends here.
    """
    try:
        said = attack(host)
    except OSError as error:
        said = errno.errorcode.get(error.errno or 0, f"OSError {error}")
    except AssertionError as error:
        assert error.__traceback__ is not None
        said = f"not so at line {error.__traceback__.tb_next.tb_lineno}"
    except (ImportError, LookupError, MemoryError, RuntimeError, ValueError) as error:
        said = type(error).__name__
    os.write(RESULT, said.encode())
    os._exit(0)


def _pipe() -> tuple[int, int]:
    reading, writing = os.pipe()
    away = fcntl.fcntl(reading, fcntl.F_DUPFD_CLOEXEC, 60)
    os.dup2(writing, RESULT)
    for number in {reading, writing} - {RESULT}:
        os.close(number)
    return away, RESULT


def _control(attack: Attack, host: Host) -> Outcome:
    reading, writing = _pipe()
    # One for each: what an attack leaves is in no other's way.
    directory = tempfile.mkdtemp(prefix="control-", dir=host.directory)
    pid = os.fork()
    if pid == 0:
        os.chdir(directory)
        _act(attack, host)
    os.close(writing)
    outcome = _outcome(reading, os.waitpid(pid, 0)[1])
    shutil.rmtree(directory)
    return outcome


def _boxed(attack: Attack, host: Host, job: Job) -> Outcome:
    reading, writing = _pipe()
    box = None

    def run() -> Any:
        _act(attack, host)

    try:
        box = jail.clone_box(plan(**_changes(job)), run)
    finally:
        os.close(writing)
        if box is None:
            os.close(reading)
    others = Others(box)
    if "interrupt" in job:
        assert os.read(reading, 6) == b"ready "
        # A signal just before pause(2) would be heard of after it.
        while _state(box.pid) == "R":
            os.sched_yield()
        signal.pidfd_send_signal(box.pidfd, signal.SIGINT)
    others.serve()
    box.close_handed()
    done = os.waitid(os.P_PIDFD, box.pidfd, os.WEXITED | os.WNOWAIT)
    assert done is not None
    killed = done.si_code in {os.CLD_KILLED, os.CLD_DUMPED}
    outcome = _outcome(reading, done.si_status if killed else 0)
    kept = [] if box.private is None else [place for _, place in box.private.places]
    box.end()
    assert not any(map(os.path.exists, kept))
    holds = {finding.part.value: finding.hold.value for finding in box.vector.findings}
    code = 0 if killed else done.si_status
    return Outcome(outcome.said, box.vector.level.name, others.refused, holds, code)


def _state(pid: int) -> str:
    """
    The letter of what a process does, proc_pid_stat(5): `S` where it waits.
    """
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _outcome(reading: int, status: int) -> Outcome:
    with os.fdopen(reading, "rb") as file:
        said = file.read(_LONGEST).decode(errors="replace")
    # WCOREDUMP is a bit of its own; what is killed by a signal says which.
    ending = status & 0x7F
    return Outcome(signal.Signals(ending).name if ending else said or "nothing")


def _stubborn() -> Any:
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    for _ in range(5):
        threading.Thread(target=signal.pause, daemon=True).start()
    os.write(RESULT, b"x")
    while True:
        signal.sigwait({signal.SIGTERM})


def _ended(number: int, changes: Job) -> dict[str, Any]:
    """
    Make a box that wants to live, send it a signal, and end it.
    """
    reading, writing = _pipe()
    box = jail.clone_box(plan(**changes), _stubborn)
    os.close(writing)
    os.read(reading, 1)
    os.kill(box.pid, number)
    box.end()
    os.close(reading)
    return {"gone": not Path(f"/proc/{box.pid}").exists()}


def _wait_for_ever() -> Any:
    signal.pause()
    os._exit(0)


def _changes(job: Job) -> Job:
    changes: Job = dict(job.get("plan", {}))
    if "minimum" in changes:
        changes["minimum"] = Level[changes["minimum"]]
    if "new_code" in changes:
        changes["new_code"] = NewCode[changes["new_code"]]
    if "kept" in changes:
        changes["kept"] = frozenset(changes["kept"])
    if "scratch" in changes:
        changes["scratch"] = tuple(Scratch(*one) for one in changes["scratch"])
    if "mounts" in changes:
        changes["mounts"] = tuple(View(*view) for view in changes["mounts"])
    for name in ("served", "ports", "programs"):
        if name in changes:
            changes[name] = tuple(changes[name])
    if changes.get("identity"):
        changes["identity"] = Identity(*changes["identity"])
    return changes


Steps = tuple[Step[Site], ...]


def _failing(steps: Steps, name: str, how: str) -> Steps:
    """
    The steps, with the one of that name failing in the way `how`.
    """

    def raising(_site: Site) -> None:
        raise OSError(errno.EIO, "injected")

    def refusing(_site: Site) -> None:
        raise MechanismFailed("injected", "it does not hold")

    def dying(_site: Site) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
        os._exit(7)

    def skipping(_site: Site) -> None:
        return

    acts = {"raise": raising, "refuse": refusing, "die": dying, "skip": skipping}
    assert name in {step.name for step in steps}, name
    return tuple(
        Step(step.name, step.reason, acts[how]) if step.name == name else step for step in steps
    )


def _held() -> dict[str, Any]:
    """
    What this process holds that a box which is gone must not have left.
    """
    children = Path("/proc/self/task", str(os.getpid()), "children").read_text().split()
    return {
        "descriptors": sorted(descriptors.own()),
        "children": children,
        "mounts": len(Path("/proc/self/mountinfo").read_text().splitlines()),
        "groups": sorted(map(str, _groups())),
    }


def _groups() -> list[Path]:
    try:
        parents = set(cgroups.own().values())
    except MechanismError:
        return []
    return [path for parent in parents for path in parent.glob(f"codecage-{os.getpid()}-*")]


def _self_test(job: Job) -> dict[str, Any]:
    before = jail.STEPS
    try:
        for name in job.get("skip", ()):
            jail.STEPS = tuple(step for step in jail.STEPS if step.name not in {name, "canaries"})
        status_verify = jail.status.verify
        if job.get("skip"):
            jail.status.verify = lambda *_a, **_k: None
        try:
            return {"names": selftest.run(plan(**_changes(job)))}
        finally:
            jail.status.verify = status_verify
    except MechanismError as error:
        return {"said": f"{type(error).__name__}: {error}"}
    finally:
        jail.STEPS = before


def _do(job: Job) -> dict[str, Any]:
    if job.get("held"):
        return _held()
    if job.get("self_test"):
        return _self_test(job)
    if "mount_proc" in job:
        # In a mount namespace of this process's own: the host does not see it.
        libc.call("unshare", 0x0002_0000)
        mounts.isolate()
        made = ctypes.create_string_buffer(job["mount_proc"].encode())
        kind = ctypes.create_string_buffer(b"proc")
        place = (ctypes.addressof(kind), ctypes.addressof(made), ctypes.addressof(kind))
        libc.call("mount", *place, 0, 0)
        return _DONE
    if job.get("undumpable"):
        prctl.set_not_dumpable()
        return _DONE
    if "refuse" in job:
        refuse(*job["refuse"])
        return _DONE
    if job.get("older"):
        be_older()
        return _DONE
    before, verify = jail.STEPS, jail.status.verify
    if "fail" in job:
        jail.STEPS = _failing(before, *job["fail"])
    try:
        attack, host = found(job["attack"]), Host(**job["host"])
        if "end" in job:
            return _ended(job["end"], _changes(job))
        if job.get("left"):
            return {"pid": jail.clone_box(plan(kept=frozenset()), _wait_for_ever).pid}
        if not job["boxed"]:
            return asdict(_control(attack, host))
        return asdict(_boxed(attack, host, job))
    except MechanismError as error:
        return {"said": f"{type(error).__name__}: {error}"}
    finally:
        jail.STEPS = before
        jail.status.verify = verify


def main() -> None:
    """
    Import what boxes will need, and do one job after another.
    """
    for family in FAMILIES:
        importlib.import_module(f"attack_{family}")
    for name in ("box_work", "box_calls", "box_grants", "box_needs", "box_spin"):
        importlib.import_module(name)
    jail.prepare()
    # Out of the way of what attacks and boxes use.
    stdin, stdout = (fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 60) for number in (0, 1))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    jobs, answers = os.fdopen(stdin), os.fdopen(stdout, "w")
    for line in jobs:
        job = json.loads(line)
        if "hold" in job:
            path = job["hold"]
            for number, opened in (
                (HELD_FILE, os.open(path, os.O_RDONLY)),
                (HELD_DIRECTORY, os.open(os.path.dirname(path), os.O_RDONLY)),
                (HELD_TERMINAL, os.openpty()[1]),
            ):
                os.dup2(opened, number)
                os.close(opened)
            answer: dict[str, Any] = _DONE
        else:
            answer = _do(job)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
