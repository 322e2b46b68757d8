"""
Where and of what a run was taken: what a reader has to know before comparing it.
"""

import datetime as dt
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from executor.images import catalog

_PACKAGES: Final = ("codecage", "wasmtime", "grpcio", "protobuf")
_SHIPPED: Final = ("core", "data", "web", "python313")
_GIT_SECONDS: Final = 10.0


def facts() -> dict[str, Any]:
    """
    The machine, its load before the run, versions, the revision of this checkout, and the date.
    """
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "revision": _revision(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "load": [round(one, 2) for one in os.getloadavg()],
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "images": {name: found.key for name in _SHIPPED if (found := catalog.find(name))},
    }


def sentence(data: dict[str, Any]) -> str:
    """
    The same for people, in a line or two.
    """
    load = ", ".join(map(str, data["load"]))
    return (
        f"{data['date']}, revision {data['revision']}, {data['cores']} cores "
        f"({data['processor']}), {data['memory_mib']} MiB, Linux {data['kernel']}, "
        f"Python {data['python']}, wasmtime {data['packages']['wasmtime']}; "
        f"load before the run {load}."
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else "unknown"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _revision() -> str:
    """
    The commit of this checkout, with a plus where it was changed since; empty without git.
    """
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return "of an installed package"
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    return f"{commit}+" if _git(root, "status", "--porcelain") else commit or "unknown"


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - git, from PATH, in our own checkout
            command, capture_output=True, text=True, check=False, timeout=_GIT_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
