"""
A private server: started for one client, reachable by nobody else, gone with it.

It lives in a fresh directory that only its user may enter, with its socket, its log and, unless a
path is given, its audit store. It ends when this client closes it, and also when this process dies
in whatever way: it holds the reading end of a pipe whose writing end lives here alone, and the
kernel closes that. (A child that this process forks without exec keeps a copy of it, and so
keeps the server alive until it ends too.)

Rejected: a server in a thread of this process. It would share its user, memory and secrets with
the agent's loop, which is exactly what a cage is for; and gRPC does not survive fork.
"""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import codecage
from agent_client.errors import InvalidRequest, NoAnswer, ServerMissing, ServerUnavailable
from agent_client.installation import INSTALL_SERVER, missing_parts

AnyPath: TypeAlias = str | os.PathLike[str]
RUN_AS_VARIABLE = "CODECAGE_RUN_AS"

_START_SECONDS = 120.0  # a first start may compile
_TRY_SECONDS = 0.02
_STOP_SECONDS = 10.0
_LAST_WORDS_BYTES = 4_096
_MAX_SOCKET_PATH = 107  # sun_path less its NUL, see unix(7)
# The server has no use for what else is in an agent's environment, such as a model's key.
_KEPT = frozenset(
    {"HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV"}
)
_KEPT_PREFIXES = ("CODECAGE_", "COVERAGE_", "LC_", "PYTHON", "XDG_")
_BOOT = "import sys; sys.path += {paths!r}; from executor.private import main; sys.exit(main())"


class PrivateServer:
    """
    A running server of our own, at `address`. Made by `start`; `stop` may be called twice.
    """

    def __init__(self, directory: Path, process: subprocess.Popen[bytes], lifeline: int) -> None:
        self.address = f"unix:{_socket_path(directory)}"
        self.pid = process.pid
        self._directory = directory
        self._process = process
        # Also runs when the object is forgotten, and at the interpreter's exit.
        self._end = weakref.finalize(self, _stop, directory, process, lifeline, os.getpid())

    def stop(self) -> None:
        """
        End the server, wait for it, and remove its directory.
        """
        self._end()

    def ended(self) -> str:
        """
        Why the server is gone, with the end of its log; empty while it lives.
        """
        status = self._process.poll()
        if status is None or not self._end.alive:
            return ""
        return f"the private server ended with status {status}{self.said()}"

    def wait_until_it_listens(self) -> None:
        """
        Return once the socket accepts.

        Raises ServerUnavailable with the end of the server's log if it ends before, NoAnswer if
        it takes longer than 120 s.
        """
        deadline = time.monotonic() + _START_SECONDS
        while not self._listens():
            try:
                self._process.wait(_TRY_SECONDS)
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    raise NoAnswer(self._too_late()) from None
            else:
                raise ServerUnavailable(self.ended())

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            return probe.connect_ex(str(_socket_path(self._directory))) == 0

    def _too_late(self) -> str:
        asked = f"the private server does not listen after {_START_SECONDS:g} s"
        return f"{asked}; run 'codecage doctor'{self.said()}"

    def said(self) -> str:
        """
        The end of the server's log, as the end of a sentence.
        """
        try:
            with (self._directory / "server.log").open("rb") as log:
                log.seek(0, os.SEEK_END)
                log.seek(max(0, log.tell() - _LAST_WORDS_BYTES))
                text = log.read().decode("utf-8", "backslashreplace").strip()
        except FileNotFoundError:
            return "; its log went with its directory"
        return f"; it said:\n{text}" if text else ", and said nothing"


@dataclass(frozen=True, slots=True)
class Options:
    """
    How a private server is to be started.

    `policies` is a directory of policy files (none: only the built-in policy), `audit` a path for
    the audit store (none: it goes with the server), `run_as` an account, see `account`. For
    policies that grant connections: `secrets` is the directory of the secrets that they name,
    `trust` a file of certificates (PEM) that are believed besides the system's, `resolvers` are
    name servers as `ADDRESS:PORT` in place of the system's. `sessions` is how many there may be
    at a time (1 to 4096; none: 256).
    """

    policies: AnyPath | None = None
    audit: AnyPath | None = None
    run_as: str | None = None
    secrets: AnyPath | None = None
    trust: AnyPath | None = None
    resolvers: Sequence[str] = ()
    sessions: int | None = None

    @property
    def given(self) -> bool:
        """
        Whether anything was asked for.
        """
        paths = (self.policies, self.audit, self.secrets, self.trust)
        return any((*paths, self.run_as, self.resolvers, self.sessions))


_PLAIN = Options()


def start(asked: Options = _PLAIN) -> PrivateServer:
    """
    Start a server and wait until it listens.

    Raises ServerMissing on an installation of the client alone, ServerUnavailable if the server
    does not start, InvalidRequest for an account that does not exist.
    """
    if missing := missing_parts():
        needed = f"{', '.join(missing)} cannot be imported"
        raise ServerMissing(f"a private server needs the server: {INSTALL_SERVER} ({needed})")
    if not sys.executable:
        raise ServerMissing("this program has no Python interpreter to start; give an address")
    user = account(asked.run_as)
    directory = _private_directory(user)
    try:
        server = _launch(directory, _options(directory, asked, user))
    except BaseException:
        shutil.rmtree(directory)
        raise
    try:
        server.wait_until_it_listens()
    except BaseException:
        server.stop()
        raise
    return server


def account(run_as: str | None = None) -> str | None:
    """
    The account, by name or number, as which a private server opens files; None for our own.

    `run_as`, if given, else the environment's CODECAGE_RUN_AS. A server never stays root
    unasked: where this process is root and neither is there, it is the account that called sudo
    (SUDO_USER), else `nobody`.
    """
    named = run_as or os.environ.get(RUN_AS_VARIABLE)
    if named or os.geteuid() != 0:
        return named or None
    return os.environ.get("SUDO_USER") or "nobody"


def _private_directory(user: str | None) -> Path:
    owner = _owner(user)
    directory = Path(tempfile.mkdtemp(prefix="codecage-"))
    if owner is not None:
        # The server works in it after it has become that user.
        os.chown(directory, *owner)
    path = os.fsencode(_socket_path(directory))
    if len(path) > _MAX_SOCKET_PATH:
        directory.rmdir()
        raise InvalidRequest(
            f"the temporary directory's path makes a socket path of {len(path)} bytes; "
            f"at most {_MAX_SOCKET_PATH} are possible: set TMPDIR to a shorter one"
        )
    return directory


def _owner(user: str | None) -> tuple[int, int] | None:
    if user is None or os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        raise InvalidRequest(
            f"the server was to run as {user!r}, and there is no such account; "
            f"give another as run_as or in {RUN_AS_VARIABLE}"
        ) from None
    return entry.pw_uid, entry.pw_gid


def _socket_path(directory: Path) -> Path:
    return directory / "sock"


def _options(directory: Path, asked: Options, user: str | None) -> list[str]:
    store = _absolute(asked.audit) if asked.audit is not None else directory / "audit.sqlite3"
    options = ["--listen", f"unix:{_socket_path(directory)}", "--audit", str(store)]
    paths = {"--policies": asked.policies, "--secrets": asked.secrets, "--trust": asked.trust}
    for option, path in paths.items():
        if path is not None:
            options += [option, str(_absolute(path))]
    for resolver in asked.resolvers:
        options += ["--resolver", resolver]
    if asked.sessions is not None:
        options += ["--sessions", str(asked.sessions)]
    if user is not None:
        options += ["--run-as", user]
    return options


def _absolute(path: AnyPath) -> Path:
    return Path(path).absolute()


def _launch(directory: Path, options: list[str]) -> PrivateServer:
    held, lifeline = os.pipe()
    command = [*_interpreter(), "serve", *options, "--lifeline", str(held), "--ephemeral"]
    try:
        with (directory / "server.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and options
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(held,),
                env=_environment(),
                cwd="/",
                # Ctrl-C at the client's terminal is for the client, which may have a cell to save.
                start_new_session=True,
            )
    except BaseException:
        os.close(lifeline)
        raise
    finally:
        os.close(held)
    return PrivateServer(directory, process, lifeline)


def _interpreter() -> list[str]:
    """
    A Python that finds the server where this client was found, and nothing in the current
    directory (-P): a file `policy.py` there must not become a part of the server.
    """
    packages = (Path(__file__), Path(codecage.__file__))
    paths = sorted({str(package.absolute().parent.parent) for package in packages})
    return [sys.executable, "-P", "-c", _BOOT.format(paths=paths)]


def _environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }


def _stop(directory: Path, process: subprocess.Popen[bytes], lifeline: int, owner: int) -> None:
    # A forked child has copies of all this, and none of it is the child's to end.
    if os.getpid() != owner:
        return
    os.close(lifeline)
    for harder in (process.terminate, process.kill, None):
        try:
            process.wait(_STOP_SECONDS)
            break
        except subprocess.TimeoutExpired:
            if harder is None:
                raise
            harder()
    # The server removes it where its client is dead; then there is nothing left to do.
    if directory.exists():
        shutil.rmtree(directory)
