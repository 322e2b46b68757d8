"""
The bytecode of an image's packages: how it travels from the guest to the build, and its place.

It is made by the guest, out of sources of strangers, so the build believes no path in it: each
must be one of the sources that are there. Files are placed as PEP 3147 says.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from executor.images.cache import write_new
from executor.images.errors import ToolFailedError

# The name of the file that travels.
PACKED: Final = "packages.bytecode"


def pack(code: Mapping[str, bytes]) -> bytes:
    """
    Bytecode by the name of its source, as one file: lengths of 32 bits before name and code.
    """
    parts = ((name.encode(), data) for name, data in code.items())
    return b"".join(_sized(name) + _sized(data) for name, data in parts)


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data


def unpack(data: bytes) -> dict[str, bytes]:
    """
    What `pack` made. Raises ValueError for anything that ends early or names a source twice.
    """
    found: dict[str, bytes] = {}
    fields = _fields(data)
    for name in fields:
        code = next(fields, None)
        if code is None:
            raise ValueError("the bytecode of the last source is missing")
        text = name.decode()
        if text in found:
            raise ValueError(f"{text!r} is there twice")
        found[text] = code
    return found


def _fields(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        start = at + 4
        at = start + int.from_bytes(data[at:start], "little")
        if start > len(data) or at > len(data):
            raise ValueError("it ends too early")
        yield data[start:at]


def install(packed: bytes, root: Path, tag: str) -> None:
    """
    Put the bytecode that `pack` made beside its sources below `root`, under the cache's `tag`.

    Raises ToolFailedError, before anything is written, where it is malformed or names what is
    no source.
    """
    try:
        found = unpack(packed)
    except ValueError as error:
        raise ToolFailedError(f"The guest's bytecode cannot be read: {error}.") from error
    sources = {str(path.relative_to(root)): path for path in root.rglob("*.py")}
    strange = sorted(found.keys() - sources.keys())
    if strange:
        raise ToolFailedError(
            f"The guest answered with bytecode of {strange[0]!r}, which is no source of the image. "
            "Nothing of it was kept; one of the packages is hostile."
        )
    for name, code in found.items():
        folder = sources[name].parent / "__pycache__"
        folder.mkdir(mode=0o755, exist_ok=True)
        write_new(folder / f"{sources[name].stem}.{tag}.pyc", code)
