"""
The cache directory: where it is, who may write it, and that images appear whole or not at all.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from crafted import small_image

from executor.images import catalog, store
from executor.images.cache import Cache, default_cache, exclusive, prepare, sweep, tree_bytes
from executor.images.errors import CacheRefusedError, ImageRefusedError
from executor.images.pins import sha256

ROOT = Path(__file__).parents[3]


def child(source: str, cache: Cache, *arguments: str) -> "subprocess.Popen[str]":
    paths = f"{ROOT}:{Path(__file__).parent}"
    environment = os.environ | {"PYTHONPATH": paths, "CODECAGE_CACHE": str(cache.root)}
    return subprocess.Popen(
        [sys.executable, "-c", source, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("CODECAGE_CACHE", str(tmp_path / "mine"))
    assert default_cache().root == tmp_path / "mine"
    monkeypatch.delenv("CODECAGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache().root == tmp_path / "codecage"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache().root == tmp_path / "home" / ".cache" / "codecage"


def test_a_relative_cache_directory_is_refused(monkeypatch):
    monkeypatch.setenv("CODECAGE_CACHE", "cache")
    with pytest.raises(CacheRefusedError, match="absolute"):
        default_cache()


def test_the_directories_are_made_for_their_owner_alone(cache):
    for directory in (cache.root, cache.images, cache.inputs, cache.staging):
        assert directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
@pytest.mark.parametrize("part", ["", "images", "inputs", "staging"])
def test_a_directory_that_others_can_write_is_refused(cache, part, mode):
    (cache.root / part).chmod(mode)
    with pytest.raises(CacheRefusedError, match="chmod"):
        prepare(cache)
    (cache.root / part).chmod(0o755)
    prepare(cache)


def test_a_directory_that_is_a_link_is_refused(cache, tmp_path):
    cache.images.rmdir()
    (tmp_path / "elsewhere").mkdir()
    cache.images.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CacheRefusedError, match="not a directory"):
        prepare(cache)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused(cache):
    os.chown(cache.root, 12345, 12345)
    with pytest.raises(CacheRefusedError, match="belongs to user 12345"):
        prepare(cache)


HOLD = """
import sys
from executor.images.cache import default_cache, exclusive
with exclusive(default_cache(), lambda: print("waiting", flush=True)):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_builder_says_that_it_waits_and_then_has_the_lock(cache):
    with child(HOLD, cache) as first:
        assert first.stdout.readline() == "held\n"
        with child(HOLD, cache) as second:
            assert second.stdout.readline() == "waiting\n"
            first.communicate("")
            assert second.stdout.readline() == "held\n"
            second.communicate("")


def test_a_killed_builder_leaves_the_lock_free(cache):
    with child(HOLD, cache) as first:
        assert first.stdout.readline() == "held\n"
        first.send_signal(signal.SIGKILL)
        first.wait()
    notices: list[str] = []
    with exclusive(cache, lambda: notices.append("waited")):
        assert notices == []


RACE = """
import sys
from crafted import small_manifest
from executor.images import catalog
from executor.images.cache import default_cache, exclusive, write_new
cache = default_cache()
files = {f"f{n}": bytes(1000) for n in range(50)}
manifest = small_manifest("small", files)
print("ready", flush=True)
sys.stdin.readline()
with exclusive(cache, lambda: None):
    image = catalog.find_key(manifest.key, cache)
    how = "found"
    if image is None:
        how = "built"
        draft = cache.staging / "draft"
        draft.mkdir()
        for name, data in files.items():
            write_new(draft / name, data)
        image = catalog.publish(cache, draft, manifest)
    catalog.verify(image)
print(how, image.path.name, flush=True)
"""


def test_of_builders_that_race_one_builds_and_the_others_find_its_image(cache):
    racers = [child(RACE, cache) for _ in range(4)]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = [racer.communicate()[0].split() for racer in racers]
    assert sorted(how for how, _ in said) == ["built", "found", "found", "found"]
    assert len({name for _, name in said}) == 1
    assert len(list(cache.images.iterdir())) == 1


DIE = """
import os, signal, sys
from crafted import small_image
from executor.images.cache import default_cache
event, count, image = sys.argv[1], int(sys.argv[2]), sys.argv[3]
seen = 0
def hook(name, arguments):
    global seen
    if name == event and os.path.basename(str(arguments[0])).startswith(("draft", "index", "f")):
        seen += 1
        if seen == count:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
small_image(default_cache(), {f"f{n}": b"x" for n in range(5)}, name=image)
print("published", flush=True)
"""


@pytest.mark.parametrize(
    ("event", "count"), [("open", 3), ("open", 5), ("os.rename", 1), ("os.rename", 2)]
)
def test_a_builder_killed_anywhere_leaves_no_image_and_the_next_one_builds(cache, event, count):
    earlier = small_image(cache, name="earlier")
    with child(DIE, cache, event, str(count), "small") as builder:
        out, _ = builder.communicate("")
        assert (builder.returncode, out) == (-signal.SIGKILL, "")
    left = {path.name for path in (*cache.staging.iterdir(), *cache.images.iterdir())}
    assert left != {earlier.path.name}, "the builder died before it had done anything"
    assert catalog.find("small", cache) is None
    assert [image.name for image in catalog.list_images(cache)] == ["earlier"]
    catalog.verify(catalog.find("earlier", cache))
    assert catalog.prune(cache=cache) > 0
    assert list(cache.staging.iterdir()) == []
    assert [path.name for path in cache.images.iterdir()] == [earlier.path.name]
    small_image(cache, name="small")
    catalog.verify(catalog.find("small", cache))


def test_the_builder_that_is_not_killed_publishes(cache):
    with child(DIE, cache, "os.rename", "3", "small") as builder:
        out, _ = builder.communicate("")
        assert (builder.returncode, out) == (0, "published\n")
    catalog.verify(catalog.find("small", cache))


def test_sweeping_removes_files_and_trees_and_follows_no_link(cache, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"12345")
    (cache.staging / "link").symlink_to(outside)
    (cache.staging / "tree").mkdir()
    (cache.staging / "tree" / "file").write_bytes(b"123")
    (cache.staging / "tree" / "link").symlink_to(outside)
    (cache.staging / "single").write_bytes(b"12")
    assert tree_bytes(cache.staging) == 5
    assert sweep(cache) == 5
    assert list(cache.staging.iterdir()) == []
    assert (outside / "precious").read_bytes() == b"12345"


def test_the_store_gives_back_what_was_kept(cache):
    digest = store.keep(cache, b"content")
    assert digest == sha256(b"content")
    assert store.take(cache, digest) == b"content"
    assert store.take(cache, sha256(b"other")) is None


@pytest.mark.parametrize("damage", [b"contenT", b"content ", b""])
def test_the_store_gives_nothing_where_the_content_is_another(cache, damage):
    digest = store.keep(cache, b"content")
    (cache.inputs / digest).unlink()
    (cache.inputs / digest).write_bytes(damage)
    assert store.take(cache, digest) is None


def test_the_store_gives_nothing_through_a_link_or_from_a_file_others_can_write(cache, tmp_path):
    digest = store.keep(cache, b"content")
    path = cache.inputs / digest
    path.chmod(0o602)
    assert store.take(cache, digest) is None
    path.chmod(0o600)
    assert store.take(cache, digest) == b"content"
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    assert store.take(cache, digest) is None


def test_a_damaged_index_is_refused_with_what_to_do(cache):
    small_image(cache)
    for text in (b"", b"{}", b'{"format": 99, "images": {}}', b"[]", b'{"format":2,"images":[]}'):
        cache.index.write_bytes(text)
        with pytest.raises(ImageRefusedError, match="Remove the file"):
            catalog.read_index(cache)


def test_an_index_of_an_earlier_release_holds_nothing_that_can_be_used(cache):
    cache.index.write_bytes(b'{"format": 1, "images": {"x": "of another form"}}')
    assert catalog.read_index(cache) == ()
    assert catalog.find("core", cache) is None
