"""
A policy as it is in force, with nothing left to know by heart: every default is written out, and
what ceilings took away is gone.
"""

import json
from dataclasses import fields
from typing import Final

from policy.digest import canonical
from policy.gates import GateRule, Trust
from policy.offers import bound_text, offered
from policy.types import (
    APPROVAL_EXPIRES,
    AddressClass,
    Approval,
    Audit,
    CageKind,
    CommitBy,
    Effect,
    FileGrant,
    Limits,
    NetworkGrant,
    Policy,
    ProcessGrant,
    Ratchet,
    ToolGrant,
)
from policy.units import show_size, show_time

_SIZES: Final = frozenset({"memory", "output", "scratch"})
_TIMES: Final = frozenset({"cpu_time", "wall_time", "idle_timeout"})


def effective(policy: Policy) -> str:
    """
    All that the policy says, as lines of text.
    """
    lines = [f"policy {policy.name}, digest {policy.digest}"]
    if policy.within:
        lines.append(f"within {', '.join(policy.within)}")
    lines += _part("deny", [f"{one.path}  {one.reason}".rstrip() for one in policy.deny])
    lines += _part("filesystem", [text for one in policy.filesystem for text in _files(one)])
    lines += _part("network", [text for one in policy.network for text in _connections(one)])
    lines += _part("tools", [text for one in policy.tools for text in _tool(one)])
    if policy.after:
        lines += _part("after", [_ratchet(one) for one in policy.after])
    lines += _part("environment", [f"{name}={value}" for name, value in policy.environment])
    if policy.cage is not CageKind.WASM:
        lines += _part("process", _processes(policy.process))
    if policy.lenient is not None:
        lines += _part("audit mode", _lenient(policy.lenient))
    lines += _part("limits", _limits(policy))
    lines += _part("audit", _audit(policy.audit))
    lines += _part("guest", _guest(policy))
    return "\n".join(lines)


def to_json(policy: Policy) -> str:
    """
    The same as JSON, one object: what the digest is of, and where it comes from.
    """
    meaning = json.loads(canonical(policy))
    told = {"policy": policy.name, "digest": policy.digest, "within": policy.within} | meaning
    return json.dumps(told, indent=2, ensure_ascii=True)


def _part(name: str, lines: list[str]) -> list[str]:
    return [f"{name}:", *(f"  {line}" for line in lines or ["none"])]


def _files(grant: FileGrant) -> list[str]:
    source = "memory of the session" if grant.source is None else grant.source
    line = f"{grant.mount}  {grant.access.value}  {source}"
    if grant.quota:
        line += f"  up to {show_size(grant.quota)} and {grant.max_files} files"
    if grant.commit_by:
        line += f"  committed by {_COMMITTERS[grant.commit_by]}{_approved(grant)}"
    denies = [f"  deny {glob}" for glob in grant.deny]
    return [line, *denies, *(f"  judged by {gate_text(gate)}" for gate in grant.gates)]


def gate_text(gate: GateRule) -> str:
    """
    A gate in one line: what runs where, on what, and within which bounds.
    """
    what = f"{gate.builtin.value} from {gate.file}" if gate.builtin else gate.program
    said = [f"{gate.name}: {what} in {gate.image}", f"on {', '.join(gate.on)}"]
    if gate.protected:
        said.append(f"nothing may change {', '.join(gate.protected)}")
    if gate.max_deleted is not None:
        said.append(f"up to {gate.max_deleted} lines may go")
    if gate.plugins:
        said.append(f"plugins {', '.join(gate.plugins)}")
    said.append(f"{show_time(gate.timeout)} and {show_size(gate.memory)}")
    return "; ".join([*said, *(["its yes is advice"] if gate.trust is Trust.CODE else [])])


_COMMITTERS = {CommitBy.GUEST: "the guest or its client", CommitBy.CLIENT: "the client"}


def _connections(grant: NetworkGrant) -> list[str]:
    classes = [one.value for one in AddressClass if one in grant.addresses]
    lines = [f"{offered(grant)}  {show_size(grant.max_bytes)} a session"]
    lines.append(f"  addresses {', '.join(['public', *classes])}")
    if grant.credential:
        lines.append(f"  {grant.credential.header} from the secret {grant.credential.secret}")
    return lines


def _tool(grant: ToolGrant) -> list[str]:
    looks = ", which only look" if grant.effect is Effect.READ else ""
    bounds = [f"  {one.name} {bound_text(one)}" for one in grant.bounds]
    return [f"{grant.name}  up to {grant.max_calls} calls{looks}{_approved(grant)}", *bounds]


def _approved(grant: ToolGrant | FileGrant) -> str:
    if grant.approval is Approval.NONE:
        return ""
    if grant.approval_expires == APPROVAL_EXPIRES:
        return ", each approved by a person"
    return f", each approved by a person within {show_time(grant.approval_expires)}"


def _ratchet(ratchet: Ratchet) -> str:
    return f"{ratchet.event_text}  revokes {', '.join(ratchet.revoke)}"


def _lenient(policy: Policy) -> list[str]:
    """
    What may be looked at although it is denied; the policy's own mounts are among it.
    """
    mounts = [f"look at {one.mount}, {one.source}" for one in policy.filesystem if one.source]
    denies = [f"but for {one.path}" for one in policy.deny]
    return [*mounts, *denies, *(f"look at {offered(one)}" for one in policy.network)]


def _processes(grant: ProcessGrant | None) -> list[str]:
    if grant is None:
        return []
    lines = ["fork children of its own"] if grant.fork else []
    lines += [f"run {program}" for program in grant.programs]
    return [*lines, "run new code, written in memory"] if grant.new_code else lines


def _limits(policy: Policy) -> list[str]:
    return [f"{one.name} {limit_text(policy.limits, one.name)}" for one in fields(Limits)]


def limit_text(limits: Limits, name: str) -> str:
    """
    A limit in the words of a policy: `512Mi`, `30s`, `1000`.
    """
    value = getattr(limits, name)
    if name in _SIZES:
        value = show_size(value)
    elif name in _TIMES:
        value = show_time(value)
    elif name == "cpus":
        value = f"{value:.6g}"
    return str(value)


def _audit(audit: Audit) -> list[str]:
    return [f"level {audit.level.value}", *(f"redact {name}" for name in audit.redact)]


def _guest(policy: Policy) -> list[str]:
    seed = "fresh for every session" if policy.seed is None else f"seed {policy.seed}"
    told = "say what is granted" if policy.disclose else "do not say what is granted"
    modules = ", ".join(policy.imports or ["none"])
    imports = [f"imports {modules} (guidance, not enforced)"] if policy.imports is not None else []
    return [
        f"mode {policy.mode.value}",
        f"cage {policy.cage.value}",
        *_isolation(policy),
        f"image {', '.join(policy.images)}",
        f"clock {policy.clock.value}",
        f"random {seed}",
        f"denials {told}",
        *imports,
    ]


def _isolation(policy: Policy) -> list[str]:
    if policy.cage is CageKind.WASM:
        return []
    line = f"isolation {policy.isolation.minimum.value} or stricter"
    required = ", ".join(sorted(policy.isolation.require))
    return [f"{line}, with {required}" if required else line]
