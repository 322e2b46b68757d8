"""
Opening an image's files so that what was hashed is what is used.

A compiled module is native code: `Module.deserialize` believes it. Hashing a file and then
mapping it is two reads, and whoever can write the file can write it in between; a mapping even
changes after it was made. So a file is opened once, checked through the descriptor, copied into
a memfd while it is hashed, and the memfd is sealed: nobody, this process included, can change
it any more (memfd_create(2), F_ADD_SEALS in fcntl(2)). Callers give `/proc/self/fd/N` to
`Module.deserialize_file`, which maps it; forked children share those pages.

The expected hash comes from the manifest, whose own hash comes from the index.
"""

import contextlib
import fcntl
import hashlib
import mmap
import os
import stat
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path, PurePosixPath

from executor.images.errors import ImageRefusedError
from executor.images.manifest import FileEntry, Image

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
# O_NONBLOCK: a FIFO put in place of a file must not stop us before its type is seen.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_DIRECTORY = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DIRECTORY
_CHUNK = 2**20


def open_module(image: Image, filename: str) -> int:
    """
    Copy one file of an image into a sealed memfd and return a read-only descriptor of it.

    `filename` is a name of the manifest, such as "python.cwasm". The caller closes the
    descriptor. Raises ImageRefusedError where the file is missing, is not a regular file, can
    be written by others, or has other bytes than the manifest says: nothing is then returned,
    so nothing can be deserialised.
    """
    entry = image.manifest.entry(filename)
    with _opened(image, entry) as source:
        return _sealed_copy(source, entry)


def mapped(image: Image, filename: str) -> memoryview:
    """
    The bytes of one file, as a mapping of its sealed copy: forked processes share its pages.
    """
    descriptor = open_module(image, filename)
    try:
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    finally:
        os.close(descriptor)


def read(image: Image, filename: str) -> bytes:
    """
    The bytes of one file of an image, checked as `open_module` checks them.
    """
    entry = image.manifest.entry(filename)
    with _opened(image, entry) as source:
        return _checked(source, entry)


def read_folder(image: Image, folder: str) -> dict[str, bytes]:
    """
    The files below a folder of an image, by name, checked as `open_module` checks them; each
    directory is checked once.
    """
    entries = [entry for entry in image.manifest.files if entry.name.startswith(f"{folder}/")]
    found: dict[str, bytes] = {}
    for _, neighbours in groupby(entries, key=lambda entry: entry.name.rpartition("/")[0]):
        first, *others = neighbours
        with _directory(image, first) as held:
            for entry in (first, *others):
                with _opened_in(held, entry) as source:
                    found[entry.name] = _checked(source, entry)
    return found


def read_private(path: Path, limit: int) -> bytes:
    """
    The bytes of a small file that only root or this user can write, at most `limit`.

    Raises ImageRefusedError where it is not such a file, FileNotFoundError where it is absent.
    """
    try:
        descriptor = os.open(path, _FILE)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ImageRefusedError(f"{path} cannot be opened: {error.strerror}.") from error
    with os.fdopen(descriptor, "rb") as file:
        _require_safe(str(path), os.fstat(file.fileno()), stat.S_ISREG)
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ImageRefusedError(f"{path} is longer than the {limit} bytes that it may have.")
    return data


@contextlib.contextmanager
def _opened(image: Image, entry: FileEntry) -> Iterator[int]:
    with _directory(image, entry) as held, _opened_in(held, entry) as source:
        yield source


@contextlib.contextmanager
def _directory(image: Image, entry: FileEntry) -> Iterator[int]:
    # Component by component, each relative to a checked directory: a directory of the image
    # that was swapped for a link is refused like a file that was.
    held = _open(entry, image.path, _DIRECTORY)
    try:
        for name in PurePosixPath(entry.name).parts[:-1]:
            _require_safe(entry.name, os.fstat(held), stat.S_ISDIR)
            inner = _open(entry, name, _DIRECTORY, held)
            os.close(held)
            held = inner
        _require_safe(entry.name, os.fstat(held), stat.S_ISDIR)
        yield held
    finally:
        os.close(held)


@contextlib.contextmanager
def _opened_in(held: int, entry: FileEntry) -> Iterator[int]:
    source = _open(entry, entry.name.rpartition("/")[2], _FILE, held)
    try:
        _require_safe(entry.name, os.fstat(source), stat.S_ISREG)
        yield source
    finally:
        os.close(source)


def _open(entry: FileEntry, path: str | Path, flags: int, held: int | None = None) -> int:
    try:
        return os.open(path, flags, dir_fd=held)
    except OSError as error:
        raise _refused(entry, f"it cannot be opened: {error.strerror}") from error


def _checked(source: int, entry: FileEntry) -> bytes:
    # In one piece where the kernel gives it so: what is joined then is that piece, and no copy.
    data = b"".join(_chunks(source, entry, entry.size + 1))
    _require_hash(entry, hashlib.sha256(data).hexdigest())
    return data


def _sealed_copy(source: int, entry: FileEntry) -> int:
    memory = os.memfd_create(f"codecage:{entry.name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        digest = hashlib.sha256()
        for chunk in _chunks(source, entry, _CHUNK):
            digest.update(chunk)
            _write_all(memory, chunk)
        _require_hash(entry, digest.hexdigest())
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
        return os.open(f"/proc/self/fd/{memory}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(memory)


def _chunks(source: int, entry: FileEntry, most: int) -> Iterator[bytes]:
    # One byte more than expected is asked for, so that a file that grew is seen, not cut.
    left = entry.size + 1
    while left > 0:
        chunk = os.read(source, min(most, left))
        if not chunk:
            break
        left -= len(chunk)
        yield chunk
    if left != 1:
        raise _refused(entry, f"it has not the {entry.size} bytes that the manifest says")


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _require_hash(entry: FileEntry, found: str) -> None:
    if found != entry.sha256:
        raise _refused(entry, f"its SHA-256 is {found}, the manifest says {entry.sha256}")


def _require_safe(name: str, found: os.stat_result, kind: Callable[[int], bool]) -> None:
    if not kind(found.st_mode):
        raise ImageRefusedError(f"{name} or a directory above it is of the wrong type.")
    if found.st_uid not in {0, os.geteuid()}:
        raise ImageRefusedError(
            f"{name} or a directory above it belongs to user {found.st_uid}; images are read "
            f"from root or this user ({os.geteuid()}) alone. Build it again as this user."
        )
    if found.st_mode & 0o022:
        raise ImageRefusedError(
            f"{name} or a directory above it has mode {stat.S_IMODE(found.st_mode):04o}; others "
            "may not write what is run. Build the image again: codecage image build."
        )


def _refused(entry: FileEntry, why: str) -> ImageRefusedError:
    return ImageRefusedError(
        f"The image's file {entry.name} is refused: {why}. "
        "Build the image again: codecage image build."
    )
