"""
Where captures are: beside the audit record, a file for each session and perhaps another for the
diffs of its commits (`diffs.py`), and its key in another place.

The key is what makes a capture readable, so erasing one is dropping its key; copies of the captures
without the directory of the keys stay closed. A capture is written by one server as its session
goes, in the order of its batches, and never changed.
"""

import os
import secrets
import struct
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from executor.capture.cipher import KEY_BYTES, Cipher
from executor.capture.errors import CaptureDamaged, CaptureErased, CaptureMissing
from executor.capture.place import places

MAGIC: Final = b"codecage capture 1\n"
_LENGTH: Final = struct.Struct("<I")
_BATCH_MAX: Final = 16 * 2**20
_NAME: Final = frozenset("0123456789abcdef")
_NAME_LENGTH: Final = 32
# By which the keys for a session's diffs differ from those for its capture.
_DIFFS: Final = b"diffs"


class Vault:
    """
    The captures that belong to the audit record at `audit`.
    """

    def __init__(self, audit: Path) -> None:
        self._captures, self._keys = places(audit)

    def create(self, session: str) -> "BatchWriter":
        """
        A new capture, with a key of its own. Raises OSError, and leaves nothing behind then.
        """
        _require_name(session)
        try:
            return self._made(session)
        except FileNotFoundError:
            # The first one; or somebody has removed them.
            self._make_directories()
            return self._made(session)

    def _made(self, session: str) -> "BatchWriter":
        written = f"{self._captures}/{session}.capture"
        # A full disk refuses any of these, for each session that is asked for: nothing may stay.
        with ExitStack() as undo:
            key = self._new_key(session, undo)
            descriptor = _new(written)
            undo.callback(os.unlink, written)
            undo.callback(os.close, descriptor)
            made = BatchWriter(descriptor, Cipher(session, key))
            undo.pop_all()
        return made

    def cipher(self, session: str) -> Cipher:
        """
        What opens a session's capture. Raises CaptureMissing, CaptureErased, CaptureDamaged.
        """
        self._require(session)
        return Cipher(session, self._key(session))

    def begin_diffs(self, session: str, magic: bytes, *, new_key: bool) -> Cipher:
        """
        A new file for the diffs of a session's commits, which begins with `magic`, and what writes
        into it; with `new_key` the session has no capture and its key is made, too.

        Raises FileNotFoundError where the session's key was dropped, OSError.
        """
        _require_name(session)
        self._make_directories()
        written = str(self.diffs_file(session))
        with ExitStack() as undo:
            key = self._new_key(session, undo) if new_key else self._key_of_capture(session)
            descriptor = _new(written)
            undo.callback(os.unlink, written)
            undo.callback(os.close, descriptor)
            _write(descriptor, magic)
            undo.pop_all()
        os.close(descriptor)
        return Cipher(session, key, _DIFFS)

    def diffs_cipher(self, session: str) -> Cipher:
        """
        What opens a session's diffs. Raises CaptureMissing, CaptureErased, CaptureDamaged.
        """
        if not _is_name(session) or not self.diffs_file(session).is_file():
            raise CaptureMissing(session)
        return Cipher(session, self._key(session), _DIFFS)

    def diffs_file(self, session: str) -> Path:
        """
        Where a session's diffs are.
        """
        return self._captures / f"{session}.diffs"

    def batches(self, session: str, *, torn: bool = False) -> Iterator[bytes]:
        """
        The encrypted batches of a session, in order; with `torn` up to one that is cut off.

        Raises CaptureMissing, CaptureDamaged.
        """
        self._require(session)
        with (self._captures / f"{session}.capture").open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise CaptureDamaged(session, "it does not begin as captures do")
            while head := file.read(_LENGTH.size):
                length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else _BATCH_MAX + 1
                data = file.read(length) if length <= _BATCH_MAX else b""
                if len(data) != length:
                    if torn and length <= _BATCH_MAX:
                        return
                    raise CaptureDamaged(session, "its end is cut off")
                yield data

    def sessions(self) -> list[str]:
        """
        Those of which there is a capture that can be opened, the oldest first.
        """
        if not self._captures.is_dir():
            return []
        found = [one for one in self._captures.glob("*.capture") if _is_name(one.stem)]
        kept = [one for one in found if (self._keys / f"{one.stem}.key").exists()]
        return [one.stem for one in sorted(kept, key=lambda one: one.stat().st_mtime_ns)]

    def erase(self, session: str) -> None:
        """
        Drop a capture's key, for good, and then its files. Raises CaptureMissing, OSError.
        """
        files = [self._captures / f"{session}.capture", self.diffs_file(session)]
        if not _is_name(session) or not any(file.is_file() for file in files):
            raise CaptureMissing(session)
        key = self._keys / f"{session}.key"
        if key.exists():
            with key.open("r+b") as file:
                file.write(bytes(KEY_BYTES))
                os.fsync(file.fileno())
            key.unlink()
        for one in files:
            one.unlink(missing_ok=True)

    def _make_directories(self) -> None:
        for directory in (self._captures, self._keys):
            directory.mkdir(mode=0o700, exist_ok=True)

    def _new_key(self, session: str, undo: ExitStack) -> bytes:
        kept, key = f"{self._keys}/{session}.key", secrets.token_bytes(KEY_BYTES)
        holding = _new(kept)
        undo.callback(os.unlink, kept)
        try:
            _write(holding, key)
        finally:
            os.close(holding)
        return key

    def _key_of_capture(self, session: str) -> bytes:
        key = (self._keys / f"{session}.key").read_bytes()
        if key == bytes(KEY_BYTES):  # it is being dropped at this moment
            raise FileNotFoundError(f"the key of session {session} was dropped")
        return key

    def _key(self, session: str) -> bytes:
        try:
            key = (self._keys / f"{session}.key").read_bytes()
        except FileNotFoundError:
            raise CaptureErased(session) from None
        if len(key) != KEY_BYTES:
            raise CaptureDamaged(session, f"its key has {len(key)} bytes")
        return key

    def _require(self, session: str) -> None:
        if not _is_name(session) or not (self._captures / f"{session}.capture").is_file():
            raise CaptureMissing(session)


class BatchWriter:
    """
    The file of one capture, open; `descriptor` becomes its own.
    """

    def __init__(self, descriptor: int, cipher: Cipher) -> None:
        self.cipher: Final = cipher
        self.written = len(MAGIC)
        self._count = 0
        self._failure: OSError | None = None
        self._descriptor = descriptor
        _write(descriptor, MAGIC)

    def write(self, batch: bytes) -> None:
        """
        Add a batch. Raises OSError; the batch is taken back, and nothing is written after that:
        what would come behind a part of a batch could not be read.
        """
        if self._failure is not None:
            raise OSError(*self._failure.args)
        data = self.cipher.encrypt(self._count, batch)
        self._count += 1
        whole = _LENGTH.pack(len(data)) + data
        try:
            _write(self._descriptor, whole)
        except OSError as error:
            self._failure = error
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.written)
            raise
        self.written += len(whole)

    def close(self) -> None:
        """
        Close the file.
        """
        os.close(self._descriptor)


def _new(path: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


def _write(descriptor: int, data: bytes) -> None:
    # A disk that becomes full takes a part first, and refuses the rest.
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _is_name(session: str) -> bool:
    return len(session) == _NAME_LENGTH and _NAME.issuperset(session)


def _require_name(session: str) -> None:
    if not _is_name(session):
        raise ValueError(f"{session!r} is not the name of a session")
