"""
What can go wrong with the audit record.

    AuditError
    ├── AuditUnavailable    the record was not written, so the effect must not happen
    ├── AuditBudgetSpent    this session may have no more records of its own; others go on
    ├── AuditInUse          another server holds the store
    └── AuditDamaged        the store is not what was written, or not ours to write
    │   └── EncodingInvalid bytes that no version of the encoder made
    ├── NotErasable         a session's texts cannot be erased from the record
    ├── NoteInvalid         a key, a signature or a checkpoint that is none
    └── ExtraMissing        a command that needs a library which is not installed

The first is the caller's (a gRPC status), the second the guest's (an errno); the other two stop
the server from starting. A draft that cannot be encoded is a ValueError: the mistake is ours.
"""


class AuditError(Exception):
    """
    The root of this package's errors.
    """


class AuditUnavailable(AuditError):
    """
    A record was not written, or not made durable; the caller refuses what it would have recorded.
    """


class AuditBudgetSpent(AuditError):
    """
    An act was allowed by the policy, but the session has no record left to write it down in.
    """


class AuditInUse(AuditError):
    """
    Another process holds the store's lock file.
    """


class AuditDamaged(AuditError):
    """
    The store's files, schema or last records are not what this program wrote.
    """


class NotErasable(AuditError):
    """
    A session's texts cannot be erased: of what earlier versions wrote, the leaves are the hashes.
    """


class NoteInvalid(AuditError):
    """
    A signed note, its key or its signature is not what it has to be.
    """


class ExtraMissing(AuditError):
    """
    A command needs a library of an extra that was not installed.
    """


class EncodingInvalid(AuditDamaged):
    """
    Bytes that are not the canonical encoding of a record.
    """
