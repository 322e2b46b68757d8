"""
Which image is meant: the key, over everything that decides what is in one.
"""

import hashlib
import json
import platform
import re
from dataclasses import dataclass
from functools import cache

from executor.images.errors import LockRefusedError
from executor.images.guests import GUESTS, GuestKind
from executor.images.lock import LockedPackage
from executor.images.manifest import FORMAT
from executor.images.pins import installed_wasmtime, load_pins
from executor.wasm.engine_config import CONFIG_ID
from executor.wasm.target import this_target

PLAIN_NAME = "core"
# What a build puts into an image: raised when that changes, so that older images are not found.
CONTENT = 5
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Runtime:
    """
    What compiled code is bound to: an image made for another one is never found.

    wasmtime's release, the engine's configuration, the machine with its processor's level,
    the digest of the package's pins, the format of the cache, and what a build puts in.
    """

    wasmtime: str
    config: str
    machine: str
    cpu: tuple[str, ...]
    pins: str
    format: int = FORMAT
    content: int = CONTENT

    @property
    def digest(self) -> str:
        """
        All of it as one SHA-256, in hex.
        """
        compiled = [self.wasmtime, self.config, self.machine, self.cpu]
        return _digest([*compiled, self.pins, self.format, self.content])


@cache
def this_runtime(kind: GuestKind) -> Runtime:
    """
    The runtime of this process for one kind of guest.
    """
    return Runtime(
        wasmtime=installed_wasmtime(),
        config=CONFIG_ID,
        machine=platform.machine(),
        cpu=(this_target().name,),
        pins=load_pins(kind.name).digest,
    )


def runtimes() -> frozenset[str]:
    """
    The digests of all runtimes of this process: whatever else an image is bound to is unusable.
    """
    return frozenset(this_runtime(kind).digest for kind in GUESTS)


def image_key(
    name: str, runtime: Runtime, packages: tuple[LockedPackage, ...], warm: tuple[str, ...] = ()
) -> str:
    """
    The key of an image (64 hex digits): equal inputs, equal key.

    `runtime` says which guest, by the digest of its pins.
    """
    locked = [[package.name, package.version, sorted(package.hashes)] for package in packages]
    return _digest([name, runtime.digest, locked, warm])


def _digest(parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def image_name(asked: str | None, packages: tuple[str, ...]) -> str:
    """
    The name of an image: the one asked for, else "core", or "core-" and what is added to it.

    "core" always means the image without additions, so that a policy that names it gets the
    same guest on every machine. Raises LockRefusedError for a name that cannot be one.
    """
    name = asked or "-".join((PLAIN_NAME, *sorted(packages)))
    if not _NAME.fullmatch(name):
        raise LockRefusedError(
            f"{name!r} cannot be the name of an image: 1 to 64 of a-z, 0-9, '.', '_' and '-', "
            "the first a letter or a digit. Give one with --name."
        )
    if name == PLAIN_NAME and packages:
        raise LockRefusedError(
            f"{PLAIN_NAME!r} is the image without added packages, and {', '.join(packages)} was "
            "to be added. Leave --name out, or give another."
        )
    return name
