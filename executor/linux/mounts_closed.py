"""
A mount namespace in which nothing of the host can be changed: for a process that goes on reading.

All mounts become read-only, without set-id programs and without devices. What has to stay as it
was is copied before and attached over itself afterwards. Whoever has no right to mount in this
namespace cannot undo it, nor can a namespace that is copied from it by another user's.

That a mount is read-only does not keep anybody from connecting to a socket that lies there.

Sources: mount_setattr(2), open_tree(2), proc(5).
"""

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from executor.linux import mounts
from executor.linux.errors import MechanismFailed, asking
from executor.linux.mounts import MECHANISM, Attribute

_CLOSED = Attribute.READ_ONLY | Attribute.NO_SET_ID | Attribute.NO_DEVICES
_KEPT = Attribute.NO_SET_ID | Attribute.NO_DEVICES
_OPTIONS = frozenset({"ro", "nosuid", "nodev"})
_PROC = "/proc"
_COPIED_BYTES, _COPIED_FILES = 1 << 24, 1 << 10
_ROOT_MAY_WRITE = stat.S_IWUSR


def close(
    writable: Sequence[str],
    devices: Sequence[str],
    shut: Sequence[str] = (),
    copied: Sequence[str] = (),
) -> None:
    """
    Close every mount of this namespace, but the trees `writable`, without what is `shut` in them,
    and the files `devices`. The files of the directories `copied` become copies in memory.

    In /proc, what is there of each process stays writable, as far as the kernel lets this one.
    For a process in a mount namespace of its own with the right to mount. Paths are absolute and
    have no links. Raises MechanismMissing without that right, MechanismFailed when one cannot be
    had, or when a mount is not closed afterwards; the process must then end.
    """
    mounts.isolate()
    kept = _copies((*writable, _PROC), _KEPT)
    kept += _copies(devices, None)
    kept += _copies((*shut, *_settings()), _CLOSED)
    kept += [(path, _in_memory()) for path in copied]
    contents = [_contents(path) for path in copied]
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mounts.restrict(root, _CLOSED)
    os.close(root)
    for path, tree in kept:
        mounts.attach(tree, None, path)
        os.close(tree)
    for path, files in zip(copied, contents, strict=True):
        _write(path, files)
    _require_closed({*writable, *copied, _PROC}, {*devices}, shut)


def _in_memory() -> int:
    return mounts.memory_file_system(
        _COPIED_BYTES, _COPIED_FILES, 0o700, _KEPT | Attribute.NO_EXECUTION
    )


def _contents(directory: str) -> dict[str, bytes]:
    with asking(MECHANISM, "reading {}", "name a directory of files", directory):
        files = (path for path in Path(directory).iterdir() if path.is_file())
        return {str(path): path.read_bytes() for path in files}


def _write(directory: str, files: dict[str, bytes]) -> None:
    with asking(MECHANISM, "filling {}", "name a directory of few files", directory):
        for path, content in files.items():
            Path(path).write_bytes(content)


def _copies(paths: Iterable[str], attributes: Attribute | None) -> list[tuple[str, int]]:
    found = [(path, mounts.copy_tree(path)) for path in paths]
    for _, tree in found:
        if attributes is not None:
            mounts.restrict(tree, attributes)
    return found


def _settings() -> Iterable[str]:
    """
    What of /proc is the kernel's and not a process's, and can be written by its owner.
    """
    with asking(MECHANISM, "listing /proc", "mount /proc"), os.scandir(_PROC) as entries:
        for entry in entries:
            if entry.name.isdecimal() or entry.is_symlink():
                continue
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode) or mode & _ROOT_MAY_WRITE:
                yield entry.path


def _require_closed(writable: set[str], devices: set[str], shut: Iterable[str]) -> None:
    """
    See that what is mounted last at each place is closed, unless it is one of these.
    """
    last = {mount.place: mount.options for mount in mounts.mounted()}
    wrong = [
        place
        for place, options in last.items()
        if not options >= _OPTIONS
        and place not in devices
        and not any(place == one or place.startswith(f"{one}/") for one in writable)
    ]
    # What is shut in those lies below them, and is looked at by itself.
    wrong += [path for path in (*shut, *_settings()) if "ro" not in last.get(path, ())]
    if wrong:
        raise MechanismFailed(MECHANISM, f"{wrong} can still be changed; do not run here")
