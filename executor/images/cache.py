"""
The cache directory: where it is, who may write it, and who is writing it now.

    root/            0700, owned by the user who builds
      lock           flock: one builder or pruner at a time
      index.json     0600: image key -> SHA-256 of its manifest (see `catalog.py`)
      images/        finished images, each renamed into place whole
      inputs/        fetched and translated files, named by their SHA-256
      staging/       work in progress; whoever holds the lock may empty it

The lock is what makes leftovers recognisable: while it is held nobody else is building, so
everything in `staging/` was left by a build that died.
"""

import ctypes
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from executor.images.errors import CacheRefusedError


@dataclass(frozen=True, slots=True)
class Cache:
    """
    A cache at `root`, an absolute path. Nothing is made or checked until `prepare`.
    """

    root: Path

    @property
    def images(self) -> Path:
        """
        Where finished images are.
        """
        return self.root / "images"

    @property
    def inputs(self) -> Path:
        """
        Where fetched files are, by content.
        """
        return self.root / "inputs"

    @property
    def staging(self) -> Path:
        """
        Where a build works.
        """
        return self.root / "staging"

    @property
    def index(self) -> Path:
        """
        The file that anchors every manifest.
        """
        return self.root / "index.json"


def default_cache() -> Cache:
    """
    The cache at `$CODECAGE_CACHE`, else `$XDG_CACHE_HOME/codecage`, else `~/.cache/codecage`.

    Raises CacheRefusedError for a `CODECAGE_CACHE` that is not absolute; a relative
    `XDG_CACHE_HOME` is ignored, as the XDG base directory specification says.
    """
    chosen = os.environ.get("CODECAGE_CACHE", "")
    if chosen:
        if not Path(chosen).is_absolute():
            raise CacheRefusedError(
                f"CODECAGE_CACHE is {chosen!r}; it must be an absolute path. "
                "A relative one would be another cache in every directory."
            )
        return Cache(Path(chosen))
    base = os.environ.get("XDG_CACHE_HOME", "")
    if Path(base).is_absolute():
        return Cache(Path(base) / "codecage")
    try:
        return Cache(Path.home() / ".cache" / "codecage")
    except RuntimeError as error:
        raise CacheRefusedError(
            "No home directory is known to keep images in; set CODECAGE_CACHE to a directory."
        ) from error


def prepare(cache: Cache) -> None:
    """
    Make the cache's directories, mode 0700, and check those that exist.

    Raises CacheRefusedError where one is not a directory, belongs to somebody else, can be
    written by somebody else, or cannot be made.
    """
    for directory in (cache.root, cache.images, cache.inputs, cache.staging):
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = directory.lstat()
        except OSError as error:
            raise CacheRefusedError(
                f"The cache directory {directory} cannot be made: {error.strerror}. "
                "Set CODECAGE_CACHE to a directory that you can write."
            ) from error
        _require_own(directory, found)


def _require_own(directory: Path, found: os.stat_result) -> None:
    if not stat.S_ISDIR(found.st_mode):
        raise CacheRefusedError(f"{directory} is not a directory (links are not followed).")
    if found.st_uid != os.geteuid():
        raise CacheRefusedError(
            f"{directory} belongs to user {found.st_uid}, this is user {os.geteuid()}: whoever "
            "writes the cache runs code as you. Set CODECAGE_CACHE to a directory of your own."
        )
    if found.st_mode & 0o022:
        raise CacheRefusedError(
            f"{directory} has mode {stat.S_IMODE(found.st_mode):04o}; nobody but its owner may "
            f"write it. Run: chmod go-w {directory}"
        )


@contextmanager
def exclusive(cache: Cache, waiting: Callable[[], None]) -> Iterator[None]:
    """
    Hold the cache's lock; `waiting` is called once if another process has it.

    The kernel drops the lock with the process that held it (flock(2)), so a killed build
    blocks nobody. The descriptor is closed on exec: no tool inherits the lock.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(cache.root / "lock", flags, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sweep(cache: Cache) -> int:
    """
    Remove what dead builds left in `staging/`; the lock must be held. Returns the bytes freed.
    """
    return sum(remove(entry) for entry in list(cache.staging.iterdir()))


def remove(path: Path) -> int:
    """
    Remove a file or a tree without following links. Returns the bytes that it held.
    """
    freed = tree_bytes(path)
    if path.is_dir() and not path.is_symlink():
        import shutil  # noqa: PLC0415 - what only looks for an image removes nothing

        shutil.rmtree(path)
    else:
        path.unlink()
    return freed


def tree_bytes(path: Path) -> int:
    """
    The size of the regular files at and below `path`, in bytes; what vanishes meanwhile is 0.
    """
    if path.is_symlink() or not path.is_dir():
        return _file_bytes(path)
    return sum(
        _file_bytes(Path(directory) / name)
        for directory, _, names in os.walk(path)
        for name in names
    )


def _file_bytes(path: Path) -> int:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def write_new(path: Path, data: bytes, mode: int = 0o444) -> None:
    """
    Write a file that must not exist yet, with exactly `mode`; `flush_tree` makes it durable.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)


def flush_tree(directory: Path) -> None:
    """
    Make everything below `directory` durable, by syncfs(2): an image has thousands of files.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise CacheRefusedError(f"{directory} could not be written out: {os.strerror(code)}.")
    finally:
        os.close(descriptor)


def flush_directory(directory: Path) -> None:
    """
    Make the names in `directory` durable, by fsync(2).
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, staging: Path, data: bytes, mode: int) -> None:
    """
    Put `data` at `path` whole or not at all, by way of a file in `staging`.
    """
    draft = staging / f"{path.name}.{os.getpid()}"
    draft.unlink(missing_ok=True)
    write_new(draft, data, mode)
    flush_tree(staging)
    draft.replace(path)
    flush_directory(path.parent)
