"""
What a gate is shown of a commit: copies of its files, before and after, and if they still hold.

The gate must not see anything that could change while it looks, nor anything that its agent may not
read; so what it judges is copied, file by file, by the digests of the list of changes. What the
copy took from the base is remembered, and compared once more when the commit is about to be done:
a file that the gate has read is one that the commit rests on.
"""

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Final

from executor.kernel.descriptors import Descriptor
from executor.kernel.errors import GuestError
from executor.transactions.changes import Change, ChangeKind
from executor.transactions.commits import now_at
from executor.transactions.copying import copy
from executor.transactions.layer import Layer
from executor.transactions.merged import Merged
from executor.transactions.nodes import MOST_DIGESTED_AT_OPEN, Node, digest_of
from executor.transactions.places import held_at, joined

AFTER: Final = "after"
BEFORE: Final = "before"
MOST_FILES: Final = 20_000
"""Files that one gate may be shown."""
MOST_BYTES: Final = 256 * 2**20
"""Bytes that one gate may be shown, before and after together."""

Wanted = Callable[[str], bool]
"""Whether a gate is shown the file at a path, relative to the mount."""


@dataclass(frozen=True, slots=True)
class Copied:
    """
    What was copied: the paths, and what the base had at those that came from there.
    """

    files: frozenset[str]
    reads: dict[str, Node]


def copied(layer: Layer, changes: tuple[Change, ...], wanted: Wanted, where: Path) -> Copied:
    """
    Copy the merged tree to `where`/after, and what the base had at the changed paths to
    `where`/before: regular files that are wanted, with no links and no rights of their own.

    Raises OSError, and GuestError: EFBIG beyond the bounds, EBUSY where a file is not as the list
    says.
    """
    room = _Room(layer.mount)
    after = {change.path: change.after for change in changes if not change.directory}
    for name in (AFTER, BEFORE):
        (where / name).mkdir(mode=0o700)
    with layer.apart() as reads:
        files = frozenset(
            _copied(path, held, where / AFTER, room, after.get(path))
            for path, held in _files(layer, wanted)
        )
    for change in changes:
        if change.kind is not ChangeKind.ADDED and not change.directory and wanted(change.path):
            with held_at(layer.base, change.path) as held:
                _copied(change.path, held, where / BEFORE, room, change.before)
    return Copied(files, dict(reads))


def moved(layer: Layer, shown: Copied, wanted: Wanted) -> tuple[str, ...]:
    """
    The paths at which the gate would see something else now. Raises OSError and GuestError.
    """
    now = frozenset(path for path, _ in _files(layer, wanted))
    changed = (
        path
        for path, node in shown.reads.items()
        if node.differs(now_at(layer, path, MOST_DIGESTED_AT_OPEN))
    )
    return tuple(sorted({*changed, *(now ^ shown.files)}))


def _files(layer: Layer, wanted: Wanted) -> Iterator[tuple[str, Descriptor]]:
    """
    Each wanted file of the merged tree, held until the next one.
    """
    waiting: list[tuple[str, Descriptor]] = [("", Merged.root(layer))]
    try:
        while waiting:
            path, directory = waiting.pop()
            with directory:
                for name in sorted(directory.names()):
                    below = _named(path, name)
                    if below is None:
                        continue
                    held = directory.step(name)
                    mode = held.status().st_mode
                    if S_ISDIR(mode):
                        waiting.append((below, held))
                        continue
                    with held:
                        if S_ISREG(mode) and wanted(below):
                            yield below, held
    finally:
        for _, left in waiting:
            left.close()


def _named(directory: str, name: bytes) -> str | None:
    """
    The path of a name; None for one that is no text, which no session sees either.
    """
    try:
        return joined(directory, name.decode())
    except UnicodeDecodeError:
        return None


class _Room:
    """
    What may still be copied.
    """

    def __init__(self, mount: str) -> None:
        self._mount = mount
        self._files, self._bytes = MOST_FILES, MOST_BYTES

    def take(self, size: int) -> None:
        self._files -= 1
        self._bytes -= size
        if min(self._files, self._bytes) < 0:
            raise GuestError(
                errno.EFBIG,
                f"a gate looks at {MOST_FILES} files and {MOST_BYTES // 2**20} MiB at most, and "
                f"there is more below {self._mount}; have `on` in the policy name fewer",
            )


def _copied(path: str, held: Descriptor, where: Path, room: _Room, digest: str | None) -> str:
    size = held.status().st_size
    room.take(size)
    target = where / path
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with (
        held.reopen(os.O_RDONLY | os.O_NONBLOCK) as source,
        Descriptor(os.open(target, flags, 0o600)) as made,
    ):
        copy(source, made, size)
        if digest is not None and digest_of(made.number) != digest:
            raise GuestError(errno.EBUSY, f"{path} was changed while it was looked at; try again")
    return path
