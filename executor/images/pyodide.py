"""
From Pyodide's npm package to the inputs of an image: two modules, a library, a list of wheels.

`pyodide.asm.wasm` uses the exception instructions that WebAssembly dropped, so wasm-opt
translates it to the standard's. The trampoline, by which CPython finds out how to call function
pointers without leaving WebAssembly, is a small module inside the script: as a string of hex
digits in releases for Python 3.14, as a list of numbers in those for 3.13. Input and output are
pinned: wasm-opt gives the same bytes on every machine.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from executor.images import store
from executor.images.cache import Cache, write_new
from executor.images.errors import PinMismatchError
from executor.images.guests import GuestKind
from executor.images.node import Node, find_node, install, run_script
from executor.images.pins import (
    PYODIDE_LOCK,
    PYODIDE_WASM,
    PYTHON_WASM,
    STDLIB_ZIP,
    TRAMPOLINE_WASM,
    WASM_OPT,
    Pins,
    load_pins,
    npm_lock,
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
# Fetched files that later builds need; the others are only translated.
_KEPT = (STDLIB_ZIP, PYODIDE_LOCK, WASM_OPT)
_HEX_MODULE = re.compile(rb'hexStringToUTF8Array\("([0-9a-f]+)"\)')
_LISTED_MODULE = re.compile(rb"const code=new Uint8Array\(\[([0-9,]+)\]\)")


@dataclass(frozen=True, slots=True)
class GuestInputs:
    """
    What an image is compiled from, each with the SHA-256 that the package pins.
    """

    python_wasm: bytes
    trampoline_wasm: bytes
    stdlib_zip: bytes


@dataclass(frozen=True, slots=True)
class Translator:
    """
    wasm-opt, checked, with the node that runs it.
    """

    node: Node
    script: Path

    def translate(self, source: Path, target: Path, tick: Tick) -> None:
        """
        Write the module `source` with today's exception instructions to `target`.

        wasm-opt works in the directory of `target`, under limits. Raises ToolFailedError.
        """
        arguments = [*TRANSLATE_FLAGS, str(source), "-o", str(target)]
        run_script(self.node, self.script, arguments, target.parent, tick, (source,))


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


def fetch(
    node: Node, kind: GuestKind, directory: Path, pins: Pins, cache: Cache, tick: Tick
) -> Path:
    """
    Install the pinned npm packages below `directory` and check every file that is used.

    Returns `node_modules`, and keeps what later builds need. Raises PinMismatchError,
    ToolFailedError.
    """
    modules = install(node, npm_lock(kind.name), directory, tick)
    for name, digest in pins.fetched.items():
        require_pin(name, (modules / name).read_bytes(), digest)
    for name in _KEPT:
        store.keep(cache, (modules / name).read_bytes())
    return modules


def translator(kind: GuestKind, cache: Cache, room: Path, tick: Tick) -> Translator:
    """
    wasm-opt from the store, or else from npm; `room` is an empty directory to keep it in.

    Raises ToolMissingError, ToolFailedError, PinMismatchError.
    """
    script = room / "wasm-opt.cjs"
    write_new(script, kept(kind, WASM_OPT, cache, room, tick))
    return Translator(find_node(room), script)


def kept(kind: GuestKind, name: str, cache: Cache, room: Path, tick: Tick) -> bytes:
    """
    One of the fetched files that the store keeps; npm is asked where it does not have it.
    """
    pins = load_pins(kind.name)
    found = store.take(cache, pins.fetched[name])
    if found is not None:
        return found
    directory = room / "npm"
    directory.mkdir(mode=0o700)
    node = find_node(directory)
    return (fetch(node, kind, directory, pins, cache, tick) / name).read_bytes()


def translate(
    node: Node,
    kind: GuestKind,
    modules: Path,
    directory: Path,
    cache: Cache,
    pins: Pins,
    tick: Tick,
) -> GuestInputs:
    """
    Make the inputs from the checked packages, and keep them for the next build.

    Raises PinMismatchError where wasm-opt's output or the trampoline is not the pinned one.
    """
    target = directory / PYTHON_WASM
    Translator(node, modules / WASM_OPT).translate(modules / PYODIDE_WASM, target, tick)
    python = target.read_bytes()
    require_pin(f"wasm-opt's translation of {PYODIDE_WASM}", python, pins.made[PYTHON_WASM])
    trampoline = extract_trampoline((modules / kind.script).read_bytes())
    require_pin("The trampoline module", trampoline, pins.made[TRAMPOLINE_WASM])
    stdlib = (modules / STDLIB_ZIP).read_bytes()
    require_pin(STDLIB_ZIP, stdlib, pins.fetched[STDLIB_ZIP])
    for data in (python, trampoline, stdlib):
        store.keep(cache, data)
    return GuestInputs(python, trampoline, stdlib)


def extract_trampoline(script: bytes) -> bytes:
    """
    The trampoline module inside Pyodide's script. Raises PinMismatchError unless exactly one is.
    """
    hexadecimal, listed = _HEX_MODULE.findall(script), _LISTED_MODULE.findall(script)
    try:
        modules = [bytes.fromhex(text.decode("ascii")) for text in hexadecimal]
        modules += [bytes(int(number) for number in text.split(b",")) for text in listed]
    except ValueError:
        modules = []
    if len(modules) != 1:
        raise PinMismatchError(
            f"Pyodide's script holds {len(modules)} modules as text, and one whole one is "
            "expected; this release of Pyodide is not one that the package knows."
        )
    return modules[0]
