import pytest

from executor.kernel.bundles import BUNDLE_COST, BUNDLE_MAX, cost, is_media_type
from executor.kernel.frames import MAX_OUTPUT

LONG = "a" * 127


@pytest.mark.parametrize(
    "text",
    [
        "image/png",
        "image/svg+xml",
        "application/vnd.plotly.v1+json",
        "text/x-c++",
        "a/b",
        "7z/0",
        f"{LONG}/{LONG}",
    ],
)
def test_what_rfc_6838_allows_in_small_letters_is_a_media_type(text):
    assert is_media_type(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "image",
        "image/",
        "/png",
        "image/png/x",
        "Image/png",
        "image/PNG",
        "image/png ",
        " image/png",
        "image/png\n",
        "image/p\ng",
        "image/png; charset=x",
        ".a/b",
        "a/.b",
        "../../etc/passwd",
        "im\N{LATIN SMALL LETTER DOTLESS I}ge/png",
        "image/\N{FULLWIDTH LATIN SMALL LETTER P}",
        f"{LONG}a/b",
        f"b/{LONG}a",
        "image/\x1b[2j",
    ],
)
def test_anything_else_is_none(text):
    assert not is_media_type(text)


def test_a_bundle_costs_its_bytes_its_names_and_a_fixed_part():
    assert cost({}) == BUNDLE_COST
    assert cost({"a/b": b"12345", "c/d": b""}) == BUNDLE_COST + 3 + 5 + 3


def test_the_largest_bundle_fits_into_the_message_that_grpc_takes_by_default():
    assert BUNDLE_MAX + MAX_OUTPUT <= 4 * 2**20
