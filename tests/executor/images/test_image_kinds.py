"""
Images of every kind of package and guest, really built; and what a refused build leaves alone.

The image of a wheel of our own is built once; tests that change anything use a copy of its place.
"""

import shutil

import pytest
from copies import linked, seeded_cache
from crafted import CraftedWheel, native_wheel

from executor.images import catalog, locking
from executor.images.build import Order, build
from executor.images.cache import default_cache
from executor.images.declaration import load
from executor.images.errors import ImageRefusedError, WheelRefusedError
from executor.images.guests import guest_kind
from executor.images.lock import LockedPackage, lock_text, read_lock
from executor.images.pins import sha256

pytestmark = pytest.mark.image


@pytest.fixture(scope="module")
def core():
    return build()


@pytest.fixture
def offline(core, tmp_path, monkeypatch):
    """
    A cache of the test's own, seeded with core and what it was made of; a shelf of wheels is
    the only source, and nothing else can be asked.
    """
    return settle(tmp_path, monkeypatch, core)


def settle(place, monkeypatch, *images):
    seed = default_cache()
    forbid(place, monkeypatch)
    seeded_cache(seed, default_cache(), *images)
    (place / "shelf").mkdir()
    put(place, CraftedWheel("tzdata", "2030.1", [("tzdata/__init__.py", b"")]))
    return place


def forbid(place, monkeypatch):
    monkeypatch.setenv("CODECAGE_CACHE", str(place / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "/nonexistent")


@pytest.fixture(scope="module")
def built(core, tmp_path_factory):
    """
    A place such as `offline` in which `mine` has been locked and built.
    """
    with pytest.MonkeyPatch.context() as patch:
        place = settle(tmp_path_factory.mktemp("built"), patch, core)
        put(place, CraftedWheel())
        build(Order(locked(declare(place, warm="json, fine"))))
    return place


@pytest.fixture
def mine(built, tmp_path, monkeypatch):
    """
    A copy of `built`, whose cache is the test's own.
    """
    place = tmp_path / "mine"
    shutil.copytree(built, place, ignore=shutil.ignore_patterns("cache"))
    shutil.copytree(built / "cache", place / "cache", copy_function=linked)
    forbid(place, monkeypatch)
    return place


def put(place, wheel: CraftedWheel, data: bytes | None = None) -> None:
    (place / "shelf" / wheel.filename).write_bytes(wheel.data() if data is None else data)


def declare(place, warm: str = "", guest: str = "pyodide-3.14"):
    path = place / "mine.yaml"
    path.write_text(
        f"version: 1\nname: mine\ndescription: A test.\nguest: {guest}\n"
        f"packages: [fine]\nsources: [directory: shelf]\nwarm: [{warm}]\n"
    )
    return load(str(path))


def locked(declaration):
    declaration.lock.write_text(locking.lock(declaration).text)
    return declaration


def test_s09_an_image_is_locked_and_built_from_a_directory_alone(mine):
    image = catalog.find("mine")
    catalog.verify(image)
    assert image.path.is_relative_to(mine)
    assert (image.site_packages / "fine" / "__init__.py").read_bytes() == b"x = 1\n"
    assert (image.site_packages / "fine" / "__pycache__" / "__init__.cpython-314.pyc").is_file()
    assert (image.manifest.guest, image.manifest.modules) == ("pyodide-3.14", ())


def test_a_native_part_is_compiled_and_an_empty_file_stands_in_its_place(offline):
    put(offline, native_wheel("fine/native.so"))
    image = build(Order(locked(declare(offline))))
    catalog.verify(image)
    (module,) = image.manifest.modules
    assert module.path == "fine/native.so"
    assert image.manifest.entry(module.code).size > 0
    assert (image.site_packages / module.path).read_bytes() == b""


def test_an_image_whose_imports_fail_is_refused_with_the_one_that_does(mine):
    """
    Its zygotes would fail in the same way, at every start and for everybody.
    """
    sound = catalog.find("mine")
    assert sound.manifest.warm == ("json", "fine")
    with pytest.raises(ImageRefusedError, match="No module named 'fine.missing'"):
        build(Order(declare(mine, warm="json, fine.missing")))
    assert catalog.find("mine") == sound


OTHER = CraftedWheel(members=[("fine/__init__.py", b"x = 2\n")])
HOSTILE = {
    "a changed byte": (OTHER, OTHER.data() + b"\0"),
    "path traversal": (CraftedWheel(members=[("../evil.py", b"")]), None),
    "an absolute name": (CraftedWheel(members=[("/evil.py", b"")]), None),
    "a .pth file": (CraftedWheel(members=[("evil.pth", b"import os\n")]), None),
    "sitecustomize": (CraftedWheel(members=[("sitecustomize.py", b"")]), None),
    "usercustomize": (CraftedWheel(members=[("usercustomize.py", b"")]), None),
    "a wrong RECORD": (CraftedWheel(record="fine/__init__.py,sha256=AAAA,6\n"), None),
    "an ABI of 3.13": (native_wheel(tag="cp313-cp313-pyemscripten_2026_0_wasm32"), None),
    "an ABI of Linux": (native_wheel(tag="cp314-cp314-manylinux_2_28_x86_64"), None),
    "an unknown ABI": (native_wheel(tag="cp314-cp314-pyodide_2024_0_wasm32"), None),
    "a .so that is not wasm": (native_wheel(content=b"\x7fELF" + bytes(100)), None),
    "a .so that is cut off": (
        native_wheel(content=native_wheel().members[1][1] + b"\x01\xff"),
        None,
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_s08_a_refused_build_leaves_the_image_of_the_same_name_usable(mine, what):
    """
    The lock is written by hand with the hostile wheel's own hash: the check is the build's.
    """
    before, declaration = catalog.find("mine"), declare(mine, warm="json, fine")
    wheel, data = HOSTILE[what]
    (mine / "shelf" / CraftedWheel().filename).unlink()
    put(mine, wheel, data)
    others = [one for one in read_lock(declaration.lock).packages if one.name != "fine"]
    # A store that holds the sound wheel must not make up for the changed one.
    shutil.rmtree(default_cache().inputs)
    default_cache().inputs.mkdir(mode=0o700)
    digest = sha256(wheel.data())
    entry = LockedPackage("fine", "1.0", frozenset({digest}), frozenset())
    declaration.lock.write_text(lock_text("mine", [*others, entry]))
    with pytest.raises(WheelRefusedError, match="fine"):
        build(Order(declaration))
    assert catalog.find("mine") == before
    catalog.verify(before)
    assert list(default_cache().staging.iterdir()) == []


def test_an_image_of_python_3_13_is_compiled_by_its_own_python(core, tmp_path, monkeypatch):
    """
    Where the image of that guest is built already, it lends the compiled guest itself.
    """
    kind, older = guest_kind("pyodide-3.13"), catalog.find("python313")
    place = settle(tmp_path, monkeypatch, core, *([older] if older else []))
    put(place, CraftedWheel())
    image = build(Order(locked(declare(place, guest=kind.name))))
    catalog.verify(image)
    assert dict(image.manifest.versions)["python"] == "3.13.2"
    assert (image.site_packages / "fine" / "__pycache__" / "__init__.cpython-313.pyc").is_file()
    assert catalog.find("core").manifest.guest == "pyodide-3.14"
