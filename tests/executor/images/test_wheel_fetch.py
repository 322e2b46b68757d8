"""
pip itself fetches here, from a directory: what it is asked for and what is taken from it.
"""

import os

import pytest
from crafted import CraftedWheel

from executor.images.errors import ToolFailedError, WheelRefusedError
from executor.images.guests import DEFAULT
from executor.images.lock import LockedPackage
from executor.images.pins import sha256
from executor.images.pypi import PyPI
from executor.images.wheels import Sources, gather, install


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """
    A directory that is the only place where pip looks.
    """
    place = tmp_path / "shelf"
    place.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(place))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return place


@pytest.fixture
def room(tmp_path):
    made = tmp_path / "room"
    made.mkdir()
    return made


def put(shelf, wheel: CraftedWheel) -> LockedPackage:
    (shelf / wheel.filename).write_bytes(wheel.data())
    return wheel.package()


def get(cache, room, *packages: LockedPackage):
    return gather(cache, packages, Sources(pypi=PyPI(DEFAULT, room)), lambda: None)


def test_a_locked_wheel_is_fetched_checked_and_installed(cache, shelf, room, tmp_path):
    package = put(shelf, CraftedWheel())
    wheels = get(cache, room, package)
    assert [w.described().sha256 for w in wheels] == list(package.hashes)
    install(wheels, tmp_path / "site-packages")
    written = tmp_path / "site-packages" / "fine" / "__init__.py"
    assert written.read_bytes() == b"x = 1\n"
    assert written.stat().st_mode & 0o777 == 0o444


def test_what_is_installed_can_be_written_by_nobody_else_whatever_the_umask(
    cache, shelf, room, tmp_path
):
    package = put(shelf, CraftedWheel(members=[("fine/a/b/c.py", b"")]))
    wheels = get(cache, room, package)
    before = os.umask(0)
    try:
        install(wheels, tmp_path / "site-packages")
    finally:
        os.umask(before)
    installed = [tmp_path / "site-packages", *(tmp_path / "site-packages").rglob("*")]
    assert len(installed) > 5
    assert [path for path in installed if path.stat().st_mode & 0o022] == []


def test_what_was_fetched_once_is_not_asked_for_again(cache, shelf, room):
    wheel = CraftedWheel()
    package = put(shelf, wheel)
    get(cache, room, package)
    (shelf / wheel.filename).unlink()
    for path in sorted(room.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert get(cache, room, package)[0].sha256 in package.hashes


def test_a_wheel_with_another_hash_than_the_lock_is_not_fetched(cache, shelf, room):
    wheel = CraftedWheel()
    put(shelf, wheel)
    locked = LockedPackage(wheel.name, wheel.version, frozenset({"0" * 64}), frozenset())
    with pytest.raises(ToolFailedError, match="DO NOT MATCH THE HASHES"):
        get(cache, room, locked)
    assert list(cache.inputs.iterdir()) == []


def test_a_source_archive_is_not_fetched_even_where_the_lock_has_its_hash(cache, shelf, room):
    archive = b"anything: it must not be opened, let alone run"
    (shelf / "fine-1.0.tar.gz").write_bytes(archive)
    locked = LockedPackage("fine", "1.0", frozenset({sha256(archive)}), frozenset())
    with pytest.raises(ToolFailedError, match="No matching distribution"):
        get(cache, room, locked)


@pytest.mark.parametrize("tag", ["cp314-cp314-manylinux_2_28_x86_64", "py2-none-any"])
def test_a_wheel_for_another_interpreter_is_not_fetched(cache, shelf, room, tag):
    package = put(shelf, CraftedWheel(tag=tag))
    with pytest.raises(ToolFailedError, match="No matching distribution"):
        get(cache, room, package)


def test_a_hostile_wheel_is_refused_and_not_kept(cache, shelf, room):
    package = put(shelf, CraftedWheel(members=[("evil.pth", b"import os\n")]))
    with pytest.raises(WheelRefusedError, match=r"evil\.pth"):
        get(cache, room, package)
    assert list(cache.inputs.iterdir()) == []


def test_a_wheel_that_needs_a_package_outside_the_selection_is_refused(cache, shelf, room):
    package = put(shelf, CraftedWheel(metadata="Requires-Dist: other>=1\n"))
    with pytest.raises(WheelRefusedError, match="needs other"):
        get(cache, room, package)


def test_a_wheel_and_the_package_it_needs_are_accepted_together(cache, shelf, room):
    first = put(shelf, CraftedWheel(metadata="Requires-Dist: other>=1\n"))
    second = put(shelf, CraftedWheel(name="other", members=[("other.py", b"")]))
    assert [w.package.name for w in get(cache, room, first, second)] == ["fine", "other"]


@pytest.mark.parametrize("name", ["fine/__init__.py", "Fine/__init__.py", "fine"])
def test_two_wheels_that_hold_one_path_are_refused(cache, shelf, room, name):
    first = put(shelf, CraftedWheel())
    second = put(shelf, CraftedWheel(name="other", members=[(name, b"")]))
    with pytest.raises(WheelRefusedError, match="do not fit into one image"):
        get(cache, room, first, second)
