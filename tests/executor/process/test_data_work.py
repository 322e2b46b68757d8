"""
The data stack at ordinary work in a box: what the filter, Landlock and the mounts must not break.

Each cell runs in a session of its own, and by this machine's Python with the image's packages
beside it. What green does not prove: that what no cell does works.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor.process import images
from executor.process.native_image import NativeImage
from tests.executor.process.data_work import WORK
from tests.executor.process.native_world import NativeZygote, boxed

REFUSED = "a pool of processes, which is refused"
RUN = """
import ast, asyncio, inspect, sys
sys.path.append(sys.argv[1])
code = compile(sys.stdin.read(), "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
made = eval(code, {"__name__": "__main__"})
asyncio.run(made) if inspect.iscoroutine(made) else None
"""


@pytest.fixture(scope="module")
def image() -> NativeImage:
    found = images.find("native-data")
    if found is None:
        pytest.skip("the image `native-data` is not built: codecage image build native-data")
    return found


@pytest.fixture(scope="module")
def zygote(image: NativeImage) -> Iterator[NativeZygote]:
    with boxed(image.name, image.key) as made:
        if made.ready is None:
            pytest.skip(f"no box can be made here: {made.complaint.splitlines()[-1]}")
        yield made


@pytest.mark.parametrize("name", WORK)
def test_the_data_stack_works_in_a_box(name: str, zygote: NativeZygote) -> None:
    worker = zygote.spawn().begin()
    seen = worker.run(f"{WORK[name]}\n'done'")
    zygote.release(worker)
    assert seen.value == "'done'", seen.done.traceback


@pytest.mark.parametrize("name", sorted(WORK.keys() - {REFUSED}))
def test_the_same_work_is_done_by_plain_python(
    name: str, image: NativeImage, tmp_path: Path
) -> None:
    environment = {"HOME": str(tmp_path), "MPLBACKEND": "Agg", **dict(image.importing)}
    ran = subprocess.run(
        [sys.executable, "-I", "-B", "-c", RUN, *image.site_packages],
        input=WORK[name],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
