"""
A second process swaps names for links while acts are under way; no act reaches what they point to.

Each race runs until both sides were seen a number of times, so a run in which nothing raced fails.
What green does not prove: that every interleaving was met. The walk holds what it has looked at,
which is why there should be none to meet.
"""

import os
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager

import pytest
from host_world import CANARY

from executor.kernel import hostfiles
from executor.kernel.descriptors import Descriptor
from executor.kernel.errors import GuestError
from executor.kernel.hostfiles import Creation, Opening
from policy.requests import FileAction

ROUNDS = 3000
SWAPPER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
one, other = map(os.fsencode, sys.argv[1:])
print("ready", flush=True)
while True:
    # RENAME_EXCHANGE: at any moment each name is one or the other, never missing.
    if libc.renameat2(-100, one, -100, other, 2):
        sys.exit("exchange refused: " + os.strerror(ctypes.get_errno()))
"""


@contextmanager
def swapping(one, other):
    """
    A process that exchanges two names as fast as it can.
    """
    with subprocess.Popen(
        [sys.executable, "-c", SWAPPER, str(one), str(other)], stdout=subprocess.PIPE, text=True
    ) as swapper:
        try:
            assert swapper.stdout.readline() == "ready\n"
            yield
            assert swapper.poll() is None, "the scenario did not run to its end"
        finally:
            swapper.kill()


@pytest.fixture
def raced(make_world):
    """
    `d` is a directory and `l` a link to the outside; each holds a file `secret`.
    """
    world = make_world(quota=2**30, max_files=2**20)
    (world.inside / "d").mkdir()
    (world.inside / "d" / "secret").write_text("inside")
    (world.inside / "l").symlink_to("../outside")
    with swapping(world.inside / "d", world.inside / "l"):
        yield world


def outcomes(act, rounds=ROUNDS):
    seen = Counter()
    while min(seen.get("done", 0), seen.get("refused", 0)) < 50 or seen.total() < rounds:
        try:
            act()
            seen["done"] += 1
        except GuestError:
            seen["refused"] += 1
        assert seen.total() < 50 * rounds, f"the two sides never met: {seen}"
    return seen


def test_reading_never_reads_the_canary(raced):
    def read():
        with (
            raced.locate("/data/d/secret", FileAction.READ) as place,
            Descriptor(hostfiles.open_for_reading(place)) as held,
        ):
            text = os.read(held.number, 100).decode()
        assert text == "inside"
        assert text != CANARY

    outcomes(read)


def test_writing_and_creating_never_touch_the_outside(raced):
    opening = Opening(creation=Creation.IF_MISSING, truncate=True)

    def write():
        for name in ("secret", "new"):
            with raced.open(f"/data/d/{name}", opening) as handle:
                handle.write_at(b"inside", 0)

    outcomes(write)


def test_removing_never_removes_outside(raced):
    def remove():
        raced.open("/data/d/x", Opening(creation=Creation.IF_MISSING)).close()
        with raced.locate("/data/d/x", FileAction.REMOVE) as place:
            hostfiles.remove(place)

    outcomes(remove)


def test_renaming_never_moves_anything_in_or_out(raced):
    names = ["secret", "moved"]

    def rename():
        old, new = (f"/data/d/{name}" for name in names)
        with (
            raced.locate(old, FileAction.RENAME, follow=False) as source,
            raced.locate(new, FileAction.CREATE, follow=False) as destination,
        ):
            hostfiles.rename(source, destination, raced.decides)
        names.reverse()

    outcomes(rename)


def test_listing_never_lists_the_outside(raced):
    (raced.outside / "secret").rename(raced.outside / "other")

    def listing():
        with raced.locate("/data/d", FileAction.LIST) as place:
            assert "other" not in [
                entry.name for entry in hostfiles.list_directory(place, raced.decides)
            ]

    try:
        outcomes(listing)
    finally:
        (raced.outside / "other").rename(raced.outside / "secret")


def test_a_last_name_that_turns_into_a_link_is_not_followed(make_world):
    world = make_world(quota=2**30, max_files=2**20)
    (world.inside / "f").write_text("inside")
    (world.inside / "l").symlink_to("../outside/secret")
    opening = Opening(truncate=True)

    def write():
        with world.open("/data/f", opening) as handle:
            handle.write_at(b"inside", 0)

    with swapping(world.inside / "f", world.inside / "l"):
        outcomes(write)


def test_a_denied_directory_is_not_reached_through_a_swapped_name(make_world):
    world = make_world(deny=("private/**",))
    (world.inside / "private").mkdir()
    (world.inside / "private" / "f").write_text("hidden")
    (world.inside / "d").mkdir()
    (world.inside / "d" / "f").write_text("shown")
    (world.inside / "l").symlink_to("private")

    def read():
        with (
            world.locate("/data/d/f", FileAction.READ) as place,
            Descriptor(hostfiles.open_for_reading(place)) as held,
        ):
            assert os.read(held.number, 100) == b"shown"

    with swapping(world.inside / "d", world.inside / "l"):
        outcomes(read)
