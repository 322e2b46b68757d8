"""
The signer: a process that holds the key of the record's checkpoints, and does nothing else.

The server tells it a head and the proof that the record has merely grown since the head that was
signed last; it checks the proof, signs, and adds the checkpoint to a file that it alone has open.
It reads the key and the file, and then locks itself: no file can be opened, no process started,
no socket made. Whoever takes the server over can have heads of his own record signed, as the
server could, but none that takes back what was signed before; and he never has the key.

That holds as far as accounts hold it apart. Where root starts the server, the key and the file
are root's, and the server runs as another account. Where a user starts it, all of it is that
user's: a server that was taken over could read the key's file, or write to that of the
checkpoints. `codecage audit sign` under another account is the way then.

The words of the two: one JSON object a line. The signer begins with the head that it signed last
(`{"signed": null}` where there is none) or `{"error": "..."}`; to `{"head": "SEQ:HASH", "proof":
["hex", ...]}` it answers in the same way. It ends when its input does.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from executor.audit.checkpoint import Signer, read_key
from executor.audit.errors import AuditError
from executor.audit.record import Head
from executor.linux import confine, descriptors, prctl
from executor.linux.errors import MechanismError
from executor.linux.lock_steps import guard

LINE_MAX: Final = 16_384
"""The longest line, in bytes: a proof has two hashes for each doubling of the record."""


def main(arguments: Sequence[str]) -> int:
    """
    Sign until the input ends; the exit status is 1 where signing could not begin.
    """
    asked = _options(arguments)
    try:
        # Also against SIGTERM: the last checkpoint is signed when the server has ended.
        guard(asked.parent)
        signer = Signer.open(read_key(asked.key), asked.to)
        _lock(signer.descriptor)
    except (AuditError, MechanismError, OSError) as error:
        _say({"error": str(error)})
        return 1
    _say({"signed": None if signer.last is None else str(signer.last)})
    while line := sys.stdin.buffer.readline(LINE_MAX):
        _say(_answer(signer, line))
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="executor.children.signer")
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--parent", type=int, required=True)
    return parser.parse_args(arguments)


def _lock(kept: int) -> None:
    descriptors.keep_only({0, 1, 2, kept})
    # What is confined keeps root's right to read others' files; here everything is open by now.
    prctl.drop_capabilities()
    nothing = confine.Confinement(confine.Network.NONE, runs=())
    confine.confine(nothing, with_landlock=True)


def _answer(signer: Signer, line: bytes) -> dict[str, str]:
    try:
        asked = json.loads(line)
        head = Head.parse(asked["head"])
        proof = tuple(bytes.fromhex(step) for step in asked["proof"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return {"error": f"this is no head with a proof: {type(error).__name__}"}
    try:
        signer.sign(head, proof)
    except (AuditError, OSError) as error:
        return {"error": str(error)}
    return {"signed": str(head)}


def _say(words: dict[str, str] | dict[str, str | None]) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
