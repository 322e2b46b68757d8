"""
What an image is: its manifest, as data and as JSON.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from executor.images.errors import ImageRefusedError

FORMAT = 2
PYTHON = "python.cwasm"
TRAMPOLINE = "trampoline.cwasm"
CLOSURES = "closures.cwasm"
STDLIB = "stdlib.zip"
# Bytecode of the guest's half of the cells (`pyc.pack`); images of earlier releases have none.
RUNTIME = "runtime.bytecode"
# The guest as its boot leaves it (`executor/wasm/snapshot.py`), where that can be taken up again.
SNAPSHOT = "booted.snapshot"
SITE_PACKAGES = "site-packages"
# Further files of the guest: below this directory lies its tree from the root.
EXTRA = "extra"
MANIFEST = "manifest.json"

_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """
    One file of an image: its name relative to the image, SHA-256 (hex) and size in bytes.
    """

    name: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Package:
    """
    One installed wheel: its normalised name, version, and the wheel's SHA-256 (hex).
    """

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class NativeModule:
    """
    A native part of a wheel: compiled when the image was built, linked when it is imported.

    `path` is where the guest sees it, below site-packages; the file there is empty. `sha256` is
    of the wheel's own file, `code` and `adapter` are the image's files with the compiled module
    and its compiled adapter (empty where it needs none). The rest is from the module's dylink.0
    section (tool-conventions, DynamicLinking.md): bytes of memory and their alignment as a
    power of two, elements of the table, libraries that come first, imports that may be absent.
    """

    path: str
    sha256: str
    code: str
    adapter: str
    memory_size: int
    memory_align: int
    table_size: int
    needed: tuple[str, ...]
    weak: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """
    Everything that went into an image and everything that is in it.

    `guest` is the kind of guest (`guests.py`), `warm` what its zygote imports before it forks.
    `versions` maps python (the guest's), pyodide, binaryen and wasmtime to their releases;
    `config` is the engine's configuration, `machine` and `cpu` what the code was compiled for,
    `pins` the digest of the package's pins, `created` UTC in ISO 8601. `modules` are the native
    parts of packages, and `facts` numbers that the build found out about the guest, by name.
    """

    name: str
    key: str
    created: str
    guest: str
    warm: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]
    config: str
    machine: str
    cpu: tuple[str, ...]
    pins: str
    packages: tuple[Package, ...]
    modules: tuple[NativeModule, ...]
    facts: tuple[tuple[str, int], ...]
    files: tuple[FileEntry, ...]
    _entries: Mapping[str, FileEntry] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_entries", {entry.name: entry for entry in self.files})

    @property
    def size(self) -> int:
        """
        Bytes of all files together.
        """
        return sum(entry.size for entry in self.files)

    def entry(self, name: str) -> FileEntry:
        """
        The entry of one file. Raises ImageRefusedError where the image has no such file.
        """
        found = self._entries.get(name)
        if found is None:
            raise ImageRefusedError(f"The image {self.name} has no file {name!r} in its manifest.")
        return found

    def has(self, name: str) -> bool:
        """
        Whether the image has a file of this name.
        """
        return name in self._entries


@dataclass(frozen=True, slots=True)
class Label:
    """
    What a server says of an image: its name and key, the guest's Python, and its packages.
    """

    name: str
    key: str
    python: str
    packages: tuple[Package, ...]


@dataclass(frozen=True, slots=True)
class Image:
    """
    An image in the cache whose manifest is the one that was anchored when it was built.

    Its files are not yet checked: `sealed.py` does that for each as it is opened.
    """

    name: str
    key: str
    path: Path
    manifest: Manifest

    @property
    def site_packages(self) -> Path:
        """
        The directory that the guest sees, read-only, as its site-packages.
        """
        return self.path / SITE_PACKAGES


def to_json(manifest: Manifest) -> bytes:
    """
    The manifest as canonical JSON: sorted keys, one file a line for a person to diff.
    """
    data = {
        "format": FORMAT,
        "name": manifest.name,
        "key": manifest.key,
        "created": manifest.created,
        "guest": manifest.guest,
        "warm": list(manifest.warm),
        "versions": dict(manifest.versions),
        "config": manifest.config,
        "machine": manifest.machine,
        "cpu": list(manifest.cpu),
        "pins": manifest.pins,
        "packages": {p.name: {"version": p.version, "sha256": p.sha256} for p in manifest.packages},
        "modules": {module.path: _module_data(module) for module in manifest.modules},
        "facts": dict(manifest.facts),
        "files": {f.name: {"sha256": f.sha256, "size": f.size} for f in manifest.files},
    }
    return (json.dumps(data, indent=1, sort_keys=True) + "\n").encode()


def _module_data(module: NativeModule) -> dict[str, Any]:
    data = asdict(module)
    del data["path"]
    return data


def from_json(text: bytes) -> Manifest:
    """
    Read what `to_json` wrote. Raises ImageRefusedError for anything else.
    """
    return _read(text, _decode)


def label_from_json(text: bytes) -> Label:
    """
    Read no more of a manifest than its label. Raises ImageRefusedError as `from_json` does.
    """
    return _read(text, _label)


def _read(text: bytes, decode: Callable[[dict[str, Any]], _Read]) -> _Read:
    try:
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']!r}")
        return decode(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImageRefusedError(
            f"The manifest is not one of format {FORMAT} ({error}). "
            "Build the image again: codecage image build."
        ) from error


def _label(data: dict[str, Any]) -> Label:
    return Label(
        name=_text(data["name"]),
        key=_text(data["key"]),
        python=_text(data["versions"].get("python", "")),
        packages=_packages(data["packages"]),
    )


def _decode(data: dict[str, Any]) -> Manifest:
    return Manifest(
        name=_text(data["name"]),
        key=_text(data["key"]),
        created=_text(data["created"]),
        guest=_text(data["guest"]),
        warm=_texts(data["warm"]),
        versions=tuple(sorted((k, _text(v)) for k, v in data["versions"].items())),
        config=_text(data["config"]),
        machine=_text(data["machine"]),
        cpu=_texts(data["cpu"]),
        pins=_text(data["pins"]),
        packages=_packages(data["packages"]),
        modules=tuple(_module(path, m) for path, m in sorted(data["modules"].items())),
        facts=tuple(sorted((k, _size(v)) for k, v in data["facts"].items())),
        files=tuple(
            FileEntry(name, _text(f["sha256"]), _size(f["size"]))
            for name, f in sorted(data["files"].items())
        ),
    )


def _packages(data: dict[str, Any]) -> tuple[Package, ...]:
    return tuple(
        Package(name, _text(p["version"]), _text(p["sha256"])) for name, p in sorted(data.items())
    )


def _module(path: str, data: dict[str, Any]) -> NativeModule:
    return NativeModule(
        path=path,
        sha256=_text(data["sha256"]),
        code=_text(data["code"]),
        adapter=_text(data["adapter"]),
        memory_size=_size(data["memory_size"]),
        memory_align=_size(data["memory_align"]),
        table_size=_size(data["table_size"]),
        needed=_texts(data["needed"]),
        weak=_texts(data["weak"]),
    )


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    return tuple(_text(one) for one in value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{value!r} is not a size")
    return value
