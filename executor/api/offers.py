"""
The images that this server can make sessions with: those of both cages, as one list.

An image of the WebAssembly cage is built for this machine and release of wasmtime; a native one is
this very interpreter, with packages that were built into the cache where it has any.
"""

import logging
from dataclasses import dataclass
from typing import Final

from executor.children.launcher import ZYGOTE
from executor.images.cache import Cache, default_cache
from executor.images.catalog import find_label, read_index
from executor.images.errors import ImageError, ImageRefusedError
from executor.images.manifest import Label
from executor.process import images as native
from policy.types import CageKind

_LOG = logging.getLogger(__name__)
_NATIVE_ZYGOTE: Final = "executor.process.zygote"


@dataclass(frozen=True, slots=True)
class Offer:
    """
    An image that is there: its name and key (hex), the cage that it runs in, the module of its
    zygotes, its Python, and its packages as `NAME VERSION`.
    """

    name: str
    key: str
    cage: CageKind
    zygote: str
    python: str
    packages: tuple[str, ...]


def offers(cache: Cache | None = None) -> list[Offer]:
    """
    What is there: the newest image of each name, and the native ones that need no building or are
    built.

    One that cannot be trusted is left out, and stops nothing but what needs it. Of each manifest
    the label is read, once: a large one's files alone take ten milliseconds.
    """
    cache = cache or default_cache()
    return [*_wasm(cache), *_native(cache)]


def _wasm(cache: Cache) -> list[Offer]:
    found = []
    for name in sorted({entry.name for entry in read_index(cache)}):
        try:
            image = find_label(name, cache)
        except ImageRefusedError as error:
            _LOG.error("the image %s is left out: %s", name, error)
        else:
            found += [_offer(image)] if image is not None else []
    return found


def _offer(image: Label) -> Offer:
    packages = tuple(f"{package.name} {package.version}" for package in image.packages)
    return Offer(image.name, image.key, CageKind.WASM, ZYGOTE, image.python, packages)


def _native(cache: Cache) -> list[Offer]:
    found = []
    for declared in native.DECLARED:
        try:
            # Its files are checked when its zygote takes them in: that takes a second.
            if native.is_built(declared, cache):
                found.append(_native_offer(declared, cache))
        except ImageError as error:
            _LOG.error("the image %s is left out: %s", declared.name, error)
    return found


def _native_offer(declared: native.Declared, cache: Cache) -> Offer:
    return Offer(
        declared.name,
        native.image_of(declared, cache).key,
        CageKind.PROCESS,
        _NATIVE_ZYGOTE,
        native.python_version(),
        tuple(f"{package.name} {package.version}" for package in native.packages(declared)),
    )
