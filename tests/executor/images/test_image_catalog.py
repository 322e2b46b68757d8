import dataclasses
import json

import pytest
from crafted import publish_small, small_image, small_manifest
from hypothesis import given
from hypothesis import strategies as st

from executor.images import catalog, manifest
from executor.images.errors import ImageRefusedError, LockRefusedError
from executor.images.guests import DEFAULT, GUESTS
from executor.images.identity import image_key, image_name, this_runtime
from executor.images.lock import read_lock
from executor.images.manifest import FileEntry, Label, Manifest, NativeModule, Package

FILES = {"a": b"1", "site-packages/p.py": b"2"}


def test_an_image_is_found_by_name_and_an_unknown_name_finds_none(cache):
    made = small_image(cache)
    assert catalog.find("small", cache) == made
    assert catalog.find("other", cache) is None


def test_an_empty_cache_has_no_images(cache):
    assert catalog.find("core", cache) is None
    assert catalog.list_images(cache) == ()


def test_the_newest_image_of_a_name_is_found(cache):
    small_image(cache, created="2026-01-02T00:00:00", salt="newer")
    small_image(cache, created="2026-01-01T00:00:00", salt="older")
    assert catalog.find("small", cache).manifest.created == "2026-01-02T00:00:00"
    assert [i.manifest.created[:10] for i in catalog.list_images(cache)] == [
        "2026-01-02",
        "2026-01-01",
    ]


def test_the_label_of_an_image_says_what_its_manifest_does(cache):
    made = small_image(cache)
    python = dict(made.manifest.versions)["python"]
    expected = Label(made.name, made.key, python, made.manifest.packages)
    assert catalog.find_label("small", cache) == expected
    assert catalog.find_label("other", cache) is None


def test_a_label_of_another_manifest_than_the_index_names_is_refused(cache):
    made = small_image(cache)
    text = made.path / manifest.MANIFEST
    text.chmod(0o600)
    text.write_bytes(text.read_bytes() + b"\n")
    with pytest.raises(ImageRefusedError, match="it was changed"):
        catalog.find_label("small", cache)


def test_an_image_of_another_runtime_is_listed_and_not_found(cache):
    small_image(cache)
    index = json.loads(cache.index.read_text())
    for entry in index["images"].values():
        entry["runtime"] = "0" * 64
    cache.index.write_text(json.dumps(index))
    assert catalog.find("small", cache) is None
    assert [image.name for image in catalog.list_images(cache)] == ["small"]
    assert catalog.prune(cache=cache) > 0
    assert list(cache.images.iterdir()) == []


def test_a_directory_that_the_index_does_not_name_is_no_image(cache):
    made = small_image(cache)
    cache.index.unlink()
    assert catalog.find("small", cache) is None
    catalog.prune(cache=cache)
    assert not made.path.exists()


def test_an_image_whose_directory_is_gone_is_refused_and_pruned(cache):
    made = small_image(cache)
    made.path.rename(cache.staging / "taken")
    with pytest.raises(ImageRefusedError, match="not in"):
        catalog.find("small", cache)
    assert len(catalog.refused_images(cache)) == 1
    catalog.prune(cache=cache)
    assert catalog.find("small", cache) is None
    assert catalog.refused_images(cache) == ()


def test_one_refused_image_does_not_hide_the_others(cache):
    bad = small_image(cache, name="bad")
    small_image(cache, name="good")
    (bad.path / "manifest.json").unlink()
    assert [image.name for image in catalog.list_images(cache)] == ["good"]
    assert ["bad" in str(error) for error in catalog.refused_images(cache)] == [True]


def test_publishing_a_key_again_replaces_the_image(cache):
    made = small_image(cache, FILES)
    (made.path / "a").chmod(0o644)
    (made.path / "a").write_bytes(b"X")
    with pytest.raises(ImageRefusedError):
        catalog.verify(made)
    again = publish_small(cache, small_manifest("small", FILES), FILES)
    assert again.path == made.path
    catalog.verify(catalog.find("small", cache))


def test_verify_accepts_what_was_published(cache):
    catalog.verify(small_image(cache, FILES))


@pytest.mark.parametrize("name", ["extra", "site-packages/sitecustomize.py", "site-packages/q/x"])
def test_verify_refuses_a_file_that_the_manifest_does_not_name(cache, name):
    made = small_image(cache, FILES)
    path = made.path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    with pytest.raises(ImageRefusedError, match="does not name"):
        catalog.verify(made)


def test_verify_refuses_a_link_to_a_directory(cache, tmp_path):
    made = small_image(cache, FILES)
    (made.path / "site-packages" / "more").symlink_to(tmp_path)
    with pytest.raises(ImageRefusedError, match="does not name"):
        catalog.verify(made)


@pytest.mark.parametrize("name", sorted(FILES))
def test_verify_refuses_a_changed_or_missing_file(cache, name):
    made = small_image(cache, FILES)
    path = made.path / name
    path.chmod(0o644)
    path.write_bytes(b"3")
    with pytest.raises(ImageRefusedError, match="SHA-256"):
        catalog.verify(made)
    path.unlink()
    with pytest.raises(ImageRefusedError, match="cannot be opened"):
        catalog.verify(made)


def test_the_index_and_the_files_are_not_writable_by_others(cache):
    made = small_image(cache, FILES)
    assert cache.index.stat().st_mode & 0o777 == 0o600
    assert made.path.stat().st_mode & 0o777 == 0o700
    assert (made.path / "a").stat().st_mode & 0o777 == 0o444
    cache.index.chmod(0o620)
    with pytest.raises(ImageRefusedError, match="others"):
        catalog.find("small", cache)


@pytest.mark.parametrize("name", ["../../evil", "a/b", "/x"])
def test_an_index_entry_that_points_elsewhere_is_refused(cache, name):
    small_image(cache)
    index = json.loads(cache.index.read_text())
    for entry in index["images"].values():
        entry["name"] = name
    cache.index.write_text(json.dumps(index))
    with pytest.raises(ImageRefusedError, match="index"):
        catalog.read_index(cache)


def test_pruning_keeps_the_newest_of_each_name_and_frees_the_rest(cache):
    older = small_image(cache, created="2026-01-01T00:00:00", salt="older")
    newer = small_image(cache, created="2026-01-02T00:00:00", salt="newer")
    other = small_image(cache, name="other")
    assert catalog.prune(cache=cache) >= older.manifest.size
    assert {image.key for image in catalog.list_images(cache)} == {newer.key, other.key}
    assert not older.path.exists()


def test_pruning_keeps_what_it_is_told_to(cache):
    older = small_image(cache, created="2026-01-01T00:00:00", salt="older")
    newer = small_image(cache, created="2026-01-02T00:00:00", salt="newer")
    catalog.prune((older.key[:6],), cache=cache)
    assert {image.key for image in catalog.list_images(cache)} == {newer.key, older.key}
    catalog.prune((older.key[:6],), every=True, cache=cache)
    assert [image.key for image in catalog.list_images(cache)] == [older.key]
    catalog.prune((older.key[:5],), every=True, cache=cache)
    assert catalog.list_images(cache) == ()


def test_pruning_everything_empties_the_store_and_plain_pruning_does_not(cache):
    (cache.inputs / "kept").write_bytes(b"1234")
    assert catalog.prune(cache=cache) == 0
    assert catalog.prune(every=True, cache=cache) == 4
    assert list(cache.inputs.iterdir()) == []


texts = st.text(max_size=20)
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
sizes = st.integers(0, 2**32)
names = st.lists(texts, max_size=3).map(tuple)
PART = {
    "sha256": hashes,
    "code": texts,
    "adapter": texts,
    "memory_size": sizes,
    "memory_align": sizes,
    "table_size": sizes,
    "needed": names,
    "weak": names,
}
manifests = st.builds(
    Manifest,
    name=texts,
    key=hashes,
    created=texts,
    versions=st.dictionaries(texts, texts).map(lambda d: tuple(sorted(d.items()))),
    config=texts,
    machine=texts,
    cpu=st.lists(texts).map(tuple),
    pins=hashes,
    packages=st.dictionaries(texts, st.tuples(texts, hashes)).map(
        lambda d: tuple(Package(n, v, h) for n, (v, h) in sorted(d.items()))
    ),
    modules=st.dictionaries(texts, st.builds(NativeModule, path=st.just("x"), **PART)).map(
        lambda d: tuple(dataclasses.replace(m, path=n) for n, m in sorted(d.items()))
    ),
    facts=st.dictionaries(texts, sizes).map(lambda d: tuple(sorted(d.items()))),
    files=st.dictionaries(texts, st.tuples(hashes, st.integers(0, 2**40))).map(
        lambda d: tuple(FileEntry(n, h, s) for n, (h, s) in sorted(d.items()))
    ),
)


@given(manifests)
def test_a_manifest_reads_back_as_it_was_written(written):
    assert manifest.from_json(manifest.to_json(written)) == written


@pytest.mark.parametrize(
    "change",
    [
        {"format": 1},
        {"name": 1},
        {"files": {"a": {"sha256": "0", "size": -1}}},
        {"files": {"a": {"sha256": "0", "size": True}}},
        {"files": {"a": {"sha256": "0"}}},
        {"files": []},
        {"cpu": [1]},
        {"packages": {"p": "1.0"}},
        {"warm": "numpy"},
        {"guest": None},
        {"facts": {"address": -1}},
        {"modules": {"a.so": {"code": "a"}}},
    ],
)
def test_a_manifest_of_another_form_is_refused(change):
    data = json.loads(manifest.to_json(small_manifest("small", FILES)))
    manifest.from_json(json.dumps(data).encode())
    with pytest.raises(ImageRefusedError, match="format 2"):
        manifest.from_json(json.dumps(data | change).encode())


@pytest.mark.parametrize(
    "change", [{"format": 1}, {"key": 1}, {"packages": {"p": "1.0"}}, {"versions": None}]
)
def test_a_label_of_another_form_is_refused(change):
    data = json.loads(manifest.to_json(small_manifest("small", FILES)))
    with pytest.raises(ImageRefusedError, match="format 2"):
        manifest.label_from_json(json.dumps(data | change).encode())


@pytest.mark.parametrize("text", [b"", b"null", b"[]", b"{}", b"\xff", b'"x"'])
def test_what_is_no_manifest_is_refused(text):
    for read in (manifest.from_json, manifest.label_from_json):
        with pytest.raises(ImageRefusedError):
            read(text)


def test_everything_that_compiled_code_depends_on_is_in_the_key():
    runtime = this_runtime(DEFAULT)
    packages = read_lock().select(["sympy"])
    changed = [
        image_key("core", dataclasses.replace(runtime, **{name: value}), packages)
        for name, value in [
            ("wasmtime", "0"),
            ("config", "0"),
            ("machine", "riscv64"),
            ("cpu", ("popcnt",)),
            ("pins", "0"),
            ("format", 0),
        ]
    ]
    changed += [
        image_key("other", runtime, packages),
        image_key("core", runtime, packages[:1]),
        image_key("core", runtime, (dataclasses.replace(packages[0], version="9"), packages[1])),
    ]
    changed += [image_key("core", runtime, packages, ("json",))]
    changed += [image_key("core", this_runtime(kind), packages) for kind in GUESTS[1:]]
    base = image_key("core", runtime, packages)
    assert base == image_key("core", this_runtime(DEFAULT), read_lock().select(["sympy"]))
    assert len({base, *changed}) == len(changed) + 1


def test_an_image_is_named_after_what_is_added_to_core():
    assert image_name(None, ()) == "core"
    assert image_name(None, ("sympy", "mpmath")) == "core-mpmath-sympy"
    assert image_name("science", ("sympy",)) == "science"


@pytest.mark.parametrize("name", ["", "Core", "a/b", "..", "-x", "x" * 65, "a b", "é"])
def test_a_name_that_could_not_be_a_directory_is_refused(name):
    with pytest.raises(LockRefusedError):
        image_name(name or "/", ())


def test_core_with_additions_is_refused():
    with pytest.raises(LockRefusedError, match="without added packages"):
        image_name("core", ("sympy",))
