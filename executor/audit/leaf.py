"""
What a leaf of the tree is the hash of, and how it holds texts that can be erased.

A record is kept in two pieces. Its *body* is what the leaf is the hash of: the hash of the record
before it, the frame (who, when, which kind of event), and a commitment to its texts. The *texts*
stand beside the body. Those of a session are committed to under a random key that it alone has:

    HMAC-SHA-256(key, sequence (8 bytes, big endian) || texts)

Whoever overwrites a session's texts and drops its key leaves the body, its hash and every root
and proof as they were, and nobody can find out the texts by trying: HMAC under a key that is
gone is a pseudorandom function, and the sequence makes the same text twice look different. Nobody
can show other texts for it either. All keys have one length, so that a different key or text with
the same commitment would be a collision of SHA-256 (with keys of several lengths it would not:
HMAC fills a short one with zeros). What belongs to no session, and the statement that one was
erased, cannot be erased: there the commitment is SHA-256 without a key.

What was written in format 1 of the encoding has its texts in the body, and is not erasable.
Sources: RFC 2104; RFC 9162, section 2.1.
"""

import hashlib
import hmac
from typing import Final

from executor.audit.encoding import (
    PARTED,
    WHOLE,
    Hashes,
    Parts,
    decode,
    decode_erased,
    decode_parts,
)
from executor.audit.errors import AuditDamaged, EncodingInvalid
from executor.audit.merkle import leaf_hash
from executor.audit.record import Draft, Event, Record

KEY_BYTES: Final = 32
_HASH: Final = 32
_WHOLE: Final = bytes((WHOLE,))
_PARTED: Final = bytes((PARTED,))
_SEQUENCE: Final = 8


class KeyDropped(AuditDamaged):
    """
    A session's key and its texts are not both there, or not both gone.
    """


def is_keyed(draft: Draft) -> bool:
    """
    Whether the record's texts are a session's, and can be erased with it.
    """
    return draft.session is not None and draft.event is not Event.SESSION_ERASED


def body_of(previous: bytes, sequence: int, parts: Parts, key: bytes | None) -> bytes:
    """
    The body of record `sequence`; `key` (32 bytes) is its session's, None where it has none.
    """
    return previous + parts.frame + _commitment(sequence, parts.texts, key)


def open_body(body: bytes, texts: bytes | None, key: bytes | None, hashes: Hashes) -> Record:
    """
    The record of this body and these texts, both checked against `hashes.hash`.

    Raises KeyDropped, EncodingInvalid where they are not what was written.
    """
    if leaf_hash(body) != hashes.hash:
        raise EncodingInvalid("the content does not have the stored hash")
    version = body[_HASH : _HASH + 1]
    if version == _WHOLE and texts is None:
        return decode(body[_HASH:], hashes)
    if version != _PARTED or not texts:
        raise EncodingInvalid("its texts are not where they were written")
    frame, committed = body[_HASH:-_HASH], body[-_HASH:]
    if is_blank(texts):
        return _open_erased(frame, key, hashes)
    record = decode_parts(Parts(frame, texts), hashes)
    if not is_keyed(record):
        key = None
    elif key is None or len(key) != KEY_BYTES or is_blank(key):
        raise KeyDropped("the key of its session is gone, and its texts are there")
    if _commitment(record.sequence, texts, key) != committed:
        raise EncodingInvalid("its texts are not those that its leaf commits to")
    return record


def is_blank(data: bytes) -> bool:
    """
    Whether the bytes were overwritten: no text and no key is all zeros.
    """
    return not data.strip(b"\0")


def _open_erased(frame: bytes, key: bytes | None, hashes: Hashes) -> Record:
    record = decode_erased(frame, hashes)
    if not is_keyed(record):
        raise KeyDropped("its texts are gone, and they are no session's")
    if key is not None and not is_blank(key):
        raise KeyDropped("its texts are gone, and the key of its session is there")
    return record


def _commitment(sequence: int, texts: bytes, key: bytes | None) -> bytes:
    said = sequence.to_bytes(_SEQUENCE, "big", signed=True) + texts
    return hashlib.sha256(said).digest() if key is None else hmac.digest(key, said, "sha256")
