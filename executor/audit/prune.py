"""
Removing closed files of the record that are older than they have to be kept.

Only whole files go, the oldest first, never the one that is written to; only after all of the
record was verified, and only where a head that was kept outside vouches for each record in them:
what cannot be shown to be what was written is not lost for good by a command. Before a file goes
the record says so, durably: which records, under which head, so that the rest, which verifies by
what it carries of them, tells as well that they were removed and not just lost.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from executor.audit.chain import open_row
from executor.audit.errors import AuditDamaged
from executor.audit.files import sync_directory
from executor.audit.ledger import stored_head
from executor.audit.record import Draft, Event, Head
from executor.audit.schema import SELECT, connect_reader
from executor.audit.segments import Closed, closed_files
from executor.audit.start import start_of
from executor.audit.store import AuditStore
from executor.audit.verify import verify

Progress = Callable[[int], None] | None


@dataclass(frozen=True, slots=True)
class Old:
    """
    A closed file that may go: the head of its last record, when that was written, and its bytes.
    """

    closed: Closed
    head: Head
    last_ns: int
    size: int


def old_files(path: Path, before_ns: int) -> list[Old]:
    """
    The closed files beside the one at `path` whose last record is from before `before_ns`
    (nanoseconds since 1970), up to the first that is younger.

    Raises AuditDamaged where a file does not hold the records of its name, or comes after those
    that `verify` would look at; FileNotFoundError where there is no store.
    """
    _require_store(path)
    found: list[Old] = []
    with closing(connect_reader(path)) as db:
        before = start_of(db).head.sequence
    for one in closed_files(path):
        if one.last > before:
            raise AuditDamaged(
                f"nothing was removed, for {one.path.name} is not before {path.name}, whose "
                f"records begin after {before}, and is not looked at with it: is one of them an "
                "older copy?"
            )
        old = _opened(one)
        if old.last_ns >= before_ns:
            break
        found.append(old)
    return found


def check(path: Path, old: Sequence[Old], heads: Sequence[Head], progress: Progress = None) -> None:
    """
    Raise AuditDamaged unless the whole record is what was written, and one of `heads`, which were
    kept outside, vouches for every record of the `old` files.
    """
    verdict = verify(path, heads=heads, progress=progress)
    if verdict.finding is not None:
        raise AuditDamaged(f"nothing was removed, for the record is not whole: {verdict.finding}")
    since = verdict.unanchored_since
    if old and since is not None and since <= old[-1].closed.last:
        raise AuditDamaged(
            f"nothing was removed, for no head vouches for records {since} to "
            f"{old[-1].closed.last}: sign one with `codecage audit sign`, or give an older --keep"
        )


def prune(
    path: Path, before_ns: int, heads: Sequence[Head], progress: Progress = None
) -> list[Old]:
    """
    Remove the files that `old_files` finds, once `check` has passed; the record has a statement of
    each before it goes. What was removed is returned.

    It takes the place of a server: raises AuditInUse while one has the store, AuditDamaged,
    AuditUnavailable where a statement could not be written, OSError.
    """
    _require_store(path)
    with AuditStore.open(path) as store:
        old = old_files(path, before_ns)
        check(path, old, heads, progress)
        for one in old:
            asyncio.run(store.append(_statement(one), durable=True))
            one.closed.path.unlink()
            sync_directory(path.parent)
    return old


def _require_store(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"there is no audit store at {path}")


def _opened(one: Closed) -> Old:
    with closing(connect_reader(one.path)) as db:
        first, head = start_of(db).head.sequence + 1, stored_head(db)
        row = db.execute(f"{SELECT} WHERE sequence = ?", (head.sequence,)).fetchone()
    if (first, head.sequence) != (one.first, one.last) or row is None:
        raise AuditDamaged(
            f"{one.path.name} holds records {first} to {head.sequence}, not those of its name"
        )
    return Old(one, head, open_row(row).wall_ns, one.path.stat().st_size)


def _statement(old: Old) -> Draft:
    detail = (
        ("file", old.closed.path.name),
        ("first", old.closed.first),
        ("last", old.closed.last),
        ("head", str(old.head)),
        ("last_wall_ns", old.last_ns),
    )
    return Draft(event=Event.PRUNED, detail=detail)
