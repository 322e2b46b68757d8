"""
Directories of the host that are one box's own, where no namespace can give it any.

They are made before the box and removed after it, by its maker, when no process of the box is
left. By then a guest has put anything in them: directories that nobody may list, thousands of
levels. Nothing is followed, and nothing is walked deeper than two levels: what lies deeper is
moved up until it does not.
"""

import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from executor.linux.errors import asking
from executor.process.plan import BoxPlan, Identity

MECHANISM = "private directory"

_MEND = "let the server write in the directory for temporary files"
_PREFIX = "codecage-box-"
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Private:
    """
    A directory, and for each of the guest's own places the directory in it that stands for it.
    """

    directory: str
    places: tuple[tuple[str, str], ...]


def make(plan: BoxPlan, identity: Identity) -> Private:
    """
    Make one directory for each own place of `plan`, which `identity` alone may enter.

    Raises MechanismFailed when none can be made.
    """
    with asking(MECHANISM, "making one", _MEND):
        directory = tempfile.mkdtemp(prefix=_PREFIX)
        places = []
        for number, own in enumerate(plan.own_places):
            place = f"{directory}/{number}"
            Path(place).mkdir(0o700)
            places.append((own.mount, place))
        for path in (directory, *(place for _, place in places)):
            if os.geteuid() == 0:
                os.chown(path, identity.uid, identity.gid)
    return Private(directory, tuple(places))


def remove(private: Private) -> None:
    """
    Remove it with all that is in it, when no process of the box is left.

    Raises MechanismFailed when something cannot be removed.
    """
    with asking(MECHANISM, f"removing {private.directory}", _MEND):
        top = _opened(private.directory, None)
        try:
            _empty(top)
        finally:
            os.close(top)
        Path(private.directory).rmdir()


def _empty(top: int) -> None:
    """
    Remove everything below `top`: files at once, directories when their content has moved up.
    """
    fresh = count(1)
    while names := os.listdir(top):
        for name in names:
            if not _is_directory(name, top):
                os.unlink(name, dir_fd=top)
                continue
            inner = _opened(name, top)
            try:
                _move_up(inner, top, fresh)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=top)


def _move_up(inner: int, top: int, fresh: "count[int]") -> None:
    for name in os.listdir(inner):
        if not _is_directory(name, inner):
            os.unlink(name, dir_fd=inner)
            continue
        with suppress(OSError):  # not empty
            os.rmdir(name, dir_fd=inner)
            continue
        # A directory moves only if its owner may write in it, for its ".." changes.
        os.close(_opened(name, inner))
        os.rename(
            name, f".removed-{next(fresh)}-{os.urandom(8).hex()}", src_dir_fd=inner, dst_dir_fd=top
        )


def _is_directory(name: str, directory: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)


def _opened(name: str, directory: int | None) -> int:
    """
    The directory `name`, open, with all rights for its owner: a guest may have taken them.
    """
    if directory is not None:
        # No process is left that could put a link here in between.
        os.chmod(name, 0o700, dir_fd=directory)
    return os.open(name, _OPEN_DIRECTORY, dir_fd=directory)
