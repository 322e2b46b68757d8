"""
Native parts that do not fit their guest or each other: refused when the image is built.

Each is a real side module, compiled by the real compiler against the real guest. Beside each
refusal stands the same module with one thing changed, which is taken.
"""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import wasmtime

from executor.images import native
from executor.images.build import build
from executor.images.errors import WheelRefusedError
from executor.images.guests import DEFAULT
from executor.images.manifest import PYTHON
from executor.images.native_start import StartError, require_plain_start
from executor.images.pins import sha256
from executor.wasm.emscripten_abi import ABIS
from tests.executor.wasm.side_modules import module

pytestmark = pytest.mark.image


@pytest.fixture(scope="module")
def core():
    return build()


def copied(source: Path, target: Path) -> None:
    """
    The translator of modules that need no translation.
    """
    target.write_bytes(source.read_bytes())


@pytest.fixture
def built(core, tmp_path) -> Callable[..., tuple[native.NativeModule, ...]]:
    def made(files: Mapping[str, bytes], translate=copied):
        for name in ("work", "draft"):
            (tmp_path / name).mkdir()
        job = native.NativeJob(
            guest=DEFAULT.name,
            python=core.path / PYTHON,
            files=files,
            translate=translate,
            work=tmp_path / "work",
            draft=tmp_path / "draft",
        )
        return native.build(job, lambda: None)

    return made


def calling(type_: str, name: str = "malloc", **section: object) -> bytes:
    return module(f'(import "env" "{name}" (func {type_}))', **section)


def exporting(name: str, type_: str = "", body: str = "", **section: object) -> bytes:
    return module(f'(func (export "{name}") {type_} {body})', **section)


def refused(built, files: Mapping[str, bytes]) -> str:
    with pytest.raises(WheelRefusedError) as caught:
        built(files)
    return str(caught.value)


def test_a_function_of_the_guest_is_taken_with_its_own_type(built):
    assert [one.path for one in built({"a.so": calling("(param i32) (result i32)")})] == ["a.so"]


@pytest.mark.parametrize(
    ("type_", "said"),
    [
        ("(param i64) (result i64)", "I>I"),
        ("(param i32 i32) (result i32)", "ii>i"),
        ("(param i32)", "i>"),
    ],
)
def test_a_function_of_the_guest_is_refused_with_another_type(built, type_, said):
    text = refused(built, {"a.so": calling(type_)})
    assert f"a.so is refused: its function malloc has the type {said}, and i>i is expected" in text


HOSTS = next(row for row in ABIS[DEFAULT.name].rows if row.signature == "i>i")


def test_a_function_of_the_host_is_taken_with_its_own_type(built):
    assert built({"a.so": calling("(param i32) (result i32)", HOSTS.name)})


def test_a_function_of_the_host_is_refused_with_another_type(built):
    text = refused(built, {"a.so": calling("(param f64) (result i32)", HOSTS.name)})
    assert f"its function {HOSTS.name} has the type d>i, and i>i is expected" in text


def test_a_function_of_another_part_is_taken_with_its_own_type(built):
    files = {"a.so": calling("(param i32)", "ours"), "b.so": exporting("ours", "(param i32)")}
    adapters = {one.path: bool(one.adapter) for one in built(files)}
    assert adapters == {"a.so": True, "b.so": False}


def test_a_function_of_another_part_is_refused_with_another_type(built):
    files = {"a.so": calling("(param i64)", "ours"), "b.so": exporting("ours", "(param i32)")}
    assert "its function ours has the type I>, and i> is expected" in refused(built, files)


def test_data_of_the_guest_are_no_function(built):
    text = refused(built, {"a.so": calling("(param i32)", "_PyRuntime")})
    assert "its function _PyRuntime has the type i>, and no function is expected" in text


def test_a_library_that_is_needed_is_found_beside_it_or_in_the_image(built):
    plain = module("")
    files = {
        "p/a.so": module("", needed=("b.so",)),
        "p/b.so": module("", needed=("c.so",)),
        "q/b.so": exporting("other"),
        "r/c.so": plain,
    }
    assert {one.path: one.needed for one in built(files)}["p/a.so"] == ("b.so",)


def test_a_library_that_is_needed_and_not_there_refuses_the_part(built):
    text = refused(built, {"p/a.so": module("", needed=("b.so",))})
    assert "p/a.so is refused: it needs the library b.so, of which the image has 0" in text


def test_a_library_that_is_needed_and_there_twice_refuses_the_part(built):
    files = {f"{at}/b.so": module("") for at in "qr"} | {"p/a.so": module("", needed=("b.so",))}
    assert "of which the image has 2" in refused(built, files)


@pytest.mark.parametrize("ring", [("a",), ("a", "b"), ("a", "b", "c")])
def test_libraries_that_need_each_other_in_a_ring_are_refused(built, ring):
    following = dict(zip(ring, (*ring[1:], ring[0]), strict=True))
    files = {f"{one}.so": module("", needed=(f"{then}.so",)) for one, then in following.items()}
    assert "a.so is refused: it needs itself" in refused(built, files)


def test_a_long_row_of_libraries_is_refused_before_the_linker_recurses(built):
    row = [f"l{at}.so" for at in range(40)]
    files = {one: module("", needed=(then,)) for one, then in itertools.pairwise(row)}
    assert "more than 16 libraries" in refused(built, files | {row[-1]: module("")})


# What the static linker makes: it clears memory and fills in addresses.
SETTING_UP = """
(global $own (mut i32) (i32.const 0))
(func $run
  (global.set $own (i32.add (global.get $memory) (i32.const 300)))
  (memory.fill (i32.add (global.get $memory) (i32.const 0)) (i32.const 0) (i32.const 64)))
(start $run)
"""


def test_a_constructor_and_a_start_function_that_sets_up_are_taken(built):
    assert built({"a.so": exporting("__wasm_call_ctors"), "b.so": module(SETTING_UP)})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("(func $f) (func $run (call $f)) (start $run)", "the instruction 0x10"),
        ("(func $run (call_indirect (i32.const 0))) (start $run)", "the instruction 0x11"),
        ("(func $run (loop (br 0))) (start $run)", "the instruction 0x3"),
        (
            "(func $run (i32.store (i32.const 0) (i32.const 0))) (start $run)",
            "the instruction 0x36",
        ),
        ("(func $run (table.set $table (i32.const 0) (ref.null func))) (start $run)", "0xd0"),
        (
            "(func $run (drop (table.grow $table (ref.null func) (i32.const 1)))) (start $run)",
            "0xd0",
        ),
        (
            "(func $run (memory.copy (i32.const 0) (i32.const 0) (i32.const 1))) (start $run)",
            "0xfc",
        ),
        ("(func $run (local i32)) (start $run)", "variables"),
        ('(import "env" "abort" (func $run))\n(start $run)', "one that it imports"),
    ],
)
def test_a_start_function_that_acts_refuses_the_build(built, body, said):
    text = refused(built, {"a.so": module(body)})
    assert "a.so is refused: it" in text
    assert said in text


@pytest.mark.parametrize(
    "code",
    [b"", b"\0asm", b"(module)", b"\0asm\2\0\0\0", b"\0asm\1\0\0\0\1", b"\0asm\1\0\0\0\1\5\0",
     b"\0asm\1\0\0\0\1\x80\x80\x80\x80\x80\0", b"\0asm\1\0\0\0\x08\1\0"],
)  # fmt: skip
def test_what_is_no_whole_binary_module_is_refused(code):
    with pytest.raises(StartError):
        require_plain_start(code, 0)


def test_a_module_without_a_start_function_is_taken_whatever_else_it_has():
    text = '(module (memory 1) (func) (table 1 funcref) (elem (i32.const 0) 0) (data "x"))'
    require_plain_start(bytes(wasmtime.wat2wasm(text)), 0)


def test_a_constructor_that_wants_arguments_is_refused(built):
    text = refused(built, {"a.so": exporting("__wasm_call_ctors", "(param i32)")})
    assert "its function __wasm_call_ctors has the type i>, and > is expected" in text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('(import "env" "__stack_pointer" (global i32))', "env.__stack_pointer"),
        ('(import "env" "__memory_base" (global (mut i32)))', "env.__memory_base"),
        ('(import "env" "__table_base" (global i64))', "env.__table_base"),
        ('(import "env" "memory" (global i32))', "env.memory"),
        ('(import "GOT.mem" "_PyRuntime" (global i32))', "GOT.mem._PyRuntime"),
        ('(import "GOT.func" "malloc" (func))', "GOT.func.malloc"),
    ],
)
def test_what_the_linker_gives_is_refused_as_another_kind(built, line, said):
    assert f"it imports {said}, which neither" in refused(built, {"a.so": module(line)})


def test_what_the_linker_gives_is_taken_as_what_it_is(built):
    lines = '(import "GOT.mem" "_PyRuntime" (global (mut i32)))\n'
    assert built({"a.so": module(lines + '(import "GOT.func" "malloc" (global (mut i32)))')})


def test_code_is_named_by_the_whole_hash_of_its_source_and_cannot_be_written(built, tmp_path):
    data, other = module(""), exporting("other")
    found = built({"p/a.so": data, "q/a.so": data, "b.so": other})
    assert {one.path: one.code for one in found} == {
        "b.so": f"native/{sha256(other)}.cwasm",
        "p/a.so": f"native/{sha256(data)}.cwasm",
        "q/a.so": f"native/{sha256(data)}.cwasm",
    }
    files = list((tmp_path / "draft" / "native").iterdir())
    assert {file.name for file in files} == {f"{sha256(one)}.cwasm" for one in (data, other)}
    assert {file.stat().st_mode & 0o777 for file in files} == {0o444}


def test_a_translator_that_leaves_a_link_is_not_followed(built, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(module(""))

    def linked(_source: Path, target: Path) -> None:
        target.symlink_to(elsewhere)

    with pytest.raises(WheelRefusedError, match=r"A tool was to write target\.wasm"):
        built({"a.so": module("")}, linked)
