"""
Starting the server: a fixed order of steps, each of which holds or stops the start.

What needs root or reads the administrator's files comes first; what users' requests reach comes
after the server has become its account. The launcher is executed before all this, and so before
gRPC is imported, because gRPC and fork do not mix; and everything is imported before the account
changes, because the interpreter may live where that account may not look. What the first guest
does not wait for is imported while it boots.
"""

import asyncio
import gc
import importlib
import logging
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from executor.api.listening import Place, clear_stale, place, private_directory, public_directory
from executor.api.offers import Offer, offers
from executor.children import launcher
from executor.choice import build_command
from executor.errors import CannotStart
from executor.holding import is_boxed
from executor.identity import Account, account, become
from executor.images.cache import default_cache
from executor.images.host import platform_problem
from executor.linux import heap, rlimits
from executor.networking import (
    NetworkOptions,
    broker_command,
    check_network_options,
    require_network,
)
from policy.doubts import doubts
from policy.gates import gate_images

if TYPE_CHECKING:
    from executor.api.approvers import ApprovalOptions
    from executor.audit.rotation import Rotation
    from executor.children.checkpointing import CheckpointOptions
    from executor.reloading import Loads
    from executor.serving import Setup
    from policy.types import Policy

_LOG = logging.getLogger(__name__)
# Imported by gRPC, asyncio and sqlite3 only when they are first needed.
_LATE: Final = (
    "concurrent.futures.thread",
    "encodings.ascii",
    "encodings.idna",
    "encodings.utf_8",
    "grpc.aio",
    "grpc_health.v1.health",
    "linecache",
    "sqlite3",
    "traceback",
)
# Whose workers are those of a server that opens files as root: guest code is never root's.
_NOBODY: Final = "nobody"
_ALWAYS: Final = "core"
# Soft limits are often 1024, for programs that use select(2). Each session has sockets and files
# open here, some of them as many as its guest likes, up to its own limits.
_DESCRIPTORS: Final = 2**17
# Of a message with its neighbours, and of the copies of it that are under way.
_LARGEST_PIECE: Final = 2**23
_FREE_KEPT: Final = 2**24
_MOST_SESSIONS: Final = 4096
_BUILT_IN: Final = "calculator"
_SUPERVISOR: Final = "executor.process.supervisor"


@dataclass(frozen=True, slots=True)
class Options:
    """
    How the server is to be started.

    `listen` is `unix:PATH`; `policies` a directory of policy files, None for the built-in one
    alone; `audit` the record's path; `run_as` an account's name or number; `pool` how many
    workers of each image wait ahead of need (0 to 64); `lifeline` a descriptor whose other end
    means that somebody still wants the server; `ephemeral` that the socket's directory goes with
    it; `grace` (seconds) how long running cells have when the server is told to stop; `network`
    what the network brokers are given; `allow_audit_mode` that policies may be in audit mode;
    `checkpoints` where heads of the record are signed and kept, None for nowhere;
    `rotate_bytes` (65,536 or more) and `rotate_daily` when a file of the record is closed;
    `approvals` is `unix:PATH`, where the accounts `approvers` (names or numbers, one at least)
    approve what policies want an approval for; `sessions` (1 to 4096) how many there may be at a
    time.
    """

    listen: str
    audit: Path
    policies: Path | None = None
    run_as: str | None = None
    pool: int = 1
    lifeline: int | None = None
    ephemeral: bool = False
    grace: float = 10.0
    network: NetworkOptions = field(default_factory=NetworkOptions)
    allow_audit_mode: bool = False
    checkpoints: "CheckpointOptions | None" = None
    rotate_bytes: int | None = None
    rotate_daily: bool = False
    approvals: str | None = None
    approvers: tuple[str, ...] = ()
    sessions: int = 256


def serve(options: Options, started: launcher.Launcher) -> int:
    """
    Serve until SIGTERM, SIGINT or the end of the lifeline; the exit status.

    `started` is a launcher without a table, which the caller stops. Call it in the main thread.
    Raises CannotStart, PolicyError, SourceUnavailable, the errors of the audit record and of
    images: then nothing has been served and nothing is left behind.
    """
    _check_platform()
    _check_options(options)
    who = account(options.run_as)
    where = place(options.listen)
    images = offers()
    commands = [_command(image, who) for image in images]
    guest = _guest_account(who)
    broker = broker_command(options.network, guest)
    started.give([*commands, broker, launcher.program(_SUPERVISOR, *_identity(guest))])
    names = [image.name for image in images]
    # The built-in policy's image is always wanted: its guest boots while we read policies.
    _start_ahead(started, names, {_ALWAYS})
    policies = _policies(options, where)
    _require_images(policies, names)
    require_network(policies, options.network)
    _require_mode(policies, options)
    _require_approvers(policies, options)
    approvals = _approvals(options, who)
    _warn(policies, names)
    reloads = partial(_reloaded, options, where, names, _secrets(policies))
    _start_ahead(started, names, {policy.image for policy in policies.values()} - {_ALWAYS})
    return _serve(options, who, where, policies, images, started, reloads, approvals)


def _serve(
    options: Options,
    who: Account,
    where: Place,
    policies: "Mapping[str, Policy]",
    images: list[Offer],
    started: launcher.Launcher,
    reloads: "Loads",
    approvals: "ApprovalOptions | None",
) -> int:
    for name in _LATE:
        importlib.import_module(name)
    from executor import serving  # noqa: PLC0415 - it imports gRPC: after the launcher's start

    for name in serving.parts(policies):
        importlib.import_module(name)
    # All that stays: a full collection, which stops every session, need not look at it.
    gc.freeze()
    gc.enable()
    rlimits.raise_soft(rlimits.Limit.DESCRIPTORS, _DESCRIPTORS)
    heap.keep(_LARGEST_PIECE, _FREE_KEPT)
    for directory in dict.fromkeys((where.path.parent, options.audit.absolute().parent)):
        private_directory(directory, who)
    if approvals is not None:
        public_directory(approvals.where.path.parent, who)
    setup = serving.Setup(
        where=where,
        audit=options.audit.absolute(),
        who=who,
        policies=policies,
        images=tuple(images),
        launcher=started,
        pool=options.pool,
        sessions=options.sessions,
        lifeline=options.lifeline,
        grace=options.grace,
        resolvers=options.network.resolvers,
        rotation=_rotation(options),
        # With the rights that we have now: the server's account may not read the key.
        signer=options.checkpoints.start() if options.checkpoints else None,
        reloads=reloads,
        approvals=approvals,
    )
    become(who)
    if who.is_root:
        _LOG.warning("files are opened as root, because --run-as says so")
    clear_stale(where)
    try:
        return asyncio.run(serving.run(setup))
    finally:
        where.path.unlink(missing_ok=True)
        if options.ephemeral:
            _remove(setup)


def _reloaded(
    options: Options, where: Place, names: list[str], known: frozenset[str]
) -> "Mapping[str, Policy]":
    """
    The policies as they are now, for a server that runs: checked as at its start, with the rights
    of its account, which may not look at secrets, those in `known` excepted, and cannot load more
    of the program. Raises what the start raises.
    """
    from executor import serving  # noqa: PLC0415 - it has been imported long ago

    policies = _policies(options, where)
    if any(name not in sys.modules for name in serving.parts(policies)):
        raise CannotStart(
            "the policies grant connections, have native images or capture sessions, and those "
            "that the server started with did not; restart the server"
        )
    _require_images(policies, names)
    require_network(_naming_others(policies, known), options.network)
    _require_mode(policies, options)
    _require_approvers(policies, options)
    _warn(policies, names)
    return policies


def _secrets(policies: "Mapping[str, Policy]") -> frozenset[str]:
    grants = (grant for policy in policies.values() for grant in policy.network)
    return frozenset(one.credential.secret for one in grants if one.credential is not None)


def _naming_others(
    policies: "Mapping[str, Policy]", known: frozenset[str]
) -> "Mapping[str, Policy]":
    """
    The policies with no more of their network than what names other secrets than `known`.
    """
    left = {}
    for name, policy in policies.items():
        given = [(one, one.credential) for one in policy.network]
        others = tuple(one for one, named in given if named and named.secret not in known)
        left[name] = replace(policy, network=others)
    return left


def _check_platform() -> None:
    if (problem := platform_problem()) is not None:
        raise CannotStart(problem)
    from google.protobuf.internal import api_implementation  # noqa: PLC0415 - asked once

    if (kind := api_implementation.Type()) != "upb":
        raise CannotStart(
            f"protobuf runs its {kind} implementation, which does not bound how deep messages "
            "nest; unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION, or install the binary wheel"
        )


def _check_options(options: Options) -> None:
    if not 0 <= options.pool <= 64:
        raise CannotStart(f"--pool {options.pool}: 0 to 64 workers can wait ahead of need")
    if not 1 <= options.sessions <= _MOST_SESSIONS:
        raise CannotStart(
            f"--sessions {options.sessions}: 1 to {_MOST_SESSIONS} sessions can be there at a time"
        )
    if options.grace < 0:
        raise CannotStart(f"a grace of {options.grace} s: it is 0 or more")
    check_network_options(options.network)
    if options.checkpoints is not None:
        options.checkpoints.check()
    if (options.approvals is None) is not (not options.approvers):
        raise CannotStart("--approvals and --approver go together: a socket, and who may approve")
    _rotation(options)


def _rotation(options: Options) -> "Rotation | None":
    if options.rotate_bytes is None and not options.rotate_daily:
        return None
    from executor.audit.rotation import Rotation  # noqa: PLC0415 - it brings SQLite along

    try:
        return Rotation(options.rotate_bytes, options.rotate_daily)
    except ValueError as error:
        raise CannotStart(f"--audit-rotate-size: {error}") from error


def _policies(options: Options, where: Place) -> "Mapping[str, Policy]":
    from policy.builtin import CALCULATOR  # noqa: PLC0415 - while the first guest boots

    loaded: dict[str, Policy] = {}
    if options.policies is not None:
        # pydantic and ruamel.yaml, for who has files: a tenth of a second.
        from policy.parse import load_directory  # noqa: PLC0415

        # The policy files, not their directory: a folder of data beside a policy is natural,
        # and a grant that covers the directory itself covers the files.
        root = options.policies.absolute()
        files = sorted([*root.glob("*.yaml"), *root.glob("ceilings/*.yaml")])
        protected = (
            str(where.path.parent),
            str(options.audit.absolute().parent),
            str(default_cache().root.absolute()),
            *map(str, files),
            *options.network.protected(),
            *([str(_door(options.approvals).path.parent)] if options.approvals else []),
            *(options.checkpoints.protected() if options.checkpoints else ()),
            *launcher.runtime_paths(),
        )
        loaded = load_directory(str(root), protected)
    return {CALCULATOR.name: CALCULATOR} | loaded


def _require_images(policies: "Mapping[str, Policy]", built: list[str]) -> None:
    """
    Each policy's first image has to be there, and those of its gates: nothing is committed
    without. Without another only those who ask for it miss it.
    """
    for policy in policies.values():
        if policy.image not in built:
            raise CannotStart(
                f"the image {policy.image}, which sessions under the policy {policy.name} get "
                f"unasked, is not built for this machine; build it with "
                f"{build_command(policy.image)}"
            )
        for image in gate_images(policy):
            if image not in built:
                raise CannotStart(
                    f"the image {image}, in which a gate of the policy {policy.name} runs, is not "
                    f"built for this machine; build it with {build_command(image)}"
                )


def _require_mode(policies: "Mapping[str, Policy]", options: Options) -> None:
    """
    A policy that lets pass what it denies is one that whoever starts the server has agreed to.
    """
    from policy.types import Mode  # noqa: PLC0415 - as in `_policies`

    for policy in policies.values():
        if policy.mode is Mode.AUDIT and not options.allow_audit_mode:
            raise CannotStart(
                f"the policy {policy.name} has `mode: audit`, which lets pass what it denies; "
                "write `mode: enforce`, or start the server with --allow-audit-mode"
            )


def _require_approvers(policies: "Mapping[str, Policy]", options: Options) -> None:
    """
    What waits for an approval that nobody could give would wait for nothing.
    """
    from policy.offers import wants_approval  # noqa: PLC0415 - as in `_policies`

    for policy in policies.values():
        if options.approvals is None and (rule := wants_approval(policy)) is not None:
            raise CannotStart(
                f"the policy {policy.name} wants an approval ({rule}), and nobody could give it; "
                "start the server with --approvals unix:PATH and --approver USER, or write "
                "`approval: none`"
            )


def _approvals(options: Options, who: Account) -> "ApprovalOptions | None":
    if options.approvals is None:
        return None
    # With the rights of now, and few servers have approvers.
    from executor.api.approvers import ApprovalOptions, approvers, nobodies  # noqa: PLC0415

    if _door(options.approvals).path.parent == place(options.listen).path.parent:
        raise CannotStart(
            f"--approvals {options.approvals}: its directory is that of --listen, which is closed "
            "to approvers; name a path in another one"
        )
    others = {
        **dict.fromkeys(nobodies(), "guests may run as it, and so may anybody of a container"),
        who.uid: "the server runs as it, and so it can open sessions",
        0: "root can open sessions of every server",
    }
    return ApprovalOptions(_door(options.approvals), approvers(options.approvers, others))


def _door(approvals: str) -> Place:
    return place(approvals, "--approvals")


def _warn(policies: "Mapping[str, Policy]", built: list[str]) -> None:
    """
    Tell the administrator what is missing, or may be misspelt, in policies that are in force.
    """
    for policy in policies.values():
        for doubt in doubts(policy):
            _LOG.warning("%s", doubt)
        missing = [image for image in policy.images if image not in built]
        # The built-in policy names every shipped image, and few machines have built them all.
        level = logging.INFO if policy.name == _BUILT_IN else logging.WARNING
        for image in missing:
            _LOG.log(
                level,
                "policy %s: the image %s is not built, and refused to sessions that ask for it; "
                "build it with %s and restart the server",
                policy.name,
                image,
                build_command(image),
            )


def _start_ahead(started: launcher.Launcher, names: list[str], wanted: set[str]) -> None:
    for index, name in enumerate(names):
        if name in wanted:
            started.start_ahead(index)


def _command(image: Offer, who: Account) -> tuple[str, ...]:
    arguments = ["--image", image.name, "--key", image.key]
    guest = _guest_account(who)
    if not is_boxed(image.name):
        # The zygotes of the other cage stay who they are: each box has a user of its own.
        arguments += _identity(guest)
    return launcher.program(image.zygote, *arguments)


def _identity(guest: Account) -> list[str]:
    return ["--uid", str(guest.uid), "--gid", str(guest.gid)] if guest.changes else []


def _guest_account(who: Account) -> Account:
    return account(_NOBODY) if who.is_root else who


def _remove(setup: "Setup") -> None:
    """
    Remove the socket's directory with what this server put there, and nothing else.
    """
    from executor.capture.place import places  # noqa: PLC0415 - as `serving` above
    from executor.sessions.transacting import changes_directory  # noqa: PLC0415 - as `serving` above

    directory = setup.where.path.parent
    shutil.rmtree(changes_directory(setup.audit), ignore_errors=True)
    if setup.audit.parent == directory:
        # With the record, and not where that was to be kept.
        for captures in places(setup.audit):
            shutil.rmtree(captures, ignore_errors=True)
    names = {"server.log", *(setup.audit.name + end for end in ("", "-wal", "-shm", ".lock"))}
    for name in names:
        (directory / name).unlink(missing_ok=True)
    try:
        directory.rmdir()
    except OSError as error:
        _LOG.warning("the directory of an ephemeral server stays: %s", error.strerror)
