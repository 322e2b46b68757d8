"""
The name of a policy's meaning: equal meaning, equal digest; another meaning, another digest.

Comments, the order of keys, grants, globs and of the images after the first, the spelling of sizes
and the file's name are no meaning. Absolute sources, the description and every default that
applies are.

What is said of the network, of `deny`, of gates, of imports, of tools, of `after`, of the record,
of audit mode, of the process cage and of the share of processors is part of the form only where
something is said: a policy without has the digest that it had before there were such keys, which
older records name.
In the WebAssembly cage nothing is said of processes, whatever was inherited.
Which other files a policy was made of is no meaning; what they made of it is.
"""

import hashlib
import json
from enum import Enum

from policy.types import (
    APPROVAL_EXPIRES,
    Approval,
    ArgumentBound,
    AuditLevel,
    CageKind,
    Credential,
    Effect,
    FileGrant,
    HttpRule,
    Limits,
    Mode,
    NetworkGrant,
    Policy,
    ProcessGrant,
    ToolGrant,
)

FORMAT = 1
"""Raised when the canonical form changes, so that old digests are never mistaken for new ones."""


def digest_of(policy: Policy) -> str:
    """
    The SHA-256, in hex, of the policy's canonical form.
    """
    return hashlib.sha256(canonical(policy).encode()).hexdigest()


def canonical(policy: Policy) -> str:
    """
    The policy's meaning as JSON in ASCII with sorted keys and no spaces; without the digest.
    """
    meaning: dict[str, object] = {
        "format": FORMAT,
        "name": policy.name,
        "description": policy.description,
        "image": _images(policy.images),
        "filesystem": sorted((_grant(grant) for grant in policy.filesystem), key=_mount),
        "limits": _limits(policy),
        "environment": dict(policy.environment),
        "clock": policy.clock,
        "seed": policy.seed,
        "disclose": policy.disclose,
    }
    if policy.network:
        meaning["network"] = sorted(map(_connections, policy.network), key=_place)
    if policy.deny:
        meaning["deny"] = sorted({(one.path, one.reason) for one in policy.deny})
    if policy.imports is not None:
        meaning["imports"] = sorted(set(policy.imports))
    if policy.mode is Mode.AUDIT:
        meaning["mode"] = policy.mode
        meaning["lenient"] = policy.lenient.digest if policy.lenient else None
    if audit := _audit(policy):
        meaning["audit"] = audit
    if policy.after:
        meaning["after"] = sorted([one.event_text, *one.revoke] for one in policy.after)
    if policy.tools:
        meaning["tools"] = {one.name: _tool(one) for one in policy.tools}
    if policy.cage is not CageKind.WASM:
        meaning |= _processes(policy)
    return json.dumps(meaning, sort_keys=True, separators=(",", ":"), default=_word)


def _audit(policy: Policy) -> dict[str, object]:
    """
    What is said of the record; the case and the order of names are no meaning.
    """
    audit, said = policy.audit, dict[str, object]()
    if audit.level is not AuditLevel.DECISIONS:
        said["level"] = audit.level
    if audit.redact:
        said["redact"] = sorted({name.lower() for name in audit.redact})
    return said


def _processes(policy: Policy) -> dict[str, object]:
    isolation = policy.isolation
    said: dict[str, object] = {
        "cage": policy.cage,
        "isolation": {"min": isolation.minimum, "require": sorted(isolation.require)},
    }
    if policy.process and (grant := _process(policy.process)):
        said["process"] = grant
    return said


def _process(grant: ProcessGrant) -> dict[str, object]:
    """
    What is granted; nothing where nothing is, as where the key is absent.
    """
    granted: dict[str, object] = {
        "fork": grant.fork,
        "programs": sorted(set(grant.programs)),
        "new_code": grant.new_code,
    }
    return granted if any(granted.values()) else {}


def _limits(policy: Policy) -> dict[str, int | float]:
    unsaid = set() if policy.network else {"connections"}
    if policy.limits.cpus == Limits().cpus:
        unsaid.add("cpus")
    names = [name for name in policy.limits.__slots__ if name not in unsaid]
    return {name: getattr(policy.limits, name) for name in names}


def _images(images: tuple[str, ...]) -> str | list[str]:
    """
    The default, and the others in no order: whoever asks for one of them asks by name.

    One image is its bare name, as it was when a policy had one, so that the digests in older
    records stay those of the same files.
    """
    default, *others = images
    return [default, *sorted(others)] if others else default


def _grant(grant: FileGrant) -> dict[str, object]:
    return {
        "mount": grant.mount,
        "source": grant.source,
        "access": grant.access,
        "deny": sorted(set(grant.deny)),
        "quota": grant.quota,
        "max_files": grant.max_files,
        # Said only of what has it, so that other policies keep their digests.
        **({} if grant.commit_by is None else {"commit_by": grant.commit_by}),
        **({} if grant.approval is Approval.NONE else {"approval": grant.approval}),
        **_expires(grant),
        **({"gates": _gates(grant)} if grant.gates else {}),
    }


def _gates(grant: FileGrant) -> list[dict[str, object]]:
    meanings = [gate.meaning for gate in grant.gates]
    return sorted(meanings, key=lambda meaning: json.dumps(meaning, sort_keys=True))


def _expires(grant: FileGrant | ToolGrant) -> dict[str, object]:
    """
    For how long an approval is waited for, where that is not the default.
    """
    if grant.approval is Approval.NONE or grant.approval_expires == APPROVAL_EXPIRES:
        return {}
    return {"approval_expires": grant.approval_expires}


def _mount(grant: dict[str, object]) -> str:
    return str(grant["mount"])


def _connections(grant: NetworkGrant) -> dict[str, object]:
    rules = [_http(rule) for rule in grant.http]
    return {
        "host": grant.host,
        "ports": sorted(grant.ports),
        "tls": grant.tls,
        "raw": grant.raw,
        "http": sorted(rules, key=json.dumps),
        "max_bytes": grant.max_bytes,
        "credentials": _credential(grant.credential),
        "addresses": sorted(one.value for one in grant.addresses),
    }


def _place(grant: dict[str, object]) -> str:
    return json.dumps([grant["host"], grant["ports"]])


def _http(rule: HttpRule) -> dict[str, object]:
    return {"methods": sorted(set(rule.methods)), "paths": sorted(set(rule.paths))}


def _credential(credential: Credential | None) -> dict[str, str] | None:
    """
    Fields have names without regard to case (RFC 9110 5.1).
    """
    if credential is None:
        return None
    header, secret, prefix = credential.header.lower(), credential.secret, credential.prefix
    return {"header": header, "secret": secret, "prefix": prefix}


def _tool(grant: ToolGrant) -> dict[str, object]:
    """
    What is granted; an effect only where it is said, as older digests know none.
    """
    said: dict[str, object] = {"effect": grant.effect} if grant.effect is Effect.READ else {}
    return (
        said
        | _expires(grant)
        | {
            "max_calls": grant.max_calls,
            "approval": grant.approval,
            "arguments": {one.name: _bound(one) for one in grant.bounds},
        }
    )


def _bound(bound: ArgumentBound) -> dict[str, object]:
    """
    What is said of the argument; 1, 1.0 and true are three values, and an order is no meaning.
    """
    said = {"min": bound.least, "max": bound.most, "max_length": bound.longest}
    words: dict[str, object] = {key: value for key, value in said.items() if value is not None}
    if bound.allowed is not None:
        words["allow"] = sorted({json.dumps(value) for value in bound.allowed})
    return words


def _word(value: object) -> str:
    assert isinstance(value, Enum)
    return str(value.value)
