"""
What a server says of itself.
"""

from importlib import metadata

from executor import serving


def test_the_versions_are_those_of_the_installed_packages():
    assert {
        name: metadata.version(name) for name in ("codecage", "grpcio", "wasmtime")
    } == serving.VERSIONS


def test_a_package_that_is_not_installed_is_a_source():
    assert serving._version("codecage-of-nobody") == "source"
