"""
Run as a module: compile an image's Python to bytecode, on the guest's own Python.

    python -m executor.images.bytecode GUEST PYTHON TRAMPOLINE CLOSURES STDLIB SITE_PACKAGES TARGET

The standard library comes as source. Compiling what a zygote imports at every start would cost
half a second, and a package's first import seconds, so it is done once, here: the guest is
booted from the draft image and compiles each file, and the result goes to where the source is,
which tracebacks need. The bytecode is marked as unchecked and hash-based (PEP 552): the image is
read-only, and no time stamp enters it.

The draft is only read. TARGET, a directory, gets the library's new zip and the packages' bytecode
in one file (`pyc.py`); the build puts them into their places.
"""

import base64
import sys
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Final

from executor.images import pyc
from executor.images.manifest import RUNTIME, STDLIB
from executor.wasm.boot import boot
from executor.wasm.booted import Guest
from executor.wasm.parts import Parts
from executor.wasm.program import FILE, SOURCES, source_digest

# Runs in the guest; `files` are (path as the guest sees it, source), `shown` is what tracebacks
# call them, where that is not the path. What does not compile is left out: packages ship tests of
# syntax errors. All is compiled twice, and `first` kept meanwhile: a name that nobody has interned
# yet is interned where it is first met, also as a constant, and marshal writes that down. With
# `first` there, every name is interned already, whatever else the guest has run before.
_PROGRAM: Final = """
def compile_all(files, shown):
    import _imp, base64, importlib.util, marshal
    made = {}
    for path, text in files:
        source = base64.b64decode(text)
        try:
            first = compile(source, shown or path, "exec", dont_inherit=True, optimize=0)
            code = compile(source, shown or path, "exec", dont_inherit=True, optimize=0)
        except (SyntaxError, ValueError):
            continue
        head = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little")
        head += importlib.util.source_hash(source)
        made[path] = head + marshal.dumps(code)
    out = bytearray()
    for path, data in made.items():
        name = path.encode()
        out += len(name).to_bytes(4, "little") + name + len(data).to_bytes(4, "little") + data
    with open("/tmp/bytecode", "wb") as target:
        target.write(out)
"""
_BATCH: Final = 50
# What a .pyc has before its marshalled code (PEP 552).
_HEAD: Final = 16
# The time stamp of every entry of the zip: a zip's epoch.
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def main(arguments: list[str]) -> int:
    """
    Compile the library and the packages. Returns 0.
    """
    name, python, trampoline, closures, stdlib, packages, target = arguments
    library = Path(stdlib).read_bytes()
    guest = boot(
        Parts(
            guest=name,
            python=python,
            trampoline=trampoline,
            closures=closures,
            stdlib=library,
            site_packages={},
        )
    )
    # First: no package's text has been before the guest yet.
    Path(target, RUNTIME).write_bytes(pyc.pack(_runtime(guest)))
    sources = _members(library)
    seen = guest.layout.stdlib
    compiled = _compile(guest, {f"{seen}/{name}": data for name, data in sources.items()})
    code = {path.removeprefix(f"{seen}/"): data for path, data in compiled.items()}
    _write_library(Path(target) / STDLIB, sources, code)
    Path(target, pyc.PACKED).write_bytes(pyc.pack(_packages(guest, Path(packages))))
    return 0


def _members(library: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(BytesIO(library)) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def _runtime(guest: Guest) -> dict[str, bytes]:
    """
    The marshalled code of the guest's half of the cells, by the digest of each source.
    """
    sources = {f"{source_digest(text)}.py": text.encode() for text in SOURCES.values()}
    compiled = _compile(guest, sources, FILE)
    return {name.removesuffix(".py"): code[_HEAD:] for name, code in compiled.items()}


def _compile(guest: Guest, sources: Mapping[str, bytes], shown: str = "") -> dict[str, bytes]:
    """
    The bytecode of every source that compiles, by the guest's path of the source.

    The guest's answer is a guest's: packages are compiled by the same interpreter before it.
    Raises ValueError where it is malformed or of a path that it was not asked about.
    """
    _cell(guest, _PROGRAM)
    wanted = [(path, data) for path, data in sorted(sources.items()) if path.endswith(".py")]
    compiled: dict[str, bytes] = {}
    for start in range(0, len(wanted), _BATCH):
        batch = [
            (path, base64.b64encode(data).decode()) for path, data in wanted[start : start + _BATCH]
        ]
        _cell(guest, f"compile_all({batch!r}, {shown!r})")
        made = pyc.unpack(guest.read_file("/tmp/bytecode"))  # noqa: S108 - the guest's own
        strange = made.keys() - dict(batch).keys()
        if strange:
            raise ValueError(f"the guest answered about {min(strange)!r}, which it was not asked")
        compiled |= made
    return compiled


def _cell(guest: Guest, code: str) -> None:
    answer = guest.call({"op": "cell", "cell": 1, "code": code})
    if answer.get("status") != "ok":
        raise RuntimeError(f"the guest could not compile: {answer.get('traceback', answer)}")


def _write_library(path: Path, sources: Mapping[str, bytes], compiled: Mapping[str, bytes]) -> None:
    """
    The zip anew: sources as they were, bytecode stored without compression, which reads faster.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in sources.items():
            _add(archive, name, data, zipfile.ZIP_DEFLATED)
            code = compiled.get(name)
            if code is not None:
                _add(archive, f"{name}c", code, zipfile.ZIP_STORED)


def _add(archive: zipfile.ZipFile, name: str, data: bytes, method: int) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = method
    archive.writestr(entry, data)


def _packages(guest: Guest, root: Path) -> dict[str, bytes]:
    """
    The bytecode of the packages, by the source's path below `root`.
    """
    seen = guest.layout.site_packages
    sources = {f"{seen}/{path.relative_to(root)}": path.read_bytes() for path in root.rglob("*.py")}
    compiled = _compile(guest, sources)
    return {name.removeprefix(f"{seen}/"): code for name, code in compiled.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
