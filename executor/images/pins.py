"""
What the package pins: versions and SHA-256 of everything fetched or made on the way to an image.

The files lie beside this module: `package.json` and `package-lock.json` (npm's own, with
integrity hashes and without addresses, so that the user's registry is used), and `pins.json`
for what npm cannot pin: single files, and the output of our own steps. They change together,
in one reviewed commit.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

from executor.images.errors import PinMismatchError

HERE = Path(__file__).parent
PYTHON_WASM = "python.wasm"
TRAMPOLINE_WASM = "trampoline.wasm"
STDLIB_ZIP = "pyodide/python_stdlib.zip"
WASM_OPT = "binaryen/bin/wasm-opt"


@dataclass(frozen=True, slots=True)
class Pins:
    """
    The pinned versions by project, and SHA-256 (hex) by file name.

    `fetched` names files below `node_modules`; `made` names what our steps make of them;
    `digest` is the SHA-256 of the two pin files together.
    """

    versions: MappingProxyType[str, str]
    fetched: MappingProxyType[str, str]
    made: MappingProxyType[str, str]
    digest: str


@cache
def load_pins() -> Pins:
    """
    Read the pins that the package ships.
    """
    text = (HERE / "pins.json").read_bytes()
    lock = (HERE / "package-lock.json").read_bytes()
    data = json.loads(text)
    return Pins(
        versions=MappingProxyType(data["versions"]),
        fetched=MappingProxyType(data["fetched"]),
        made=MappingProxyType(data["made"]),
        digest=hashlib.sha256(sha256(text).encode() + sha256(lock).encode()).hexdigest(),
    )


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


def installed_wasmtime() -> str:
    """
    The version of the wasmtime wheel that is installed, or "none".
    """
    try:
        return metadata.version("wasmtime")
    except metadata.PackageNotFoundError:
        return "none"


def require_wasmtime() -> None:
    """
    Raise PinMismatchError unless the installed wasmtime is the pinned one.
    """
    found, wanted = installed_wasmtime(), load_pins().versions["wasmtime"]
    if found != wanted:
        raise PinMismatchError(
            f"wasmtime {found} is installed, the package pins {wanted}: compiled images are "
            f"bound to it. Install it: pip install 'wasmtime=={wanted}'."
        )
