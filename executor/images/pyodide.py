"""
From Pyodide's npm package to the three inputs of an image: two modules and a library.

`pyodide.asm.wasm` uses the exception instructions that WebAssembly dropped, so wasm-opt
translates it to the standard's. The trampoline, by which CPython calls function pointers without
leaving WebAssembly, is a module of 493 bytes inside `pyodide.asm.mjs`, as a string of hex
digits. Input and output are pinned: wasm-opt gives the same bytes on every machine.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from executor.images import store
from executor.images.cache import Cache
from executor.images.errors import PinMismatchError
from executor.images.node import Node, install, run_script
from executor.images.pins import (
    PYTHON_WASM,
    STDLIB_ZIP,
    TRAMPOLINE_WASM,
    WASM_OPT,
    Pins,
    require_pin,
)
from executor.images.process import Tick

TRANSLATE_FLAGS = (
    "--all-features",
    # Two proposals whose encoding wasmtime does not read yet; without these flags the output
    # uses them.
    "--disable-compact-imports",
    "--disable-custom-descriptors",
    "--translate-to-exnref",
)
_TRAMPOLINE = re.compile(rb'hexStringToUTF8Array\("([0-9a-f]+)"\)')


@dataclass(frozen=True, slots=True)
class GuestInputs:
    """
    What an image is compiled from, each with the SHA-256 that the package pins.
    """

    python_wasm: bytes
    trampoline_wasm: bytes
    stdlib_zip: bytes


def from_store(cache: Cache, pins: Pins) -> GuestInputs | None:
    """
    The inputs that an earlier build kept, or None where one is missing.
    """
    wanted = (pins.made[PYTHON_WASM], pins.made[TRAMPOLINE_WASM], pins.fetched[STDLIB_ZIP])
    found = [store.take(cache, digest) for digest in wanted]
    python, trampoline, stdlib = found
    if python is None or trampoline is None or stdlib is None:
        return None
    return GuestInputs(python, trampoline, stdlib)


def fetch(node: Node, directory: Path, pins: Pins, tick: Tick) -> Path:
    """
    Install the pinned npm packages below `directory` and check every file that is used.

    Returns `node_modules`. Raises PinMismatchError, ToolFailedError.
    """
    modules = install(node, directory, tick)
    for name, digest in pins.fetched.items():
        require_pin(name, (modules / name).read_bytes(), digest)
    return modules


def translate(
    node: Node, modules: Path, directory: Path, cache: Cache, pins: Pins, tick: Tick
) -> GuestInputs:
    """
    Make the inputs from the checked packages, and keep them for the next build.

    Raises PinMismatchError where wasm-opt's output or the trampoline is not the pinned one.
    """
    target = directory / PYTHON_WASM
    source = modules / "pyodide" / "pyodide.asm.wasm"
    arguments = [*TRANSLATE_FLAGS, str(source), "-o", str(target)]
    run_script(node, modules / WASM_OPT, arguments, directory, tick)
    python = target.read_bytes()
    require_pin("wasm-opt's translation of pyodide.asm.wasm", python, pins.made[PYTHON_WASM])
    trampoline = extract_trampoline((modules / "pyodide" / "pyodide.asm.mjs").read_bytes())
    require_pin("The trampoline module", trampoline, pins.made[TRAMPOLINE_WASM])
    stdlib = (modules / STDLIB_ZIP).read_bytes()
    require_pin(STDLIB_ZIP, stdlib, pins.fetched[STDLIB_ZIP])
    for data in (python, trampoline, stdlib):
        store.keep(cache, data)
    return GuestInputs(python, trampoline, stdlib)


def extract_trampoline(script: bytes) -> bytes:
    """
    The trampoline module inside `pyodide.asm.mjs`. Raises PinMismatchError unless exactly one is.
    """
    found = _TRAMPOLINE.findall(script)
    if len(found) != 1 or len(found[0]) % 2:
        raise PinMismatchError(
            f"pyodide.asm.mjs holds {len(found)} modules in hex, and one whole one is expected; "
            "this release of Pyodide is not one that the package knows."
        )
    return bytes.fromhex(found[0].decode("ascii"))
