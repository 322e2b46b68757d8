"""
The name of a policy's meaning: equal meaning, equal digest; another meaning, another digest.

Comments, the order of keys, grants, globs and of the images after the first, the spelling of sizes
and the file's name are no meaning. Absolute sources, the description and every default that
applies are.
"""

import hashlib
import json
from enum import Enum

from policy.types import FileGrant, Policy

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
    meaning = {
        "format": FORMAT,
        "name": policy.name,
        "description": policy.description,
        "image": _images(policy.images),
        "filesystem": sorted((_grant(grant) for grant in policy.filesystem), key=_mount),
        "limits": {name: getattr(policy.limits, name) for name in policy.limits.__slots__},
        "environment": dict(policy.environment),
        "clock": policy.clock,
        "seed": policy.seed,
        "disclose": policy.disclose,
    }
    return json.dumps(meaning, sort_keys=True, separators=(",", ":"), default=_word)


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
    }


def _mount(grant: dict[str, object]) -> str:
    return str(grant["mount"])


def _word(value: object) -> str:
    assert isinstance(value, Enum)
    return str(value.value)
