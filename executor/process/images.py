"""
Native images: the host's own Python, and what is added to it from a lock.

`native-core` is the standard library, and nothing is built for it. The others are built once into
the cache, from the wheels that their locks name, each by its hash (`images_build.py`). Beside
the image, not in it, is a list with the hash of every file; a zygote checks all of them before it
imports anything. An image without its list was not finished, and is none.

The key is over everything that decides what is in an image: the name, the interpreter to its
build, the machine, the locked packages with their hashes, and the warm modules.
"""

import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from executor.images.cache import Cache, default_cache
from executor.images.errors import ImageRefusedError
from executor.images.lock import LockedPackage, read_lock
from executor.process.native_image import NativeImage

_SHIPPED: Final = Path(__file__).parent / "shipped"
_FOLDER: Final = "native"
SITE: Final = "site-packages"
FONTS: Final = "matplotlib"
_CONTENT: Final = 1


@dataclass(frozen=True, slots=True)
class Declared:
    """
    A native image as it is shipped: its name, its lock (None for no packages), and what its
    zygote imports before it forks.
    """

    name: str
    lock: str | None
    warm: tuple[str, ...]


DECLARED: Final = (
    Declared("native-core", None, ("asyncio", "decimal", "sqlite3", "ssl", "csv", "statistics")),
    Declared(
        "native-data",
        "native-data.lock.txt",
        ("numpy", "numpy.random", "pandas", "matplotlib.pyplot", "scipy", "PIL.Image"),
    ),
    # What the gate bean-check runs in.
    Declared("native-books", "native-books.lock.txt", ("beancount.loader",)),
)


def names() -> tuple[str, ...]:
    """
    The names of the native images.
    """
    return tuple(declared.name for declared in DECLARED)


def find(name: str, cache: Cache | None = None) -> NativeImage | None:
    """
    The image called `name` for this interpreter, or None where it is not built.

    Raises ImageRefusedError where it is there and was changed.
    """
    declared = declared_as(name)
    image = image_of(declared, cache or default_cache())
    for place in places(image):
        if not listing(place).exists():
            return None
        verify(image)
    return image


def is_built(declared: Declared, cache: Cache) -> bool:
    """
    Whether the image is there for this interpreter; its files are not looked at.
    """
    return all(listing(place).exists() for place in places(image_of(declared, cache)))


def find_key(key: str, cache: Cache) -> NativeImage | None:
    """
    The image with exactly this key, or None. Raises ImageRefusedError as `find` does.
    """
    for declared in DECLARED:
        if image_of(declared, cache).key == key:
            return find(declared.name, cache)
    return None


def declared_as(name: str) -> Declared:
    """
    The declaration called `name`. Raises ImageRefusedError, saying which there are.
    """
    for declared in DECLARED:
        if declared.name == name:
            return declared
    raise ImageRefusedError(f"There is no native image {name!r}; there is {', '.join(names())}.")


def image_of(declared: Declared, cache: Cache) -> NativeImage:
    """
    The image that the declaration means here, built or not.
    """
    key = _key(declared)
    place = directory(cache) / f"{declared.name}-{key[:12]}"
    site = () if declared.lock is None else (str(place / SITE),)
    fonts = (("MPLCONFIGDIR", str(place / FONTS)),) if has_fonts(declared) else ()
    return NativeImage(declared.name, key, site, declared.warm, fonts, _elsewhere(declared))


def has_fonts(declared: Declared) -> bool:
    """
    Whether the image draws, and so keeps a list of fonts.
    """
    return FONTS in modules(declared)


def modules(declared: Declared) -> tuple[str, ...]:
    """
    What the image's packages make importable besides Python's own library: top-level names.
    """
    if declared.lock is None:
        return ()
    table = _SHIPPED / f"{declared.name}.modules.txt"
    return tuple(table.read_text(encoding="utf-8").split())


def _elsewhere(declared: Declared) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """
    The native images, by each module that they have and the declared one has not.
    """
    own = set(modules(declared))
    found: dict[str, list[str]] = {}
    for other in DECLARED:
        for module in modules(other):
            if module not in own:
                found.setdefault(module, []).append(other.name)
    return tuple((module, tuple(images)) for module, images in sorted(found.items()))


def _key(declared: Declared) -> str:
    locked = [[one.name, one.version, sorted(one.hashes)] for one in packages(declared)]
    python = [sys.implementation.cache_tag, sys.version, platform.machine()]
    facts = [_CONTENT, declared.name, python, locked, declared.warm]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def packages(declared: Declared) -> tuple[LockedPackage, ...]:
    """
    What the image's lock names. Raises LockRefusedError.
    """
    return () if declared.lock is None else read_lock(_SHIPPED / declared.lock).packages


def directory(cache: Cache) -> Path:
    """
    Where built native images are.
    """
    return cache.root / _FOLDER


def python_version() -> str:
    """
    The release of Python that every native image here is.
    """
    return platform.python_version()


def places(image: NativeImage) -> tuple[Path, ...]:
    """
    The directory of a built image; none for one that is not built.
    """
    return tuple(Path(site).parent for site in image.site_packages)


def listing(place: Path) -> Path:
    """
    The file that says what is in the image at `place`.
    """
    return place.with_name(f"{place.name}.json")


def verify(image: NativeImage) -> None:
    """
    Check every file of a built image against the list beside it, and that there are no others.

    Raises ImageRefusedError at the first that differs.
    """
    for place in places(image):
        try:
            expected: dict[str, str] = json.loads(listing(place).read_bytes())["files"]
        except (OSError, ValueError, KeyError) as error:
            raise ImageRefusedError(f"{_again(image)} The list of its files: {error}.") from error
        found = dict(hashes(place))
        for name in sorted(expected.keys() | found.keys()):
            if expected.get(name) != found.get(name):
                raise ImageRefusedError(f"{_again(image)} {name!r} is not as it was built.")


def _again(image: NativeImage) -> str:
    return (
        f"The image {image.name} cannot be used; build it again: codecage image build {image.name}."
    )


def hashes(place: Path) -> Iterator[tuple[str, str]]:
    """
    Every file below `place` by its path, with its SHA-256; a link has its text.
    """
    for base, folders, files in os.walk(place):
        for name in (*files, *(one for one in folders if (Path(base) / one).is_symlink())):
            path = Path(base) / name
            inside = str(path.relative_to(place))
            if path.is_symlink():
                yield inside, f"link to {path.readlink()}"
            else:
                yield inside, hashlib.sha256(path.read_bytes()).hexdigest()
