from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.images import declaration
from executor.images.declaration import Source, SourceKind, load, parse, shipped_names
from executor.images.errors import DeclarationRefusedError
from executor.images.lock import read_lock

WHOLE = """\
version: 1
name: mine
description: What I need.
guest: pyodide-3.13
packages: [sympy==1.14.0, "httpx[http2]", My.Package]
sources:
  - directory: wheels
  - pypi
  - pyodide
  - pyodide: extended-lock.json
warm: [json, urllib.parse]
"""
FILE = Path("/somewhere/mine.yaml")


def problems(text: str) -> str:
    with pytest.raises(DeclarationRefusedError) as caught:
        parse(text, FILE)
    return str(caught.value)


def changed(line: str, new: str) -> str:
    assert line in WHOLE
    return WHOLE.replace(line, new)


def test_every_field_is_read_and_paths_are_beside_the_file():
    found = parse(WHOLE, FILE)
    assert (found.name, found.description, found.guest.name) == (
        "mine",
        "What I need.",
        "pyodide-3.13",
    )
    assert found.packages == ("sympy==1.14.0", "httpx[http2]", "My.Package")
    assert found.sources == (
        Source(SourceKind.DIRECTORY, Path("/somewhere/wheels")),
        Source(SourceKind.PYPI),
        Source(SourceKind.PYODIDE),
        Source(SourceKind.PYODIDE, Path("/somewhere/extended-lock.json")),
    )
    assert found.warm == ("json", "urllib.parse")
    assert found.lock == Path("/somewhere/mine.lock.txt")


def test_what_is_left_out_has_a_default():
    found = parse("version: 1\nname: mine\ndescription: Small.\n", FILE)
    assert (found.guest.name, found.packages, found.warm) == ("pyodide-3.14", (), ())
    assert found.sources == (Source(SourceKind.PYPI),)


@pytest.mark.parametrize(
    ("line", "new", "place", "said"),
    [
        ("version: 1", "version: 2", "1:10", "version: cannot be the number 2"),
        ("version: 1", "version: true", "1:10", "version: cannot be true"),
        ("name: mine", "name: A B", "2:7", "name: cannot be `A B`"),
        ("warm: [", "warn: [", "11:1", "unknown key `warn`"),
        ("name: mine\n", "", "1:1", "the key `name` is missing"),
        ("What I need.", '"a\\nb"', "3:14", "description: cannot be"),
        ("pyodide-3.13", "pyodide-3.12", "4:8", "guest: cannot be `pyodide-3.12`"),
        ("sympy==1.14.0", "sympy>=1", "5:12", "packages[0]: cannot be `sympy>=1`"),
        ("sympy==1.14.0", "sympy @ file:///x.whl", "5:12", "packages[0]: cannot be"),
        ("sympy==1.14.0", "'x; python_version > \"3\"'", "5:12", "packages[0]: cannot be"),
        ("sympy==1.14.0", "../x", "5:12", "packages[0]: cannot be"),
        ("sympy==1.14.0", "-rother", "5:12", "packages[0]: cannot be"),
        ("sympy==1.14.0", "1.5", "5:12", "packages[0]: cannot be the number 1.5"),
        ("My.Package", "my-package, MY_PACKAGE", "", "packages[3]: my-package is there twice"),
        ('[sympy==1.14.0, "httpx[http2]", My.Package]', "sympy", "5:11", "must be a list"),
        ("  - pypi\n", "  - PyPI\n", "8:5", "sources[1]: cannot be `PyPI`"),
        ("directory: wheels", "directory: 5", "7:5", "sources[0]: cannot be a mapping"),
        ("directory: wheels", "dir: wheels", "7:5", "sources[0]: cannot be a mapping"),
        ("directory: wheels", "{directory: a, pyodide: b}", "7:5", "sources[0]: cannot be"),
        ("[json, urllib.parse]", "[os; x]", "11:8", "warm[0]: cannot be `os; x`"),
        ("[json, urllib.parse]", '["__import__(1)"]', "11:8", "warm[0]: cannot be"),
    ],
)
def test_a_mistake_is_shown_with_its_place(line, new, place, said):
    text = problems(changed(line, new))
    assert said in text
    assert text.startswith(f"mine.yaml:{place}")


def test_all_mistakes_are_reported_together():
    text = problems(changed("version: 1", "version: 3").replace("name: mine", "name: Mine"))
    assert "version: cannot be" in text
    assert "name: cannot be" in text


@pytest.mark.parametrize("text", ["", "[]", "a", "version: 1\n---\nname: x\n", "a: &x 1\n", "\0"])
def test_what_is_no_declaration_is_refused(text):
    assert "mine.yaml" in problems(text)


def test_sources_cannot_be_empty():
    assert "sources: is empty" in problems("version: 1\nname: a\ndescription: b\nsources: []\n")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    try:
        parse(text, FILE)
    except DeclarationRefusedError as error:
        assert "mine.yaml" in str(error)


def test_the_shipped_images_are_these_and_each_is_locked():
    assert shipped_names() == ("core", "data", "math", "pyodide-data", "python313", "web")
    for name in shipped_names():
        found = load(name)
        assert found.name == name
        assert found.lock.parent == declaration.SHIPPED
        assert read_lock(found.lock).packages


def test_an_image_that_is_not_shipped_is_refused_with_those_that_are():
    with pytest.raises(DeclarationRefusedError, match="there is core, data, math"):
        load("nosuch")


def test_a_file_is_found_by_its_path(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(WHOLE)
    assert load(str(path)).lock == tmp_path / "mine.lock.txt"
    with pytest.raises(DeclarationRefusedError, match="cannot be read"):
        load(str(tmp_path / "absent.yaml"))


@pytest.mark.parametrize("name", ["core", "data"])
def test_a_file_cannot_take_the_name_of_a_shipped_image(tmp_path, name):
    path = tmp_path / "mine.yaml"
    path.write_text(WHOLE.replace("name: mine", f"name: {name}"))
    with pytest.raises(DeclarationRefusedError, match="that of a shipped image"):
        load(str(path))
