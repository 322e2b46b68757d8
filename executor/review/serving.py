"""
`codecage audit serve` at work: a socket that this machine alone reaches, the pages behind it, and
the verification beside them.
"""

import asyncio
import ipaddress
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn

from executor.api import listening
from executor.audit.errors import AuditError
from executor.errors import CannotStart
from executor.identity import Account, account
from executor.review.access import Readers
from executor.review.door import Door
from executor.review.login import Login
from executor.review.pages import Pages
from executor.review.policies import Policies
from executor.review.verification import Verification

NAME: Final = "codecage.localhost"
"""
A name of its own for this machine (RFC 6761, 6.3): cookies know no ports, so that one for
127.0.0.1 would go to every other server of it that the same browser visits.
"""
_MOST_CONNECTIONS: Final = 64
_LONGEST_HEAD: Final = 16 * 1024
_GRACE: Final = 2


@dataclass(frozen=True, slots=True)
class Options:
    """
    What is served, to whom, and where that is recorded. `verify` are the options by which
    `codecage audit verify` is given what was kept outside.
    """

    audit: Path
    readers: Path
    token: str
    policies: Path | None
    code: bool
    verify: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """
    A listening socket, and by which values of `Host` it is meant.
    """

    socket: socket.socket
    hosts: frozenset[str]
    path: Path | None

    @property
    def address(self) -> str:
        """
        What somebody opens in a browser, or the socket's path.
        """
        if self.path is not None:
            return f"unix:{self.path}"
        return f"http://{NAME}:{self.socket.getsockname()[1]}/"


def bind(listen: str, names: tuple[str, ...] = ()) -> Bound:
    """
    Listen on `ADDRESS:PORT` of this machine (port 0: any) or `unix:PATH`; `names` are further
    values of `Host`, for a tunnel that ends elsewhere.

    Raises CannotStart for every other address, and where it cannot be listened on.
    """
    if listen.startswith("unix:"):
        return _bind_path(listen, names)
    host, _, port = listen.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    number = int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else 65536
    try:
        where = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        where = None
    if where is None or not where.is_loopback or number > 65535:
        raise CannotStart(
            f"--listen {listen}: the pages are for this machine alone: 127.0.0.1:PORT, [::1]:PORT "
            "or unix:PATH; reach it from elsewhere by a tunnel (ssh -L)"
        )
    family = socket.AF_INET6 if where.version == 6 else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((str(where), number))
        made.listen()
    except OSError as error:
        made.close()
        raise CannotStart(f"--listen {listen}: {error.strerror}") from error
    literal = f"[{where}]" if where.version == 6 else str(where)
    port_number = made.getsockname()[1]
    own = {f"{name}:{port_number}" for name in (NAME, "localhost", literal)}
    return Bound(made, frozenset(own | {name.lower() for name in names}), None)


def _bind_path(listen: str, names: tuple[str, ...]) -> Bound:
    where = listening.place(listen)
    listening.private_directory(where.path.parent, _own_account())
    listening.clear_stale(where)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(str(where.path))
        made.listen()
    except OSError as error:
        made.close()
        raise CannotStart(f"--listen {listen}: {error.strerror}") from error
    hosts = {NAME, "localhost", *names}
    return Bound(made, frozenset(name.lower() for name in hosts), where.path)


def _own_account() -> Account:
    # It opens no guest's files, so that root is as good as anybody.
    return account(str(os.geteuid())) if os.geteuid() == 0 else account(None)


def serve(options: Options, bound: Bound, ready: Callable[[], None]) -> None:
    """
    Serve until SIGINT or SIGTERM; `ready` is called when requests are taken.

    Raises what `AuditStore.open` raises, and AuditUnavailable.
    """
    try:
        readers = Readers.open(options.readers)
        try:
            asyncio.run(_serve(options, bound, readers, ready))
        finally:
            readers.close()
    finally:
        bound.socket.close()
        if bound.path is not None:
            with suppress(FileNotFoundError):
                bound.path.unlink()


async def _serve(
    options: Options, bound: Bound, readers: Readers, ready: Callable[[], None]
) -> None:
    await readers.begun(options.audit, bound.address)
    verification = Verification(options.audit, options.verify)
    pages = Pages(
        options.audit,
        options.readers,
        Policies(options.policies),
        verification,
        code=options.code,
    )
    door = Door(
        pages.application(),
        pages.login_page,
        hosts=bound.hosts,
        login=Login(options.token),
        readers=readers,
    )
    server = _Server(_config(door))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.stop)
    beside = asyncio.create_task(verification.run())
    ready()
    try:
        await server.serve(sockets=[bound.socket])
    finally:
        beside.cancel()
        with suppress(asyncio.CancelledError):
            await beside
        with suppress(AuditError):
            await readers.ended()


class _Server(uvicorn.Server):
    """
    One that is ended by us: uvicorn's own raises the signal anew when it has ended, before what
    has to be written and removed here is.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """
        Capture none.
        """
        yield

    def stop(self) -> None:
        """
        Finish what is being answered, and end.
        """
        self.should_exit = True


def _config(door: Door) -> uvicorn.Config:
    return uvicorn.Config(
        door,
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST_CONNECTIONS,
        h11_max_incomplete_event_size=_LONGEST_HEAD,
        timeout_graceful_shutdown=_GRACE,
    )
