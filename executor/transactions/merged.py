"""
One object as a session sees it: its own layer, and beneath that the base.

It is a `Descriptor` like those of other mounts, so the walk and the acts on files are the same. As
a descriptor it is the object that shows: the layer's where the layer has one, else the base's. A
directory may be both; then the base shows between the names of the layer, but for what the session
has removed. Every act that changes something happens in the layer, which it brings up to there
first; the base is only ever read.
"""

import errno
import os
from collections.abc import Generator
from contextlib import suppress
from stat import S_ISDIR, S_ISREG

from executor.kernel.descriptors import CLOSED, Descriptor
from executor.kernel.errors import GuestError
from executor.transactions.layer import Layer
from executor.transactions.places import STAGING, joined


class Merged(Descriptor):
    """
    The object at `path` of a layer's mount. `upper` is the layer's, `lower` the base's; where both
    are there, both are directories. It owns the two.
    """

    __slots__ = ("_layer", "_lower", "_path", "_upper")

    def __init__(
        self, layer: Layer, path: str, upper: Descriptor | None, lower: Descriptor | None
    ) -> None:
        shows = upper or lower
        assert shows is not None
        super().__init__(shows.number)
        self._layer = layer
        self._path = path
        self._upper = upper
        self._lower = lower

    @classmethod
    def root(cls, layer: Layer) -> "Merged":
        """
        The root of a layer's mount.
        """
        return cls(layer, "", layer.upper.duplicate(), layer.base.duplicate())

    def duplicate(self) -> "Merged":
        """
        A second one of the same object.
        """
        upper = None if self._upper is None else self._upper.duplicate()
        try:
            lower = None if self._lower is None else self._lower.duplicate()
        except OSError:
            if upper is not None:
                upper.close()
            raise
        return Merged(self._layer, self._path, upper, lower)

    def step(self, name: bytes) -> "Descriptor":
        """
        The object called `name` in this directory. Raises OSError as `Descriptor.step` does.
        """
        path = joined(self._path, name.decode())
        if name == STAGING.encode():
            raise _fails(errno.ENOENT)
        upper = _found(self._upper, name)
        try:
            lower = self._lower_of(path, name, upper)
        except BaseException:
            if upper is not None:
                upper.close()
            raise
        if upper is None and lower is None:
            raise _fails(errno.ENOENT)
        return Merged(self._layer, path, upper, lower)

    def names(self) -> Generator[bytes, None, None]:
        """
        The names in this directory, in no order.
        """
        seen: set[bytes] = set()
        for directory in (self._upper, self._lower):
            if directory is None:
                continue
            for name in directory.names():
                if name not in seen and self._shows(name, directory):
                    seen.add(name)
                    yield name

    def reopen(self, flags: int) -> Descriptor:
        """
        Open the file that shows; one of the base, which is only read, is remembered.

        Raises OSError and GuestError.
        """
        opened = super().reopen(flags)
        try:
            if self._upper is None:
                self._layer.note_read(self._path, opened)
        except BaseException:
            opened.close()
            raise
        return opened

    def to_change(self) -> None:
        """
        Bring the object up into the layer, with its content. Raises OSError and GuestError.
        """
        if self._upper is not None or self._lower is None:
            return
        mode = self._lower.status().st_mode
        if S_ISDIR(mode):
            self._upper = self._layer.upper_directory(self._path)
            self._number = self._upper.number
        elif S_ISREG(mode):
            self._upper = self._layer.copy_up(self._path, self._lower)
            self._number = self._upper.number
            self._lower.close()
            self._lower = None
        else:
            raise _only_plain(self._path)

    def create(self, name: bytes, flags: int, mode: int) -> Descriptor:
        """
        Make a file in the layer, and open it.
        """
        self._prepare_new(name)
        return super().create(name, flags, mode)

    def make_directory(self, name: bytes, mode: int) -> None:
        """
        Make a directory in the layer.
        """
        self._prepare_new(name)
        super().make_directory(name, mode)

    def remove(self, name: bytes) -> None:
        """
        Remove a regular file from what the session sees.
        """
        with self._plain(name):
            self._layer.note_base(self._below(name))
        self._hide(name)
        if _has(self._upper, name):
            super().remove(name)

    def remove_directory(self, name: bytes) -> None:
        """
        Remove a directory that is empty as the session, and the host, see it.
        """
        with self.step(name) as found:
            if not S_ISDIR(found.status().st_mode):
                raise _fails(errno.ENOTDIR)
            if any(True for _ in found.names()):
                raise _fails(errno.ENOTEMPTY)
        self._layer.note_base(self._below(name))
        self._hide(name)
        if _has(self._upper, name):
            super().remove_directory(name)

    def rename(self, name: bytes, target: Descriptor, new: bytes) -> None:
        """
        Move a regular file to another name below the mount, in place of what file is there.

        Raises OSError: EXDEV for a directory, which programs answer by copying it.
        """
        if not isinstance(target, Merged):
            raise _fails(errno.EXDEV)
        with self._plain(name) as moved:
            moved.to_change()
        self.to_change()
        target._make_way(new)  # noqa: SLF001 - another of this class
        self._hide(name)
        super().rename(name, target, new)

    def close(self) -> None:
        """
        Let go of both objects.
        """
        for held in (self._upper, self._lower):
            if held is not None:
                held.close()
        self._number = CLOSED

    def release(self) -> int:
        """
        The number of the object that shows, given away.
        """
        number = os.dup(self.number)
        self.close()
        return number

    def _make_way(self, name: bytes) -> None:
        """
        A file is about to be moved onto a name here.
        """
        self.to_change()
        with suppress(FileNotFoundError):
            self._plain(name).close()
        self._layer.note_base(self._below(name))

    def _plain(self, name: bytes) -> Descriptor:
        """
        The regular file of a name. Raises OSError, and GuestError (EPERM) for other objects.
        """
        found = self.step(name)
        mode = found.status().st_mode
        if S_ISREG(mode):
            return found
        found.close()
        if S_ISDIR(mode):
            raise _fails(errno.EXDEV)
        raise _only_plain(self._below(name))

    def _prepare_new(self, name: bytes) -> None:
        """
        Something is about to be made at a name where nothing is.
        """
        with suppress(FileNotFoundError):
            self.step(name).close()
            raise _fails(errno.EEXIST)
        self.to_change()
        self._layer.note_base(self._below(name))

    def _hide(self, name: bytes) -> None:
        """
        Have nothing of the base show at a name. First of all, since the budget may not allow it;
        what the layer has there shows as before.
        """
        path = self._below(name)
        if self._lower is not None and self._layer.bases.get(path) is not None:
            self._layer.hide(path)

    def _lower_of(self, path: str, name: bytes, upper: Descriptor | None) -> Descriptor | None:
        """
        What of the base shows at a name: beneath a directory of the layer a directory only.
        """
        if self._lower is None or path in self._layer.hidden:
            return None
        lower = _found(self._lower, name)
        if upper is None or lower is None:
            return lower
        both = S_ISDIR(upper.status().st_mode) and S_ISDIR(lower.status().st_mode)
        if both:
            return lower
        lower.close()
        return None

    def _shows(self, name: bytes, directory: Descriptor) -> bool:
        if name == STAGING.encode():
            return False
        if directory is self._upper:
            return True
        try:
            return joined(self._path, name.decode()) not in self._layer.hidden
        except UnicodeDecodeError:
            return True

    def _below(self, name: bytes) -> str:
        return joined(self._path, name.decode())


def _found(directory: Descriptor | None, name: bytes) -> Descriptor | None:
    if directory is None:
        return None
    try:
        return directory.step(name)
    except FileNotFoundError:
        return None


def _has(directory: Descriptor | None, name: bytes) -> bool:
    found = _found(directory, name)
    if found is None:
        return False
    found.close()
    return True


def _fails(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def _only_plain(path: str) -> GuestError:
    return GuestError(
        errno.EPERM, f"{path}: in a transaction only regular files and directories change"
    )
