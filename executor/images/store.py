"""
Files that a build fetched or translated, kept by their SHA-256.

A second build, of another image or for another release of wasmtime, then needs neither the
network nor node. The name is the hash that the package or a lock pins, and it is checked again
at every use: the store is a convenience and is never believed.
"""

from executor.images.cache import Cache, replace_file
from executor.images.errors import ImageRefusedError
from executor.images.pins import sha256
from executor.images.sealed import read_private

_LARGEST = 256 * 2**20


def take(cache: Cache, digest: str) -> bytes | None:
    """
    The bytes whose SHA-256 is `digest`, or None where the store has not exactly those.
    """
    try:
        data = read_private(cache.inputs / digest, _LARGEST)
    except (FileNotFoundError, ImageRefusedError):
        return None
    return data if sha256(data) == digest else None


def keep(cache: Cache, data: bytes) -> str:
    """
    Put `data` into the store and return its SHA-256; the cache's lock must be held.
    """
    digest = sha256(data)
    replace_file(cache.inputs / digest, cache.staging, data, 0o400)
    return digest
