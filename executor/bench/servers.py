"""
Private servers for rows, the floors that are processes of their own, and what they weigh.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

import grpc

import agent_client
from agent_client import embedded
from agent_client.client import Cage, Session
from agent_client.link import Link
from executor.bench.contest import Effort, Failed, Missing
from executor.images import catalog
from executor.process import images as native_images

MILLI: Final = 1e3
MICRO: Final = 1e6
_PLAIN: Final = ("core", "native-core", "python313")
_POLICY: Final = """\
version: 1
name: {name}
description: A benchmark's
cage: {cage}
image: {image}
limits:
  {{wall_time: 10m, cpu_time: 1h, output: 64Mi, scratch: 512Mi, requests: 100000000,
   sessions: 4096}}
{more}
"""


def policy(name: str, image: str, more: str = "", cage: str = "any") -> tuple[str, str]:
    """
    A policy's name and its text.
    """
    return name, _POLICY.format(name=name, cage=cage, image=image, more=more)


def serving(
    stack: ExitStack,
    policies: Mapping[str, str],
    audit: Path | None = None,
    sessions: int | None = None,
) -> Cage:
    """
    A private server with these policies, for so many sessions at a time, which ends with the stack.
    """
    folder = directory(stack)
    for name, text in policies.items():
        (folder / f"{name}.yaml").write_text(text)
    if sessions is None:
        return stack.enter_context(agent_client.connect(policies=folder, audit=audit))
    server = embedded.start(embedded.Options(policies=folder, audit=audit, sessions=sessions))
    return stack.enter_context(Cage(Link(server.address, server)))


def directory(stack: ExitStack) -> Path:
    """
    A directory that a server which was root can read; it goes with the stack.
    """
    made = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="codecage-bench-")))
    made.chmod(0o755)
    return made


def built(image: str) -> None:
    """
    Raises Missing where an image is not built on this machine.
    """
    find = native_images.find if image in native_images.names() else catalog.find
    if find(image) is None:
        raise Missing(f"the image {image} is not built: codecage image build {image}")


def with_packages(image: str, effort: Effort) -> None:
    """
    Raises Missing where the image is not built, or this form of the benchmark leaves it out.
    """
    if not effort.packages and image not in _PLAIN:
        raise Missing(f"the image {image} is left out in this form of the benchmark")
    built(image)


def first_result(cage: Cage, policy_name: str | None, image: str) -> Session:
    """
    A new session that has run a cell.
    """
    session = cage.session(policy_name, image=image)
    expect(session, "1 + 1", "2")
    return session


def expect(session: Session, code: str, value: str) -> None:
    """
    Run a cell. Raises Failed where its value is another.
    """
    seen = session.run(code)
    if seen.value != value:
        raise Failed(f"a cell gave {seen.value!r} and not {value!r}: {seen.text[-200:]}")


def ran(session: Session, code: str) -> None:
    """
    Run a cell. Raises Failed where it does.
    """
    seen = session.run(code)
    if not seen.ok:
        raise Failed(f"a cell failed: {seen.text[-200:]}")


def seconds(act: Callable[[], object]) -> float:
    """
    How long a call took.
    """
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def empty_call(stack: ExitStack, address: str) -> Callable[[], object]:
    """
    An empty gRPC call to a server: the standard health check, of the whole server.
    """
    channel = stack.enter_context(grpc.insecure_channel(address))
    call: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
    return lambda: call(b"")


class Asked:
    """
    A program of ours in a process of its own, which answers each line with a number or a text.
    """

    def __init__(self, program: str, *arguments: str, python: str = sys.executable) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [python, "-P", "-c", program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        """
        The process.
        """
        return self._process.pid

    def text(self, line: str = "") -> str:
        """
        Send a line and wait for the one that answers it. Raises Failed where the process ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise Failed("the process of a floor ended")
        return answer.rstrip("\n")

    def number(self, line: str = "") -> float:
        """
        The same, where the answer is a number.
        """
        return float(self.text(line))


def children(parent: int) -> list[int]:
    """
    The processes whose parent is `parent`.
    """
    return _families().get(parent, [])


def tree(top: int) -> list[int]:
    """
    The processes below `top`, itself left out.
    """
    families = _families()
    found: list[int] = []
    new = families.get(top, [])
    while new:
        found += new
        new = [one for pid in new for one in families.get(pid, [])]
    return sorted(found)


def cpu_time(top: int) -> float:
    """
    The seconds of processor time, in hundredths, of a process and of all below it, with those that
    have ended and were waited for: see proc_pid_stat(5).
    """
    return sum(map(_cpu_ticks, (top, *tree(top)))) / os.sysconf("SC_CLK_TCK")


def memory(pids: Sequence[int], kind: str = "Pss") -> float:
    """
    What processes weigh together, in MiB, by `smaps_rollup`: see proc(5).
    """
    return sum(_weight(pid, kind) for pid in pids)


def children_here() -> list[int]:
    """
    All processes below this one.
    """
    return tree(os.getpid())


def _families() -> dict[int, list[int]]:
    """
    Processes by their parent.
    """
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            found.setdefault(int(stat[1]), []).append(int(entry.name))
    return found


def _cpu_ticks(pid: int) -> int:
    """
    utime, stime, cutime and cstime.
    """
    return sum(map(int, _stat(pid)[11:15]))


def _stat(pid: int) -> list[str]:
    """
    What the kernel says of a process behind its name; nothing once it has ended.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _weight(pid: int, kind: str) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0  # it has ended
    found = re.search(rf"^{kind}:\s+(\d+)", text, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0
