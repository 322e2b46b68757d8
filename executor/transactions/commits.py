"""
A commit, from a session's layer to the base: prepared, then applied or abandoned.

Preparing makes the list of changes, checks that the base is what the session saw, and copies all
new content into the staging directory, where nobody can change it any more. Between the two the
caller may look at the list, have it judged and record it; what is applied is that copy, which has
the digests of that list. Nothing of the base has been touched until `apply`.

A commit is used by one thread at a time, and each of its steps may take as long as the disk does.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from executor.kernel.descriptors import Descriptor
from executor.kernel.errors import GuestError, InternalError
from executor.transactions.applying import Application, Watch
from executor.transactions.changes import Change, ChangeKind, changes_of, digest_of_changes
from executor.transactions.diffs import MOST_TEXT, DiffBudget, Undiffed, unified
from executor.transactions.errors import Conflict
from executor.transactions.journal import Entry, entries_of, forget_journal, write_journal
from executor.transactions.layer import Layer
from executor.transactions.nodes import MOST_DIGESTED_AT_OPEN, Node, look
from executor.transactions.places import held_at, opened, parent_of
from executor.transactions.staging import alone, clear, make_staging, quiet, recover, stage
from executor.transactions.verdicts import Verdict

MOST_CHANGES: Final = 10_000
"""Paths that one commit may change."""
MOST_DIFFED: Final = 50
"""Files of a list that have a diff."""


class Outcome(Enum):
    """
    What came of a commit; the value is the word in the record and for clients.
    """

    COMMITTED = "committed"
    UNCHANGED = "unchanged"
    CONFLICT = "conflict"
    PREVIEW = "preview"
    GATE_FAILED = "gate failed"
    ROLLED_BACK = "rolled back"


@dataclass(frozen=True, slots=True)
class Report:
    """
    What a commit, a dry run or a rollback came to. `conflicts` are paths, relative to the mount,
    that are not as the session saw them; `digest` is that of the list of changes, `gates` what the
    gates said of it.
    """

    mount: str
    outcome: Outcome
    changes: tuple[Change, ...] = ()
    digest: str = ""
    conflicts: tuple[str, ...] = ()
    gates: tuple[Verdict, ...] = ()


def preview(layer: Layer) -> Report:
    """
    What a commit would do now. Raises OSError and GuestError.
    """
    changes = _shown(layer)
    conflicts = tuple(_conflicts(layer))
    outcome = Outcome.PREVIEW if changes else Outcome.UNCHANGED
    return Report(layer.mount, outcome, changes, digest_of_changes(changes), conflicts)


class Commit:
    """
    One commit of a layer. After `prepare` one of `apply` and `abandon` has to be called.
    """

    def __init__(self, layer: Layer, watch: Watch = quiet) -> None:
        self._layer = layer
        self._watch = watch
        self._held = ExitStack()
        self._staging: Descriptor | None = None
        self._entries: tuple[Entry, ...] = ()
        self.changes: tuple[Change, ...] = ()

    @property
    def digest(self) -> str:
        """
        What identifies the list of changes.
        """
        return digest_of_changes(self.changes)

    def prepare(self) -> None:
        """
        Make the list and stage it; `changes` is empty where there is nothing to commit.

        Raises Conflict, with nothing left behind; GuestError: EBUSY where another commit is under
        way, E2BIG for more than 10,000 changes; Unrecoverable; and OSError.
        """
        self.changes = _shown(self._layer)
        if not self.changes:
            return
        try:
            self._held.enter_context(alone(self._layer.base))
            recover(self._layer.base, self._watch)
            if conflicts := tuple(_conflicts(self._layer)):
                raise Conflict(*conflicts)
            self._stage()
        except BaseException:
            self._drop_staging()
            raise

    def apply(self) -> None:
        """
        Put everything in place, and renew the layer.

        Raises Conflict and OSError: then everything has been taken back.
        """
        staging = self._prepared()
        self._watch("write the journal")
        try:
            write_journal(staging, self._entries)
        except OSError:
            self._end(staging)
            raise
        try:
            self._do(Application(self._layer.base, staging, self._entries, self._watch))
        except _Unsettled as error:
            # The journal stays where it is, for the next commit or the next start.
            self._held.close()
            raise error.cause from error
        except (Conflict, OSError):
            self._end(staging)
            raise
        self._end(staging)
        try:
            self._layer.renew()
        except OSError as error:
            raise InternalError("a commit was applied and its layer cannot be emptied") from error

    def abandon(self) -> None:
        """
        Leave the base as it is. The layer keeps its changes.
        """
        self._drop_staging()

    def _do(self, application: Application) -> None:
        try:
            application.apply()
        except (Conflict, OSError) as error:
            try:
                left = application.undo()
            except OSError as worse:
                raise _Unsettled(worse) from error
            if isinstance(error, Conflict):
                raise Conflict(*dict.fromkeys([*error.paths, *left])) from error
            raise

    def _end(self, staging: Descriptor) -> None:
        self._watch("forget the journal")
        with suppress(OSError):
            forget_journal(staging)
            self._drop_staging()
        # What could not be cleared says what has been done, and whoever finds it comes to the same.
        self._held.close()

    def _stage(self) -> None:
        self._watch("make the staging directory")
        self._staging = make_staging(self._layer.base)
        self._entries = entries_of(self.changes)
        for change, entry in zip(self.changes, self._entries, strict=True):
            self._watch(f"stage {change.path}")
            stage(self._layer.upper, self._staging, change, entry)

    def _prepared(self) -> Descriptor:
        if self._staging is None:
            raise InternalError("a commit is applied that has not been prepared")
        return self._staging

    def _drop_staging(self) -> None:
        staging, self._staging = self._staging, None
        with self._held:
            if staging is not None:
                with staging:
                    clear(self._layer.base, staging, self._watch)


class _Unsettled(Exception):
    """
    Taking a commit back has failed halfway.
    """

    def __init__(self, cause: OSError) -> None:
        super().__init__(f"{cause}")
        self.cause = cause


def conflict_report(layer: Layer, conflict: Conflict, changes: tuple[Change, ...]) -> Report:
    """
    A commit that found the base changed.
    """
    digest = digest_of_changes(changes)
    return Report(layer.mount, Outcome.CONFLICT, changes, digest, conflict.paths)


def _conflicts(layer: Layer) -> Iterator[str]:
    """
    The paths whose objects are not what they were when the session first came to them.
    """
    for path, base in layer.bases.items():
        if _differs(base, now_at(layer, path, None)):
            yield path
    for path, read in layer.reads.items():
        if path not in layer.bases and read.differs(now_at(layer, path, MOST_DIGESTED_AT_OPEN)):
            yield path


_ANOTHER: Final = Node(directory=False, identity=(), digest="", mode=0, owner=(0, 0))


def now_at(layer: Layer, path: str, most: int | None) -> Node | None:
    """
    What the base has at a path now; files longer than `most` bytes get no digest.
    """
    try:
        return look(layer.base, path, most=most)
    except (GuestError, PermissionError):
        return _ANOTHER  # a link, a device, something that is being written: not what it was


def _differs(base: Node | None, now: Node | None) -> bool:
    return now is not None if base is None else base.differs(now)


def _shown(layer: Layer) -> tuple[Change, ...]:
    changes = changes_of(layer)
    if len(changes) > MOST_CHANGES:
        raise GuestError(
            errno.E2BIG,
            f"the session changes {len(changes)} paths below {layer.mount}; one commit takes "
            f"{MOST_CHANGES} at most",
        )
    budget, left = DiffBudget(), MOST_DIFFED
    shown = []
    for change in changes:
        if change.directory:
            shown.append(change)
            continue
        diff = _diff(layer, change, budget) if left else Undiffed.BEYOND
        left = max(0, left - 1)
        if isinstance(diff, Undiffed):
            shown.append(replace(change, undiffed=diff))
        else:
            shown.append(replace(change, diff=diff))
    return tuple(shown)


def _diff(layer: Layer, change: Change, budget: DiffBudget) -> str | Undiffed:
    old = b"" if change.kind is ChangeKind.ADDED else _content(layer.base, change.path)
    new = b"" if change.kind is ChangeKind.DELETED else _content(layer.upper, change.path)
    if old is None or new is None:
        return Undiffed.UNREADABLE
    return unified(change.path, old, new, budget)


def _content(root: Descriptor, path: str) -> bytes | None:
    """
    A file as far as a diff can use it; None where it cannot be read.
    """
    directory, name = parent_of(path)
    try:
        with (
            held_at(root, directory) as parent,
            opened(parent, name, os.O_RDONLY | os.O_NONBLOCK) as file,
        ):
            return os.pread(file.number, MOST_TEXT + 1, 0)
    except OSError:
        return None
