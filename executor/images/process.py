"""
Running the tools of a build: no shell, a stated environment, limits, a time, and no survivors.

npm, pip, wasm-opt and the compiler read data that came from the network. Each runs in a process
group of its own under the limits of `limited.py`, confined as `executor.linux.confine` says; the
group is killed when time is up, or when the build itself is interrupted.

What a build demands of the host is what the server demands: seccomp and Landlock (W2). Where the
kernel has no Landlock the build is refused, because its tools read what strangers wrote and run
as the administrator; CODECAGE_BUILD_ISOLATION=W1 in the environment says to go on with seccomp
alone, which keeps tools without network from the network and protects no file. Where the kernel
has Landlock it is used whatever is demanded.
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

from executor.images.errors import ImageError, PlatformUnsupportedError, ToolFailedError
from executor.linux import landlock, programs
from executor.linux.confine import Confinement, Network
from executor.linux.errors import MechanismError
from executor.wasm.jail import Level

Tick = Callable[[], None]

_GIB = 2**30
_TICK_MILLISECONDS = 200
_TAIL_BYTES = 4096
_LIMITED = Path(__file__).with_name("limited.py")
_DEMAND = "CODECAGE_BUILD_ISOLATION"
# What the modules that a build runs import, beside the standard library.
_PACKAGES = ("codecage", "executor", "google", "policy", "wasmtime")


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


@dataclass(frozen=True, slots=True)
class Access:
    """
    What one run of a tool may reach beside what it needs to start; paths are absolute.

    It may change its own directory (`run`'s) and `changes`, read `reads` (and where there is
    network all that its user can read), see the names in `lists`, and execute its own program
    and `runs`. A tool without network starts no process.
    """

    network: Network
    reads: tuple[Path, ...] = ()
    lists: tuple[Path, ...] = ()
    runs: tuple[Path, ...] = ()
    changes: tuple[Path, ...] = ()


def python_access(changes: Sequence[Path] = ()) -> Access:
    """
    The access of a module of ours that needs no network: it may also change below `changes`.

    Raises PlatformUnsupportedError where a package that it imports is not installed.
    """
    try:
        return Access(
            Network.NONE,
            reads=programs.python_files(_PACKAGES),
            lists=programs.python_directories(_PACKAGES),
            changes=tuple(changes),
        )
    except MechanismError as error:
        raise PlatformUnsupportedError(f"the compiler cannot be confined: {error}") from error


def python_path() -> str:
    """
    The PYTHONPATH with which a confined module of ours finds what it imports.

    Raises PlatformUnsupportedError where a package that it imports is not installed.
    """
    try:
        return ":".join(map(str, programs.import_path(_PACKAGES)))
    except MechanismError as error:
        raise PlatformUnsupportedError(f"the compiler cannot be confined: {error}") from error


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
    access: Access | None = None,
) -> str:
    """
    Run a program to its end and return what it wrote to stdout.

    `command[0]` is an absolute path; `tick` is called about five times a second; without
    `access` it is not confined. Raises ToolFailedError with the end of its output where it ends
    with another status than 0, and where it takes longer than `limits.wall_seconds`; it and its
    children are then dead. Raises PlatformUnsupportedError where the host cannot confine it.
    """
    walls = _walls(command[0], directory, environment, access) if access else ("none", "")
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(  # noqa: S603 - a list, no shell, an absolute path
            _limited(command, limits, walls),
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


def _limited(command: Sequence[str], limits: ToolLimits, walls: tuple[str, str]) -> list[str]:
    numbers = (os.getpid(), limits.data, limits.address, limits.cpu_seconds, limits.file)
    return [sys.executable, "-I", "-S", str(_LIMITED), *map(str, numbers), *walls, *command]


def _walls(
    program: str, directory: Path, environment: Mapping[str, str], access: Access
) -> tuple[str, str]:
    level = Level.W2 if landlock.abi() else Level.W1
    if level is Level.W1 and _demanded() is Level.W2:
        raise PlatformUnsupportedError(
            f"{program} reads data from the network and is confined with Landlock, which this "
            "kernel does not offer. Enable it (CONFIG_SECURITY_LANDLOCK, lsm=landlock), or build "
            f"with {_DEMAND}=W1, which leaves the files of this user unprotected."
        )
    try:
        confinement = _confinement(program, directory, environment, access)
    except MechanismError as error:
        raise PlatformUnsupportedError(f"{program} cannot be confined: {error}") from error
    return level.name, confinement.encode()


def _demanded() -> Level:
    said = os.environ.get(_DEMAND, Level.W2.name)
    if said not in Level.__members__:
        allowed = " or ".join(Level.__members__)
        raise ImageError(f"{_DEMAND} is {said!r}; it is {allowed}, or not set for W2.")
    return Level[said]


def _confinement(
    program: str, directory: Path, environment: Mapping[str, str], access: Access
) -> Confinement:
    search = environment.get("PATH", "")
    runs = [file for run in (Path(program), *access.runs) for file in _run(run, search)]
    return Confinement(
        access.network,
        runs=_texts(runs),
        reads=_texts(
            [
                *programs.system_files(),
                *programs.library_path(environment.get("LD_LIBRARY_PATH", "")),
                *access.reads,
            ]
        ),
        lists=_texts(access.lists),
        changes=_texts([directory, *access.changes]),
    )


def _run(path: Path, search: str) -> tuple[Path, ...]:
    return (path,) if path.is_dir() else programs.started_by(path, search)


def _texts(paths: Sequence[Path]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(str, paths)))


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
