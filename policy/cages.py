"""
Which cage an image runs in, and what of a policy the process cage cannot keep.

In the process cage the kernel gives a guest its random bytes and its time, and a guest speaks TLS
itself: nothing stands between, so nothing there can be made to follow a policy. What cannot be
kept is refused before a session is made, never dropped in silence. In WebAssembly a session is one
thread, which has a processor or less, and nothing that would give it less than that.
"""

from collections.abc import Iterator

from policy.errors import Problem
from policy.types import CageKind, Clock, Mode, NetworkGrant, Policy

NATIVE = "native-"
"""How the names of the process cage's images begin."""

MAX_PORTS = 64
"""How many different ports the grants of one policy may have in the process cage."""

ISOLATION_ITEMS = (
    *("files", "access", "calls", "processes", "network", "ipc", "rights", "user"),
    *("memory", "tasks", "cpu", "cpus", "disk", "kill", "audit"),
)
"""What `isolation.require` may name: the items of the report on a box."""


def cage_of(image: str) -> CageKind:
    """
    The cage that an image runs in, `WASM` or `PROCESS`, by its name.
    """
    return CageKind.PROCESS if image.startswith(NATIVE) else CageKind.WASM


def allows_cage(policy: Policy, kind: CageKind) -> bool:
    """
    Whether a policy lets a session run in the cage `kind` (`WASM` or `PROCESS`).
    """
    return policy.cage in {kind, CageKind.ANY}


def process_gaps(policy: Policy) -> tuple[Problem, ...]:
    """
    What the policy asks for that the process cage cannot enforce, each at its place with a
    sentence; () where there is nothing. A session of that cage may be made only then.
    """
    return (*_guest_gaps(policy), *_network_gaps(policy))


def wasm_gaps(policy: Policy) -> tuple[Problem, ...]:
    """
    The same of the WebAssembly cage.
    """
    if policy.limits.cpus >= 1:
        return ()
    message = (
        f"limits.cpus: less than one processor ({policy.limits.cpus:g}) is for the process cage, "
        "and a session of the WebAssembly cage is one thread that nothing slows down"
    )
    hint = "write cpus: 1, or use an image of the process cage"
    return (Problem.of(policy.rule("limits.cpus"), message, hint),)


def cage_gaps(policy: Policy, kind: CageKind) -> tuple[Problem, ...]:
    """
    What the policy asks for and the cage `kind` cannot enforce; of `ANY` nothing, for it is known
    when a session asks for an image.
    """
    if kind is CageKind.PROCESS:
        return process_gaps(policy)
    return wasm_gaps(policy) if kind is CageKind.WASM else ()


def _guest_gaps(policy: Policy) -> Iterator[Problem]:
    if policy.mode is Mode.AUDIT:
        message = "mode: what the kernel shows in the process cage cannot be relaxed in audit mode"
        yield Problem.of(policy.rule("mode"), message, f"write mode: enforce, {_OR_WASM}")
    if policy.seed is not None:
        message = "random: random bytes come from the kernel in the process cage, not from a seed"
        yield Problem.of(policy.rule("random"), message, f"leave it out, {_OR_WASM}")
    if policy.clock is not Clock.REAL:
        message = f"clock: the time is the kernel's in the process cage and cannot be {{}}, {_BUT}"
        word = policy.clock.value
        yield Problem.of(
            policy.rule("clock"), message.format(word), f"write clock: real, {_OR_WASM}"
        )


_OR_WASM = "or use an image of the WebAssembly cage"
_BUT = "only real"


def _network_gaps(policy: Policy) -> Iterator[Problem]:
    """
    Requests within TLS that the guest speaks cannot be read there, and nothing be added to them.
    """
    ports = {port for grant in policy.network for port in grant.ports}
    if len(ports) > MAX_PORTS:
        message = f"network: {len(ports)} different ports, and the process cage has {MAX_PORTS}"
        yield Problem.of(policy.rule("network"), message, f"grant fewer, {_OR_WASM}")
    for grant in policy.network:
        if grant.raw or not grant.tls:
            continue
        if grant.http:
            message = f"requests to {grant.host} cannot be read in the process cage: {_TLS}"
            yield _network_gap(grant, message, "remove `http` and grant the whole host")
        if grant.credential is not None:
            message = f"credentials for {grant.host} cannot be added in the process cage: {_TLS}"
            yield _network_gap(grant, message, "remove `credentials`")


_TLS = "the guest speaks TLS itself there"


def _network_gap(grant: NetworkGrant, message: str, hint: str) -> Problem:
    return Problem.of(grant.rule, f"{grant.rule.name}: {message}", f"{hint}, {_OR_WASM}")
