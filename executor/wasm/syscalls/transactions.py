"""
How the guest commits: by reading links below `/dev/transaction`, for which no system call is made.

`/dev/transaction/VERB/MOUNT` does it and gives the beginning of the server's answer; as long as
there is more, `/dev/transaction/more` gives the next piece, and nothing at the end.
"""

from typing import Final

from executor.wasm.abi import Errno, GuestFault
from executor.wasm.process import Process

ASKED: Final = "/dev/transaction/"
_MORE: Final = "more"
_VERBS: Final = frozenset({"commit", "dry_run", "rollback"})
# Less than any buffer that a guest's libc has for a link.
_PIECE: Final = 2048


def answer(process: Process, path: str) -> bytes:
    """
    What the link at `path`, which begins with ASKED, says.

    Raises GuestFault: ENOENT for a word that is none, and what the server refuses with.
    """
    verb, slash, mount = path.removeprefix(ASKED).partition("/")
    if verb in _VERBS:
        named = f"{slash}{mount}".encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        process.report = process.broker.transact(verb, named).encode()
    elif verb != _MORE or mount:
        raise GuestFault(Errno.ENOENT)
    piece, process.report = process.report[:_PIECE], process.report[_PIECE:]
    return piece
