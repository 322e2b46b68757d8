"""
A guest that is taken up from its image's snapshot is the guest that was booted.
"""

import dataclasses
import json
import resource
from collections.abc import Iterator

import pytest

from executor.images.bootable import parts
from executor.images.manifest import SNAPSHOT
from executor.images.sealed import read
from executor.kernel.errors import InternalError
from executor.wasm.boot import boot
from executor.wasm.booted import Guest
from executor.wasm.parts import Parts
from executor.wasm.snapshot import Snapshot

pytestmark = pytest.mark.image

# What goes to the ends of all that a snapshot leaves out: the stack and its bounds, the table,
# longjmp and C++'s exceptions, chance, inode numbers, descriptors.
CELLS = (
    "import sys\nsys._getframe().f_code.co_filename",
    "def deeper(): deeper()\ntry:\n    deeper()\nexcept RecursionError as error:\n    print(error)",
    "x = []\nfor _ in range(100_000): x = [x]\ntry:\n    repr(x)\nexcept RecursionError:\n    print(1)",
    "import ctypes\nT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)\nT(lambda x: x + 1)(41)",
    "import os, random\nos.urandom(8), random.random()",
    "file = open('/tmp/made', 'w')\nfile.fileno(), os.fstat(file.fileno()).st_ino",
    "import json, re, decimal, zlib, hashlib, datetime\njson.dumps(re.findall('a+', 'baa'))",
    "import asyncio\nasync def wait(): await asyncio.sleep(0)\nasyncio.run(wait())",
    "raise ValueError('told')",
)
BEGIN = {"op": "begin", "environment": {}, "seed": "11" * 64, "directory": "/"}


@pytest.fixture(autouse=True)
def stack() -> Iterator[None]:
    """
    Booting raises the process's limit of its stack.
    """
    had = resource.getrlimit(resource.RLIMIT_STACK)
    yield
    resource.setrlimit(resource.RLIMIT_STACK, had)


@pytest.fixture(scope="module")
def given(image) -> Parts:
    """
    The image's files without its snapshot, which may be of sources that are others now.
    """
    return dataclasses.replace(parts(image), snapshot=None)


@pytest.fixture(scope="module")
def taken(given) -> Snapshot:
    found = boot(given).snapshot(given)
    assert found is not None
    return found


def did(guest: Guest) -> list[object]:
    """
    What a guest answers to each cell, what it printed, and the memory that it had then.
    """
    said: list[tuple[int, bytes]] = []
    guest.hooks.on_output = lambda stream, data: said.append((stream, data))
    before = [guest.digest(), guest.call(BEGIN)]
    answers = [
        (code, guest.call({"op": "cell", "cell": 1, "code": code}), guest.digest())
        for code in CELLS
    ]
    return [*before, *answers, said]


def test_a_guest_that_is_taken_up_does_what_the_booted_one_does_byte_for_byte(given, taken):
    booted, resumed = boot(given), boot(dataclasses.replace(given, snapshot=taken))
    assert resumed.resumed_digest == resumed.digest() == taken.digest == booted.digest()
    assert booted.resumed_digest == b""
    assert did(resumed) == did(booted)


def test_a_snapshot_of_a_snapshot_is_the_same(given, taken):
    once = Snapshot.decoded(taken.encoded())
    resumed = boot(dataclasses.replace(given, snapshot=once))
    assert resumed.snapshot(given) == taken


def test_what_was_built_with_the_image_is_what_a_boot_comes_to(image, given, taken):
    """
    Where it fails, the host answers a booting guest in another way than when the image was built:
    raise CONTENT in images/identity.py. It proves nothing where the guest's sources have changed
    since; then the snapshot is not used.
    """
    built = Snapshot.decoded(read(image, SNAPSHOT))
    assert built.world != taken.world or built == taken


@pytest.mark.parametrize(
    "changed",
    [
        {"warm": ("colorsys",)},
        {"image": "another"},
        {"elsewhere": {"numpy": ("data",)}},
        {"site_packages": {"new.py": b"MADE = 1"}},
    ],
)
def test_a_snapshot_of_another_world_is_not_used(given, taken, changed):
    other = dataclasses.replace(given, snapshot=taken, **changed)
    booted = boot(other)
    assert booted.snapshot(other).world != taken.world
    assert booted.resumed_digest == b""
    assert booted.digest() != taken.digest


@pytest.mark.parametrize(
    "code",
    [
        "kept = open('/tmp/kept', 'w')",
        "import os\nos.mkdir('/tmp/made')\nos.rmdir('/tmp/made')",
        "import os\nos.chmod('/tmp', 0o700)",
        "import os\nos.chdir('/tmp')",
        "import os\nos.dup2(1, 2)",
        "import ctypes\nkept = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 1)",
        "import ctypes\nctypes.CDLL(None)",
    ],
)
def test_a_guest_that_has_changed_its_host_has_no_snapshot(given, taken, code):
    guest = boot(dataclasses.replace(given, snapshot=taken))
    assert guest.call({"op": "cell", "cell": 1, "code": code})["status"] == "ok"
    assert guest.snapshot(given) is None


@pytest.mark.parametrize(
    "data", [b"", b"no line of its own", b"{}\n", b"[]\n", b"\xff\n", b"[" * 200_000 + b"\n"]
)
def test_what_is_no_snapshot_is_refused(data):
    with pytest.raises(InternalError, match="snapshot"):
        Snapshot.decoded(data)


def test_a_snapshot_has_the_digest_that_it_says(taken):
    taken.check()
    assert Snapshot.decoded(taken.encoded()).check() is None
    flipped = bytearray(taken.data)
    flipped[-1] ^= 1
    for changed in (
        {"digest": bytes(32)},
        {"data": memoryview(flipped)},
        {"size": taken.size + 65_536},
        {"runs": taken.runs[:-1]},
    ):
        with pytest.raises(InternalError, match="digest"):
            dataclasses.replace(taken, **changed).check()


@pytest.mark.parametrize(
    "changed",
    [
        {"size": 2**62},
        {"runs": ((2**62, 1),)},
        {"runs": ((4096, 1), (0, 1))},
        {"runs": ((0, 2**40),)},
        {"runs": ((-4096, 1),)},
    ],
)
def test_runs_that_are_none_are_refused_before_anything_is_hashed(taken, changed):
    with pytest.raises(InternalError, match="runs that are none"):
        dataclasses.replace(taken, **changed).check()


def test_a_snapshot_writes_nothing_outside_the_guest_s_memory(given, taken):
    beyond = dataclasses.replace(taken, runs=((taken.size - 4096, 8192),))
    with pytest.raises(InternalError, match="larger than its memory"):
        boot(dataclasses.replace(given, snapshot=beyond))


def test_the_head_of_a_snapshot_is_a_line_of_json(taken):
    head = json.loads(taken.encoded().split(b"\n", 1)[0])
    assert head.keys() == {"digest", "drawn", "entry", "runs", "size", "world"}
    assert sum(length for _, length in head["runs"]) == len(taken.data)


def test_the_image_core_has_one(image):
    assert image.manifest.has(SNAPSHOT)
