"""
The images that are there: find, list, verify, publish, prune.

Every image has a manifest with the hash of each of its files, and the manifest's own hash is in
`index.json`, which lies outside the image and is replaced as a whole when a build is complete.
So a directory in `images/` is an image only if the index says so: a build that was killed leaves
none, and a directory that was changed or put there by hand is refused.

What this cannot stop: a process of the same user that rewrites image, manifest and index
together. Compiled code has no hash that could ship with the package, as it depends on the
processor; and whoever can write this user's cache can write this user's Python as well. The
inputs, which came over the network, are pinned in the package itself.
"""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from executor.images.cache import (
    Cache,
    default_cache,
    exclusive,
    flush_directory,
    flush_tree,
    prepare,
    remove,
    replace_file,
    sweep,
    write_new,
)
from executor.images.errors import ImageRefusedError
from executor.images.guests import guest_kind
from executor.images.manifest import (
    FORMAT,
    MANIFEST,
    Image,
    Label,
    Manifest,
    from_json,
    label_from_json,
    to_json,
)
from executor.images.pins import sha256
from executor.images.sealed import read, read_private

_INDEX_BYTES = 4 * 2**20
_MANIFEST_BYTES = 64 * 2**20
# Formats of earlier releases: their images cannot be used here, and the next build or prune
# removes them.
_OLDER = frozenset({1})
_HEX = re.compile(r"[0-9a-f]{64}")

_Read = TypeVar("_Read", Manifest, Label)


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """
    What the index holds of an image: the SHA-256 of its manifest, and what it was built for.
    """

    key: str
    name: str
    manifest: str
    runtime: str
    created: str

    @property
    def directory(self) -> str:
        """
        The name of the image's directory.
        """
        return f"{self.name}-{self.key[:12]}"


def find(name: str, cache: Cache | None = None) -> Image | None:
    """
    The newest image called `name` that this machine and this wasmtime can run, or None.

    Raises ImageRefusedError where there is one and its manifest or index cannot be trusted.
    Its files are checked when `sealed.open_module` opens them, or all at once by `verify`.
    """
    cache = cache or default_cache()
    entry = _newest(name, cache)
    return None if entry is None else load(cache, entry)


def find_label(name: str, cache: Cache) -> Label | None:
    """
    The label of the image that `find` finds. Its list of files, which is nearly all of a manifest,
    is left to who uses them. Raises ImageRefusedError as `find` does.
    """
    entry = _newest(name, cache)
    return None if entry is None else _checked(cache, entry, label_from_json)


def _newest(name: str, cache: Cache) -> IndexEntry | None:
    from executor.images.identity import runtimes  # noqa: PLC0415 - not for who knows the key

    usable = runtimes()
    fitting = [e for e in read_index(cache) if e.name == name and e.runtime in usable]
    return max(fitting, key=lambda e: e.created, default=None)


def find_key(key: str, cache: Cache) -> Image | None:
    """
    The image with exactly this key, or None. Raises ImageRefusedError as `find` does.
    """
    for entry in read_index(cache):
        if entry.key == key:
            return load(cache, entry)
    return None


def list_images(cache: Cache | None = None) -> tuple[Image, ...]:
    """
    Every image that can be trusted, also those of another wasmtime, the newest first.

    The others are `refused_images`. Raises ImageRefusedError where the index itself cannot be
    trusted.
    """
    found = _survey(cache or default_cache())
    return tuple(image for image in found if isinstance(image, Image))


def refused_images(cache: Cache | None = None) -> tuple[ImageRefusedError, ...]:
    """
    Why each of the other images in the index is refused; empty where all is well.
    """
    found = _survey(cache or default_cache())
    return tuple(error for error in found if isinstance(error, ImageRefusedError))


def _survey(cache: Cache) -> list[Image | ImageRefusedError]:
    found: list[Image | ImageRefusedError] = []
    for entry in sorted(read_index(cache), key=lambda e: e.created, reverse=True):
        try:
            found.append(load(cache, entry))
        except ImageRefusedError as error:
            found.append(error)
    return found


def load(cache: Cache, entry: IndexEntry) -> Image:
    """
    The image of an index entry, with its manifest checked against the entry.

    Raises ImageRefusedError where the manifest is missing or is another one.
    """
    manifest = _checked(cache, entry, from_json)
    return Image(entry.name, entry.key, cache.images / entry.directory, manifest)


def _checked(cache: Cache, entry: IndexEntry, read: Callable[[bytes], _Read]) -> _Read:
    path = cache.images / entry.directory
    try:
        text = read_private(path / MANIFEST, _MANIFEST_BYTES)
    except FileNotFoundError as error:
        raise ImageRefusedError(
            f"The image {entry.name} is in the index and not in {cache.images}. "
            "Build it again: codecage image build."
        ) from error
    if sha256(text) != entry.manifest:
        raise ImageRefusedError(
            f"The manifest of the image {entry.name} has SHA-256 {sha256(text)}, the index says "
            f"{entry.manifest}: it was changed. Build it again: codecage image build."
        )
    found = read(text)
    if (found.name, found.key) != (entry.name, entry.key):
        raise ImageRefusedError(f"The manifest in {path} is of another image, {found.name}.")
    return found


def verify(image: Image) -> None:
    """
    Check every file of an image against its manifest, and that there are no others.

    Raises ImageRefusedError at the first that differs.
    """
    expected = {entry.name for entry in image.manifest.files} | {MANIFEST}
    extra = sorted(_names(image.path) - expected)
    if extra:
        raise ImageRefusedError(
            f"The image {image.name} holds {extra[0]!r}, which its manifest does not name. "
            "Build it again: codecage image build."
        )
    for entry in image.manifest.files:
        read(image, entry.name)


def _names(directory: Path) -> set[str]:
    found: set[str] = set()
    for base, directories, files in os.walk(directory):
        links = [name for name in directories if (Path(base) / name).is_symlink()]
        for name in (*files, *links):
            found.add(str((Path(base) / name).relative_to(directory)))
    return found


def read_index(cache: Cache) -> tuple[IndexEntry, ...]:
    """
    What the index holds; nothing where there is none yet, or an earlier release's.

    Raises ImageRefusedError where it cannot be trusted or read.
    """
    try:
        text = read_private(cache.index, _INDEX_BYTES)
    except FileNotFoundError:
        return ()
    try:
        data = json.loads(text)
        if data["format"] in _OLDER:
            return ()
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']!r}")
        return tuple(_entry(key, value) for key, value in data["images"].items())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImageRefusedError(
            f"The index {cache.index} is not one of format {FORMAT} ({error}). Remove the file "
            "and build the images again: codecage image build."
        ) from error


def _entry(key: str, value: dict[str, Any]) -> IndexEntry:
    entry = IndexEntry(key, **value)
    if not _HEX.fullmatch(key) or not _HEX.fullmatch(entry.manifest):
        raise ValueError(f"{key!r} is not a key with a hash")
    if Path(entry.directory).name != entry.directory:
        raise ValueError(f"{entry.name!r} is not a name")
    return entry


def publish(cache: Cache, draft: Path, manifest: Manifest) -> Image:
    """
    Make the files in `draft` the image that `manifest` describes; the lock must be held.

    The order is what makes it whole or absent: files durable, then the directory renamed into
    place, then the index replaced. Killed at any point, the index names only whole images.
    """
    from executor.images.identity import this_runtime  # noqa: PLC0415 - as in `_newest`

    text = to_json(manifest)
    write_new(draft / MANIFEST, text)
    flush_tree(draft)
    runtime = this_runtime(guest_kind(manifest.guest)).digest
    entry = IndexEntry(manifest.key, manifest.name, sha256(text), runtime, manifest.created)
    others = tuple(e for e in read_index(cache) if e.key != manifest.key)
    path = cache.images / entry.directory
    if path.exists():
        _write_index(cache, others)
        remove(path)
    draft.rename(path)
    flush_directory(cache.images)
    _write_index(cache, (*others, entry))
    return load(cache, entry)


def _write_index(cache: Cache, entries: tuple[IndexEntry, ...]) -> None:
    images = {
        entry.key: {
            "name": entry.name,
            "manifest": entry.manifest,
            "runtime": entry.runtime,
            "created": entry.created,
        }
        for entry in entries
    }
    text = json.dumps({"format": FORMAT, "images": images}, indent=1, sort_keys=True) + "\n"
    replace_file(cache.index, cache.staging, text.encode(), 0o600)


def prune(keep: tuple[str, ...] = (), *, every: bool = False, cache: Cache | None = None) -> int:
    """
    Remove images that cannot be run here or are refused, older ones of the same name, and what
    dead builds left. Returns the bytes freed.

    `keep` are keys (or their first digits, at least 6) of images to keep whatever they are;
    `every` removes all others, and the fetched inputs with them. A server that has an image
    open is not disturbed. Waits for a build that is under way.
    """
    cache = cache or default_cache()
    prepare(cache)
    with exclusive(cache, _no_notice):
        entries = read_index(cache)
        sound = tuple(entry for entry in entries if _loads(cache, entry))
        kept = tuple(e for e in sound if _is_kept(e, sound, keep, every))
        _write_index(cache, kept)
        freed = sweep(cache) + remove_strays(cache, kept)
        if every:
            freed += sum(remove(path) for path in list(cache.inputs.iterdir()))
    return freed


def _no_notice() -> None:
    """
    Pruning waits in silence.
    """


def _loads(cache: Cache, entry: IndexEntry) -> bool:
    try:
        load(cache, entry)
    except ImageRefusedError:
        return False
    return True


def _is_kept(
    entry: IndexEntry, entries: tuple[IndexEntry, ...], keep: tuple[str, ...], every: bool
) -> bool:
    if any(len(key) >= 6 and entry.key.startswith(key) for key in keep):
        return True
    from executor.images.identity import runtimes  # noqa: PLC0415 - as in `_newest`

    usable = runtimes()
    if every or entry.runtime not in usable:
        return False
    same = [e.created for e in entries if e.name == entry.name and e.runtime in usable]
    return entry.created == max(same)


def remove_strays(cache: Cache, kept: tuple[IndexEntry, ...]) -> int:
    """
    Remove what is in `images/` and not in `kept`; the lock must be held. Returns bytes freed.
    """
    names = {entry.directory for entry in kept}
    strays = [path for path in cache.images.iterdir() if path.name not in names]
    return sum(remove(path) for path in strays)
