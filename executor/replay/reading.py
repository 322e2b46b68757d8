"""
A session's capture, opened and compared with the audit record.

Three things have to agree: the seals in the record with the captured bytes, the number of events
with how many there are, and the session's records, each in its place, with what was captured of
them. So a record that is removed, added or altered, in either of the two, is told before anything
is run.
"""

import json
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from executor.audit import read
from executor.audit.record import Event as RecordEvent
from executor.audit.record import Record
from executor.capture.cipher import Cipher
from executor.capture.errors import CaptureDamaged, CaptureMissing, CaptureTooLarge
from executor.capture.events import Event, Kind, decode
from executor.capture.recording import RECALLED, UNRECORDED, UNWRITTEN, digest_of
from executor.capture.vault import Vault

_CRASHED: Final = "the server did not live to end it"
_TORN: Final = (_CRASHED, UNWRITTEN)
_SEALED: Final = (RecordEvent.CELL_END, RecordEvent.SESSION_END)


@dataclass(frozen=True, slots=True)
class Recorded:
    """
    A captured session. `events` are numbered from 1; `lost` says why the capture ends early, ""
    where it does not; `disagreement` what the audit record says otherwise, "" where it does not.
    """

    session: str
    header: Mapping[str, Any]
    events: tuple[tuple[int, Event], ...]
    lost: str
    disagreement: str
    records: tuple[Record, ...]

    def sequence_at(self, event: int) -> int:
        """
        The number of the last audit record that was written before an event.
        """
        before = sum(1 for number, one in self.events if number < event and _is_record(one))
        return self.records[before - 1].sequence if 0 < before <= len(self.records) else 0


def open_session(audit: Path, vault: Vault, session: str, most: int | None = None) -> Recorded:
    """
    Read a capture of `vault` and compare it with the record at `audit`; of `most` bytes of events
    at most, where that is given.

    Raises CaptureError, AuditDamaged, FileNotFoundError.
    """
    cipher = vault.cipher(session)
    seals: dict[int, str] = {}
    records = tuple(_records(audit, session))
    if not records:
        raise CaptureMissing(session)
    unfinished = _unfinished(records)
    # Its end may not be on the disk: not yet, not any more, or because the disk refused it.
    torn = records[-1].event is not RecordEvent.SESSION_END or unfinished.startswith(_TORN)
    found = _events(vault, cipher, session, seals, torn=torn)
    events = tuple(enumerate(_at_most(found, session, most), 1))
    if not events or events[0][1].kind is not Kind.HEADER:
        raise CaptureDamaged(session, "it has no header")
    lost = [event.data.decode() for _, event in events if event.kind is Kind.LOST]
    disagreement = _disagreement(
        events, records, seals, ends_early=bool(lost or unfinished), torn=torn
    )
    return Recorded(
        session,
        json.loads(events[0][1].data),
        events,
        lost[0] if lost else unfinished,
        disagreement,
        records,
    )


def image_of(vault: Vault, session: str) -> tuple[str, str]:
    """
    The key and the name of the image that a session ran, by the header of its capture.

    Raises CaptureError.
    """
    with closing(_events(vault, vault.cipher(session), session, {}, torn=True)) as events:
        first = next(events, None)
    if first is None or first.kind is not Kind.HEADER:
        raise CaptureDamaged(session, "it has no header")
    header = json.loads(first.data)
    return str(header["image_key"]), str(header["image"])


def _events(
    vault: Vault, cipher: Cipher, session: str, seals: dict[int, str], *, torn: bool
) -> Generator[Event, None, None]:
    """
    The events of all batches, recalled ones whole; `seals` gets the seal by the number of events.
    With `torn` the last batch may be one that a server was killed in, which is then left out.
    """
    known: dict[bytes, Event] = {}
    seal, count = b"", 0
    for place, data in enumerate(vault.batches(session, torn=torn)):
        try:
            batch = cipher.decrypt(place, data)
            seal = cipher.seal(seal, batch)
            for event in decode(batch):
                count += 1
                yield _whole(event, known, cipher)
        except (ValueError, KeyError) as error:
            raise CaptureDamaged(session, f"event {count}: {error}") from error
        seals[count] = seal.hex()


def _at_most(events: Iterator[Event], session: str, most: int | None) -> Iterator[Event]:
    whole = 0
    for event in events:
        whole += len(event.data)
        if most is not None and whole > most:
            raise CaptureTooLarge(session, most)
        yield event


def _whole(event: Event, known: dict[bytes, Event], cipher: Cipher) -> Event:
    if event.kind is Kind.RECALL:
        return known[event.data]
    if len(event.data) >= RECALLED:
        known[cipher.name(event.kind, event.data)] = event
    return event


def _records(audit: Path, session: str) -> Iterator[Record]:
    after = 0
    while page := read.records(audit, session=session, after_sequence=after):
        yield from page
        after = page[-1].sequence


def _disagreement(
    events: tuple[tuple[int, Event], ...],
    records: tuple[Record, ...],
    seals: dict[int, str],
    *,
    ends_early: bool,
    torn: bool,
) -> str:
    captured = [(number, event.data) for number, event in events if _is_record(event)]
    # Behind this event a record may be captured that was not written.
    firm = _sealed_before_loss(events, records)
    kept = [one for one in records if one.event is not RecordEvent.SESSION_END]
    for (number, digest), record in zip(captured, kept, strict=False):
        if digest_of(record) != digest:
            if firm is not None and number > firm:
                break
            return (
                f"record {record.sequence} ({record.event.value}) is not the one that was captured "
                f"in its place, as event {number}"
            )
    fits = len(captured) < len(kept) or firm is not None
    if len(captured) != len(kept) and not (ends_early and fits):
        return f"the record has {len(kept)} records of it, and {len(captured)} were captured"
    return _unsealed(records, seals, len(events), torn=torn)


def _sealed_before_loss(
    events: tuple[tuple[int, Event], ...], records: tuple[Record, ...]
) -> int | None:
    """
    Up to which event cells were sealed before the capture missed a record; None where it did not.
    """
    loss = [n for n, one in events if one.kind is Kind.LOST and one.data == UNRECORDED.encode()]
    if not loss:
        return None
    ends = [dict(one.detail).get("captured") for one in records if one.event in _SEALED]
    return max((end for end in ends if isinstance(end, int) and end < loss[0]), default=0)


def _unsealed(
    records: tuple[Record, ...], seals: dict[int, str], events: int, *, torn: bool
) -> str:
    for record in records:
        told = dict(record.detail)
        if record.event not in _SEALED or "capture_seal" not in told:
            continue
        count, seal = told.get("captured"), str(told["capture_seal"])
        if torn and isinstance(count, int) and count > events:
            continue
        if not isinstance(count, int) or seals.get(count, "") != seal:
            return f"record {record.sequence} seals {count} captured events, and these are not they"
        if record.event is RecordEvent.SESSION_END and count != events:
            return f"record {record.sequence} seals {count} captured events; there are {events}"
    return ""


def _unfinished(records: tuple[Record, ...]) -> str:
    end = records[-1]
    if end.event is not RecordEvent.SESSION_END:
        return "the session has not ended"
    told = str(dict(end.detail).get("capture", ""))
    if not told:
        return _CRASHED
    return "" if told == "complete" else told.removeprefix("incomplete (").removesuffix(")")


def _is_record(event: Event) -> bool:
    return event.kind is Kind.RECORD
