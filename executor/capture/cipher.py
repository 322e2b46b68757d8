"""
A capture's key, and what is made with it: batches that only its holder can read, and seals.

Each session has a key of 32 random bytes. AES-256-GCM encrypts the compressed batches, whose place
in the capture is the nonce and, with the session's name, the associated data: none can be moved,
nor put into another capture. Seals are a chain of HMAC-SHA256 over the batches as they were before;
they stand in the audit record, which tells nothing of what was captured once the key is dropped.
Sources: NIST SP 800-38D, RFC 2104.
"""

import hmac
import zlib
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
# Text of a program: beyond this level it takes twice the time for a twentieth of the size.
_LEVEL: Final = 1
_NONCE_BYTES: Final = 12
# A batch is flushed at 256 KiB, and one event is at most a frame.
_BATCH_MAX: Final = 8 * 2**20


class Cipher:
    """
    What one session's key does for one of its files; each `store` has keys of its own by it.
    """

    def __init__(self, session: str, key: bytes, store: bytes = b"capture") -> None:
        self._session = session.encode()
        # Copied for each use, which is cheaper than a beginning.
        self._sealing = _keyed(_derived(key, store, b"seal"))
        self._naming = _keyed(_derived(key, store, b"name"))
        self._aes = AESGCM(_derived(key, store, b"encrypt"))

    def encrypt(self, place: int, batch: bytes) -> bytes:
        """
        The batch that is number `place` (from 0), compressed and encrypted.
        """
        return self._aes.encrypt(_nonce(place), zlib.compress(batch, _LEVEL), self._session)

    def decrypt(self, place: int, data: bytes) -> bytes:
        """
        The batch again. Raises ValueError where it is not what `encrypt` made for this place.
        """
        try:
            packed = self._aes.decrypt(_nonce(place), data, self._session)
        except InvalidTag:
            raise ValueError(f"batch {place} was altered, or is not this one") from None
        unpacking = zlib.decompressobj()
        batch = unpacking.decompress(packed, _BATCH_MAX)
        if unpacking.unconsumed_tail or not unpacking.eof:
            raise ValueError(f"batch {place} is longer than any that was written")
        return batch

    def seal(self, before: bytes, batch: bytes) -> bytes:
        """
        The seal of all batches up to this one; `before` is that of those before, empty for none.
        """
        seal = self._sealing.copy()
        seal.update(before)
        seal.update(batch)
        return seal.digest()

    def name(self, kind: int, data: bytes) -> bytes:
        """
        By what an event's bytes are recalled.
        """
        name = self._naming.copy()
        name.update(bytes((kind,)))
        name.update(data)
        return name.digest()


def _keyed(key: bytes) -> hmac.HMAC:
    return hmac.new(key, digestmod="sha256")


def _derived(key: bytes, store: bytes, purpose: bytes) -> bytes:
    return hmac.digest(key, b"codecage " + store + b" " + purpose, "sha256")


def _nonce(place: int) -> bytes:
    return place.to_bytes(_NONCE_BYTES, "little")
