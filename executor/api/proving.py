"""
Proofs about the record for clients, which believe none of it without checking.

A client that kept the head of a result learns whether the record has only grown since, and whether
a record of its session is under that head: hashes alone, whatever the record's size.
"""

import asyncio
from pathlib import Path

from codecage.v1 import codecage_pb2 as wire
from executor.api import convert
from executor.audit import read
from executor.audit.errors import AuditDamaged
from executor.audit.record import Head
from executor.audit.verify import Proof, extends, prove
from executor.errors import InvalidRequest, NotProved, SessionNotFound

_HASH = 32
_LARGEST = 2**62


async def proof(audit: Path, request: wire.ReadProofRequest) -> wire.ReadProofResponse:
    """
    The proof that is asked for, from the record at `audit`.

    Raises InvalidRequest, SessionNotFound where the record is not of that session, NotProved.
    """
    held = request.head
    if len(held.hash) != _HASH or max(held.sequence, request.sequence) > _LARGEST:
        raise InvalidRequest("HEAD_INVALID", "`head` is a sequence and a hash of 32 bytes")
    head = Head(held.sequence, held.hash)
    try:
        found = await asyncio.to_thread(_proof, audit, head, request.sequence, request.session_id)
    except AuditDamaged as error:
        raise NotProved(str(error)) from error
    return wire.ReadProofResponse(
        head=convert.head(found.head), leaf=found.leaf or b"", path=found.path
    )


def _proof(audit: Path, head: Head, sequence: int, session: str) -> Proof:
    if not sequence:
        return extends(audit, head)
    # Whose record it is comes first: where others have theirs is nobody's business.
    one = read.records(audit, session=session, after_sequence=sequence - 1, limit=1)
    if not session or not one or one[0].sequence != sequence:
        raise SessionNotFound
    try:
        return prove(audit, sequence, head)
    except LookupError as error:
        raise AuditDamaged(str(error)) from error
