"""
Building native images: wheels by their hashes, unpacked by pip; nothing of them runs with network.

pip gets the lock alone, and no say in what else is needed: it does not look at dependencies, takes
no source distribution (whose build would run a stranger's program), and refuses what the lock
has no hash of. It runs confined as every tool of a build.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from executor.images.cache import Cache, default_cache, exclusive, prepare, remove, write_new
from executor.images.errors import ImageRefusedError
from executor.images.process import (
    Access,
    ToolLimits,
    network_environment,
    plain_environment,
    run,
)
from executor.images.pypi import pip
from executor.linux import programs
from executor.linux.confine import Network
from executor.process.images import (
    FONTS,
    SITE,
    Declared,
    declared_as,
    has_fonts,
    hashes,
    image_of,
    listing,
    packages,
    places,
    verify,
)
from executor.process.native_image import NativeImage

Tick = Callable[[], None]


def build(name: str, tick: Tick, cache: Cache | None = None) -> NativeImage:
    """
    The image called `name`, built where it is not there or not sound; `tick` is called meanwhile.

    Raises ImageRefusedError, LockRefusedError, ToolFailedError with what pip said.
    """
    declared, cache = declared_as(name), cache or default_cache()
    image = image_of(declared, cache)
    for place in places(image):
        prepare(cache)
        with exclusive(cache, lambda: None):
            if not _is_sound(image, place):
                _make(declared, place, cache, tick)
    verify(image)
    return image


def _is_sound(image: NativeImage, place: Path) -> bool:
    try:
        verify(image)
    except ImageRefusedError:
        listing(place).unlink(missing_ok=True)
        if place.exists():
            remove(place)
        return False
    return True


def _make(declared: Declared, place: Path, cache: Cache, tick: Tick) -> None:
    """
    Build beside, then rename; the list comes last, and with it the image is there.
    """
    draft = cache.staging / place.name
    if draft.exists():
        remove(draft)
    image, scratch = draft / "image", draft / "tmp"
    for folder in (draft, image, scratch):
        folder.mkdir(mode=0o700)
    _install(declared, draft, image / SITE, tick)
    if has_fonts(declared):
        _find_fonts(draft, image, tick)
    _let_be_read(image)
    place.parent.mkdir(mode=0o700, exist_ok=True)
    image.rename(place)
    files = json.dumps({"files": dict(hashes(place))}, indent=1, sort_keys=True)
    write_new(listing(place), files.encode())
    remove(draft)


def _install(declared: Declared, draft: Path, site: Path, tick: Tick) -> None:
    requirements = draft / "requirements.txt"
    lines = "\n".join(package.requirement() for package in packages(declared))
    requirements.write_text(lines + "\n", encoding="ascii")
    site.mkdir()
    command = (
        *pip(),
        "install",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
        "--no-input",
        "--no-cache-dir",
        "--progress-bar=off",
        "--disable-pip-version-check",
        "--root-user-action=ignore",
        f"--target={site}",
        f"--requirement={requirements}",
    )
    run(
        command,
        directory=draft,
        environment=network_environment(draft / "tmp"),
        limits=ToolLimits(),
        tick=tick,
        access=Access(Network.OUTWARD),
    )


def _find_fonts(draft: Path, image: Path, tick: Tick) -> None:
    """
    Have matplotlib make its list of fonts now, or every zygote would.
    """
    code = f"import sys; sys.path.append({str(image / SITE)!r}); import matplotlib.font_manager"
    (image / FONTS).mkdir()
    run(
        (sys.executable, "-I", "-B", "-c", code),
        directory=draft,
        environment=plain_environment(draft / "tmp") | {"MPLCONFIGDIR": str(image / FONTS)},
        limits=ToolLimits(),
        tick=tick,
        access=Access(
            Network.NONE,
            reads=programs.python_files(()),
            lists=programs.python_directories(()),
        ),
    )


def _let_be_read(image: Path) -> None:
    """
    Boxes run as users of their own: all may read below the image, whose folder only we may enter.
    """
    image.chmod(0o755)
    for path in image.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
