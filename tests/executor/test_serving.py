"""
What a server says of itself.
"""

from importlib import metadata

from executor import serving


def test_versions_are_those_of_the_packages_that_are_installed():
    named = ("codecage", "grpcio", "wasmtime")
    assert serving.versions(*named) == {name: metadata.version(name) for name in named}


def test_what_is_not_installed_is_a_source():
    assert serving.versions("codecage_of_nobody") == {"codecage_of_nobody": "source"}


def test_of_two_versions_the_one_that_is_imported_is_said(tmp_path, monkeypatch):
    for place in ("first", "second"):
        (tmp_path / place / f"thing-{len(place)}.dist-info").mkdir(parents=True)
        (tmp_path / place / "thing").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "second")
    monkeypatch.syspath_prepend(tmp_path / "first")
    assert serving.versions("thing") == {"thing": "5"}
