"""
Small images and wheels made by hand, sound ones and hostile ones.
"""

import base64
import hashlib
import io
import zipfile
from dataclasses import dataclass, field

from executor.images import catalog
from executor.images.cache import Cache, exclusive, write_new
from executor.images.guests import DEFAULT
from executor.images.identity import Runtime, this_runtime
from executor.images.lock import LockedPackage
from executor.images.manifest import FileEntry, Image, Manifest
from executor.images.pins import sha256

Member = tuple[str | zipfile.ZipInfo, bytes]


def small_manifest(
    name: str, files: dict[str, bytes], *, created: str = "2026-01-01T00:00:00", salt: str = ""
) -> Manifest:
    runtime: Runtime = this_runtime(DEFAULT)
    entries = tuple(FileEntry(n, sha256(d), len(d)) for n, d in sorted(files.items()))
    return Manifest(
        name=name,
        key=sha256(repr((name, sorted(files), salt)).encode()),
        created=created,
        guest=DEFAULT.name,
        warm=(),
        versions=(("python", "3.14.2"), ("wasmtime", runtime.wasmtime)),
        config=runtime.config,
        machine=runtime.machine,
        cpu=runtime.cpu,
        pins=runtime.pins,
        packages=(),
        modules=(),
        facts=(),
        files=entries,
    )


def publish_small(cache: Cache, manifest: Manifest, files: dict[str, bytes]) -> Image:
    with exclusive(cache, lambda: None):
        draft = cache.staging / "draft"
        draft.mkdir(mode=0o700)
        for name, data in files.items():
            path = draft / name
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            write_new(path, data)
        return catalog.publish(cache, draft, manifest)


def small_image(
    cache: Cache,
    files: dict[str, bytes] | None = None,
    *,
    name: str = "small",
    created: str = "2026-01-01T00:00:00",
    salt: str = "",
) -> Image:
    files = {"python.cwasm": b"code" * 1000} if files is None else files
    return publish_small(cache, small_manifest(name, files, created=created, salt=salt), files)


def _dated(name: str | zipfile.ZipInfo) -> zipfile.ZipInfo:
    # Without the time of day two wheels of the same members have the same bytes.
    if isinstance(name, zipfile.ZipInfo):
        return name
    info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
    info.external_attr = 0o600 << 16
    return info


def record_line(name: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"{name},sha256={digest},{len(content)}\n"


@dataclass
class CraftedWheel:
    """
    A wheel whose every part can be replaced by a hostile one.
    """

    name: str = "fine"
    version: str = "1.0"
    members: list[Member] = field(default_factory=lambda: [("fine/__init__.py", b"x = 1\n")])
    tag: str = "py3-none-any"
    purelib: str = "true"
    metadata: str = ""
    wheel_version: str = "1.0"
    dist_info: str = ""
    record: str | None = None
    record_more: str = ""
    unrecorded: tuple[str, ...] = ()

    @property
    def info(self) -> str:
        return self.dist_info or f"{self.name}-{self.version}.dist-info"

    @property
    def filename(self) -> str:
        return f"{self.name}-{self.version}-{self.tag}.whl"

    def all_members(self) -> list[Member]:
        metadata = f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}\n"
        wheel = (
            f"Wheel-Version: {self.wheel_version}\nRoot-Is-Purelib: {self.purelib}\n"
            f"Tag: {self.tag}\n"
        )
        found: list[Member] = [
            *self.members,
            (f"{self.info}/METADATA", (metadata + self.metadata).encode()),
            (f"{self.info}/WHEEL", wheel.encode()),
        ]
        record = "".join(
            record_line(plain, content)
            for name, content in found
            if (plain := name if isinstance(name, str) else name.filename) not in self.unrecorded
            and not plain.endswith("/")
        )
        record += self.record_more + f"{self.info}/RECORD,,\n"
        text = record if self.record is None else self.record
        return [*found, (f"{self.info}/RECORD", text.encode())]

    def data(self) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in self.all_members():
                archive.writestr(_dated(name), content, zipfile.ZIP_DEFLATED)
        return out.getvalue()

    def package(self, *, data: bytes | None = None) -> LockedPackage:
        digest = sha256(self.data() if data is None else data)
        return LockedPackage(self.name, self.version, frozenset({digest}), frozenset())


# The smallest side module: a header, and a dylink.0 section that asks for no memory.
SIDE_MODULE = b"\0asm\x01\0\0\0" + b"\0\x0f\x08dylink.0\x01\x04\0\0\0\0"
NATIVE_TAG = "cp314-cp314-pyemscripten_2026_0_wasm32"


def native_wheel(
    path: str = "fine/native.cpython-314-wasm32-emscripten.so",
    content: bytes = SIDE_MODULE,
    *,
    name: str = "fine",
    tag: str = NATIVE_TAG,
) -> CraftedWheel:
    members: list[Member] = [(f"{name}/__init__.py", b"x = 1\n"), (path, content)]
    return CraftedWheel(name=name, members=members, tag=tag, purelib="false")
