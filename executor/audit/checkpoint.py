"""
Checkpoints: heads of the record that somebody has signed, kept where the server cannot reach.

The signer is a program of its own, under an account of its own if it is to mean much: it reads
the store, signs its head only if a consistency proof shows that the record has merely grown since
the head that it signed last, and appends the checkpoint to a file. So whoever takes over the
server can write what he likes from then on, and nothing of what was before.

Source: C2SP tlog-checkpoint. The size counts leaf 0, the store's identity, so the last record of
a checkpoint is the one before its size.
"""

import base64
import binascii
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from executor.audit import note
from executor.audit.errors import AuditDamaged, NoteInvalid
from executor.audit.merkle import proves_consistency
from executor.audit.note import PublicKey, SecretKey
from executor.audit.record import Head
from executor.audit.verify import extends, last_head

_MODE: Final = 0o600
_NOTE: Final = re.compile("[^\n]+\n[0-9]+\n[^\n]+\n\n(?:\u2014 [^\n]+\n)+", re.ASCII)
_HASH: Final = 32


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """
    A head under the name of the log that it is of.
    """

    origin: str
    head: Head

    def __str__(self) -> str:
        root = base64.b64encode(self.head.hash).decode("ascii")
        return f"{self.origin}\n{self.head.sequence + 1}\n{root}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read what `str` writes. Raises NoteInvalid.
        """
        origin, size, root, *more = [*text.split("\n"), "", "", ""][:5]
        plain = size.isascii() and size.isdecimal() and len(size) <= 18 and size[0] != "0"
        try:
            digest = base64.b64decode(root, validate=True)
        except (binascii.Error, ValueError):
            digest = b""
        if not origin or not plain or len(digest) != _HASH or more[0]:
            raise NoteInvalid("a checkpoint is a log's name, a size from 1, and a root in base64")
        return cls(origin, Head(int(size) - 1, digest))


def make_key(path: Path, name: str) -> PublicKey:
    """
    Write a new signing key to a new file that its owner alone may read; its public half.

    Raises FileExistsError: a key is never written over.
    """
    made = SecretKey.generate(name)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{made}\n")
        file.flush()
        os.fsync(file.fileno())
    return made.public


def read_key(path: Path) -> SecretKey:
    """
    The signing key in a file. Raises NoteInvalid, also where others could read it.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        mode = os.fstat(file.fileno()).st_mode & 0o777
        if mode & 0o077:
            raise NoteInvalid(
                f"{path}: others may read this key (mode {mode:o}); chmod 600, or "
                "make a new one where they have"
            )
        return SecretKey.parse(file.read(4096))


class Signer:
    """
    Adds checkpoints to one file, each of which extends the one before. `last` is the head that
    was signed last, None before the first; `descriptor` is the open file.
    """

    def __init__(self, key: SecretKey, descriptor: int, last: Head | None) -> None:
        """
        Made by `open` alone.
        """
        self._key = key
        self.descriptor = descriptor
        self.last = last

    @classmethod
    def open(cls, key: SecretKey, to: Path) -> Self:
        """
        Open the file, or make it. Raises NoteInvalid where what stands in it is not of this key.
        """
        descriptor = _opened_to_append(to)
        try:
            signed = read(to, key.public)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(key, descriptor, signed[-1].head if signed else None)

    def sign(self, head: Head, proof: Sequence[bytes]) -> None:
        """
        Sign a head, with the proof that it extends the last one, and have it on the disk.

        The first needs no proof. Raises AuditDamaged, and nothing is signed, where the proof does
        not show it; OSError and AuditDamaged where it could not be written.
        """
        if self.last is not None:
            sizes = self.last.sequence + 1, head.sequence + 1
            if not proves_consistency(proof, sizes[0], self.last.hash, sizes[1], head.hash):
                raise AuditDamaged(f"{head} is not shown to extend {self.last}, signed last")
            if head == self.last:
                return
        _add(self.descriptor, self._key.sign(str(Checkpoint(self._key.name, head))))
        self.last = head


def sign(store: Path, key: SecretKey, to: Path) -> Checkpoint | None:
    """
    Append a checkpoint of the record's head, as it is now, to the file `to`; None where the last
    one there is of this head already.

    Raises AuditDamaged where the record is not what the last checkpoint there vouched for with
    more added, NoteInvalid where that checkpoint is not of this key.
    """
    signer = Signer.open(key, to)
    try:
        before = signer.last
        if before is None:
            head = last_head(store)
            signer.sign(head, ())
        else:
            grown = extends(store, before)
            head = grown.head
            signer.sign(head, grown.path)
    finally:
        os.close(signer.descriptor)
    return None if head == before else Checkpoint(key.name, head)


def read(path: Path, key: PublicKey) -> tuple[Checkpoint, ...]:
    """
    The checkpoints in a file, each with a right signature of this key, the oldest first.

    Raises NoteInvalid at the first that is not, or that is of fewer records than one before.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    found: list[Checkpoint] = []
    for number, one in enumerate(_notes(text, path), 1):
        try:
            found.append(_opened(one, key, found))
        except NoteInvalid as error:
            raise NoteInvalid(f"{path}: checkpoint {number}: {error}") from error
    return tuple(found)


def notes(path: Path) -> list[tuple[str, int]]:
    """
    The signed notes in a file as they stand, each with the record that it says it vouches for;
    whether a signature is right is for those who have the key.

    Raises OSError, NoteInvalid.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    found = []
    for one in _notes(text, path):
        signed, _, _ = one.rpartition("\n\n")
        found.append((one, Checkpoint.parse(signed + "\n").head.sequence))
    return found


def _opened(text: str, key: PublicKey, before: Sequence[Checkpoint]) -> Checkpoint:
    found = Checkpoint.parse(note.opened(text, key))
    if found.origin != key.name:
        raise NoteInvalid(f"it is of the log {found.origin}, the key of {key.name}")
    if before and found.head.sequence < before[-1].head.sequence:
        raise NoteInvalid("it is of fewer records than the one before it")
    return found


def _notes(text: str, path: Path) -> list[str]:
    """
    The notes of a file, which stand one after another with an empty line between them.
    """
    notes: list[str] = []
    place = 0
    while place < len(text):
        match = _NOTE.match(text, place)
        if match is None:
            raise NoteInvalid(
                f"{path}: what follows the first {len(notes)} checkpoints is none; a signer that "
                "was stopped may have left it: remove it"
            )
        notes.append(match.group())
        place = match.end() + (text[match.end() : match.end() + 1] == "\n")
    return notes


def _opened_to_append(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o644)


def _add(descriptor: int, text: str) -> None:
    """
    All of it or nothing: a part would be taken for a checkpoint that somebody has changed.
    """
    size = os.fstat(descriptor).st_size
    data = ("\n" if size else "").encode() + text.encode()
    try:
        if os.write(descriptor, data) != len(data):
            raise AuditDamaged("the checkpoint was not written whole; free the disk")
    except (OSError, AuditDamaged):
        os.ftruncate(descriptor, size)
        raise
    os.fsync(descriptor)
