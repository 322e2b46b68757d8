"""
Run as a module: compile an image's Python to bytecode, on the guest's own Python.

    python -m executor.images.bytecode GUEST PYTHON TRAMPOLINE CLOSURES STDLIB SITE_PACKAGES

The standard library comes as source. Compiling what a zygote imports at every start would cost
half a second, and a package's first import seconds, so it is done once, here: the guest is
booted from the draft image and compiles each file, and the result is written beside the source,
which tracebacks need. The bytecode is marked as unchecked and hash-based (PEP 552): the image is
read-only, and no time stamp enters it.
"""

import base64
import sys
import zipfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Final

from executor.wasm.boot import boot
from executor.wasm.booted import Guest
from executor.wasm.parts import Parts

# Runs in the guest; `files` are (path as the guest sees it, source). What does not compile is
# left out: packages ship tests of syntax errors.
_PROGRAM: Final = """
def compile_all(files):
    import _imp, base64, importlib.util, marshal
    made = {}
    for path, text in files:
        source = base64.b64decode(text)
        try:
            code = compile(source, path, "exec", dont_inherit=True, optimize=0)
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
# The time stamp of every entry of the zip: a zip's epoch.
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def main(arguments: list[str]) -> int:
    """
    Add bytecode to the library's zip and the package directory, in place.
    """
    name, python, trampoline, closures, stdlib, packages = arguments
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
    sources = _members(library)
    seen = guest.layout.stdlib
    compiled = _compile(guest, {f"{seen}/{name}": data for name, data in sources.items()})
    code = {path.removeprefix(f"{seen}/"): data for path, data in compiled.items()}
    _write_library(Path(stdlib), sources, code)
    _write_packages(guest, Path(packages))
    return 0


def _members(library: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(BytesIO(library)) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def _compile(guest: Guest, sources: Mapping[str, bytes]) -> dict[str, bytes]:
    """
    The bytecode of every source that compiles, by the guest's path of the source.
    """
    _cell(guest, _PROGRAM)
    wanted = [(path, data) for path, data in sorted(sources.items()) if path.endswith(".py")]
    compiled: dict[str, bytes] = {}
    for start in range(0, len(wanted), _BATCH):
        batch = [
            (path, base64.b64encode(data).decode()) for path, data in wanted[start : start + _BATCH]
        ]
        _cell(guest, f"compile_all({batch!r})")
        compiled.update(_records(guest.read_file("/tmp/bytecode")))  # noqa: S108 - the guest's own
    return compiled


def _cell(guest: Guest, code: str) -> None:
    answer = guest.call({"op": "cell", "cell": 1, "code": code})
    if answer.get("status") != "ok":
        raise RuntimeError(f"the guest could not compile: {answer.get('traceback', answer)}")


def _records(data: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(data):
        name, at = _sized(data, at)
        code, at = _sized(data, at)
        yield name.decode(), code


def _sized(data: bytes, at: int) -> tuple[bytes, int]:
    length = int.from_bytes(data[at : at + 4], "little")
    return data[at + 4 : at + 4 + length], at + 4 + length


def _write_library(path: Path, sources: Mapping[str, bytes], compiled: Mapping[str, bytes]) -> None:
    """
    The zip anew: sources as they were, bytecode stored without compression, which reads faster.
    """
    target = path.with_suffix(".new")
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in sources.items():
            _add(archive, name, data, zipfile.ZIP_DEFLATED)
            code = compiled.get(name)
            if code is not None:
                _add(archive, f"{name}c", code, zipfile.ZIP_STORED)
    target.replace(path)


def _add(archive: zipfile.ZipFile, name: str, data: bytes, method: int) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = method
    archive.writestr(entry, data)


def _write_packages(guest: Guest, root: Path) -> None:
    seen = guest.layout.site_packages
    sources = {f"{seen}/{path.relative_to(root)}": path.read_bytes() for path in root.rglob("*.py")}
    for name, code in _compile(guest, sources).items():
        source = root / name.removeprefix(f"{seen}/")
        folder = source.parent / "__pycache__"
        folder.mkdir(exist_ok=True)
        (folder / f"{source.stem}.{guest.layout.cache_tag}.pyc").write_bytes(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
