"""
Makes the peers' environments: `codecage bench peers`, from lock files, each package by its hash.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Final

from executor.bench.contest import Missing
from executor.bench.peers import Home
from executor.images.cache import default_cache

_LOCKS: Final = {Home.ENVIRONMENT: "bench-peers.txt", Home.NEWER: "bench-peers-312.txt"}
_NEWER: Final = ("python3.12", "python3.13", "python3.14")
_SECONDS: Final = 900.0
# Where a checkout keeps its lock files.
_ROOT: Final = Path(__file__).parents[2]


def place() -> Path:
    """
    Where the peers' environments are kept: beside this user's images.
    """
    return default_cache().root / "bench-peers"


def install(tell: Callable[[str], None], locks: Path = _ROOT / "requirements") -> int:
    """
    Make what is not there yet; gives how many of the three parts failed, each told.
    """
    failed = 0
    for home in (Home.ENVIRONMENT, Home.NEWER, Home.NODE):
        try:
            _install(home, place() / home.value, locks)
            tell(f"{home.value}: ready")
        except (Missing, OSError, subprocess.SubprocessError) as error:
            failed += 1
            tell(f"{home.value}: {error}")
    return failed


def _install(home: Home, where: Path, locks: Path) -> None:
    if (where / "ready").is_file():
        return
    shutil.rmtree(where, ignore_errors=True)
    where.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if home is Home.NODE:
        _install_node(where)
    else:
        _install_python(home, where, locks / _LOCKS[home])
    (where / "ready").touch()


def _install_python(home: Home, where: Path, lock: Path) -> None:
    if not lock.is_file():
        raise Missing(f"{lock.name} is in the source tree only; run this from a checkout")
    python = sys.executable if home is Home.ENVIRONMENT else _newer()
    _run([python, "-m", "venv", str(where)])
    install_packages(str(where / "bin" / "python"), lock)


def install_packages(python: str, lock: Path) -> None:
    """
    Install what a lock file names, by its hashes, for an interpreter. Raises Missing.
    """
    pip = [python, "-m", "pip", "install", "--quiet"]
    # A source would be built with what its author names, and that has no hash here.
    only = ("--only-binary=:all:", "--require-hashes")
    _run([*pip, "--disable-pip-version-check", *only, "--requirement", str(lock)])


def _newer() -> str:
    if sys.version_info >= (3, 12):
        return sys.executable
    pyenv = sorted(Path.home().glob(".pyenv/versions/3.1[2-9].*/bin/python"))
    found = [*map(str, pyenv), *filter(None, map(shutil.which, _NEWER))]
    if not found:
        raise Missing("pysandbox-wasi needs Python 3.12 or later, and there is none here")
    return found[0]


def _install_node(where: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise Missing("Pyodide on Node needs node and npm")
    where.mkdir(mode=0o700)
    shipped = resources.files("executor.images") / "npm" / "pyodide-3.14"
    for name in ("package.json", "package-lock.json"):
        (where / name).write_text((shipped / name).read_text())
    _run([npm, "ci", "--ignore-scripts", "--silent", "--prefix", str(where)])


def _run(command: list[str]) -> None:
    done = subprocess.run(  # noqa: S603 - our own arguments
        command, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if done.returncode:
        raise Missing(f"{Path(command[0]).name} failed: {done.stderr.strip()[-300:]}")
