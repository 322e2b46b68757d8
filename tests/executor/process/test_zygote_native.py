"""
The native zygote with real boxes: what the server sees of it, and what a guest sees in one.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from executor.children.launcher import launch, program
from executor.children.workers import require_locked
from executor.children.zygotes import ImageRow, Zygotes
from executor.images.cache import default_cache
from executor.kernel.orders import BoxOrder
from executor.linux.errors import MechanismFailed
from executor.process import images, slots
from executor.process.plan import identity_of
from executor.process.zygote_boxes import plan_of
from tests.executor.process.native_world import NativeZygote, Worker, boxed

CORE = images.image_of(images.declared_as("native-core"), default_cache())


ORDER = BoxOrder()


def started(name: str, key: str) -> NativeZygote:
    zygote = boxed(name, key)
    if zygote.ready is None and zygote.complaint:
        pytest.skip(f"no box can be made here: {zygote.complaint.splitlines()[-1]}")
    return zygote


@pytest.fixture(scope="module")
def zygote() -> Iterator[NativeZygote]:
    with started(CORE.name, CORE.key) as made:
        yield made


@pytest.fixture
def worker(zygote: NativeZygote) -> Worker:
    return zygote.spawn().begin()


def test_a_boxed_worker_runs_cells_and_is_held_as_the_server_demands(worker: Worker) -> None:
    require_locked(worker.pid)
    assert worker.spawned.holding.level in {"P3", "P4"}
    assert worker.run("1 + 1").value == "2"
    require_locked(worker.pid)


def test_the_guest_sees_its_own_places_and_none_of_the_hosts(worker: Worker) -> None:
    seen = worker.run("import os; os.getcwd(), os.getpid(), os.getuid(), os.listdir('/work')")
    assert seen.value == "('/work', 1, 1000, [])"
    assert worker.run("os.path.exists('/proc'), os.path.exists('/etc/shadow')").value == (
        "(False, False)"
    )
    assert worker.run("open('/work/a', 'w').write('x'), open('/tmp/a', 'w').write('x')").value == (
        "(1, 1)"
    )
    assert worker.run("open(os.__file__, 'a')").done.error_name == "PermissionError"


def test_an_interrupt_reaches_the_first_process_of_a_namespace(worker: Worker) -> None:
    worker.run("x = 5")
    worker.start("print('on', flush=True)\nwhile True: pass", "stopped for its time")
    worker.started()
    worker.interrupt(limit=True)
    assert worker.finish().done.error_message == "stopped for its time"
    worker.start("import time; print('on', flush=True); time.sleep(3600)")
    worker.started()
    worker.interrupt()
    assert worker.finish().status == "INTERRUPTED"
    assert worker.run("x").value == "5"


def test_modules_that_nobody_has_imported_can_be_in_the_box(worker: Worker) -> None:
    seen = worker.run("import ctypes.util, curses, dbm, tomllib, xml.dom.minidom, zoneinfo; 1")
    assert seen.value == "1", seen.done.traceback


def test_no_process_is_made_whatever_is_called(worker: Worker) -> None:
    for code in ("import os; os.fork()", "import os; os.execv('/bin/sh', ['sh'])"):
        assert worker.run(code).done.error_name in {"PermissionError", "FileNotFoundError"}
    assert worker.run("import os; os.posix_spawn('/bin/sh', ['sh'], {})").status == "ERROR"


def test_threads_are_there(worker: Worker) -> None:
    code = "from concurrent.futures import ThreadPoolExecutor as Pool\nlist(Pool(2).map(abs, [-1]))"
    assert worker.run(code).value == "[1]"


def test_two_boxes_share_neither_files_nor_user(zygote: NativeZygote) -> None:
    first, second = zygote.spawn().begin(), zygote.spawn().begin()
    first.run("open('/work/mine', 'w').write('x')")
    assert second.run("import os; os.listdir('/work')").value == "[]"
    if os.geteuid() == 0:
        assert uid_of(first) != uid_of(second)
        assert 0 not in {uid_of(first), uid_of(second)}


def uid_of(worker: Worker) -> int:
    return os.stat(f"/proc/{worker.pid}").st_uid


def test_the_zygote_tells_of_an_end_and_lives_on(zygote: NativeZygote) -> None:
    with started(CORE.name, CORE.key) as own:
        worker = own.spawn().begin()
        os.kill(worker.pid, 9)
        assert own.exited().status == 9
        assert own.spawn().begin().run("1").value == "1"


def test_a_zygote_that_ends_takes_its_boxes_with_it() -> None:
    own = started(CORE.name, CORE.key)
    worker = own.spawn().begin()
    assert own.end() == ""
    assert worker.ended()
    worker.close()


def test_a_box_whose_server_is_gone_ends(zygote: NativeZygote) -> None:
    with started(CORE.name, CORE.key) as own:
        worker = own.spawn().begin()
        worker.stream.shutdown(socket.SHUT_RDWR)
        assert worker.ended()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives each box a host user of its own")
def test_no_two_zygotes_have_a_host_user_in_common_and_no_two_living_boxes() -> None:
    claimed = [slots.claim() for _ in range(20)]
    try:
        own = [one for one in claimed if one is not None]
        assert len({one.first for one in own}) == 20
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as second,
            pytest.raises(OSError, match="in use"),
        ):
            second.bind(f"\0codecage-boxes-{own[0].first // slots.BLOCK}")
        first, count = own[0].identities
        taken = [own[0].take() for _ in range(100)]
        assert len(set(taken)) == 100
        assert all(first <= one.uid < first + count and one.uid == one.gid for one in taken)
    finally:
        for one in claimed:
            if one is not None:
                os.close(one.claim)


def test_a_host_user_is_given_again_when_its_box_has_ended() -> None:
    full = slots.Slots(0, -1, set(range(slots.BLOCK)))
    with pytest.raises(MechanismFailed, match="all taken"):
        full.take()
    full.give_back(identity_of(5))
    assert full == slots.Slots(0, -1, set(range(slots.BLOCK)) - {5})


def test_a_plan_shows_the_library_once_and_names_no_home() -> None:
    plan = plan_of(CORE)
    shown = [view.mount for view in plan.mounts]
    assert len(shown) == len(set(shown))
    assert dict(plan.environment)["HOME"] == "/home/agent"


def test_the_servers_zygotes_drive_a_native_one_unchanged() -> None:
    held, ended, used = asyncio.run(driven())
    assert held in {"P3", "P4"}
    assert ended.startswith("its process was ended by SIGKILL")
    # Its group, which knew, has gone with it.
    assert used


async def driven() -> tuple[str, str, float | None]:
    """
    The level of a box that they have made, how it ended, and the CPU time that it had used.
    """
    row = program("executor.process.zygote", "--image", CORE.name, "--key", CORE.key)
    launcher = launch([row])
    zygotes = Zygotes(launcher, [ImageRow(CORE.name, CORE.key)], pool=1)
    try:
        assert len(await zygotes.start(CORE.name, ORDER)) == 32
        worker = await zygotes.take(CORE.name, ORDER)
        assert worker.holding is not None
        assert worker.boot_memory > 0
        worker.limit_memory(2**28)
        worker.drop()
        return worker.holding.level, str(await worker.ended), worker.cpu_time()
    finally:
        await zygotes.close()
        launcher.stop()


THREADED = """
import threading
from executor.process import zygote_world
held = threading.Event()
if {threads}: threading.Thread(target=held.wait, daemon=True).start()
zygote_world.settle()
"""


@pytest.mark.parametrize(("threads", "said"), [(True, "threads: tasks"), (False, "")])
def test_what_an_import_has_left_running_is_not_cloned(threads: bool, said: str) -> None:
    command = [sys.executable, "-Wignore", "-c", THREADED.format(threads=threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said in done.stderr
    assert bool(done.returncode) is threads


def test_an_unknown_key_ends_the_zygote_with_the_reason() -> None:
    told = boxed("native-core", "0" * 64).complaint
    assert "is not in the cache" in told


def test_a_missing_module_names_the_image_that_has_it(worker: Worker) -> None:
    hint = "it is not in the image 'native-core' of this session; a session opened with "
    for code in ("import numpy", "%pip install numpy"):
        assert f'{hint}image="native-data" has it' in worker.run(code).done.traceback
    assert "image=" not in worker.run("import sklearn").done.traceback
    told = worker.run("%pip install scikit-learn").done.traceback
    assert "no native image that comes with Codecage has it; use what is here" in told


# ---- native-data ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data() -> Iterator[NativeZygote]:
    built = images.find("native-data")
    if built is None:
        pytest.skip("the image `native-data` is not built")
    with started(built.name, built.key) as made:
        yield made


def test_tables_figures_and_pictures_are_shown(data: NativeZygote) -> None:
    worker = data.spawn().begin()
    table = worker.run("import pandas as pd; pd.DataFrame({'a': [1, 2]})")
    assert set(table.displays[0]) == {"text/html", "text/plain"}
    figure = worker.run("import matplotlib.pyplot as plt; plt.plot([1, 2]);")
    assert figure.displays[0]["image/png"].startswith(b"\x89PNG")
    assert worker.run("plt.get_fignums()").value == "[]"
    assert set(worker.run("plt.plot([1, 2]); plt.show()").displays[0]) == {
        "image/png",
        "text/plain",
    }
    asked = worker.run("display(plt.figure(), include=['image/svg+xml']); plt.close()")
    assert asked.displays[0]["image/svg+xml"].startswith(b"<?xml")
    worker.run("%config InlineBackend.figure_formats = ['svg', 'png']")
    both = worker.run("plt.plot([1, 2]);")
    assert set(both.displays[0]) == {"image/svg+xml", "image/png", "text/plain"}
    picture = worker.run("from PIL import Image; Image.new('RGB', (2, 2))")
    assert picture.displays[0]["image/png"].startswith(b"\x89PNG")


def test_every_generator_of_numpy_differs_between_sessions(data: NativeZygote) -> None:
    code = (
        "import numpy as np, pandas as pd\n"
        "(np.random.rand(), np.random.default_rng().random(), "
        "pd.Series(range(10**6)).sample(1).iloc[0], np.random.mtrand._rand.rand())"
    )
    first, second = (data.spawn().begin().run(code).value for _ in range(2))
    assert first is not None
    assert first != second


def test_arithmetic_in_c_can_be_interrupted_and_bounded(data: NativeZygote) -> None:
    worker = data.spawn().begin()
    assert worker.run("import numpy as np; np.linalg.svd(np.eye(60))[1].sum()").status == "OK"
    assert worker.run("np.ones(2**34)").done.error_name in {"MemoryError", "_ArrayMemoryError"}
    worker.start("print('on', flush=True)\nwhile True: np.ones(1000).sum()")
    worker.started()
    worker.interrupt()
    assert worker.finish().status == "INTERRUPTED"
