"""
A booted guest as bytes: an image has one, so that its zygotes need not boot.

A boot is the same each time (`world.py`), so the image's build makes it once, and what it left in
linear memory is a file of the image, checked by its hash like the others. A zygote instantiates
the modules as ever, runs their constructors, and puts those bytes in the place of the boot.

That is all of the guest where everything else is as constructors and host left it. Of the guest:
globals and tables, which the ABI's description answers for (`EmscriptenAbi.snapshots`). Of the
host: `left_nothing` looks at what a boot could have changed there, and an image that has changed
any of it is booted at every start: one that loads native parts, say. How much chance was drawn is
part of the snapshot. The build takes a guest up from it beside the one that was booted, and keeps
it only if both do the same.

A snapshot is of one world: the guest's half of the cells, its environment and the names of its
files. `world_of` is their hash, and where it is another one, because this release's sources have
changed since the build, the guest is booted. What the host answers to a booting guest is not in
it: a change of that raises `CONTENT` (`images/identity.py`), and a test boots to compare.

Rejected: the memory as data segments of a module of its own (Wizer's way; the main module would
be compiled for each image, a minute, and no image could lend another its code).
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Self

from executor.kernel.errors import InternalError
from executor.wasm.abi import GuestFault
from executor.wasm.memory import GuestMemory
from executor.wasm.nodes import Directory, Node
from executor.wasm.parts import Parts
from executor.wasm.process import Process
from executor.wasm.program import Program

# What is left out where it is all zeros: two thirds of a guest that has just been booted.
_PAGE: Final = 4096
_ZEROS: Final = bytes(_PAGE)
_MANY_ZEROS: Final = memoryview(bytes(2**20))
# What 32 bits reach.
_ADDRESSES: Final = 2**32


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    Linear memory after a boot, and what little there is beside it.

    `world` is the hash of what was booted (`world_of`), `digest` the SHA-256 of the memory, which
    has `size` bytes; `entry` is the guest's function for requests, `drawn` how far its chance has
    gone (`Entropy.drawn`). `runs` are addresses and lengths, whose bytes lie one after the other
    in `data`; everything else is zero.
    """

    world: str
    digest: bytes
    size: int
    entry: int
    drawn: tuple[int, bytes]
    runs: tuple[tuple[int, int], ...]
    data: memoryview

    @classmethod
    def of(cls, world: str, memory: GuestMemory, entry: int, drawn: tuple[int, bytes]) -> Self:
        """
        The snapshot of a memory as it is now.
        """
        seen = memory.read(0, memory.size)
        runs = tuple(_runs(seen))
        data = b"".join(seen[start : start + length] for start, length in runs)
        digest = hashlib.sha256(seen).digest()
        return cls(world, digest, len(seen), entry, drawn, runs, memoryview(data))

    @classmethod
    def decoded(cls, data: bytes) -> Self:
        """
        The snapshot that `encoded` wrote. Raises InternalError where it is none.
        """
        try:
            end = data.index(b"\n")
            said = json.loads(data[:end])
            blocks, rest = said["drawn"]
            return cls(
                str(said["world"]),
                bytes.fromhex(said["digest"]),
                int(said["size"]),
                int(said["entry"]),
                (int(blocks), bytes.fromhex(rest)),
                tuple((int(start), int(length)) for start, length in said["runs"]),
                memoryview(data)[end + 1 :],
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise InternalError(f"the image's snapshot is none ({error})") from error

    def encoded(self) -> bytes:
        """
        As bytes: a line of JSON, and the data. The same guest gives the same bytes.
        """
        blocks, rest = self.drawn
        head = {
            "world": self.world,
            "digest": self.digest.hex(),
            "size": self.size,
            "entry": self.entry,
            "drawn": [blocks, rest.hex()],
            "runs": self.runs,
        }
        return json.dumps(head).encode() + b"\n" + self.data

    def check(self) -> None:
        """
        Raises InternalError where the memory that it stands for has another digest than it says.
        """
        hashed, at, done = hashlib.sha256(), 0, 0
        for start, length in (*self.runs, (self.size, 0)):
            data = self.data[done : done + length]
            if not at <= start <= _ADDRESSES or len(data) != length:
                raise InternalError("the image's snapshot has runs that are none")
            for zeros in range(at, start, len(_MANY_ZEROS)):
                hashed.update(_MANY_ZEROS[: start - zeros])
            hashed.update(data)
            at, done = start + length, done + length
        if hashed.digest() != self.digest:
            raise InternalError("the image's snapshot has not the digest that it says")

    def fill(self, memory: GuestMemory) -> None:
        """
        Write it to a memory of its size in which nothing but constructors has run.

        Raises InternalError where a run lies outside.
        """
        done = 0
        try:
            for start, length in self.runs:
                memory.write(start, self.data[done : done + length])
                done += length
        except GuestFault as fault:
            raise InternalError("the image's snapshot is larger than its memory") from fault


def _runs(seen: bytes) -> Iterator[tuple[int, int]]:
    """
    Where there is anything but zeros, in whole pages: addresses and lengths.
    """
    pages = range(0, len(seen), _PAGE)
    for used, group in groupby(pages, key=lambda page: seen[page : page + _PAGE] != _ZEROS):
        found = list(group)
        if used:
            yield found[0], _PAGE * len(found)


def world_of(parts: Parts, program: Program, environment: Mapping[str, str]) -> str:
    """
    The hash of what a guest is booted from, the contents of its image's files left out.
    """
    names = [sorted(parts.site_packages), sorted(parts.native), sorted(parts.extra)]
    text = json.dumps([parts.guest, dict(environment), names, program.text])
    return hashlib.sha256(text.encode() + program.made).hexdigest()


def left_nothing(booted: Process, fresh: Process) -> bool:
    """
    Whether a boot has left a process as a fresh one is, but for memory and chance.

    Both are of one guest. What the gate would have to be asked for cannot have changed: a booting
    guest has none.
    """
    return _described(booted) == _described(fresh)


def _described(process: Process) -> tuple[object, ...]:
    files, opened = process.files, process.descriptors.items()
    return (
        [(number, type(file), file.flags, file.position, file.stream) for number, file in opened],
        [process.descriptors.close_on_exec(number) for number, _ in opened],
        (files.made, list(_tree("", files.root))),
        (process.environment, process.directory, process.umask),
        (process.denial, process.report, process.showing, process.calling),
    )


def _tree(path: str, node: Node) -> Iterator[tuple[object, ...]]:
    yield path, type(node), node.serial, node.mode, node.modified_ns
    if isinstance(node, Directory):
        for name, inner in node.entries.items():
            yield from _tree(f"{path}/{name}", inner)
