"""
The native images that are there, as `codecage image` lists them, and those that can go.

One without packages is this interpreter itself: it is always there, and nothing of it can be
removed. What was built for another interpreter, or from another lock, has another key; no zygote
will ever ask for it.
"""

import time
from pathlib import Path

from executor.images.cache import Cache, exclusive, prepare, remove, tree_bytes
from executor.images.errors import ImageRefusedError
from executor.images.report import Listed
from executor.process.images import (
    DECLARED,
    Declared,
    declared_as,
    directory,
    image_of,
    is_built,
    listing,
    packages,
    places,
    python_version,
    verify,
)

_GUEST = "native"
# As many digits of a key stand in the name of its directory.
_DIGITS = 12
_FEWEST = 6


def listed(cache: Cache) -> tuple[Listed, ...]:
    """
    The native images that are there, in the order in which they are declared.
    """
    return tuple(_listed(one, cache) for one in DECLARED if is_built(one, cache))


def _listed(declared: Declared, cache: Cache) -> Listed:
    image = image_of(declared, cache)
    built = places(image)
    return Listed(
        name=image.name,
        key=image.key,
        path=str(built[0]) if built else "",
        created=_created(listing(built[0])) if built else "",
        size=sum(tree_bytes(place) for place in built),
        files=sum(sum(1 for path in place.rglob("*") if path.is_file()) for place in built),
        guest=_GUEST,
        modules=0,
        versions=(("python", python_version()),),
        packages=tuple((one.name, one.version) for one in packages(declared)),
    )


def _created(path: Path) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(path.stat().st_mtime))


def verified(name: str, cache: Cache) -> Listed:
    """
    The native image called `name`, with every file checked.

    Raises ImageRefusedError where it is not built, or was changed.
    """
    declared = declared_as(name)
    if not is_built(declared, cache):
        raise ImageRefusedError(
            f"The image {name} is not built. Build it: codecage image build {name}."
        )
    verify(image_of(declared, cache))
    return _listed(declared, cache)


def prune(keep: tuple[str, ...], cache: Cache, *, every: bool) -> int:
    """
    Remove native images that no zygote here will ask for, with `every` all; the bytes freed.

    `keep` are keys, or their first digits (6 or more), of images to keep whatever they are.
    """
    prepare(cache)
    there = directory(cache)
    with exclusive(cache, lambda: None):
        if not there.is_dir():
            return 0
        images = () if every else tuple(image_of(declared, cache) for declared in DECLARED)
        current = {place.name for image in images for place in places(image)}
        gone = [path for path in there.iterdir() if not _is_kept(path, current, keep)]
        return sum(remove(path) for path in sorted(gone))


def _is_kept(path: Path, current: set[str], keep: tuple[str, ...]) -> bool:
    name = path.name.removesuffix(".json")
    digits = name.rpartition("-")[2]
    asked = any(len(key) >= _FEWEST and digits.startswith(key[:_DIGITS]) for key in keep)
    return asked or name in current
