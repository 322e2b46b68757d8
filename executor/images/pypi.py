"""
PyPI, or whichever index the user's pip is configured for, as a source: by pip itself.

pip chooses one wheel of one project at a time and never looks at dependencies: it would judge
their markers by the host's Python. It downloads only by hash.
"""

import ensurepip
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any, Final

from executor.images.errors import SourceRefusedError, ToolFailedError, ToolMissingError
from executor.images.guests import GuestKind
from executor.images.lock import LockedPackage, normalise
from executor.images.process import Access, Tick, ToolLimits, network_environment, run
from executor.images.releases import Release, Wanted
from executor.linux.confine import Network

_QUIET: Final = (
    "--no-deps",
    "--only-binary=:all:",
    "--no-input",
    "--no-cache-dir",
    "--progress-bar=off",
    "--disable-pip-version-check",
)
# pip says one of these where an index has nothing that fits, which is an answer, not a failure.
_NOTHING: Final = ("No matching distribution found", "Could not find a version that satisfies")


class PyPI:
    """
    The configured index for one kind of guest; `room` is an empty directory to work in.
    """

    def __init__(self, kind: GuestKind, room: Path) -> None:
        self._kind = kind
        self._room = room

    def find(self, wanted: Wanted, tick: Tick) -> Release | None:
        """
        The newest release with a wheel for the guest that fits, or None.

        Raises ToolFailedError where the index cannot be asked.
        """
        report = self._room / "report.json"
        command = (
            *pip(),
            "install",
            "--dry-run",
            "--ignore-installed",
            "--quiet",
            f"--target={self._room / 'target'}",
            f"--report={report}",
            *tag_options(self._kind),
            *_QUIET,
            f"{wanted.name}{wanted.versions}",
        )
        try:
            _run(command, self._room, tick)
        except ToolFailedError as error:
            if any(text in str(error) for text in _NOTHING):
                return None
            raise
        return _release(report.read_bytes(), wanted.name)

    def download(self, packages: tuple[LockedPackage, ...], tick: Tick) -> Path:
        """
        Fetch locked wheels into a directory, which is returned; pip checks each hash.
        """
        requirements = self._room / "requirements.txt"
        lines = "\n".join(package.requirement() for package in packages)
        requirements.write_text(lines + "\n", encoding="ascii")
        target = self._room / "wheels"
        target.mkdir(mode=0o700)
        command = (
            *pip(),
            "download",
            "--require-hashes",
            *tag_options(self._kind),
            *_QUIET,
            f"--dest={target}",
            f"--requirement={requirements}",
        )
        _run(command, self._room, tick)
        return target


def _run(command: tuple[str, ...], room: Path, tick: Tick) -> None:
    scratch = room / "tmp"
    scratch.mkdir(mode=0o700, exist_ok=True)
    environment = network_environment(scratch)
    run(
        command,
        directory=room,
        environment=environment,
        limits=ToolLimits(),
        tick=tick,
        access=Access(Network.OUTWARD),
    )


def tag_options(kind: GuestKind) -> tuple[str, ...]:
    """
    The options of pip for the guest's wheel tags, best first.
    """
    options = [f"--python-version={kind.layout.python}"]
    if not kind.platforms:
        return (*options, "--implementation=py", "--abi=none", "--platform=any")
    options += ["--implementation=cp"]
    options += [f"--abi={abi}" for abi in (kind.abi, "abi3", "none")]
    options += [f"--platform={platform}" for platform in kind.platforms]
    return tuple(options)


def pip() -> tuple[str, ...]:
    """
    The command that starts pip. Raises ToolMissingError where there is none.
    """
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


def _release(report: bytes, name: str) -> Release:
    try:
        (found,) = json.loads(report)["install"]
        metadata: dict[str, Any] = found["metadata"]
        release = Release(
            name=normalise(metadata["name"]),
            version=str(metadata["version"]),
            sha256=str(found["download_info"]["archive_info"]["hashes"]["sha256"]),
            requires=tuple(str(line) for line in metadata.get("requires_dist", ())),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise SourceRefusedError(
            f"pip's report about {name} is not of the known form ({error}). Use pip 23 or newer."
        ) from error
    if release.name != name:
        raise SourceRefusedError(f"pip was asked for {name} and answered {release.name}.")
    return release
