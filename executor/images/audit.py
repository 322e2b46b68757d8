"""
Auditing a wheel before it is put into a lock: would an image take it, and what does it need?

Three looks at the same bytes. The rules of the build, always. The linker's: each native part is
translated and compiled as a build does it, against the guest of an image that is there. And
pyodide-build's auditwheel, where the extra `build` is installed, which counts imports.
"""

import importlib.util
import json
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from executor.images import auditwheel, catalog, native
from executor.images.cache import Cache, default_cache, exclusive, prepare, write_new
from executor.images.errors import ImageError, ToolFailedError, WheelRefusedError
from executor.images.guests import GuestKind
from executor.images.lock import LockedPackage, normalise
from executor.images.manifest import PYTHON, NativeModule
from executor.images.node import run_module
from executor.images.pins import sha256
from executor.images.pyodide import translator
from executor.images.unpack import WheelContent, read_wheel

NO_LIBRARY = (
    "imports were not counted: pyodide-build's auditwheel is not installed. It is part of the "
    "extra `build`, for Python 3.12 and newer: pip install 'codecage[server,build]'"
)
_NOT_LINKED = "native parts were not linked: no image of {guest} is built. codecage image build"


@dataclass(frozen=True, slots=True)
class Audited:
    """
    What was found about one wheel: its file's name and SHA-256, whether an image would take it
    and else why not, its native parts, and remarks.
    """

    wheel: str
    sha256: str
    admitted: bool
    refusal: str
    natives: tuple[str, ...]
    requires: tuple[str, ...]
    remarks: tuple[str, ...]


def audit(path: Path, kind: GuestKind, cache: Cache | None = None) -> Audited:
    """
    Audit one wheel for a guest; nothing is installed or kept.

    Raises OSError where the file cannot be read, and ImageError where a look cannot be taken.
    """
    data = path.read_bytes()
    digest = sha256(data)
    try:
        content = read_wheel(data, _package(path, digest), kind)
        remarks = _native_remarks(content, kind, cache or default_cache())
    except WheelRefusedError as error:
        return Audited(path.name, digest, False, str(error), (), (), ())
    natives = tuple(name for name, _ in content.natives)
    return Audited(path.name, digest, True, "", natives, content.requires, remarks)


def _package(path: Path, digest: str) -> LockedPackage:
    try:
        name, version, _, _ = parse_wheel_filename(path.name)
    except InvalidWheelFilename as error:
        raise WheelRefusedError(f"{path.name} is refused: it is not named as a wheel.") from error
    return LockedPackage(normalise(name), str(version), frozenset({digest}), frozenset())


def _native_remarks(content: WheelContent, kind: GuestKind, cache: Cache) -> tuple[str, ...]:
    if not content.natives:
        return ()
    prepare(cache)
    with (
        exclusive(cache, _no_notice),
        tempfile.TemporaryDirectory(dir=cache.staging, prefix="audit-") as work,
    ):
        return (*_linked(content, kind, cache, Path(work)), *_counted(content, Path(work)))


def _no_notice() -> None:
    """
    Waiting for a build is silent here.
    """


def _linked(content: WheelContent, kind: GuestKind, cache: Cache, work: Path) -> tuple[str, ...]:
    image = next((i for i in catalog.list_images(cache) if i.manifest.guest == kind.name), None)
    if image is None:
        return (_NOT_LINKED.format(guest=kind.name),)
    catalog.verify(image)
    rooms = {name: work / name for name in ("tools", "native", "draft")}
    for room in rooms.values():
        room.mkdir(mode=0o700)
    tool = translator(kind, cache, rooms["tools"], _no_notice)
    job = native.NativeJob(
        guest=kind.name,
        python=image.path / PYTHON,
        files=dict(content.natives),
        translate=lambda source, target: tool.translate(source, target, _no_notice),
        work=rooms["native"],
        draft=rooms["draft"],
    )
    return tuple(_remark(module) for module in native.build(job, _no_notice))


def _remark(module: NativeModule) -> str:
    needed = f", needs {', '.join(module.needed)}" if module.needed else ""
    return f"{module.path} links: {module.memory_size} bytes of data{needed}"


def _counted(content: WheelContent, work: Path) -> tuple[str, ...]:
    if importlib.util.find_spec(auditwheel.LIBRARY) is None:
        return (NO_LIBRARY,)
    folder, answer = work / "libraries", work / "answer.json"
    folder.mkdir(mode=0o700)
    names = {f"{at}.so": name for at, (name, _) in enumerate(content.natives)}
    for short, (_, data) in zip(names, content.natives, strict=True):
        write_new(folder / short, data)
    try:
        run_module("executor.images.auditwheel", [str(folder), str(answer)], work, _no_notice)
    except ToolFailedError as error:
        raise ImageError(f"The wheel's imports could not be counted. {error}") from error
    counts = json.loads(answer.read_bytes())
    return tuple(_count(names[short], counts[short]) for short in names)


def _count(name: str, found: dict[str, dict[str, int]]) -> str:
    parts = ", ".join(f"{count} of {module}" for module, count in sorted(found["imports"].items()))
    return f"{name} imports {parts or 'nothing'}"


def as_json(found: Iterable[Audited]) -> str:
    """
    Audits as a JSON array.
    """
    return json.dumps([asdict(one) for one in found], indent=2, sort_keys=True)


def as_text(found: Iterable[Audited]) -> str:
    """
    Audits for a person: one wheel a paragraph.
    """
    return "\n".join(line for one in found for line in _lines(one))


def _lines(one: Audited) -> Iterable[str]:
    yield f"{one.wheel}: {'admitted' if one.admitted else 'refused'}"
    yield from (f"  {text}" for text in (one.refusal,) if text)
    yield f"  SHA-256 {one.sha256}"
    yield from (f"  {remark}" for remark in one.remarks)
