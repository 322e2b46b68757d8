"""
Reading a wheel as hostile input: what an image may hold, and nothing else.

pip's own installer is not used, because it does what wheels ask: `.pth` files that run at every
start, scripts, files outside the directory. Here a wheel is a zip whose every member must be an
ordinary file with a plain relative name, listed in the wheel's RECORD with its hash; only the
content of site-packages is kept. Native code is kept apart, and only where the wheel's tags are
the guest's: it must be a WebAssembly side module, and is translated and compiled elsewhere. The
formats: PEP 427 and PyPA's "Recording installed projects" and "Binary distribution format".
Nothing is written before the whole wheel has been checked.
"""

import base64
import csv
import email.parser
import email.policy
import hashlib
import io
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from executor.images.errors import LockRefusedError, WheelRefusedError
from executor.images.guests import DEFAULT, GuestKind
from executor.images.lock import LockedPackage, normalise
from executor.images.native_name import is_native
from executor.images.tags import tag_problem

MAX_FILES = 20_000
MAX_BYTES = 256 * 2**20
_MAX_NAME = 512
_MAX_COMPONENT = 255
_NOT_HERE = "it is native code, which only a wheel with the guest's tags may hold, as .so"
# Code that would run on its own at start, native code, and bytecode, which nobody can review
# and which the interpreter prefers to the source beside it.
_FORBIDDEN_SUFFIXES = {
    ".pth": "its lines run at every start of the interpreter",
    ".start": "its entry points run at every start of the interpreter",
    ".so": _NOT_HERE,
    ".pyd": _NOT_HERE,
    ".dll": _NOT_HERE,
    ".dylib": _NOT_HERE,
    ".wasm": "it is compiled code outside of a native module",
    ".pyc": "it is bytecode, which would be run instead of the source",
    ".egg-link": "it points outside the image",
}
_WASM = b"\0asm\x01\0\0\0"
# A custom section (id 0) named "dylink.0", after its length in LEB128.
_SIDE_MODULE = re.compile(rb"\0[\x80-\xff]{0,4}[\0-\x7f]\x08dylink\.0", re.DOTALL)
_FORBIDDEN_MODULES = frozenset({"sitecustomize", "usercustomize"})
_NATIVE_MAGIC = (b"\x7fELF", b"\0asm", b"MZ\x90\x00", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
_UNRECORDED = frozenset({"RECORD", "RECORD.jws", "RECORD.p7s"})
_LEFT_OUT = frozenset({"scripts", "headers", "data"})


@dataclass(frozen=True, slots=True)
class WheelContent:
    """
    The files of a wheel by their path in site-packages, its native modules apart, and its
    requirements as METADATA writes them (PEP 508).
    """

    files: tuple[tuple[str, bytes], ...]
    natives: tuple[tuple[str, bytes], ...]
    requires: tuple[str, ...]


def read_wheel(data: bytes, package: LockedPackage, kind: GuestKind = DEFAULT) -> WheelContent:
    """
    Check a wheel against its lock entry and itself, and return what goes into an image.

    `data` is the whole wheel. Raises WheelRefusedError, naming the package, the file and the
    rule, where anything is not as it must be.
    """
    digest = hashlib.sha256(data).hexdigest()
    if digest not in package.hashes:
        raise _refused(
            package,
            f"its SHA-256 is {digest}, the lock allows {', '.join(sorted(package.hashes))}",
        )
    members = _members(data, package)
    info = _dist_info(members, package)
    _check_record(members, info, package)
    native = _check_wheel_file(members, info, package, kind)
    requires = _check_metadata(members, info, package)
    files = tuple(
        (target, content)
        for name, content in sorted(members.items())
        if (target := _target(name, package, native)) is not None
    )
    problem = clash(target for target, _ in files)
    if problem is not None:
        raise _refused(package, problem)
    natives = tuple(file for file in files if native and is_native(file[0]))
    plain = tuple(file for file in files if not (native and is_native(file[0])))
    for target, _ in files:
        _check_module(target, package)
    for target, content in plain:
        _check_content(target, content, package)
    for target, content in natives:
        _check_native(target, content, package)
    return WheelContent(plain, natives, requires)


def _members(data: bytes, package: LockedPackage) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            _check_sizes(infos, package)
            for info in infos:
                _check_member(info, package)
            _check_names([info.filename for info in infos], package)
            return {info.filename: archive.read(info) for info in infos if not info.is_dir()}
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, ValueError) as error:
        raise _refused(package, f"it is not a wheel, that is a sound zip file ({error})") from error


def _check_sizes(infos: list[zipfile.ZipInfo], package: LockedPackage) -> None:
    if len(infos) > MAX_FILES:
        raise _refused(package, f"it has {len(infos)} files, {MAX_FILES} are allowed")
    # The sizes are the archive's own claim; reading stops at what a member claimed.
    total = sum(info.file_size for info in infos)
    if total > MAX_BYTES:
        raise _refused(package, f"it unpacks to {total} bytes, {MAX_BYTES} are allowed")


def _check_member(info: zipfile.ZipInfo, package: LockedPackage) -> None:
    # zipfile cuts a name at its first NUL; what the archive says must be what is used.
    if info.orig_filename != info.filename:
        raise _refused(package, f"{info.orig_filename!r} is not a plain name")
    if info.flag_bits & 0x1:
        raise _refused(package, f"{info.filename!r} is encrypted")
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise _refused(package, f"{info.filename!r} is neither stored nor deflated")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFDIR if info.is_dir() else stat.S_IFREG}:
        raise _refused(package, f"{info.filename!r} is a link or a special file")


def _check_names(names: list[str], package: LockedPackage) -> None:
    for name in names:
        problem = _name_problem(name.removesuffix("/"))
        if problem is not None:
            raise _refused(package, f"the name {name!r} {problem}")
    problem = clash(names)
    if problem is not None:
        raise _refused(package, problem)


def clash(names: Iterable[str]) -> str | None:
    """
    Say which of `names` (directories end in "/") cannot exist side by side, or None.

    Names are compared without case, so that an image is the same wherever it is copied to.
    """
    seen: set[str] = set()
    files: set[str] = set()
    for name in names:
        folded = name.casefold()
        if folded.removesuffix("/") in seen:
            return f"the name {name!r} is there twice"
        seen.add(folded.removesuffix("/"))
        if not folded.endswith("/"):
            files.add(folded)
    for name in sorted(seen):
        parts = name.split("/")
        if any("/".join(parts[:count]) in files for count in range(1, len(parts))):
            return f"the name {name!r} is below a file"
    return None


def _name_problem(name: str) -> str | None:
    if not name or len(name.encode("utf-8", "surrogatepass")) > _MAX_NAME:
        return f"is empty or longer than {_MAX_NAME} bytes"
    if name.startswith("/") or "\\" in name or ":" in name:
        return "is absolute, or holds a backslash or a colon"
    if any(unicodedata.category(letter) in {"Cc", "Cf", "Cs"} for letter in name):
        return "holds a control character"
    parts = name.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        return "has an empty, '.' or '..' component"
    if any(len(part.encode()) > _MAX_COMPONENT for part in parts):
        return f"has a component longer than {_MAX_COMPONENT} bytes"
    return None


def _dist_info(members: dict[str, bytes], package: LockedPackage) -> str:
    found = {name.split("/")[0] for name in members if ".dist-info/" in name}
    top = {name for name in found if name.endswith(".dist-info")}
    if len(top) != 1:
        raise _refused(package, f"it has {len(top)} .dist-info directories, and one is needed")
    info = top.pop()
    name, _, version = info.removesuffix(".dist-info").partition("-")
    if not _same_project(name, version, package):
        raise _refused(package, f"its .dist-info directory is {info!r}, of another release")
    return info


def _same_project(name: str, version: str, package: LockedPackage) -> bool:
    try:
        same_name = normalise(name) == package.name
    except LockRefusedError:
        return False
    return same_name and version.replace("_", "-") == package.version.replace("_", "-")


def _check_record(members: dict[str, bytes], info: str, package: LockedPackage) -> None:
    rows = _record_rows(members, info, package)
    unrecorded = {f"{info}/{name}" for name in _UNRECORDED}
    for name, content in members.items():
        if name in unrecorded:
            continue
        if name not in rows:
            raise _refused(package, f"{name!r} is not in its RECORD")
        if rows[name] != (_record_hash(content), str(len(content))):
            raise _refused(package, f"{name!r} has another hash or size than its RECORD says")
    missing = sorted(rows.keys() - members.keys())
    if missing:
        raise _refused(package, f"its RECORD names {missing[0]!r}, which is not in the wheel")


def _record_rows(
    members: dict[str, bytes], info: str, package: LockedPackage
) -> dict[str, tuple[str, str]]:
    text = _text(members, f"{info}/RECORD", package)
    rows: dict[str, tuple[str, str]] = {}
    try:
        for row in csv.reader(io.StringIO(text, newline=""), strict=True):
            name, digest, size = row
            if name in rows:
                raise _refused(package, f"its RECORD names {name!r} twice")
            rows[name] = (digest, size)
    except (csv.Error, ValueError) as error:
        raise _refused(
            package, f"its RECORD is not rows of path, hash and size ({error})"
        ) from error
    return rows


def _record_hash(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    return f"sha256={digest.decode().rstrip('=')}"


def _check_wheel_file(
    members: dict[str, bytes], info: str, package: LockedPackage, kind: GuestKind
) -> bool:
    """
    Check the WHEEL file against the guest; true where the wheel may hold native code.
    """
    headers = _headers(members, f"{info}/WHEEL", package)
    version = headers.get("Wheel-Version", "")
    if version.partition(".")[0] != "1":
        raise _refused(package, f"its wheel format is {version!r}, and 1.x is what is known")
    tags = headers.get_all("Tag", [])
    if not all(tag.count("-") == 2 for tag in tags):
        raise _refused(package, f"its tags are {tags}, and a tag has three parts (PEP 425)")
    problem = tag_problem(kind, tags)
    if problem is not None:
        raise _refused(package, problem)
    pure = headers.get("Root-Is-Purelib", "").lower()
    if pure not in {"true", "false"}:
        raise _refused(package, f"Root-Is-Purelib is {pure!r}, and true or false is known")
    native = not any(tag.endswith("-any") for tag in tags)
    if pure == "false" and not native:
        raise _refused(package, "it is not a pure-Python wheel (Root-Is-Purelib), as its tags say")
    return native


def _check_metadata(
    members: dict[str, bytes], info: str, package: LockedPackage
) -> tuple[str, ...]:
    """
    Compare METADATA with the lock; returns its requirements.
    """
    headers = _headers(members, f"{info}/METADATA", package)
    if not _same_project(headers.get("Name", ""), headers.get("Version", ""), package):
        raise _refused(package, "its METADATA is of another project or version")
    return tuple(headers.get_all("Requires-Dist", []))


def _headers(
    members: dict[str, bytes], name: str, package: LockedPackage
) -> "email.message.Message[str, str]":
    parser = email.parser.HeaderParser(policy=email.policy.compat32)
    return parser.parsestr(_text(members, name, package))


def _text(members: dict[str, bytes], name: str, package: LockedPackage) -> str:
    try:
        return members[name].decode("utf-8")
    except KeyError:
        raise _refused(package, f"it has no {name}") from None
    except UnicodeDecodeError as error:
        raise _refused(package, f"its {name} is not UTF-8 ({error.reason})") from error


def _target(name: str, package: LockedPackage, native: bool) -> str | None:
    """
    Where a member goes in site-packages; None for what an image has no use for.
    """
    top, _, rest = name.partition("/")
    if not top.endswith(".data"):
        return name
    scheme, _, inner = rest.partition("/")
    if (scheme == "purelib" or (scheme == "platlib" and native)) and inner:
        return inner
    if scheme in _LEFT_OUT:
        return None
    raise _refused(package, f"{name!r} asks to be installed as {scheme!r}, which is not allowed")


def _check_module(target: str, package: LockedPackage) -> None:
    module = target.partition("/")[0].partition(".")[0].casefold()
    if module in _FORBIDDEN_MODULES:
        raise _refused(package, f"{target!r} may not be in an image: it runs at every start")


def _check_content(target: str, content: bytes, package: LockedPackage) -> None:
    for suffix, why in _FORBIDDEN_SUFFIXES.items():
        if target.casefold().endswith(suffix):
            raise _refused(package, f"{target!r} may not be in an image: {why}")
    if is_native(target):
        raise _refused(package, f"{target!r} may not be in an image: {_NOT_HERE}")
    if content.startswith(_NATIVE_MAGIC):
        raise _refused(package, f"{target!r} may not be in an image: it is compiled code")


def _check_native(target: str, content: bytes, package: LockedPackage) -> None:
    if not content.startswith(_WASM):
        raise _refused(package, f"{target!r} is not WebAssembly, whatever its name says")
    if not _SIDE_MODULE.match(content, len(_WASM)):
        raise _refused(package, f"{target!r} is not a side module: it has no dylink.0 section")


def _refused(package: LockedPackage, why: str) -> WheelRefusedError:
    return WheelRefusedError(
        f"The wheel of {package.name} {package.version} is refused: {why}. Nothing was installed; "
        "choose another release of it, or report this to its authors."
    )
