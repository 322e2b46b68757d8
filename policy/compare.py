"""
What became looser and what tighter between two policies, by their meaning: the order of grants,
the spelling of sizes, comments and names are nothing.

Files and connections are compared as `narrow` meets them, at each mount and each host that one of
the two names. Where one right is replaced by another, both are told: a right is gone and one has
come. Variables, the default image, the value of a seed and descriptions grant nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

from policy.compare_process import processes_gained
from policy.compare_tools import approvals_lost, tools_gained
from policy.effective import limit_text
from policy.guidance import advice_gained
from policy.narrow_audit import told_more
from policy.narrow_files import denied_below, source_at, speaker
from policy.narrow_network import kind_of, speakers
from policy.path_relations import holds
from policy.ratchets import ratchets_lost
from policy.types import (
    Access,
    AddressClass,
    Clock,
    CommitBy,
    FileGrant,
    Limits,
    Mode,
    NetworkGrant,
    Policy,
)
from policy.units import show_size


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """
    A right that one policy gives and the other does not: `place` names what it is about.
    """

    place: str
    text: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    All that became looser, and all that became tighter, each sorted.
    """

    looser: tuple[Difference, ...]
    tighter: tuple[Difference, ...]


def compare(old: Policy, new: Policy) -> Comparison:
    """
    What a session may do more, and less, under `new` than under `old`.
    """
    gained = {Difference(*one) for one in _gained(old, new)}
    lost = {Difference(*one) for one in _gained(new, old)}
    return Comparison(tuple(sorted(gained)), tuple(sorted(lost)))


Gain = Iterator[tuple[str, str]]


def _gained(old: Policy, new: Policy) -> Gain:
    """
    What `new` allows and `old` does not.
    """
    for mount in {one.mount for one in (*old.filesystem, *new.filesystem)}:
        yield from _files(mount, speaker(old, mount), speaker(new, mount))
    yield from _unseated(old, new)
    for path in {one.path for one in old.deny} - {one.path for one in new.deny}:
        yield "deny", f"{path} may be seen"
    for host in sorted({one.host for one in (*old.network, *new.network)}):
        yield from _host(host, old, new)
    for name in (one.name for one in fields(Limits)):
        if getattr(new.limits, name) > getattr(old.limits, name):
            yield f"limits.{name}", _against(limit_text(new.limits, name), old, name)
    for image in set(new.images) - set(old.images):
        yield "image", f"{image}"
    yield from processes_gained(old, new)
    yield from tools_gained(old, new)
    yield from ratchets_lost(old, new)
    yield from _lenience(old, new)
    yield from advice_gained(old, new)
    yield from told_more(old.audit, new.audit)
    if new.clock is not old.clock and old.clock is not Clock.REAL:
        yield "clock", f"{new.clock.value}, not {old.clock.value}"
    if new.seed is None and old.seed is not None:
        yield "random", "fresh for every session"
    if new.disclose and not old.disclose:
        yield "disclose", "denials say what is granted"


def _lenience(old: Policy, new: Policy) -> Gain:
    """
    What audit mode lets pass now: all of it where there was none before.
    """
    if new.mode is Mode.AUDIT and old.mode is Mode.ENFORCE:
        yield "mode", "audit: what is denied may be looked at where the ceilings allow it"
    if old.lenient is not None and new.lenient is not None:
        for place, text in _gained(old.lenient, new.lenient):
            yield f"mode: {place}", text


def _against(value: str, old: Policy, name: str) -> str:
    return f"up to {value}, not {limit_text(old.limits, name)}"


def _files(mount: str, old: FileGrant | None, new: FileGrant | None) -> Gain:
    if new is None:
        return
    if old is None or source_at(old, mount) != source_at(new, mount):
        source = source_at(new, mount) or "memory of the session"
        yield mount, f"{new.access.value} of {source}"
        return
    if new.access.loosens(old.access):
        yield mount, "may be written" if old.access is Access.READ else "is written at once"
    if old.commit_by is CommitBy.CLIENT and new.commit_by is CommitBy.GUEST:
        yield mount, "may be committed by the guest"
    if new.access is Access.TRANSACTION:
        yield from ((mount, f"committed {text}") for text in approvals_lost(old, new))
        yield from ((mount, text) for text in _unjudged(old, new))
    for glob in sorted(denied_below(old, mount) - denied_below(new, mount)):
        yield mount, f"{glob} may be seen"
    if new.quota > old.quota:
        yield mount, f"quota up to {show_size(new.quota)}, not {show_size(old.quota)}"
    if new.max_files > old.max_files:
        yield mount, f"max_files up to {new.max_files}, not {old.max_files}"


def _unjudged(old: FileGrant, new: FileGrant) -> Iterator[str]:
    """
    The gates that do not judge any more as they did; one that was changed may let more pass.
    """
    names, meanings = {one.name for one in new.gates}, [one.meaning for one in new.gates]
    for gate in old.gates:
        if gate.name not in names:
            yield f"may be committed without the gate {gate.name}"
        elif gate.meaning not in meanings:
            yield f"may be committed past another gate {gate.name}"


def _unseated(old: Policy, new: Policy) -> Gain:
    """
    Mount points stay where they are; what is none any more can be moved where it is written.
    """
    mounts = {one.mount for one in old.filesystem} - {one.mount for one in new.filesystem}
    for mount in mounts:
        grant = speaker(new, mount)
        if grant is not None and grant.access.writes:
            yield mount, "may be renamed and replaced, as no mount point"


def _host(host: str, old: Policy, new: Policy) -> Gain:
    before = {port: one for one in speakers(old, host) for port in one.ports}
    after = {port: one for one in speakers(new, host) for port in one.ports}
    for port, grant in sorted(after.items()):
        place = f"{host}:{port}"
        if port in before:
            yield from _connection(place, before[port], grant)
        else:
            yield place, f"{kind_of(grant)}"


def _connection(place: str, old: NetworkGrant, new: NetworkGrant) -> Gain:
    if (old.raw, old.tls) != (new.raw, new.tls):
        yield place, f"{kind_of(new)}"
        return
    yield from ((place, text) for text in _requests(old, new))
    if new.max_bytes > old.max_bytes:
        yield place, f"max_bytes up to {show_size(new.max_bytes)}, not {show_size(old.max_bytes)}"
    if new.credential not in {None, old.credential}:
        yield place, f"{new.credential.header} from {new.credential.secret}"
    for kind in AddressClass:
        if kind in new.addresses - old.addresses:
            yield place, f"{kind.value} addresses"


def _requests(old: NetworkGrant, new: NetworkGrant) -> Iterator[str]:
    if not old.http:
        return
    if not new.http:
        yield "every method and path"
    for rule in new.http:
        for method in rule.methods:
            known = [path for one in old.http if method in one.methods for path in one.paths]
            for path in rule.paths:
                if not any(holds(outer, path) for outer in known):
                    yield f"{method} {path}"
