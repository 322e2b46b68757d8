"""
A tool of a build that a wheel has taken over: it cannot put code where others would find it.

The tool is replaced by a program that does what an attacker would, in the very confinement that
the build gives the tool. The same program is run without it and must succeed there, or the test
proves nothing. Green does not prove that such a tool cannot spoil the image that it is building.
"""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from crafted import publish_small, small_manifest

from executor.images import build as building
from executor.images import native, node
from executor.images.build import Order
from executor.images.declaration import load
from executor.images.errors import ImageRefusedError, ToolFailedError, WheelRefusedError
from executor.images.guests import DEFAULT
from executor.images.manifest import PYTHON, SNAPSHOT, NativeModule
from executor.images.outcome import taken
from executor.images.pins import sha256
from executor.images.process import ToolLimits, plain_environment, python_path, run
from executor.images.progress import silent
from executor.wasm.snapshot import Snapshot

# Takes a file's place, as code of a wheel in the place of the guest. Ends with what it met.
PROGRAM = """
import errno, os, sys
met = []
for act in (
    lambda: os.unlink({path!r}),
    lambda: open({path!r}, "r+b").close(),
    lambda: os.rename(os.path.dirname({path!r}), "moved"),
    lambda: open({path!r}, "wb").write(b"code of the wheel"),
    lambda: open(os.path.join(os.path.dirname({path!r}), "more.cwasm"), "wb").close(),
):
    try:
        act()
    except OSError as error:
        met.append(errno.errorcode[error.errno])
    else:
        met.append("done")
sys.exit(" ".join(met))
"""
GENUINE = b"the guest"


def taken_over(path: Path, *, confined: bool) -> Callable[..., None]:
    """
    `run_module`, with the attacker's program in the place of the module.
    """

    def instead(_module, arguments, scratch, tick, reads=()) -> None:
        access = node._module_access(reads) if confined else None
        run(
            (sys.executable, "-P", "-c", PROGRAM.format(path=str(path)), *arguments),
            directory=scratch,
            environment=plain_environment(scratch) | {"PYTHONPATH": python_path()},
            limits=ToolLimits(),
            tick=tick,
            access=access,
        )

    return instead


@pytest.fixture
def draft(tmp_path) -> Path:
    made = tmp_path / "draft"
    made.mkdir()
    (made / PYTHON).write_bytes(GENUINE)
    (made / "stdlib.zip").write_bytes(b"library")
    (made / "site-packages").mkdir()
    (made / "extra").mkdir()
    return made


def compile_native(_cache, draft: Path, work: Path) -> None:
    job = native.NativeJob(
        guest=DEFAULT.name,
        python=draft / PYTHON,
        files={"a.so": b"anything"},
        translate=lambda source, target: target.write_bytes(source.read_bytes()) and None,
        work=work,
        draft=draft,
    )
    native.build(job, lambda: None)


def ask(name: str) -> Callable[..., None]:
    def asked(cache, draft: Path, work: Path) -> None:
        plan = building._plan(Order(load(name)))
        building._asked(plan, building._Room(cache, work, silent), draft)

    return asked


def boot(cache, draft: Path, work: Path) -> None:
    described = small_manifest("small", {})
    building._tried(described, building._Room(cache, work, silent), draft)


STEPS = [
    pytest.param(compile_native, id="native code is compiled"),
    pytest.param(ask("core"), id="bytecode is made"),
    pytest.param(ask("data"), id="facts are found"),
    pytest.param(boot, id="the image is tried"),
]


@pytest.mark.parametrize("step", STEPS)
def test_a_tool_that_is_taken_over_changes_nothing_of_the_draft(
    step, cache, draft, tmp_path, monkeypatch
):
    attack = taken_over(draft / PYTHON, confined=True)
    monkeypatch.setattr(building, "run_module", attack)
    monkeypatch.setattr(native, "run_module", attack)
    work = tmp_path / "work"
    work.mkdir()
    before = {path: path.stat().st_mtime_ns for path in draft.rglob("*")}
    with pytest.raises((ToolFailedError, WheelRefusedError, ImageRefusedError)) as caught:
        step(cache, draft, work)
    assert "EACCES EACCES EACCES EACCES EACCES" in str(caught.value)
    assert (draft / PYTHON).read_bytes() == GENUINE
    assert {path: path.stat().st_mtime_ns for path in draft.rglob("*")} == before


@pytest.mark.parametrize("step", STEPS)
def test_the_same_tool_without_walls_takes_the_guests_place(
    step, cache, draft, tmp_path, monkeypatch
):
    attack = taken_over(draft / PYTHON, confined=False)
    monkeypatch.setattr(building, "run_module", attack)
    monkeypatch.setattr(native, "run_module", attack)
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises((ToolFailedError, WheelRefusedError, ImageRefusedError)) as caught:
        step(cache, draft, work)
    assert "done ENOENT done" in str(caught.value)
    assert not (draft / PYTHON).exists()


@pytest.mark.parametrize("is_true", [True, False])
def test_a_snapshot_with_another_digest_than_its_own_is_not_published(
    is_true, cache, draft, tmp_path, monkeypatch
):
    """
    The digest of a guest stands in records; whoever makes the snapshot could have it be another's.
    """
    page = b"x" * 4096
    digest = sha256(page + bytes(2**16 - len(page)) if is_true else b"another")
    data = memoryview(page)
    made = Snapshot("world", bytes.fromhex(digest), 2**16, 1, (0, b""), ((0, 4096),), data)

    def tried(_module, arguments, _scratch, _tick, _reads) -> None:
        Path(arguments[2], SNAPSHOT).write_bytes(made.encoded())

    monkeypatch.setattr(building, "run_module", tried)
    work = tmp_path / "work"
    work.mkdir()
    room, described = building._Room(cache, work, silent), small_manifest("small", {})
    if is_true:
        assert building._tried(described, room, draft).has(SNAPSHOT)
        return
    with pytest.raises(ImageRefusedError, match="small is not published: .*digest"):
        building._tried(described, room, draft)
    assert not (draft / SNAPSHOT).exists()


PART = NativeModule("a.so", "0" * 64, "native/a.cwasm", "", 0, 0, 0, (), ())


@pytest.mark.parametrize(("modules", "lends"), [((), True), ((PART,), False)])
def test_an_image_lends_its_code_only_where_no_native_part_was_compiled(cache, modules, lends):
    manifest = small_manifest("other", {PYTHON: GENUINE})
    publish_small(cache, dataclasses.replace(manifest, modules=modules), {PYTHON: GENUINE})
    plan = building._plan(Order(load("core")))
    found = building._compiled_before(plan, {PYTHON: b""}, cache)
    assert found == ({PYTHON: GENUINE} if lends else None)


def test_a_guest_that_is_not_the_one_that_was_compiled_is_not_published():
    described = small_manifest("small", {PYTHON: GENUINE})
    building._require_unchanged(described, {PYTHON: sha256(GENUINE)})
    with pytest.raises(ImageRefusedError, match="changed it"):
        building._require_unchanged(described, {PYTHON: sha256(b"compiled")})


def test_what_a_tool_left_is_read_where_it_is_a_file_of_the_expected_size(tmp_path):
    (tmp_path / "file").write_bytes(b"12345678")
    assert taken(tmp_path / "file", 8) == b"12345678"
    with pytest.raises(ToolFailedError, match="more than the 7 bytes"):
        taken(tmp_path / "file", 7)


def test_what_a_tool_left_is_refused_where_it_is_missing_or_no_file(tmp_path):
    (tmp_path / "file").write_bytes(b"secret")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "directory").mkdir()
    for name in ("absent", "link", "directory"):
        with pytest.raises(ToolFailedError, match=f"A tool was to write {name}"):
            taken(tmp_path / name, 100)
