"""
Auditing a wheel: the rules of the build, the linker's look, and pyodide-build's where it is.
"""

import argparse
import importlib.util
import json
import sys

import pytest
from crafted import CraftedWheel, native_wheel

from executor.images import audit, auditwheel, cli
from executor.images.build import build
from executor.images.cache import default_cache
from executor.images.guests import DEFAULT, guest_kind
from executor.images.pins import sha256

HAS_LIBRARY = importlib.util.find_spec(auditwheel.LIBRARY) is not None


@pytest.fixture
def put(tmp_path):
    def put(wheel: CraftedWheel, name: str = ""):
        path = tmp_path / (name or wheel.filename)
        path.write_bytes(wheel.data())
        return path

    return put


def run(capsys, *words: str) -> tuple[int, str]:
    parser = argparse.ArgumentParser(prog="codecage")
    cli.register(parser.add_subparsers(required=True))
    arguments = parser.parse_args(["image", "audit", *words])
    return arguments.run(arguments), capsys.readouterr().out


def test_a_pure_wheel_is_admitted_with_what_it_needs(cache, put):
    wheel = CraftedWheel(metadata="Requires-Dist: other>=1\n")
    found = audit.audit(put(wheel), DEFAULT)
    assert found == audit.Audited(
        wheel.filename, sha256(wheel.data()), True, "", (), ("other>=1",), ()
    )


@pytest.mark.parametrize(
    ("wheel", "said"),
    [
        (CraftedWheel(members=[("evil.pth", b"import os\n")]), "evil.pth"),
        (native_wheel(content=b"\x7fELF"), "is not WebAssembly"),
        (native_wheel(tag="cp314-cp314-manylinux_2_28_x86_64"), "manylinux"),
    ],
)
def test_a_wheel_that_no_image_takes_is_refused_with_the_reason(cache, put, wheel, said):
    found = audit.audit(put(wheel), DEFAULT)
    assert not found.admitted
    assert said in found.refusal


def test_a_file_that_is_not_named_as_a_wheel_is_refused(cache, put):
    assert "not named as a wheel" in audit.audit(put(CraftedWheel(), "x.whl"), DEFAULT).refusal


def test_the_guest_decides_what_fits(cache, put):
    path = put(native_wheel(tag="cp313-cp313-pyemscripten_2025_0_wasm32"))
    assert not audit.audit(path, DEFAULT).admitted
    assert audit.audit(path, guest_kind("pyodide-3.13")).admitted


def test_without_an_image_nothing_is_linked_and_the_audit_says_so(cache, put):
    found = audit.audit(put(native_wheel()), DEFAULT)
    assert "no image of pyodide-3.14 is built" in found.remarks[0]


@pytest.mark.skipif(HAS_LIBRARY, reason="the extra `build` is installed")
def test_without_the_extra_a_sentence_says_how_to_get_it(cache, put):
    assert audit.audit(put(native_wheel()), DEFAULT).remarks[-1] == audit.NO_LIBRARY
    assert "codecage[server,build]" in audit.NO_LIBRARY
    assert "3.12" in audit.NO_LIBRARY


@pytest.mark.skipif(not HAS_LIBRARY, reason="needs the extra `build`")
def test_with_the_extra_imports_are_counted(cache, put):
    assert "imports" in audit.audit(put(native_wheel()), DEFAULT).remarks[-1]


@pytest.mark.image
def test_a_native_part_is_linked_as_a_build_links_it(put):
    build()
    before = set(default_cache().staging.iterdir())
    found = audit.audit(put(native_wheel("fine/native.so")), DEFAULT)
    assert found.admitted
    assert found.remarks[0] == "fine/native.so links: 0 bytes of data"
    assert set(default_cache().staging.iterdir()) == before


@pytest.mark.image
def test_a_native_part_that_does_not_link_is_refused(put):
    build()
    cut = native_wheel("fine/native.so", native_wheel().members[1][1] + b"\x01\xff")
    assert not audit.audit(put(cut), DEFAULT).admitted


def test_the_command_ends_with_1_where_a_wheel_is_refused(cache, put, capsys):
    good, bad = put(CraftedWheel()), put(CraftedWheel("bad", members=[("evil.pth", b"")]))
    assert run(capsys, str(good))[0] == 0
    status, out = run(capsys, str(good), str(bad))
    assert status == 1
    assert "fine-1.0-py3-none-any.whl: admitted" in out
    assert "bad-1.0-py3-none-any.whl: refused" in out
    status, out = run(capsys, "--json", str(bad))
    assert [one["admitted"] for one in json.loads(out)] == [False]


def test_an_absent_file_is_an_error(cache, tmp_path, capsys):
    assert run(capsys, str(tmp_path / "absent-1.0-py3-none-any.whl"))[0] == 1


def test_auditwheel_runs_apart_from_the_process_that_asks():
    assert auditwheel.LIBRARY not in sys.modules
