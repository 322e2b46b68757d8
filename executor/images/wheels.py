"""
From names of packages to a site-packages directory: select by lock, fetch by hash, unpack.
"""

import ensurepip
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

from executor.images import store
from executor.images.cache import Cache, write_new
from executor.images.errors import ToolMissingError, WheelRefusedError
from executor.images.lock import Lock, LockedPackage, read_lock
from executor.images.manifest import Package
from executor.images.pins import sha256
from executor.images.process import Tick, ToolLimits, network_environment, run
from executor.images.unpack import WheelContent, clash, read_wheel

# In every image: without it the guest's zoneinfo knows no time zones.
ALWAYS = ("tzdata",)


@dataclass(frozen=True, slots=True)
class Wheel:
    """
    A wheel that was fetched, with the lock entry that allows it and its SHA-256 (hex).
    """

    package: LockedPackage
    sha256: str
    content: WheelContent

    def described(self) -> Package:
        """
        What the image's manifest says about it.
        """
        return Package(self.package.name, self.package.version, self.sha256)


def gather(
    cache: Cache, directory: Path, chosen: tuple[LockedPackage, ...], tick: Tick
) -> tuple[Wheel, ...]:
    """
    Get the wheels of `chosen`, from the store or else by pip, each checked whole.

    `directory` is an empty one to work in. Raises ToolFailedError, ToolMissingError and
    WheelRefusedError; the latter also where a wheel needs a package that was not chosen.
    """
    stored = {package.name: _stored(cache, package) for package in chosen}
    absent = tuple(package for package in chosen if stored[package.name] is None)
    fetched = _download(directory, absent, tick) if absent else {}
    wheels = []
    for package in chosen:
        data = stored[package.name] or fetched[package.name]
        content = read_wheel(data, package)
        wheels.append(Wheel(package, store.keep(cache, data), content))
    _check_needs(wheels)
    _check_overlap(wheels)
    return tuple(wheels)


def _stored(cache: Cache, package: LockedPackage) -> bytes | None:
    for digest in sorted(package.hashes):
        data = store.take(cache, digest)
        if data is not None:
            return data
    return None


def _download(directory: Path, packages: tuple[LockedPackage, ...], tick: Tick) -> dict[str, bytes]:
    """
    Fetch by pip, from the indexes that the user has configured; every file by its hash.
    """
    requirements = directory / "requirements.txt"
    lines = "\n".join(package.requirement() for package in packages)
    requirements.write_text(lines + "\n", encoding="ascii")
    target, scratch = directory / "wheels", directory / "tmp"
    for made in (target, scratch):
        made.mkdir(mode=0o700)
    command = (
        *_pip(),
        "download",
        "--require-hashes",
        "--no-deps",
        "--only-binary=:all:",
        "--platform=any",
        "--python-version=3.14",
        "--implementation=py",
        "--abi=none",
        "--no-input",
        "--no-cache-dir",
        "--progress-bar=off",
        "--disable-pip-version-check",
        f"--dest={target}",
        f"--requirement={requirements}",
    )
    environment = network_environment(scratch)
    run(command, directory=directory, environment=environment, limits=ToolLimits(), tick=tick)
    return {package.name: _downloaded(target, package) for package in packages}


def _pip() -> tuple[str, ...]:
    # Environments made by other tools than venv often have no pip; Python then still carries
    # one as a wheel, which can be run from where it is.
    if importlib.util.find_spec("pip") is not None:
        return (sys.executable, "-P", "-m", "pip")
    for wheel in sorted((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")):
        return (sys.executable, str(wheel / "pip"))
    raise ToolMissingError(
        f"Fetching wheels needs pip, and {sys.executable} has none. "
        "Install it: python -m ensurepip, or: uv pip install pip."
    )


def _downloaded(target: Path, package: LockedPackage) -> bytes:
    # By content: file names spell a project in more than one way.
    for path in sorted(target.iterdir()):
        if path.suffix == ".whl" and not path.is_symlink():
            data = path.read_bytes()
            if sha256(data) in package.hashes:
                return data
    found = ", ".join(sorted(path.name for path in target.iterdir())) or "nothing"
    raise WheelRefusedError(
        f"A wheel of {package.name} {package.version} with a hash of the lock was asked for, and "
        f"{found} was fetched. Only built wheels are installed; a source archive would run its "
        "own code."
    )


def _check_needs(wheels: list[Wheel]) -> None:
    chosen = {wheel.package.name for wheel in wheels}
    for wheel in wheels:
        missing = sorted(wheel.content.requires - chosen)
        if missing:
            raise WheelRefusedError(
                f"{wheel.package.name} {wheel.package.version} needs {', '.join(missing)}, which "
                "the lock does not tie to it. Lock them together (pip-compile --generate-hashes "
                "writes '# via' lines), or name them too: --with."
            )


def _check_overlap(wheels: list[Wheel]) -> None:
    problem = clash(name for wheel in wheels for name, _ in wheel.content.files)
    if problem is not None:
        names = ", ".join(wheel.package.name for wheel in wheels)
        raise WheelRefusedError(
            f"The wheels of {names} do not fit into one image: {problem}. One would replace the "
            "other's code; use them apart."
        )


def install(wheels: tuple[Wheel, ...], site_packages: Path) -> None:
    """
    Write the checked files below `site_packages`, which must not exist yet.
    """
    site_packages.mkdir(mode=0o755)
    for wheel in wheels:
        for name, content in wheel.content.files:
            path = site_packages / name
            _make_directory(path.parent)
            write_new(path, content)


def _make_directory(path: Path) -> None:
    # Not mkdir's `parents`: it gives those the umask's mode, which may let a group write.
    if not path.exists():
        _make_directory(path.parent)
        path.mkdir(mode=0o755)


def select(lock: Lock, names: tuple[str, ...]) -> tuple[LockedPackage, ...]:
    """
    The packages of an image: what every image has, what was asked for, and what they need.

    What every image has comes from `lock` where it is there, else from the shipped one. Raises
    LockRefusedError.
    """
    own = {package.name for package in lock.packages}
    base = read_lock().select(name for name in ALWAYS if name not in own)
    chosen = lock.select((*(name for name in ALWAYS if name in own), *names))
    return tuple(sorted((*base, *chosen), key=lambda package: package.name))
