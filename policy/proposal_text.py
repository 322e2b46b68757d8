"""
A policy as a file that a person reads: one line for each thing that was needed, and above it a
comment that says what needed it.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Generic, TypeVar

from policy.effective import limit_text
from policy.errors import shown
from policy.gates import GateRule
from policy.lint import hides_below
from policy.ratchets import NETWORK, TOOL, TOOLS, may_happen_below
from policy.requests import Request
from policy.types import (
    APPROVAL_EXPIRES,
    AddressClass,
    Approval,
    ArgumentBound,
    Audit,
    AuditLevel,
    Clock,
    CommitBy,
    Effect,
    FileGrant,
    Happening,
    HttpRule,
    Limits,
    NetworkGrant,
    Policy,
    ToolGrant,
)
from policy.units import show_time

Grant = TypeVar("Grant")
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Needed(Generic[Grant]):
    """
    A grant, the requests that needed it, and what else there is to say.
    """

    grant: Grant
    of: tuple[Request, ...]
    note: str = ""

    def comment(self) -> str:
        """
        What needed it, in one line.
        """
        said = [shown(str(one), 80) for one in self.of[:_SHOWN]]
        if (more := len(self.of) - _SHOWN) > 0:
            said.append(f"and {more} more")
        return "; ".join([*said, *([self.note] if self.note else [])])


@dataclass(frozen=True, slots=True)
class Needs:
    """
    All that a session needed. `left_out` are globs that hid something of it, those of a mount with
    the mount and a space before them.
    """

    image: str
    mounts: Sequence[Needed[FileGrant]]
    hosts: Sequence[Needed[NetworkGrant]]
    tools: Sequence[Needed[ToolGrant]]
    left_out: frozenset[str]

    def of_the_host(self) -> list[str]:
        """
        The mounts of directories of the host.
        """
        return [one.grant.mount for one in self.mounts if one.grant.source is not None]


def policy_text(policy: Policy, needs: Needs) -> str:
    """
    The file, of the name and within the ceilings of `policy`.
    """
    return "\n".join([*_head(policy, needs), *_grants(policy, needs), *_rest(policy, needs), ""])


def _head(policy: Policy, needs: Needs) -> Iterator[str]:
    yield "version: 1"
    yield f"name: {policy.name}"
    if policy.description:
        yield f"description: {quoted(policy.description)}"
    if policy.within:
        yield f"within: [{', '.join(policy.within)}]"
    yield f"image: {quoted(needs.image)} # what the session had"


def _grants(policy: Policy, needs: Needs) -> Iterator[str]:
    yield "filesystem:" if needs.mounts else "filesystem: [] # no directory of the host was used"
    for mount in needs.mounts:
        yield f"  # {mount.comment()}"
        yield from _mount(mount.grant, needs.left_out)
    gates = {gate.name: gate for mount in needs.mounts for gate in mount.grant.gates}
    yield from ["gates:"] if gates else []
    for gate in gates.values():
        yield f"  {gate.name}: {{{', '.join(_gate(gate))}}}"
    denies = [*_denies(policy, needs)]
    yield from ["deny:", *denies] if denies else []
    yield "network:" if needs.hosts else "network: none # nothing was connected to"
    for host in needs.hosts:
        yield f"  # {host.comment()}"
        yield f"  - {{{', '.join(_host(host.grant))}}}"
    yield from ["tools:"] if needs.tools else []
    for tool in needs.tools:
        yield f"  # {tool.comment()}"
        yield f"  - {{{', '.join(_tool(tool.grant))}}}"


def _denies(policy: Policy, needs: Needs) -> Iterator[str]:
    """
    Those entries that still hide something.
    """
    mounts = needs.of_the_host()
    for entry in policy.deny:
        if entry.path in needs.left_out:
            continue
        if any(hides_below(entry, mount) for mount in mounts):
            reason = f", reason: {quoted(entry.reason)}" if entry.reason else ""
            yield f"  - {{path: {quoted(entry.path)}{reason}}}"


def _mount(grant: FileGrant, left_out: frozenset[str]) -> Iterator[str]:
    said = [f"mount: {quoted(grant.mount)}", f"source: {quoted(grant.source or 'scratch')}"]
    said.append(f"access: {grant.access.value}")
    hidden = [glob for glob in grant.deny if f"{grant.mount} {glob}" in left_out]
    if kept := [quoted(glob) for glob in grant.deny if glob not in hidden]:
        said.append(f"deny: [{', '.join(kept)}]")
    if grant.access.writes:
        said += [f"quota: {grant.quota}", f"max_files: {grant.max_files}"]
    if grant.commit_by is CommitBy.CLIENT:
        said.append(f"commit_by: {grant.commit_by.value}")
    said += _approval(grant)
    if grant.gates:
        said.append(f"gate: [{', '.join(gate.name for gate in grant.gates)}]")
    for glob in hidden:
        yield f"  # wider than it was needed: {shown(glob, 80)} is no more denied here"
    yield f"  - {{{', '.join(said)}}}"


def _gate(gate: GateRule) -> Iterator[str]:
    if gate.builtin:
        yield f"builtin: {gate.builtin.value}, file: {quoted(gate.file)}"
        yield f"entry: {'fixed' if gate.file in gate.protected else 'editable'}"
        yield f"plugins: [{', '.join(gate.plugins)}]"
    else:
        yield f"program: {quoted(gate.program)}, sha256: {quoted(gate.sha256)}"
    yield f"image: {quoted(gate.image)}, trust: {gate.trust.value}"
    yield f"on: [{', '.join(map(quoted, gate.on))}]"
    yield f"protected: [{', '.join(quoted(one) for one in gate.protected if one != gate.file)}]"
    yield f"timeout: {show_time(gate.timeout)}, memory: {gate.memory}"
    if gate.max_deleted is not None:
        yield f"max_deleted: {gate.max_deleted}"


def _host(grant: NetworkGrant) -> Iterator[str]:
    yield f"host: {quoted(grant.host)}"
    yield f"ports: [{', '.join(map(str, grant.ports))}]"
    if grant.raw:
        yield f"raw: true, tls: {str(grant.tls).lower()}"
    else:
        yield f"scheme: {'https' if grant.tls else 'http'}"
        yield f"http: [{', '.join(map(_rule, grant.http))}]"
    if given := grant.credential:
        prefix = f", prefix: {quoted(given.prefix)}" if given.prefix else ""
        secret = f"header: {quoted(given.header)}, secret: {quoted(given.secret)}"
        yield f"credentials: {{{secret}{prefix}}}"
    if classes := [one.value for one in AddressClass if one in grant.addresses]:
        yield f"addresses: [{', '.join(classes)}]"
    yield f"max_bytes: {grant.max_bytes}"


def _rule(rule: HttpRule) -> str:
    paths = ", ".join(map(quoted, rule.paths))
    return f"{{methods: [{', '.join(rule.methods)}], paths: [{paths}]}}"


def _tool(grant: ToolGrant) -> Iterator[str]:
    yield f"name: {quoted(grant.name)}"
    yield f"max_calls: {grant.max_calls}"
    yield from _approval(grant)
    if grant.effect is not Effect.ACT:
        yield f"effect: {grant.effect.value}"
    if grant.bounds:
        bounds = ", ".join(f"{quoted(one.name)}: {{{_bound(one)}}}" for one in grant.bounds)
        yield f"arguments: {{{bounds}}}"


def _approval(grant: ToolGrant | FileGrant) -> Iterator[str]:
    if grant.approval is Approval.NONE:
        return
    if grant.approval_expires == APPROVAL_EXPIRES:
        yield f"approval: {grant.approval.value}"
    else:
        yield f"approval: {{required: true, expires: {show_time(grant.approval_expires)}}}"


def _bound(bound: ArgumentBound) -> str:
    if bound.allowed is not None:
        return f"allow: [{', '.join(json.dumps(one) for one in bound.allowed)}]"
    if bound.longest is not None:
        return f"max_length: {bound.longest}"
    numbers = {"min": bound.least, "max": bound.most}
    return ", ".join(f"{key}: {value}" for key, value in numbers.items() if value is not None)


def _after(policy: Policy, needs: Needs) -> Iterator[str]:
    """
    The events that can still happen, each once, with the rights that there still are.
    """
    tools = {TOOL + one.grant.name for one in needs.tools}
    mounts = needs.of_the_host()
    revoked: dict[str, set[str]] = {}
    for one in policy.after:
        connects = one.event is Happening.CONNECT
        if connects or any(may_happen_below(one, mount) for mount in mounts):
            rights = {right for right in one.revoke if right in tools or right in {NETWORK, TOOLS}}
            revoked.setdefault(one.event_text, set()).update(rights)
    for event, rights in revoked.items():
        if rights:
            yield f"  - {{event: {quoted(event)}, revoke: [{', '.join(sorted(rights))}]}}"


def _rest(policy: Policy, needs: Needs) -> Iterator[str]:
    """
    What grants nothing, as it was in force; limits where they are not the default.
    """
    after = [*_after(policy, needs)]
    yield from ["after:", *after] if after else []
    if policy.imports is not None:
        yield f"imports: {{allow: [{', '.join(map(quoted, policy.imports))}]}}"
    if policy.environment:
        said = ", ".join(f"{name}: {json.dumps(value)}" for name, value in policy.environment)
        yield f"environment: {{{said}}}"
    default = Limits()
    names = [one.name for one in fields(Limits)]
    other = [name for name in names if getattr(policy.limits, name) != getattr(default, name)]
    if other:
        said = ", ".join(f"{name}: {limit_text(policy.limits, name)}" for name in other)
        yield f"limits: {{{said}}}"
    if policy.seed is not None:
        yield f"random: {{seed: {policy.seed}}}"
    if policy.clock is not Clock.REAL:
        yield f"clock: {policy.clock.value}"
    if policy.disclose:
        yield "disclose: true"
    yield from _audit(policy.audit)


def _audit(audit: Audit) -> Iterator[str]:
    said = [] if audit.level is AuditLevel.DECISIONS else [f"level: {audit.level.value}"]
    if audit.redact:
        said.append(f"redact: [{', '.join(map(quoted, audit.redact))}]")
    if said:
        yield f"audit: {{{', '.join(said)}}}"


_PLAIN = re.compile(r"/?[A-Za-z_][A-Za-z0-9_./-]*", re.ASCII)
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def quoted(text: str) -> str:
    """
    The text as YAML 1.2 has it: plain where that is the same for every reader, else in quotes.
    """
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)
