"""
What a session has changed below a mount, as a list: the same list is shown, judged and applied.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from stat import S_ISDIR

from executor.kernel.descriptors import Descriptor
from executor.transactions.diffs import Undiffed
from executor.transactions.layer import Layer
from executor.transactions.nodes import Node, node_of
from executor.transactions.places import depth, held_at, joined


class ChangeKind(Enum):
    """
    What becomes of a path.
    """

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Change:
    """
    One path that changes, relative to the mount. `before` and `after` are SHA-256 digests in hex,
    empty for directories and where there is no such file; `size` is that of the file afterwards, in
    bytes; `mode` the permission bits and `owner` the numbers of user and group that it keeps, None
    for a new one. `diff` is for people and no part of what the list means; where a file has none,
    `undiffed` says why.
    """

    path: str
    kind: ChangeKind
    directory: bool
    before: str = ""
    after: str = ""
    size: int = 0
    mode: int = 0o644
    owner: tuple[int, int] | None = None
    diff: str = ""
    undiffed: Undiffed | None = None

    @property
    def meaning(self) -> tuple[str, ...]:
        """
        What the digest of a list is over.
        """
        directory = "directory" if self.directory else "file"
        return (self.kind.value, directory, self.path, self.before, self.after)


def digest_of_changes(changes: tuple[Change, ...]) -> str:
    """
    SHA-256, in hex, of what a list of changes means.
    """
    said = json.dumps([change.meaning for change in changes], ensure_ascii=True)
    return hashlib.sha256(said.encode()).hexdigest()


def changes_of(layer: Layer) -> tuple[Change, ...]:
    """
    What a layer changes, in the order in which it can be done: what is deleted first, and beneath
    before above; then what is modified; then what is added, above before beneath.

    Reads and digests every file of the layer. Raises OSError and GuestError.
    """
    found = [*_of_upper(layer), *_of_hidden(layer)]
    return tuple(sorted(found, key=_order))


def _order(change: Change) -> tuple[int, int, str]:
    level = depth(change.path)
    match change.kind:
        case ChangeKind.DELETED:
            return 0, -level, change.path
        case ChangeKind.MODIFIED:
            return 1, 0, change.path
        case ChangeKind.ADDED:
            return 2, level, change.path


def _of_upper(layer: Layer) -> Iterator[Change]:
    with layer.upper.duplicate() as root:
        yield from _below(layer, root, "")


def _below(layer: Layer, directory: Descriptor, path: str) -> Iterator[Change]:
    for name in sorted(directory.names()):
        here = joined(path, name.decode())
        with directory.step(name) as held:
            base = layer.bases.get(here)
            if S_ISDIR(held.status().st_mode):
                # A directory that nobody made leads to what was changed, and is no change itself.
                yield from _directory(here, base, made=here in layer.bases)
                yield from _below(layer, held, here)
            else:
                yield from _file(here, base, node_of(held, here))


def _directory(path: str, base: Node | None, *, made: bool) -> Iterator[Change]:
    if not made or (base is not None and base.directory):
        return
    if base is not None:
        yield _deleted(path, base)
    yield Change(path, ChangeKind.ADDED, directory=True, mode=0o755)


def _file(path: str, base: Node | None, now: Node) -> Iterator[Change]:
    if base is not None and base.directory:
        yield _deleted(path, base)
        base = None
    if base is None:
        yield Change(path, ChangeKind.ADDED, directory=False, after=now.digest, size=now.size)
    elif base.digest != now.digest:
        yield Change(
            path,
            ChangeKind.MODIFIED,
            directory=False,
            before=base.digest,
            after=now.digest,
            size=now.size,
            mode=base.mode,
            owner=base.owner,
        )


def _of_hidden(layer: Layer) -> Iterator[Change]:
    for path in layer.hidden:
        base = layer.bases[path]
        if base is not None and not _stands(layer.upper, path):
            yield _deleted(path, base)


def _deleted(path: str, base: Node) -> Change:
    return Change(path, ChangeKind.DELETED, base.directory, before=base.digest)


def _stands(root: Descriptor, path: str) -> bool:
    try:
        held_at(root, path).close()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
