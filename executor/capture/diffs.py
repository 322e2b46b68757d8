"""
The diffs of a session's commits: what a reviewer sees of the files that it changed.

They stand in a file of their own beside the session's capture, under the session's key, so that
they go when the key is dropped; a session of the process cage, of which nothing else is captured,
has them too. They are written before the decision on the commit is recorded, which has their seal,
and so before anything is changed. What the policy withholds, and what looks like a credential, is
left out. What cannot be kept stops no commit: the record says that it was not.
"""

import json
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from executor.audit.differences import (
    LOST,
    PLACE,
    SEAL,
    Differences,
    FileDiff,
    lost,
    sealed,
)
from executor.audit.record import Detail, Record
from executor.audit.redact import whole_without
from executor.capture.cipher import Cipher
from executor.capture.errors import CaptureDamaged, CaptureError, CaptureMissing
from executor.capture.vault import Vault
from executor.transactions.changes import Change
from executor.transactions.diffs import head
from policy.redaction import Redaction

MAGIC: Final = b"codecage diffs 1\n"
MOST_KEPT: Final = 16 * 2**20
"""Bytes of one session's diffs on the disk."""
MOST_READ: Final = 2**20
"""Characters of all diffs that one reading gives."""
_MOST_FILES: Final = 50
_LENGTH: Final = struct.Struct("<I")
# 64 KiB of text and the names of fifty files, as JSON in ASCII.
_BATCH_MAX: Final = 4 * 2**20
_APPEND: Final = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
# A removed line's mark is a letter of tokens; in its place nothing of a token is overlooked.
_REMOVED, _STAND_IN = "\n-", "\n\1"


class DiffKeeper:
    """
    Keeps the diffs of one session's commits, one list at a time. `redaction` is its policy's;
    `new_key` says that it has no capture besides.
    """

    def __init__(
        self,
        vault: Vault,
        session: str,
        redaction: Redaction,
        *,
        new_key: bool,
        most: int = MOST_KEPT,
    ) -> None:
        self._vault = vault
        self._session = session
        self._redaction = redaction
        self._new_key = new_key
        self._most = most
        self._failed = ""
        self._cipher: Cipher | None = None
        self._place = 0
        self._written = 0

    def keep(self, changes: tuple[Change, ...]) -> Detail:
        """
        Keep the diffs of a list of changes; what the record of the decision has to say of that.
        It blocks as a disk does.
        """
        files = [change for change in changes if not change.directory]
        if not files:
            return ()
        batch = _encoded(files, self._redaction)
        if self._written + len(batch) > self._most:
            return ((LOST, f"the session's diffs have reached their size, {self._most:,} bytes"),)
        if self._failed:
            return ((LOST, self._failed),)
        try:
            cipher = self._opened()
            self._append(cipher.encrypt(self._place, batch))
        except OSError as error:
            # For good: nothing else may ever be encrypted in the place of what a disk has seen.
            erased = isinstance(error, FileNotFoundError)
            said = f"they cannot be written: {error.strerror}"
            self._failed = "the session's capture was erased" if erased else said
            return ((LOST, self._failed),)
        place, self._place = self._place, self._place + 1
        return ((PLACE, place), (SEAL, _seal(cipher, place, batch)))

    def _opened(self) -> Cipher:
        if self._cipher is None:
            self._cipher = self._vault.begin_diffs(self._session, MAGIC, new_key=self._new_key)
        return self._cipher

    def _append(self, data: bytes) -> None:
        """
        Add a batch, whole or not at all. Raises OSError.
        """
        whole = _LENGTH.pack(len(data)) + data
        descriptor = os.open(self._vault.diffs_file(self._session), _APPEND)
        try:
            size = os.fstat(descriptor).st_size
            try:
                rest = memoryview(whole)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        self._written += len(whole)


def read(audit: Path, session: str, decisions: Sequence[Record]) -> Mapping[int, Differences]:
    """
    The diffs of commits, by the sequences of their decisions, as far as anything was kept of them;
    together a million characters, and the first of them in any case.

    Each is what its record has sealed; what cannot be read says so.
    """
    said = {
        one.sequence: Differences(why=f"its diff was not kept: {why}")
        for one in decisions
        if (why := lost(one))
    }
    wanted = {one.sequence: place for one in decisions if (place := sealed(one)) is not None}
    if not wanted:
        return said
    try:
        return {**said, **_read(Vault(audit), session, wanted)}
    except CaptureError as error:
        why = _gone(error)
    except OSError as error:
        why = f"its diff was kept and cannot be read: {error.strerror}"
    return {**said, **dict.fromkeys(wanted, Differences(why=why))}


def _gone(error: CaptureError) -> str:
    if isinstance(error, CaptureMissing):
        return (
            "its diff was kept, as the record says, and is not beside it any more: it was erased, "
            "or is elsewhere"
        )
    return str(error)


def _read(
    vault: Vault, session: str, wanted: Mapping[int, tuple[int, str]]
) -> dict[int, Differences]:
    cipher = vault.diffs_cipher(session)
    places = {place for place, _ in wanted.values()}
    held = dict(_batches(vault, session, places))
    found, left = {}, MOST_READ
    for sequence, (place, seal) in wanted.items():
        if left <= 0:
            found[sequence] = Differences(why="there are more diffs than fit here")
            continue
        found[sequence] = _one(cipher, session, place, seal, held.get(place))
        left -= sum(len(one.diff) for one in found[sequence].files)
    return found


def _batches(vault: Vault, session: str, places: set[int]) -> Iterator[tuple[int, bytes]]:
    """
    The encrypted batches at those places, up to one that is cut off. Raises CaptureError.
    """
    try:
        file = vault.diffs_file(session).open("rb")
    except FileNotFoundError:
        raise CaptureMissing(session) from None
    with file:
        if file.read(len(MAGIC)) != MAGIC:
            raise CaptureDamaged(session, "its diffs do not begin as diffs do")
        place = 0
        while len(told := file.read(_LENGTH.size)) == _LENGTH.size:
            (length,) = _LENGTH.unpack(told)
            if length > _BATCH_MAX:
                return
            if place not in places:
                file.seek(length, os.SEEK_CUR)
            elif len(data := file.read(length)) == length:
                yield place, data
            place += 1


def _one(cipher: Cipher, session: str, place: int, seal: str, data: bytes | None) -> Differences:
    if data is None:
        return Differences(why=f"diff {place} of session {session} is missing from its capture")
    try:
        batch = cipher.decrypt(place, data)
        if _seal(cipher, place, batch) != seal:
            raise ValueError("it is not the one that the record has sealed")
        return _decoded(batch)
    except ValueError as error:
        return Differences(why=str(CaptureDamaged(session, f"diff {place}: {error}")))


def _seal(cipher: Cipher, place: int, batch: bytes) -> str:
    return cipher.seal(place.to_bytes(8, "little"), batch).hex()


def _encoded(files: Sequence[Change], redaction: Redaction) -> bytes:
    shown = [_told(change, redaction) for change in files[:_MOST_FILES]]
    return json.dumps({"files": shown, "more": len(files) - len(shown)}).encode()


def _told(change: Change, redaction: Redaction) -> tuple[str, str, str]:
    if any(redaction.hides(name) for name in change.path.split("/")):
        return change.path, "", "the policy withholds what is called so (audit: redact)"
    why = "" if change.undiffed is None else change.undiffed.value
    return change.path, _withheld(change.diff.removeprefix(head(change.path)), redaction), why


def _withheld(diff: str, redaction: Redaction) -> str:
    """
    A diff without credentials, and without the values of what the policy withholds by name.
    """
    told = f"\n{diff}".replace(_REMOVED, _STAND_IN)
    return whole_without(told, redaction).replace(_STAND_IN, _REMOVED).removeprefix("\n")


def _decoded(batch: bytes) -> Differences:
    told = json.loads(batch)
    files = tuple(FileDiff(path, diff, why) for path, diff, why in told["files"])
    return Differences(files, told["more"])
