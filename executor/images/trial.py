"""
Run as a module: boot a finished image once, before it is published.

    python -m executor.images.trial DRAFT MANIFEST TARGET

A zygote imports what the image says before it forks. An import that fails there would fail for
everybody, at every start; here it refuses the build and says which one it was.

What the boot comes to is written to TARGET, a directory, so that zygotes need not boot
(`executor/wasm/snapshot.py`): if the guest has one, and if a guest that is taken up from it does
in a cell what the one that was booted does.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from executor.images.bootable import parts
from executor.images.manifest import SNAPSHOT, Image, from_json
from executor.kernel.errors import InternalError
from executor.wasm.boot import boot
from executor.wasm.booted import Guest
from executor.wasm.parts import Parts

# To the end of the stack, and to chance, files and descriptors.
_CELL: Final = """
import os, random
def deeper(): deeper()
try:
    deeper()
except RecursionError as error:
    print(error)
with open("/tmp/tried", "w") as file:
    print(file.fileno(), os.fstat(file.fileno()), os.urandom(8), random.random())
os.write(2, b"tried")
"""


def main(arguments: list[str]) -> int:
    """
    Boot the image. Returns 0, or 1 with what the guest said on stderr.
    """
    draft, text, target = (Path(argument) for argument in arguments)
    described = from_json(text.read_bytes())
    given = parts(Image(described.name, described.key, draft, described))
    try:
        booted = boot(given)
    except InternalError as error:
        print(error, file=sys.stderr)
        return 1
    if snapshot := _snapshot(booted, given):
        Path(target, SNAPSHOT).write_bytes(snapshot)
    return 0


def _snapshot(booted: Guest, given: Parts) -> bytes:
    """
    The snapshot of what is booted; nothing where it cannot be taken up from one.
    """
    try:
        taken = booted.snapshot(given)
        if taken is None:
            return b""
        resumed = boot(replace(given, snapshot=taken))
        return taken.encoded() if _did(booted) == _did(resumed) else b""
    except Exception as error:  # noqa: BLE001 - whatever it is, the image boots without
        print(f"no snapshot: {error}", file=sys.stderr)
        return b""


def _did(guest: Guest) -> tuple[object, ...]:
    """
    A guest's memory, what it says in a cell, and its memory after it.
    """
    said: list[tuple[int, bytes]] = []
    guest.hooks.on_output = lambda stream, data: said.append((stream, data))
    before = guest.digest()
    answer = guest.call({"op": "cell", "cell": 1, "code": _CELL})
    return before, answer, said, guest.digest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
