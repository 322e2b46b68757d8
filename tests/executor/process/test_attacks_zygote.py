"""
What a box finds of its zygote: orders of other policies, objects of ours, numbers of the host.

All memory of a zygote is in every box that it makes, also what it has let go of. The names that
are searched for are written here in two halves, so that the search itself is not found.

Green does not prove that nothing of the host is in a box's memory: where Python and its packages
lie is, and what the box's own order names.
"""

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor.kernel.boxing import SpawnBox
from executor.kernel.orders import BoxOrder, ScratchTree, ShownTree
from tests.executor.process.attacked_server import holds
from tests.executor.process.native_world import NativeZygote, Worker
from tests.executor.process.test_zygote_native import CORE, started

HALVES = "tenant-a-", "is-nobodys-business"
SECRET = "".join(HALVES)
FUSE = os.access("/dev/fuse", os.R_OK | os.W_OK)


@pytest.fixture(scope="module")
def tree() -> Iterator[Path]:
    """
    A tree of the host with a name that is nobody else's business.
    """
    top = Path("/var/tmp", f"codecage-names-{os.getpid()}")
    made = top / SECRET
    made.mkdir(parents=True)
    for path in (top, made):
        path.chmod(0o755)
    yield made
    shutil.rmtree(top)


def order(tree: Path, kind: str) -> dict[str, object]:
    """
    An order whose names of one kind have the secret in them.
    """
    found = tree.stat()
    shown = ShownTree(str(tree), f"/{SECRET}-seen", found.st_dev, found.st_ino)
    program = tree / "program"
    shutil.copy("/usr/bin/true", program)
    orders: dict[str, dict[str, object]] = {
        "shown": {"shown": (shown,)},
        "scratch": {
            "scratch": (ScratchTree(f"/{SECRET}-own", 2**20, 100),),
            "directory": f"/{SECRET}-own",
        },
        "programs": {"programs": (str(program),)},
        "served": {"served": (f"/{SECRET}-served",)},
    }
    return orders[kind]


KINDS = ["shown", "scratch", "programs", *(["served"] if FUSE else [])]


@pytest.fixture(scope="module")
def after(tree: Path) -> Iterator[tuple[NativeZygote, Worker]]:
    """
    A zygote that has made a box of each kind for another policy, and then one for this.
    """
    with started(CORE.name, CORE.key) as zygote:
        for kind in KINDS:
            zygote.spawn(**order(tree, kind))
        yield zygote, zygote.spawn().begin()


def test_a_later_box_has_no_name_of_an_earlier_boxs_order(
    after: tuple[NativeZygote, Worker],
) -> None:
    _, worker = after
    assert not holds(worker.pid, SECRET.encode())
    # What is searched for is found where it is.
    worker.run(f"kept = ''.join({HALVES!r})")
    assert holds(worker.pid, SECRET.encode())


@pytest.mark.parametrize("kind", KINDS)
def test_nor_has_its_zygote(kind: str, tree: Path) -> None:
    with started(CORE.name, CORE.key) as zygote:
        zygote.spawn(**order(tree, kind))
        # It answers first, and then forgets: it has done both when the next answer is there.
        zygote.spawn()
        assert not holds(zygote._process.pid, SECRET.encode())


def test_an_order_that_is_not_the_one_that_was_told_of_makes_no_box() -> None:
    with started(CORE.name, CORE.key) as zygote:
        ours, theirs = socket.socketpair()
        told = SpawnBox(1, BoxOrder()).pack()
        other = SpawnBox(1, BoxOrder(fork=True)).pack()
        length = len(BoxOrder().without_names().pack())
        false = told[: 12 + length] + other[-len(BoxOrder(fork=True).pack()) :]
        with ours, theirs:
            socket.send_fds(zygote._control, [false], [theirs.fileno()])
        answer = zygote._control.recv(2**15)
        assert b"not the one that its zygote was told of" in answer
        assert zygote.spawn().begin().run("1").value == "1"


OURS = """
import gc, sys
KINDS = {kinds!r}
found, frame = {{type(one).__name__ for one in gc.get_objects()}}, sys._getframe()
while frame is not None:
    found |= {{type(value).__name__ for value in [*frame.f_locals.values()]}}
    frame = frame.f_back
" ".join(sorted(found & set(KINDS)))
"""
# What an order, a plan, a box and the table of boxes are made of.
KNOWING = (
    *(
        "SpawnBox",
        "SealedBox",
        "BoxOrder",
        "ShownTree",
        "ScratchTree",
        "BoxPlan",
        "View",
        "Scratch",
    ),
    *("Box", "Owned", "Boxes", "Group", "Site", "Executables", "Zygote", "Outside", "Inside"),
    *("Identity", "Vector", "Finding", "Holding", "HeldItem", "ExitStack"),
)


def test_a_guest_finds_no_object_that_knows_of_boxes(
    after: tuple[NativeZygote, Worker], tree: Path
) -> None:
    zygote, _ = after
    worker = zygote.spawn(**order(tree, "shown")).begin()
    seen = worker.run(OURS.format(kinds=KNOWING))
    assert seen.value == "''", seen
    # The same search finds what is there.
    assert worker.run(OURS.format(kinds=("NativeGuest", "dict"))).value == "'NativeGuest dict'"


def test_why_a_box_was_not_made_reaches_the_server_alone(tree: Path) -> None:
    asked = BoxOrder(shown=(ShownTree(str(tree), f"/{SECRET}-seen", 1, 1),))
    with started(CORE.name, CORE.key) as zygote:
        with pytest.raises(AssertionError, match="<0>") as refused:
            zygote.spawn(shown=asked.shown)
        zygote.spawn()
        assert not holds(zygote._process.pid, SECRET.encode())
    assert str(tree) in asked.named(str(refused.value))
