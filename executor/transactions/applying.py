"""
A journalled commit, carried out or taken back; at any point of either it can be cut off.

How far it came is read from the slots, never remembered. New content lies in its slot until one
rename puts it in place, and what that displaces lies in the slot afterwards, and is looked at
there: if it is not what the session started from, somebody else was quicker, and everything is
taken back. Each rename is atomic, so every change is either not begun or done.

A program of the host that writes through a file it opened before the exchange writes into the
displaced file; one that looks at several files meanwhile may see some old and some new. Nothing
here can prevent that.
"""

import errno
import os
from collections.abc import Callable
from stat import S_ISREG
from typing import Final

from executor.kernel.descriptors import Descriptor
from executor.transactions.changes import ChangeKind
from executor.transactions.errors import Conflict
from executor.transactions.journal import Entry, mark_undo
from executor.transactions.nodes import digest_of
from executor.transactions.places import held_at, opened, parent_of, sync_directory
from executor.transactions.renaming import exchange, move

Watch = Callable[[str], None]
"""Told what is about to be done to the file system: the tests end the process there."""

# What is not as the session saw it, rather than something wrong with the host.
_ELSEWHERE: Final = frozenset(
    {errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EXDEV}
)


class Application:
    """
    The entries of one journal below `root`, with `staging` their slots. It owns neither.
    """

    def __init__(
        self, root: Descriptor, staging: Descriptor, entries: tuple[Entry, ...], watch: Watch
    ) -> None:
        self._root = root
        self._staging = staging
        self._entries = entries
        self._watch = watch

    def apply(self) -> None:
        """
        Do what is not done yet, in order, and sync it.

        Raises Conflict, and OSError where the host refuses: then `undo` has to follow.
        """
        for entry in self._entries:
            try:
                if not self._is_applied(entry):
                    self._do(entry)
            except OSError as error:
                if error.errno in _ELSEWHERE:
                    raise Conflict(entry.path) from error
                raise
            if not self._displaced_what_was_there(entry):
                raise Conflict(entry.path)
        self._sync()

    def undo(self) -> tuple[str, ...]:
        """
        Take back what was done, in reverse, and sync it. The paths where somebody else has changed
        what the commit had put there: they keep what they have.

        Raises OSError.
        """
        self._watch("mark the undoing")
        mark_undo(self._staging)
        left = [entry.path for entry in reversed(self._entries) if not self._taken_back(entry)]
        self._sync()
        return tuple(left)

    def _is_applied(self, entry: Entry) -> bool:
        match entry.kind:
            case ChangeKind.MODIFIED:
                return self._slot_digest(entry) != entry.after
            case ChangeKind.ADDED:
                return not self._has_slot(entry)
            case ChangeKind.DELETED:
                return self._has_slot(entry)

    def _do(self, entry: Entry) -> None:
        directory, name = parent_of(entry.path)
        with held_at(self._root, directory) as parent:
            self._watch(f"{entry.kind.value} {entry.path}")
            match entry.kind:
                case ChangeKind.MODIFIED:
                    exchange(self._staging, entry.slot, parent, name)
                case ChangeKind.ADDED:
                    move(self._staging, entry.slot, parent, name)
                case ChangeKind.DELETED:
                    move(parent, name, self._staging, entry.slot)

    def _displaced_what_was_there(self, entry: Entry) -> bool:
        if entry.kind is ChangeKind.ADDED:
            return True
        if not entry.directory:
            return self._slot_digest(entry) == entry.before
        return self._is_empty_slot(entry)

    def _taken_back(self, entry: Entry) -> bool:
        if not self._is_applied(entry):
            return True
        directory, name = parent_of(entry.path)
        try:
            with held_at(self._root, directory) as parent:
                self._watch(f"take back {entry.path}")
                return self._undone(entry, parent, name)
        except OSError as error:
            if error.errno in _ELSEWHERE:
                return False
            raise

    def _undone(self, entry: Entry, parent: Descriptor, name: str) -> bool:
        """
        One change taken back; where what comes back is not what the commit had put there, it is
        somebody's later work, and stays.
        """
        match entry.kind:
            case ChangeKind.DELETED:
                move(self._staging, entry.slot, parent, name)
                return True
            case ChangeKind.ADDED:
                move(parent, name, self._staging, entry.slot)
                if self._is_ours(entry):
                    return True
                move(self._staging, entry.slot, parent, name)
            case ChangeKind.MODIFIED:
                exchange(self._staging, entry.slot, parent, name)
                if self._is_ours(entry):
                    return True
                exchange(self._staging, entry.slot, parent, name)
        return False

    def _is_ours(self, entry: Entry) -> bool:
        if entry.directory:
            return self._is_empty_slot(entry)
        return self._slot_digest(entry) == entry.after

    def _has_slot(self, entry: Entry) -> bool:
        try:
            self._staging.step(entry.slot.encode()).close()
        except FileNotFoundError:
            return False
        return True

    def _slot_digest(self, entry: Entry) -> str:
        """
        The digest of what lies in the slot; "" where that is no file, or none that can be read:
        whatever the session saw could be.
        """
        with self._staging.step(entry.slot.encode()) as held:
            if not S_ISREG(held.status().st_mode):
                return ""
            try:
                with held.reopen(os.O_RDONLY | os.O_NONBLOCK) as file:
                    return digest_of(file.number)
            except PermissionError:
                return ""

    def _is_empty_slot(self, entry: Entry) -> bool:
        try:
            with opened(self._staging, entry.slot, os.O_PATH | os.O_DIRECTORY) as directory:
                return not any(True for _ in directory.names())
        except NotADirectoryError:
            return False

    def _sync(self) -> None:
        self._watch("sync the directories")
        for path in dict.fromkeys(parent_of(entry.path)[0] for entry in self._entries):
            try:
                with held_at(self._root, path) as directory:
                    sync_directory(directory)
            except (FileNotFoundError, NotADirectoryError):
                continue  # removed by this very commit, or by somebody else
        sync_directory(self._staging)
