"""
One server for one store: SQLite alone would let two servers write, each with its own chain.
"""

import fcntl
import os
from pathlib import Path

from executor.audit.errors import AuditDamaged, AuditInUse


def hold(path: Path) -> int:
    """
    Take the store's lock file (`<path>.lock`) and return its descriptor; closing it lets go.

    flock(2) belongs to the open file and ends with the process, however it ends. Raises
    AuditInUse at once when another process has it.
    """
    place = path.with_name(path.name + ".lock")
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(place, flags, 0o600)
    except OSError as error:
        raise AuditDamaged(f"audit lock {place}: cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise AuditInUse(
            f"audit store {path}: another codecage server has it open; stop that one, or start "
            "this one with another --audit PATH"
        ) from error
    return descriptor
