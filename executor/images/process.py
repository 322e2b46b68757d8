"""
Running the tools of a build: no shell, a stated environment, limits, a time, and no survivors.

npm, pip, wasm-opt and the compiler read data that came from the network. Each runs in a process
group of its own under the limits of `limited.py`; the group is killed when time is up, or when
the build itself is interrupted.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from executor.images.errors import ToolFailedError

Tick = Callable[[], None]

_GIB = 2**30
_TICK_MILLISECONDS = 200
_TAIL_BYTES = 4096
_LIMITED = Path(__file__).with_name("limited.py")


@dataclass(frozen=True, slots=True)
class ToolLimits:
    """
    What one run of a tool may use: bytes of data, address space and one file; seconds.

    Data counts private writable memory. Address space is far more than that, because V8 and
    wasmtime reserve what they never touch.
    """

    data: int = 3 * _GIB
    address: int = 64 * _GIB
    file: int = _GIB // 2
    cpu_seconds: int = 300
    wall_seconds: int = 600


# What a program needs to reach the registry that the user has configured: their configuration
# and its certificates, proxies, and the tokens that an .npmrc may refer to. Nothing else of the
# environment reaches a tool: no NODE_OPTIONS, no PYTHONPATH, no LD_PRELOAD.
_NETWORK_NAMES = frozenset(
    {
        "ALL_PROXY",
        "CURL_CA_BUNDLE",
        "HOME",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NODE_AUTH_TOKEN",
        "NODE_EXTRA_CA_CERTS",
        "NO_PROXY",
        "NPM_TOKEN",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "XDG_CONFIG_HOME",
    }
)
_NETWORK_PREFIXES = ("NPM_CONFIG_", "PIP_")


def plain_environment(scratch: Path) -> dict[str, str]:
    """
    The environment of a tool that needs no network; temporary files go to `scratch`.

    LD_LIBRARY_PATH stays where it is set: some builds of Python do not start without it.
    """
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8", "TMPDIR": str(scratch)}
    if "LD_LIBRARY_PATH" in os.environ:
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return environment


def network_environment(scratch: Path) -> dict[str, str]:
    """
    The environment of npm and pip: `plain_environment` and the user's network configuration.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.upper() in _NETWORK_NAMES or name.upper().startswith(_NETWORK_PREFIXES)
    }
    return kept | plain_environment(scratch)


def run(
    command: Sequence[str],
    *,
    directory: Path,
    environment: Mapping[str, str],
    limits: ToolLimits,
    tick: Tick,
) -> str:
    """
    Run a program to its end and return what it wrote to stdout.

    `command[0]` is an absolute path; `tick` is called about five times a second. Raises
    ToolFailedError with the end of its output where it ends with another status than 0, and
    where it takes longer than `limits.wall_seconds`; it and its children are then dead.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(  # noqa: S603 - a list, no shell, an absolute path
            _limited(command, limits),
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            _wait(child, command[0], limits, tick)
        finally:
            _end(child)
        if child.returncode != 0:
            raise ToolFailedError(_complaint(command[0], child.returncode, out, err))
        return _text(out, 2**20)


def _limited(command: Sequence[str], limits: ToolLimits) -> list[str]:
    numbers = (os.getpid(), limits.data, limits.address, limits.cpu_seconds, limits.file)
    return [sys.executable, "-I", "-S", str(_LIMITED), *map(str, numbers), *command]


def _wait(child: "subprocess.Popen[bytes]", program: str, limits: ToolLimits, tick: Tick) -> None:
    # By pidfd (pidfd_open(2)), because waiting for it that way leaves the zombie in place.
    deadline = time.monotonic() + limits.wall_seconds
    descriptor = os.pidfd_open(child.pid)
    try:
        ended = select.poll()
        ended.register(descriptor, select.POLLIN)
        while not ended.poll(_TICK_MILLISECONDS):
            if time.monotonic() > deadline:
                raise ToolFailedError(
                    f"{program} was stopped after {limits.wall_seconds} s, the time it may take. "
                    "Try again; if it is the network that is slow, use a nearer registry."
                )
            tick()
    finally:
        os.close(descriptor)


def _end(child: "subprocess.Popen[bytes]") -> None:
    # The child is not reaped yet, so its id still names its group and no other (setsid(2)).
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _complaint(program: str, status: int, out: IO[bytes], err: IO[bytes]) -> str:
    how = f"signal {-status}" if status < 0 else f"status {status}"
    said = (_text(err, _TAIL_BYTES) + _text(out, _TAIL_BYTES)).strip() or "(it wrote nothing)"
    return f"{program} ended with {how}. The end of what it wrote:\n{said}"


def _text(file: IO[bytes], limit: int) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - limit))
    return file.read(limit).decode("utf-8", "replace")
