"""
Native images: keys, what is found, and that a changed one is refused. No package is fetched.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from executor.images.cache import Cache
from executor.images.errors import ImageRefusedError
from executor.images.provides import top_level
from executor.process import images, images_kept
from executor.process.images_build import build

DATA = images.declared_as("native-data")
BOOKS = images.declared_as("native-books")
CORE = images.declared_as("native-core")


def test_a_native_zygote_imports_neither_grpc_nor_the_other_cage() -> None:
    told = "import sys, executor.process.zygote; print(*{m.split('.')[0] for m in sys.modules})"
    ran = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert "google" in loaded
    assert not loaded & {"grpc", "wasmtime", "pydantic", "ruamel", "asyncio"}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def place(cache: Cache) -> Path:
    """
    An image as a build leaves it, with two small files.
    """
    (made,) = images.places(images.image_of(DATA, cache))
    site = made / images.SITE
    site.mkdir(parents=True)
    (site / "one.py").write_text("x = 1\n")
    (site / "link").symlink_to("one.py")
    files = json.dumps({"files": dict(images.hashes(made))})
    images.listing(made).write_text(files)
    return made


def no_tick() -> None:
    return


def test_core_is_there_without_a_build(cache: Cache) -> None:
    found = images.find("native-core", cache)
    assert found is not None
    assert found.site_packages == ()
    assert build("native-core", no_tick, cache) == found
    assert not cache.root.exists()


def test_an_image_that_is_not_built_is_not_found(cache: Cache) -> None:
    assert images.find("native-data", cache) is None
    assert images.find_key(images.image_of(DATA, cache).key, cache) is None


def test_an_image_is_found_by_name_and_by_key(cache: Cache, place: Path) -> None:
    found = images.find("native-data", cache)
    assert found is not None
    assert found.site_packages == (str(place / images.SITE),)
    assert images.find_key(found.key, cache) == found


@pytest.mark.parametrize(
    "change",
    [
        lambda place: (place / images.SITE / "one.py").write_text("x = 2\n"),
        lambda place: (place / images.SITE / "more.pth").write_text("import os\n"),
        lambda place: (place / images.SITE / "one.py").unlink(),
        lambda place: images.listing(place).write_text("{}"),
    ],
    ids=["a file changed", "a file added", "a file missing", "no list"],
)
def test_an_image_that_was_changed_is_refused(
    cache: Cache, place: Path, change: Callable[[Path], object]
) -> None:
    change(place)
    with pytest.raises(ImageRefusedError, match="build it again"):
        images.find("native-data", cache)


def test_a_link_that_leads_elsewhere_is_a_change(cache: Cache, place: Path) -> None:
    link = place / images.SITE / "link"
    link.unlink()
    link.symlink_to("/etc/passwd")
    with pytest.raises(ImageRefusedError, match="'site-packages/link'"):
        images.find("native-data", cache)


def test_an_image_without_its_list_was_not_finished(cache: Cache, place: Path) -> None:
    images.listing(place).unlink()
    assert images.find("native-data", cache) is None


def test_the_key_changes_with_what_is_in_the_image(cache: Cache) -> None:
    other = replace(DATA, warm=("numpy",))
    assert images.image_of(other, cache).key != images.image_of(DATA, cache).key
    assert images.image_of(replace(DATA, lock=None), cache).key != images.image_of(DATA, cache).key
    assert images.image_of(DATA, cache).key != images.image_of(CORE, cache).key


def test_every_package_of_the_lock_has_hashes_and_an_exact_version() -> None:
    locked = {package.name: package for package in images.packages(DATA)}
    assert {"numpy", "pandas", "matplotlib", "scipy", "pillow"} <= locked.keys()
    assert all(package.hashes for package in locked.values())


def test_a_name_that_nobody_declared_is_refused_with_those_that_are() -> None:
    with pytest.raises(ImageRefusedError, match="native-core, native-data"):
        images.declared_as("native-torch")


# ---- what an image has not -----------------------------------------------------------------------


def test_the_table_of_modules_is_what_the_built_image_has() -> None:
    built = images.find("native-data")
    if built is None:
        pytest.skip("the image `native-data` is not built")
    site = Path(built.site_packages[0])
    files = [str(file.relative_to(site)) for file in site.rglob("*") if file.is_file()]
    assert images.modules(DATA) == top_level(files)


def test_an_image_names_the_native_images_that_have_what_it_has_not(cache: Cache) -> None:
    elsewhere = dict(images.image_of(CORE, cache).elsewhere)
    assert elsewhere["numpy"] == elsewhere["PIL"] == ("native-data",)
    assert {*elsewhere} == {*images.modules(DATA), *images.modules(BOOKS)}
    assert elsewhere["dateutil"] == ("native-data", "native-books")
    assert dict(images.image_of(DATA, cache).elsewhere).keys() == {"beancount", "click", "regex"}


# ---- what is kept --------------------------------------------------------------------------------


def test_what_is_there_is_listed_and_checked_by_name(cache: Cache, place: Path) -> None:
    core, data = images_kept.listed(cache)
    assert (core.name, core.path) == ("native-core", "")
    assert (data.name, data.path, data.files) == ("native-data", str(place), 2)
    assert images_kept.verified("native-data", cache) == data
    (place / images.SITE / "one.py").write_text("x = 2\n")
    with pytest.raises(ImageRefusedError, match="not as it was built"):
        images_kept.verified("native-data", cache)


def test_what_is_not_there_is_said_to_be_built_or_to_be_none(cache: Cache) -> None:
    with pytest.raises(ImageRefusedError, match="codecage image build native-data"):
        images_kept.verified("native-data", cache)
    with pytest.raises(ImageRefusedError, match="there is native-core, native-data"):
        images_kept.verified("native-torch", cache)


@pytest.mark.parametrize(
    ("keep", "every", "left"),
    [
        ((), False, {"now"}),
        (("0123456",), False, {"now", "old"}),
        ((), True, set()),
        (("0123456",), True, {"old"}),
        (("01234",), True, set()),
    ],
)
def test_images_that_nobody_asks_for_any_more_go(
    cache: Cache, place: Path, keep: tuple[str, ...], every: bool, left: set[str]
) -> None:
    old = place.with_name("native-data-0123456789ab")
    old.mkdir()
    (old / "file").write_bytes(bytes(5000))
    images.listing(old).write_text("{}")
    freed = images_kept.prune(keep, cache, every=every)
    found = {name for name, one in (("now", place), ("old", old)) if one.exists()}
    assert found == {
        name for name, one in (("now", place), ("old", old)) if images.listing(one).exists()
    }
    assert found == left
    assert (freed >= 5000) is ("old" not in left)
