"""
What `codecage doctor` asks of images: each check says what was found and how to mend it.
"""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from executor.images import catalog
from executor.images.cache import Cache, default_cache, prepare
from executor.images.errors import ImageError
from executor.images.host import platform_problem
from executor.images.identity import PLAIN_NAME
from executor.images.node import find_node
from executor.images.pins import installed_wasmtime, wanted_wasmtime
from executor.images.report import size_text
from executor.wasm.engine import core_version

# A build with everything fetched anew has about 230 MB on disk at its largest.
NEEDED_BYTES = 500 * 10**6


class Status(Enum):
    """
    How a check ended: `WARN` does not keep the server from running.
    """

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """
    One line of the doctor's: what was looked at, how it is, what was found, what to do.
    """

    name: str
    status: Status
    found: str
    mend: str = ""


def checks(cache: Cache | None = None) -> list[Check]:
    """
    Check everything that images need on this machine; nothing is built or repaired.

    The cache directory is made where there is none, which shows that it can be written.
    """
    try:
        where = cache or default_cache()
        prepare(where)
    except ImageError as error:
        return [_platform(), _wasmtime(), Check("image cache", Status.FAIL, str(error))]
    built = _built(where)
    return [
        _platform(),
        _wasmtime(),
        Check("image cache", Status.OK, str(where.root)),
        _space(where.root),
        built,
        _node(needed=built.status is not Status.OK),
    ]


def _platform() -> Check:
    problem = platform_problem()
    if problem is None:
        return Check("platform", Status.OK, "Linux x86_64 with glibc")
    return Check("platform", Status.FAIL, problem, "Run the server on Linux x86_64 with glibc.")


def _wasmtime() -> Check:
    wanted, found = wanted_wasmtime(), installed_wasmtime()
    mend = f"pip install 'wasmtime=={wanted}'"
    if found != wanted:
        return Check("wasmtime", Status.FAIL, f"{found} installed, {wanted} pinned", mend)
    # The engine inside the wheel is what runs; the wheel's number is only what it says.
    core = core_version()
    if core == "unknown":
        return Check("wasmtime", Status.WARN, f"{found}, engine of unknown release", mend)
    return Check("wasmtime", Status.OK, f"{found}, engine {core}")


def _space(root: Path) -> Check:
    free = shutil.disk_usage(root).free
    if free >= NEEDED_BYTES:
        return Check("disk space", Status.OK, f"{size_text(free)} free")
    return Check(
        "disk space",
        Status.WARN,
        f"{size_text(free)} free at {root}, a build may need {size_text(NEEDED_BYTES)}",
        "Free some, or set CODECAGE_CACHE to a directory on another disk.",
    )


def _built(cache: Cache) -> Check:
    def look() -> Check:
        image = catalog.find(PLAIN_NAME, cache)
        if image is None:
            return Check(
                "image", Status.FAIL, f"no {PLAIN_NAME!r} for this machine", "codecage image build"
            )
        catalog.verify(image)
        return Check("image", Status.OK, f"{image.path.name}, {size_text(image.manifest.size)}")

    return _caught("image", look, Status.FAIL, "codecage image build")


def _node(*, needed: bool) -> Check:
    def look() -> Check:
        with tempfile.TemporaryDirectory() as scratch:
            node = find_node(Path(scratch))
        versions = f"{node.origin} node {node.node_version}, npm {node.npm_version}"
        return Check("node", Status.OK, versions)

    # Only builds use it; where the image is there its absence is worth a warning.
    status = Status.FAIL if needed else Status.WARN
    return _caught("node", look, status, "Install Node.js, or: pip install 'codecage[server]'")


def _caught(name: str, look: Callable[[], Check], status: Status, mend: str) -> Check:
    try:
        return look()
    except (ImageError, OSError) as error:
        return Check(name, status, str(error), mend)
