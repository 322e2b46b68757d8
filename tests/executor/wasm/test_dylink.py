"""
Reading the dylink.0 section of modules that come from anywhere.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.wasm.dylink import Dylink, DylinkError, read_dylink
from tests.executor.wasm.side_modules import dylink_section, module

WHOLE = module("", memory=4096, align=3, table=12, needed=("a.so", "b.so"), weak=("w", "x"))


def with_section(content: bytes, name: bytes = b"dylink.0") -> bytes:
    body = bytes((len(name),)) + name + content
    return b"\0asm\x01\0\0\0\0" + bytes((len(body),)) + body


def test_every_field_is_read():
    assert read_dylink(WHOLE) == Dylink(4096, 3, 12, ("a.so", "b.so"), ("w", "x"))


def test_parts_that_only_inform_are_skipped():
    exports = b"\x03\x04\x01\x01a\x00"
    path = b"\x05\x03\x01\x01r"
    found = read_dylink(with_section(dylink_section(memory=8) + exports + path))
    assert found.memory_size == 8


def test_an_import_that_is_not_weak_is_not_listed():
    flags = b"\x04\x08\x01\x03env\x01f\x00"
    assert read_dylink(with_section(dylink_section() + flags)).weak == ()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not a WebAssembly module"),
        (b"\x7fELF" + bytes(60), "not a WebAssembly module"),
        (b"\0asm\x02\0\0\0", "not a WebAssembly module"),
        (b"\0asm\x01\0\0\0", "ends too early"),
        (b"\0asm\x01\0\0\0\x01\x01\x00", "first section is not dylink.0"),
        (with_section(b"", name=b"dylink"), "first section is not dylink.0"),
        (with_section(b""), "does not say what memory"),
        (with_section(b"\x09\x00" + dylink_section()), "unknown kind 9"),
        (with_section(dylink_section(memory=2**30 + 1)), "it asks for"),
        (with_section(dylink_section(align=17)), "it asks for"),
        (with_section(dylink_section(table=2**17 + 1)), "it asks for"),
        (with_section(b"\x01\xff\xff\xff\xff\x0f"), "longer than the module"),
        (with_section(b"\x01\x06\xff\xff\xff\xff\xff\x01"), "more than 32 bits"),
        (with_section(b"\x02\x03\x01\x01\xff" + dylink_section()), "no UTF-8"),
        (with_section(b"\x02\x02\x05\x00" + dylink_section()), "ends too early"),
    ],
)
def test_what_is_not_understood_is_refused(data, said):
    with pytest.raises(DylinkError, match=said):
        read_dylink(data)


@given(st.integers(0, len(WHOLE)))
def test_a_module_cut_short_anywhere_is_refused_or_whole(length):
    section_end = (
        WHOLE.index(b"dylink.0")
        + len("dylink.0")
        + len(
            dylink_section(memory=4096, align=3, table=12, needed=("a.so", "b.so"), weak=("w", "x"))
        )
    )
    if length >= section_end:
        assert read_dylink(WHOLE[:length]) == read_dylink(WHOLE)
    else:
        with pytest.raises(DylinkError):
            read_dylink(WHOLE[:length])


@given(st.binary(max_size=80))
def test_any_bytes_give_a_description_or_a_refusal(content):
    try:
        found = read_dylink(with_section(content))
    except DylinkError:
        return
    assert found.memory_size <= 2**30
    assert found.table_size <= 2**17
