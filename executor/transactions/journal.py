"""
What a commit is going to do, on disk before it does any of it.

The journal names, for each change, the slot of the staging directory in which its new content
lies and into which what is displaced goes. So whoever finds it can tell by the slots alone how far
the commit came. It is written aside, synced, and put in its place by one rename: either it is not
there, and nothing was done, or it is complete.
"""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from executor.kernel.descriptors import Descriptor
from executor.transactions.changes import Change, ChangeKind
from executor.transactions.copying import write_whole
from executor.transactions.errors import Unrecoverable
from executor.transactions.places import STAGING, is_path, opened, sync_directory
from executor.transactions.renaming import move

JOURNAL: Final = "journal"
UNDO: Final = "undo"
_ASIDE: Final = "journal.new"
_VERSION: Final = 1
_LONGEST: Final = 64 * 2**20
_DIGEST: Final = 64


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One change, and the name of its slot.
    """

    kind: ChangeKind
    path: str
    directory: bool
    before: str
    after: str
    slot: str


def entries_of(changes: tuple[Change, ...]) -> tuple[Entry, ...]:
    """
    The changes with a slot each, in their order.
    """
    return tuple(
        Entry(one.kind, one.path, one.directory, one.before, one.after, str(number))
        for number, one in enumerate(changes)
    )


def write_journal(staging: Descriptor, entries: tuple[Entry, ...]) -> None:
    """
    Put the journal on the device. From here on the commit is completed or undone, never forgotten.
    """
    said = {"version": _VERSION, "entries": [_said(entry) for entry in entries]}
    data = json.dumps(said, ensure_ascii=True).encode()
    with opened(staging, _ASIDE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600) as file:
        write_whole(file, data)
        os.fsync(file.number)
    sync_directory(staging)
    move(staging, _ASIDE, staging, JOURNAL)
    sync_directory(staging)


def read_journal(staging: Descriptor) -> tuple[Entry, ...] | None:
    """
    The journal that a commit has left; None where it came not that far.

    Raises Unrecoverable for one that this server does not write.
    """
    try:
        with opened(staging, JOURNAL, os.O_RDONLY) as file:
            data = os.pread(file.number, _LONGEST + 1, 0)
    except FileNotFoundError:
        return None
    try:
        said = json.loads(data) if len(data) <= _LONGEST else None
    except ValueError as error:
        raise _strange("it is no JSON") from error
    if not isinstance(said, dict) or said.get("version") != _VERSION:
        raise _strange(f"it is not of version {_VERSION}")
    entries = said.get("entries")
    if not isinstance(entries, list) or not entries:
        raise _strange("it has no entries")
    return tuple(_entry(one, number) for number, one in enumerate(entries))


def forget_journal(staging: Descriptor) -> None:
    """
    The commit is over, completed or undone: what is left in the staging directory is rubbish.
    """
    with suppress(FileNotFoundError):
        os.unlink(JOURNAL, dir_fd=staging.number)
    sync_directory(staging)


def mark_undo(staging: Descriptor) -> None:
    """
    Put on the device that the commit is being undone, so that nobody completes it halfway.
    """
    if not is_undone(staging):
        opened(staging, UNDO, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600).close()
        sync_directory(staging)


def is_undone(staging: Descriptor) -> bool:
    """
    Whether somebody began to undo the commit.
    """
    try:
        staging.step(UNDO.encode()).close()
    except FileNotFoundError:
        return False
    return True


def _said(entry: Entry) -> dict[str, object]:
    return {
        "kind": entry.kind.value,
        "path": entry.path,
        "directory": entry.directory,
        "before": entry.before,
        "after": entry.after,
    }


def _entry(said: object, number: int) -> Entry:
    match said:
        case {
            "kind": "added" | "modified" | "deleted" as kind,
            "path": str(path),
            "directory": bool(directory),
            "before": str(before),
            "after": str(after),
        } if is_path(path) and _fits(ChangeKind(kind), directory, before, after):
            return Entry(ChangeKind(kind), path, directory, before, after, str(number))
    raise _strange(f"its entry {number} is none")


def _fits(kind: ChangeKind, directory: bool, before: str, after: str) -> bool:
    """
    Whether there are digests where the kind has some, and nowhere else.
    """
    had = not directory and kind is not ChangeKind.ADDED
    has = not directory and kind is not ChangeKind.DELETED
    if directory and kind is ChangeKind.MODIFIED:
        return False
    return len(before) == (_DIGEST if had else 0) and len(after) == (_DIGEST if has else 0)


def _strange(why: str) -> Unrecoverable:
    return Unrecoverable(f"the journal in {STAGING} is not one of this server's: {why}")
