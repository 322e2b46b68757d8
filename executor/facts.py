"""
What a session is from its creation on: for the registry, for the worker, and for the record.
"""

import hashlib
import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.audit.record import Detail
from executor.kernel.cage import Caged
from executor.kernel.orders import BoxOrder
from executor.kernel.tooling import NOTHING, Given, told
from policy.cages import cage_of
from policy.redaction import Redaction
from policy.relaxing import prepared
from policy.types import AuditLevel, Clock, Mode, Policy

WORK: Final = "/work"
# The time at which a frozen clock stands and a virtual one begins, the same for every image:
# 2026-01-01T00:00:00Z.
FROZEN_NS: Final = 1_767_225_600 * 10**9
_ENTROPY: Final = 32


class Kept(Protocol):
    """
    How far a session is captured.
    """

    @property
    def status(self) -> str:
        """
        `complete` so far, or `incomplete (why)`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Facts:
    """
    A session's identity (128 random bits in hex), its policy, which of the policy's images it
    has, and the caller's labels.

    `created_ns` is nanoseconds since 1970; `entropy` are the 32 bytes from which the guest's
    generators are seeded. `order` is what its box was made after, in the process cage; `given` are
    the client's tools and variables. `captured` says that what it is given is kept for a replay,
    and `capture` how far, None where its policy asks for none.
    """

    id: str
    policy: Policy
    image: str
    labels: tuple[tuple[str, str], ...]
    created_ns: int
    entropy: bytes
    order: BoxOrder | None = None
    given: Given = NOTHING
    captured: bool = False
    capture: "Kept | None" = None


def new_facts(
    policy: Policy,
    image: str,
    labels: Mapping[str, str],
    order: BoxOrder | None = None,
    given: Given = NOTHING,
) -> Facts:
    """
    The facts of a new session; its entropy is the policy's where that has a seed.
    """
    return Facts(
        id=secrets.token_hex(16),
        policy=policy,
        image=image,
        labels=tuple(sorted(labels.items())),
        created_ns=time.time_ns(),
        entropy=_entropy(policy.seed),
        order=order,
        given=given,
    )


def is_captured(policy: Policy) -> bool:
    """
    Whether sessions under a policy are captured, so that they can be replayed.
    """
    return policy.audit.level is AuditLevel.REPLAY


def begin_frame(facts: Facts) -> frames_pb2.ToWorker:
    """
    What the worker is told: guest paths and numbers, no host path and no rule.
    """
    policy, limits = prepared(facts.policy), facts.policy.limits
    order = facts.order  # a box has its mounts and its network by itself
    begin = frames_pb2.Begin(
        mounts=_mounts(policy) if order is None else _served(policy, order.served),
        environment=dict(policy.environment),
        entropy=facts.entropy,
        deterministic=policy.seed is not None or facts.captured,
        capture=facts.captured,
        # Said here, so that a session that looks at no clock has nothing to tell of any.
        created_ns=facts.created_ns if facts.captured and policy.clock is Clock.REAL else 0,
        frozen_clock_ns=FROZEN_NS if policy.clock is Clock.FROZEN else 0,
        virtual_clock_ns=FROZEN_NS if policy.clock is Clock.VIRTUAL else 0,
        memory_bytes=limits.memory,
        scratch_bytes=limits.scratch,
        max_files=limits.files,
        max_open_files=limits.open_files,
        output_bytes=limits.output,
        max_requests=limits.requests,
        policy_name=policy.name,
        max_connections=limits.connections if policy.network and order is None else 0,
        places=() if order is None else [mount.path for mount in _mounts(policy)],
        tools=told(facts.given.tools),
        variables=facts.given.variables,
        final_answer=facts.given.final_answer,
    )
    if facts.given.imports is not None:
        begin.imports.SetInParent()
        begin.imports.allow.extend(facts.given.imports)
    return frames_pb2.ToWorker(begin=begin)


def creation_detail(facts: Facts, worker: Caged) -> Detail:
    """
    What the record of the creation holds besides the policy.

    The entropy is there so that the session can be run again; who can read the record could
    therefore foretell what the guest's generators gave it. That of a captured session gives all of
    its random bytes, and is in the capture alone.
    """
    return (
        ("boot_digest", worker.boot_digest.hex()),
        ("cage", cage_of(facts.image).value),
        *((("entropy", facts.entropy.hex()),) if not facts.captured else ()),
        ("image", facts.image),
        ("image_key", worker.image_key),
        ("isolation", worker.isolation),
        *_vector(worker),
        ("labels", json.dumps(_labels(facts), sort_keys=True)),
        *_given(facts.given),
        *((("mode", facts.policy.mode.value),) if facts.policy.mode is Mode.AUDIT else ()),
        ("worker", worker.pid),
    )


def _labels(facts: Facts) -> dict[str, str]:
    return Redaction(facts.policy.audit.redact).values(dict(facts.labels))


def _given(given: Given) -> Detail:
    """
    Which tools the client has told of, and how much it has told: no value of its own.
    """
    if given == NOTHING:
        return ()
    digest = hashlib.sha256(told(given.tools) + given.variables).hexdigest()
    names = " ".join(tool.name for tool in given.tools)
    imports = () if given.imports is None else (("imports", " ".join(given.imports)),)
    return (
        ("given", digest),
        *imports,
        ("tools", names),
        ("variables_size", len(given.variables)),
    )


def _vector(worker: Caged) -> Detail:
    """
    What holds a box, in one line: its parts by how far they hold.
    """
    if worker.holding is None:
        return ()
    items = worker.holding.items
    return (("isolation_parts", " ".join(f"{item.name}={item.state}" for item in items)),)


def _entropy(seed: int | None) -> bytes:
    if seed is None:
        return os.urandom(_ENTROPY)
    return hashlib.sha256(f"codecage entropy {seed}".encode()).digest()


def _served(policy: Policy, served: tuple[str, ...]) -> list[frames_pb2.MountPoint]:
    """
    What a box is told of: the mounts whose every open is asked, so that refusals have sentences.
    """
    return [mount for mount in _mounts(policy) if mount.path in served]


def _mounts(policy: Policy) -> list[frames_pb2.MountPoint]:
    mounts = [
        frames_pb2.MountPoint(
            path=grant.mount,
            writable=grant.access.writes,
            scratch=grant.source is None,
            quota_bytes=grant.quota,
            max_files=grant.max_files,
        )
        for grant in policy.filesystem
    ]
    if all(grant.mount != WORK for grant in policy.filesystem):
        # The working directory is there under every policy.
        limits = policy.limits
        mounts.append(
            frames_pb2.MountPoint(
                path=WORK,
                writable=True,
                scratch=True,
                quota_bytes=limits.scratch,
                max_files=limits.files,
            )
        )
    return mounts
