"""
The running server: one loop that holds the record, the zygotes, the sessions and gRPC.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

from codecage.v1 import codecage_pb2 as wire
from codecage.v1 import codecage_pb2_grpc
from executor.api import convert
from executor.api.listening import Place, add_port
from executor.api.offers import Offer
from executor.api.service import About, Service
from executor.audit.record import Detail, Draft, Event
from executor.audit.rotation import Rotation
from executor.audit.store import AuditStore
from executor.children.launcher import Launcher
from executor.children.supervision import Supervision
from executor.children.zygotes import ImageRow, Zygotes
from executor.errors import AuditRefuses, CageUnavailable
from executor.facts import is_captured
from executor.holding import CageMissing, is_boxed
from executor.identity import Account
from executor.kernel.cage import Attaches
from executor.kernel.errors import SourceUnavailable
from executor.kernel.orders import BoxOrder
from executor.kernel.pool import FilePool
from executor.reloading import Loads, PoliciesRefused, Reloading, loaded
from executor.sessions.registry import Served, Sessions
from executor.sessions.transacting import changes_directory, prepare_transactions
from policy.gates import gate_images
from policy.relaxing import prepared
from policy.types import Policy

if TYPE_CHECKING:
    from executor.api.approvers import ApprovalOptions, Door
    from executor.children.attaching import BoxNetworks
    from executor.children.brokers import Brokers
    from executor.children.checkpointing import Checkpoints, SignerProcess
    from executor.sessions.approving import Desk
    from executor.sessions.capturing import Captures

_LOG = logging.getLogger(__name__)
_SERVICE: Final = "codecage.v1.Codecage"
_MESSAGE: Final = 4 * 2**20
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _MESSAGE),
    ("grpc.max_send_message_length", _MESSAGE),
    ("grpc.max_metadata_size", 16 * 2**10),
    ("grpc.absolute_max_metadata_size", 32 * 2**10),
    ("grpc.max_concurrent_streams", 256),
    # A client that is gone without a word is noticed within fifteen seconds.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)
_LAST_EVENTS: Final = 2.0
_INSTALLED: Final = ".dist-info"
INNER: Final = ".approvers"
"""The end of the name of the socket to which approvers' connections are passed on."""


def versions(*packages: str) -> dict[str, str]:
    """
    The versions of packages, by the names of their `.dist-info` directories (PyPA, "Recording
    installed projects"); "source" for one that is not installed. What importlib.metadata brings
    along takes longer to import than gRPC.
    """
    found = dict.fromkeys(packages, "source")
    for place in reversed(sys.path):
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                package, _, version = entry.name.partition("-")
                if package in found and version.endswith(_INSTALLED):
                    found[package] = version.removesuffix(_INSTALLED)
    return found


# Read when this is imported, as root perhaps: the account may not see where packages lie.
VERSIONS: Final = versions("codecage", "grpcio", "wasmtime")


@dataclass(frozen=True, slots=True)
class Setup:
    """
    What the server was started with, all of it checked; see `server.Options`.
    """

    where: Place
    audit: Path
    who: Account
    policies: Mapping[str, Policy]
    images: tuple[Offer, ...]
    launcher: Launcher
    pool: int
    sessions: int
    lifeline: int | None
    grace: float
    resolvers: tuple[str, ...]
    signer: "SignerProcess | None"
    reloads: Loads
    rotation: Rotation | None
    approvals: "ApprovalOptions | None" = None


async def run(setup: Setup) -> int:
    """
    Serve until told to stop; the exit status. Raises what opening the record raises, CannotStart.
    """
    orders = _Orders(setup.lifeline)
    with AuditStore.open(setup.audit, rotation=setup.rotation) as store:
        await _record_start(store, setup)
        checkpoints = await _checkpoints(setup, store)
        desk, door = _approvals(setup)
        shared = await _shared(setup, store, desk)
        sessions = shared.sessions
        ready = health.aio.HealthServicer()
        reloading = Reloading(setup.reloads, sessions, store)
        service = Service(_about(setup, shared.zygotes), sessions, setup.audit, reloading.reload)
        server = _server(service, ready, setup.where)
        await server.start()
        if door is not None:
            await door.open()
        orders.listen_for_reload(reloading)
        starting = asyncio.create_task(_start_images(setup, shared.zygotes, ready))
        try:
            await orders.stop.wait()
        finally:
            starting.cancel()
            await ready.enter_graceful_shutdown()
            await _drain(sessions, orders, setup.grace)
            if door is not None:
                await door.close()
            await server.stop(_LAST_EVENTS)
            await shared.close()
            await store.append(Draft(event=Event.SERVER_STOP), durable=True)
            if checkpoints is not None:
                await checkpoints.finish()
            orders.close()
    return 0


@dataclass(frozen=True, slots=True)
class _Shared:
    """
    The sessions, and what they have in common, which ends after them.
    """

    sessions: Sessions
    zygotes: Zygotes
    files: FilePool
    supervision: Supervision
    brokers: "Brokers | None"
    captures: "Captures | None"

    async def close(self) -> None:
        if self.brokers is not None:
            self.brokers.close()
        self.supervision.close()
        await self.zygotes.close()
        self.files.close()
        if self.captures is not None:
            self.captures.close()


async def _shared(setup: Setup, store: AuditStore, desk: "Desk | None") -> _Shared:
    rows = [ImageRow(image.name, image.key) for image in setup.images]
    zygotes = Zygotes(setup.launcher, rows, pool=setup.pool)
    files = FilePool()
    # Their rows of the launcher's table come after those of the images.
    supervision = Supervision(setup.launcher, len(rows) + 1)
    brokers, networks = _networks(setup, len(rows))
    attaches: tuple[Attaches, ...] = (supervision, *networks)
    changes = await asyncio.to_thread(
        prepare_transactions, setup.policies.values(), changes_directory(setup.audit)
    )
    captures = _captures(setup)
    served = Served(
        setup.policies,
        store,
        zygotes,
        files,
        setup.sessions,
        brokers=brokers,
        attaches=attaches,
        changes=changes,
        desk=desk,
        captures=captures,
    )
    return _Shared(Sessions(served), zygotes, files, supervision, brokers, captures)


def _networks(setup: Setup, row: int) -> "tuple[Brokers | None, tuple[BoxNetworks, ...]]":
    """
    What makes connections, for sessions of either cage, where a policy grants any.
    """
    if not _grant_network(setup.policies):
        return None, ()
    # Imported before, see `parts`.
    from executor.children.attaching import BoxNetworks  # noqa: PLC0415
    from executor.children.brokers import Brokers  # noqa: PLC0415

    return Brokers(setup.launcher, row, setup.resolvers), (BoxNetworks(),)


def _approvals(setup: Setup) -> "tuple[Desk | None, Door | None]":
    """
    Where approvers are asked, and where they come in, if the server was started with any.
    """
    if setup.approvals is None:
        return None, None
    # Imported before, see `server._serve`.
    from executor.api.approvers import Door  # noqa: PLC0415
    from executor.sessions.approving import Desk  # noqa: PLC0415

    inner = Place(setup.where.path.with_name(f"{setup.where.path.name}{INNER}"))
    desk = Desk()
    return desk, Door(setup.approvals, inner, desk)


def _captures(setup: Setup) -> "Captures | None":
    """
    What keeps the captures, where a policy wants any.
    """
    if not any(map(is_captured, setup.policies.values())):
        return None
    # Imported before, see `parts`.
    from executor.sessions.capturing import Captures  # noqa: PLC0415

    return Captures(setup.audit)


def parts(policies: Mapping[str, Policy]) -> Iterator[str]:
    """
    The modules that sessions under these policies need beside what is imported here.

    To be imported as long as whoever starts the server can see where they lie.
    """
    if _grant_network(policies):
        yield from ("executor.children.attaching", "executor.children.brokers")
        yield "executor.linux.checks"
    if any(is_boxed(image) for policy in policies.values() for image in images_of(policy)):
        yield from ("executor.children.boxed", "executor.children.ordering")
    if any(map(is_captured, policies.values())):
        yield "executor.sessions.capturing"


def images_of(policy: Policy) -> tuple[str, ...]:
    """
    The images of its sessions, and of the gates that judge their commits.
    """
    return (*policy.images, *gate_images(policy))


def _grant_network(policies: Mapping[str, Policy]) -> bool:
    return any(prepared(policy).network for policy in policies.values())


async def _checkpoints(setup: Setup, store: AuditStore) -> "Checkpoints | None":
    if setup.signer is None:
        return None
    # Few servers have a signer, and none waits for what it brings along but those.
    from executor.children.checkpointing import Checkpoints  # noqa: PLC0415

    made = Checkpoints(setup.signer, store)
    await made.begin()
    return made


class _Orders:
    """
    When to stop: `stop` on a signal or the end of the lifeline, `hurry` on a second signal.
    """

    def __init__(self, lifeline: int | None) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self._lifeline = lifeline
        self._reloads: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        if lifeline is not None:
            os.set_blocking(lifeline, False)
            loop.add_reader(lifeline, self._on_lifeline)

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)
        if self._lifeline is not None:
            loop.remove_reader(self._lifeline)

    def listen_for_reload(self, reloading: Reloading) -> None:
        """
        From now on SIGHUP has the policies read anew; before, it ends the process.
        """

        def on_hangup() -> None:
            task = asyncio.get_running_loop().create_task(_reload(reloading))
            self._reloads.add(task)  # the loop itself holds only weak references
            task.add_done_callback(self._reloads.discard)

        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, on_hangup)

    def _on_signal(self) -> None:
        if self.stop.is_set():
            self.hurry.set()
        self.stop.set()

    def _on_lifeline(self) -> None:
        assert self._lifeline is not None
        with contextlib.suppress(BlockingIOError):
            if os.read(self._lifeline, 64):
                return
            # Nobody is left to see how cells end.
            asyncio.get_running_loop().remove_reader(self._lifeline)
            self.stop.set()
            self.hurry.set()


async def _reload(reloading: Reloading) -> None:
    try:
        await reloading.reload()
    except PoliciesRefused:
        return  # it has been logged
    except AuditRefuses:
        _LOG.error("the policies were not reloaded: that could not be recorded")


async def _drain(sessions: Sessions, orders: _Orders, grace: float) -> None:
    hurry = asyncio.get_running_loop().create_task(orders.hurry.wait())
    try:
        await sessions.drain(grace, hurry)
    finally:
        hurry.cancel()


def _server(service: Service, ready: health.aio.HealthServicer, where: Place) -> grpc.aio.Server:
    server = grpc.aio.server(options=_OPTIONS)
    codecage_pb2_grpc.add_CodecageServicer_to_server(service, server)
    health_pb2_grpc.add_HealthServicer_to_server(ready, server)
    # The directory is closed to others; the socket's own mode says the same once more.
    add_port(server, where)
    return server


async def _start_images(setup: Setup, zygotes: Zygotes, ready: health.aio.HealthServicer) -> None:
    await ready.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    await ready.set(_SERVICE, health_pb2.HealthCheckResponse.NOT_SERVING)
    # Those that sessions get unasked. The others start when one is asked for: each would hold
    # hundreds of megabytes, perhaps for nobody.
    first = {policy.image for policy in setup.policies.values()}
    wanted = sorted(name for name in first if not is_boxed(name))
    boxed = [policy for policy in setup.policies.values() if is_boxed(policy.image)]
    await asyncio.gather(
        *(_start_image(name, zygotes, ready) for name in wanted),
        *(_start_image(policy.image, zygotes, ready, policy) for policy in boxed),
    )


async def _start_image(
    name: str, zygotes: Zygotes, ready: health.aio.HealthServicer, policy: Policy | None = None
) -> None:
    try:
        order = None if policy is None else await _order(policy)
        digest = await zygotes.start(name, order)
    except (CageUnavailable, CageMissing, SourceUnavailable) as error:
        _LOG.error("image %s: %s", name, error.detail)
        return
    held = zygotes.holding(name)
    said = f"memory {digest.hex()[:16]}" if held is None else f"level {held.level}"
    _LOG.info("image %s is ready (%s)", name, said)
    await ready.set("", health_pb2.HealthCheckResponse.SERVING)
    await ready.set(_SERVICE, health_pb2.HealthCheckResponse.SERVING)


async def _order(policy: Policy) -> BoxOrder:
    from executor.children.ordering import order_of  # noqa: PLC0415 - imported before, as above

    return await asyncio.to_thread(order_of, policy)


async def _record_start(store: AuditStore, setup: Setup) -> None:
    images: Detail = tuple((f"image.{image.name}", image.key) for image in setup.images)
    detail: Detail = (
        *VERSIONS.items(),
        ("gid", setup.who.gid),
        ("root", "yes" if setup.who.is_root else "no"),
        ("uid", setup.who.uid),
        ("user", setup.who.name),
        *images[:16],
    )
    await store.append(Draft(event=Event.SERVER_START, detail=detail))
    for policy in setup.policies.values():
        await store.append(loaded(policy))


def _about(setup: Setup, zygotes: Zygotes) -> About:
    images = tuple(_image(image) for image in setup.images)
    version, wasmtime = VERSIONS["codecage"], VERSIONS["wasmtime"]
    return About(version, wasmtime, setup.who.name, images, zygotes.holding)


def _image(image: Offer) -> wire.ImageInfo:
    return wire.ImageInfo(
        name=image.name,
        key=image.key,
        python_version=image.python,
        packages=image.packages,
        cage=convert.CAGES[image.cage],
    )
