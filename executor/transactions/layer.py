"""
What one session has changed below one mount, and what it has seen there: nobody else's yet.

The layer is a directory of the server's own. In it stand the files and directories that the
session made or changed, at the paths that they have in the mount, and above them directories that
only lead there. What the session removed is a list of paths, beneath which nothing of the base
shows. For everything that was changed, and for every file that was read, the layer keeps what the
base had there when the session first came to it: a commit is refused where that is no longer so.

Everything here costs the mount's budget: a copied file its bytes, and each name one file. It is
used by one thread at a time.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from executor.kernel.descriptors import Descriptor
from executor.kernel.errors import GuestError
from executor.transactions.copying import copy
from executor.transactions.nodes import MOST_DIGESTED_AT_OPEN, Node, look, read_node, unread_node
from executor.transactions.places import joined, opened, parent_of, split

MOST_READ: Final = 50_000
"""Files that a session may read below one mount between two commits."""
_UPPER: Final = "upper-"
# Labels that the host sets by itself on whatever is made there (xattr(7)).
_LABELS: Final = frozenset({"security.selinux", "security.SMACK64"})


class Budget(Protocol):
    """
    What the layer may still cost; every method raises GuestError (EDQUOT) where that is too much.
    """

    def take_bytes(self, count: int, path: str) -> None:
        """
        Take bytes for a path.
        """

    def give_back_bytes(self, count: int) -> None:
        """
        Return bytes that were not used.
        """

    def take_file(self, path: str) -> None:
        """
        Take one file.
        """

    def give_back_file(self) -> None:
        """
        Return one file that was not made.
        """

    def mark(self) -> None:
        """
        What is left now is what `refill` comes back to.
        """

    def refill(self) -> None:
        """
        Come back to what was left at the last mark.
        """


class Layer:
    """
    The changes to the tree below `base`, kept in `directory`, which is empty and the server's own.

    `mount` is the guest's path of the tree, for messages. The layer owns neither descriptor.
    """

    def __init__(self, base: Descriptor, directory: Descriptor, mount: str, budget: Budget) -> None:
        self.base: Final = base
        self.mount: Final = mount
        self.bases: dict[str, Node | None] = {}
        self.reads: dict[str, Node] = {}
        self.hidden: set[str] = set()
        self._directory = directory
        self._budget = budget
        self._uppers = 0
        self.upper = self._new_upper()
        budget.mark()

    def drop(self) -> None:
        """
        Forget all changes and all that was read, and give back what the changes cost.
        """
        self._empty()
        self._budget.refill()

    def renew(self) -> None:
        """
        Begin anew after a commit: the changes are in the base now, and have been paid for.
        """
        self._empty()
        self._budget.mark()

    @property
    def place(self) -> str:
        """
        The server's own directory for what has to do with this mount.
        """
        return self._directory.host_path

    def close(self) -> None:
        """
        Let go of the layer, which is not used afterwards. Its owner removes the directory.
        """
        self.upper.close()

    def note_base(self, path: str) -> None:
        """
        Keep what the base has at a path that is about to be changed, if that is the first time.

        Raises GuestError: EPERM where it is neither a regular file nor a directory, EACCES where a
        commit could not put another file in its place without losing something.
        """
        if path not in self.bases:
            self.bases[path] = look(self.base, path)

    def note_read(self, path: str, file: Descriptor) -> None:
        """
        Keep what a file of the base is that the session opens to read. Raises GuestError (EDQUOT).
        """
        if path in self.reads:
            return
        if len(self.reads) >= MOST_READ:
            raise GuestError(
                errno.EDQUOT,
                f"{MOST_READ} files below {self.mount} have been read since the last commit or "
                "rollback; a transaction keeps all of them in mind",
            )
        small = file.status().st_size <= MOST_DIGESTED_AT_OPEN
        self.reads[path] = read_node(file, path) if small else unread_node(file)

    @contextmanager
    def apart(self) -> Iterator[dict[str, Node]]:
        """
        Keep what is read meanwhile by itself: it is not the session that looks.
        """
        own, self.reads = self.reads, {}
        try:
            yield self.reads
        finally:
            self.reads = own

    def hide(self, path: str) -> None:
        """
        Nothing of the base shows at a path any more, nor beneath it.
        """
        if path not in self.hidden:
            self._budget.take_file(self._shown(path))
            self.hidden.add(path)

    def upper_directory(self, path: str) -> Descriptor:
        """
        The layer's own directory for a path, made where it is missing, with those above it.

        Raises OSError, and GuestError (EDQUOT).
        """
        held, here = self.upper.duplicate(), ""
        try:
            for name in split(path):
                here = joined(here, name)
                below = self._stepped(held, name, here)
                held.close()
                held = below
        except BaseException:
            held.close()
            raise
        return held

    def copy_up(self, path: str, source: Descriptor) -> Descriptor:
        """
        The layer's own copy of a file of the base, made now and held by O_PATH.

        Raises OSError, and GuestError: EDQUOT, EBUSY, and EACCES as above.
        """
        self._require_replaceable(path, source)
        self.note_base(path)
        directory, name = parent_of(path)
        with self.upper_directory(directory) as parent:
            self._copy(path, source, parent, name)
            return parent.step(name.encode())

    def _stepped(self, held: Descriptor, name: str, path: str) -> Descriptor:
        try:
            return held.step(name.encode())
        except FileNotFoundError:
            self._budget.take_file(self._shown(path))
            os.mkdir(name.encode(), 0o700, dir_fd=held.number)
            return held.step(name.encode())

    def _copy(self, path: str, source: Descriptor, parent: Descriptor, name: str) -> None:
        status = source.status()
        self._budget.take_file(self._shown(path))
        try:
            self._budget.take_bytes(status.st_size, self._shown(path))
        except GuestError:
            self._budget.give_back_file()
            raise
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        mode = 0o600 | (status.st_mode & 0o700)
        try:
            with (
                opened(parent, name, flags, mode) as target,
                source.reopen(os.O_RDONLY | os.O_NONBLOCK) as readable,
            ):
                copy(readable, target, status.st_size)  # a file that grows is noticed below
                self._require_same(path, target)
        except BaseException:
            _remove(parent, name)
            self._budget.give_back_bytes(status.st_size)
            self._budget.give_back_file()
            raise

    def _require_same(self, path: str, target: Descriptor) -> None:
        with target.reopen(os.O_RDONLY) as readable:
            copied = read_node(readable, path)
        base = self.bases[path]
        if base is None or base.digest != copied.digest:
            raise GuestError(errno.EBUSY, f"{self._shown(path)} was changed meanwhile; try again")

    def _require_replaceable(self, path: str, source: Descriptor) -> None:
        """
        A commit puts a new file in the old one's place; what that would lose stays as it is.
        """
        link = source.magic_link
        if not os.access(link, os.W_OK, effective_ids=True):
            raise GuestError(errno.EACCES, f"{self._shown(path)} may not be written on the host")
        if attributes_of(source) - _LABELS:
            raise GuestError(
                errno.EACCES,
                f"{self._shown(path)} has extended attributes, which a commit would lose",
            )

    def _shown(self, path: str) -> str:
        return joined(self.mount, path)

    def _empty(self) -> None:
        # The new one first: where the disk is full, the layer stays as it is.
        old, name = self.upper, f"{_UPPER}{self._uppers}"
        self.upper = self._new_upper()
        old.close()
        shutil.rmtree(name, ignore_errors=True, dir_fd=self._directory.number)
        self.bases.clear()
        self.reads.clear()
        self.hidden.clear()

    def _new_upper(self) -> Descriptor:
        name = f"{_UPPER}{self._uppers + 1}"
        os.mkdir(name, 0o700, dir_fd=self._directory.number)
        self._uppers += 1
        return self._directory.step(name.encode())


def attributes_of(held: Descriptor) -> frozenset[str]:
    """
    The names of a file's extended attributes (listxattr(2)); none where there are no such.
    """
    try:
        return frozenset(os.listxattr(held.magic_link))
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return frozenset()
        raise


def _remove(parent: Descriptor, name: str) -> None:
    try:
        os.unlink(name.encode(), dir_fd=parent.number)
    except FileNotFoundError:
        return
