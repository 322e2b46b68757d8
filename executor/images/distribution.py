"""
Pyodide's own distribution as a source: names, hashes and dependencies from `pyodide-lock.json`.

The npm package carries that file, and its hash is pinned; a user may give one of their own,
extended with wheels that they built. The wheels lie at a base address that the user configures:
there is no default, because nothing is fetched from where nobody said. What comes from there is
believed no more than any other bytes: it must have the hash of the image's lock.

A download is a process of its own (`download.py`), because a server that gives a byte a minute
would otherwise hold the build, and every other that waits for its lock, for as long as it likes.
"""

import importlib.util
import json
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from executor.images.errors import LockRefusedError, SourceRefusedError, ToolFailedError
from executor.images.guests import GuestKind
from executor.images.lock import LockedPackage, normalise
from executor.images.outcome import taken
from executor.images.pins import sha256
from executor.images.process import (
    Access,
    Tick,
    ToolLimits,
    network_environment,
    python_path,
    run,
)
from executor.images.releases import Release, Wanted
from executor.images.unpack import MAX_BYTES
from executor.linux.confine import Network

BASE_VARIABLE: Final = "CODECAGE_PYODIDE_BASE"
_LARGEST_LOCK: Final = 16 * 2**20
# Of one wheel: a total time, and no more on the disk than a wheel may have.
_LIMITS: Final = ToolLimits(file=MAX_BYTES + 2**20, wall_seconds=600)
# One plain name: the base address says where, and no entry of a lock may say otherwise.
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,254}")
_HEX: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One package of the distribution; `depends` and `name` are normalised.
    """

    name: str
    version: str
    file_name: str
    sha256: str
    depends: tuple[str, ...]
    imports: tuple[str, ...]


def configured_base(option: str | None) -> str | None:
    """
    The base address: the option's, else $CODECAGE_PYODIDE_BASE, else None.

    Raises SourceRefusedError for one that is not http or https with a host, or that holds a
    user's name or password, which would stand in messages and in the list of processes.
    """
    base = option or os.environ.get(BASE_VARIABLE, "")
    if not base:
        return None
    try:
        parts = urlsplit(base)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        parts, usable = urlsplit(""), False
    # What cannot be read may hold one as well; then too it is not repeated.
    if "@" in (parts.netloc if usable else base):
        raise SourceRefusedError(
            "The base address cannot be used: it holds a user or a password (what stands before "
            "@), and it may name no secret. Serve the wheels without one, or download them and "
            "name their directory in `sources`."
        )
    if not usable or parts.query or parts.fragment:
        raise SourceRefusedError(
            f"The base address {base!r} cannot be used: it must be http or https, with a host and "
            "without ? or #, and name the directory that holds the wheels."
        )
    return base if base.endswith("/") else f"{base}/"


def read_entries(text: bytes, kind: GuestKind, file: str) -> dict[str, Entry]:
    """
    The wheels that a `pyodide-lock.json` names, by normalised name.

    Shared libraries and unvendored tests, which are no wheels, are left out. `file` is the name
    in messages. Raises SourceRefusedError for another form, or another binary interface.
    """
    try:
        data = json.loads(text)
        abi = data["info"]["abi_version"]
        wanted = kind.platforms[0].removeprefix("pyemscripten_").removesuffix("_wasm32")
        if abi != wanted:
            raise SourceRefusedError(
                f"{file} is of the binary interface {abi!r}, and {kind.name} needs {wanted!r}. "
                "Take the file of the Pyodide release that the guest is."
            )
        entries = [_entry(value) for value in data["packages"].values()]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, LockRefusedError) as error:
        raise SourceRefusedError(
            f"{file} is not a pyodide-lock.json that can be read ({error}). Write it with "
            "pyodide-lock, or take the one of a Pyodide release."
        ) from error
    return {entry.name: entry for entry in entries if entry.file_name.endswith(".whl")}


def _entry(value: dict[str, Any]) -> Entry:
    file_name, digest, version = value["file_name"], value["sha256"], value["version"]
    if not _FILE_NAME.fullmatch(file_name):
        raise ValueError(f"the file name {file_name!r} is not a plain one")
    if not _HEX.fullmatch(digest):
        raise ValueError(f"{file_name} has no SHA-256")
    return Entry(
        name=normalise(value["name"]),
        version=str(version),
        file_name=file_name,
        sha256=digest,
        depends=tuple(normalise(name) for name in value["depends"]),
        imports=tuple(str(name) for name in value["imports"]),
    )


def read_lock_file(path: Path) -> bytes:
    """
    A `pyodide-lock.json` of the user's own, checked by pyodide-lock too where it is installed.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_LOCK + 1)
    except OSError as error:
        raise SourceRefusedError(f"{path} cannot be read: {error.strerror}.") from error
    if len(text) > _LARGEST_LOCK:
        raise SourceRefusedError(f"{path} has more than the {_LARGEST_LOCK} bytes allowed.")
    return text


def check_with_pyodide_lock(text: bytes, file: str) -> bool:
    """
    Have the library pyodide-lock read the file and compare its file names with its versions.

    False where the library is not installed (it is part of the extra `build`). Raises
    SourceRefusedError where it finds something wrong.
    """
    if importlib.util.find_spec("pyodide_lock") is None:
        return False
    library: Any = importlib.import_module("pyodide_lock")
    try:
        library.PyodideLockSpec.from_dict(json.loads(text)).check_wheel_filenames()
    except (ValueError, TypeError, KeyError) as error:
        raise SourceRefusedError(f"pyodide-lock refuses {file}: {error}") from error
    return True


class Distribution:
    """
    A distribution that was read, with the address of its wheels (None: not configured), and
    what the download of one wheel may use.
    """

    def __init__(
        self, entries: dict[str, Entry], base: str | None, limits: ToolLimits = _LIMITS
    ) -> None:
        self._entries = entries
        self._base = base
        self._limits = limits

    def find(self, wanted: Wanted, tick: Tick) -> Release | None:
        """
        The one version that the distribution has, where it fits.
        """
        tick()
        entry = self._entries.get(wanted.name)
        if entry is None or not wanted.versions.contains(entry.version, prereleases=True):
            return None
        return Release(entry.name, entry.version, entry.sha256, entry.depends)

    def has(self, package: LockedPackage) -> bool:
        """
        Whether a locked wheel is of this distribution.
        """
        entry = self._entries.get(package.name)
        return entry is not None and entry.sha256 in package.hashes

    def imports(self, package: LockedPackage) -> tuple[str, ...]:
        """
        The modules that a locked package brings, as the distribution says.
        """
        return self._entries[package.name].imports if self.has(package) else ()

    def take(self, package: LockedPackage, tick: Tick) -> bytes | None:
        """
        Fetch a locked wheel. Raises SourceRefusedError where no address is configured.
        """
        if not self.has(package):
            return None
        entry = self._entries[package.name]
        if self._base is None:
            raise SourceRefusedError(
                f"{entry.file_name} is of Pyodide's distribution, and no address of it is "
                f"configured. Set {BASE_VARIABLE}, or give --pyodide-base: the directory of the "
                "release that holds its wheels. Or put the wheels into a directory and name it "
                "in `sources`."
            )
        data = _download(self._base + quote(entry.file_name), self._limits, tick)
        if sha256(data) != entry.sha256:
            raise SourceRefusedError(
                f"{entry.file_name} came with SHA-256 {sha256(data)}, and {entry.sha256} was asked "
                "for. Nothing was kept; the address may be that of another release."
            )
        return data


def _download(address: str, limits: ToolLimits, tick: Tick) -> bytes:
    with tempfile.TemporaryDirectory(prefix="codecage-") as made:
        room = Path(made)
        target = room / "wheel"
        command = (sys.executable, "-P", "-m", "executor.images.download", address, str(target))
        environment = network_environment(room) | {"PYTHONPATH": python_path()}
        try:
            run(
                command,
                directory=room,
                environment=environment,
                limits=limits,
                tick=tick,
                access=Access(Network.OUTWARD),
            )
            return taken(target, MAX_BYTES)
        except ToolFailedError as error:
            raise SourceRefusedError(
                f"{address} could not be fetched: {str(error).splitlines()[-1]} "
                "Check the base address and the network."
            ) from error
