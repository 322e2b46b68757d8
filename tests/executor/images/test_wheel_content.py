"""
Hostile wheels are refused before anything is written (attack S08).
"""

import io
import stat
import tarfile
import zipfile

import pytest
from crafted import CraftedWheel, record_line
from hypothesis import given
from hypothesis import strategies as st

from executor.images import unpack
from executor.images.errors import WheelRefusedError
from executor.images.unpack import read_wheel


def refused(wheel: CraftedWheel, data: bytes | None = None) -> str:
    data = wheel.data() if data is None else data
    with pytest.raises(WheelRefusedError) as caught:
        read_wheel(data, wheel.package(data=data))
    return str(caught.value)


def accepted(wheel: CraftedWheel) -> dict[str, bytes]:
    data = wheel.data()
    return dict(read_wheel(data, wheel.package(data=data)).files)


def with_file(name: str, content: bytes = b"x = 1\n") -> CraftedWheel:
    return CraftedWheel(members=[("fine/__init__.py", b""), (name, content)])


def member(name: str, *, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.create_system = 3
    return info


def test_a_sound_wheel_gives_its_files_with_their_bytes():
    files = accepted(with_file("fine/data.txt", b"hello"))
    assert files["fine/__init__.py"] == b""
    assert files["fine/data.txt"] == b"hello"
    assert "fine-1.0.dist-info/METADATA" in files


@pytest.mark.parametrize(
    "name",
    [
        "../evil.py",
        "fine/../../evil.py",
        "/evil.py",
        "//evil.py",
        "./evil.py",
        "fine/./evil.py",
        "fine//evil.py",
        "..",
        "fine\\..\\evil.py",
        "C:evil.py",
        "fine/\x1bevil.py",
        "fine/\u202eevil.py",
        "fine/" + "x" * 256,
        "/".join(["d" * 100] * 6),
    ],
)
def test_a_name_that_is_not_plainly_relative_is_refused(name):
    assert "the name" in refused(with_file(name))


def test_a_name_with_a_nul_byte_is_refused_and_not_cut():
    data = with_file("fine/aXb.py").data().replace(b"fine/aXb.py", b"fine/a\0b.py")
    assert "is not a plain name" in refused(CraftedWheel(), data)


def test_a_deep_plain_name_is_accepted():
    assert "fine/a/b/c.py" in accepted(with_file("fine/a/b/c.py"))


@pytest.mark.parametrize(
    "name",
    [
        "evil.pth",
        "fine/evil.pth",
        "EVIL.PTH",
        "evil.start",
        "fine/native.so",
        "fine/native.cpython-314-x86_64-linux-gnu.so",
        "fine/native.pyd",
        "fine/native.dll",
        "fine/native.dylib",
        "fine/side.wasm",
        "fine/__pycache__/x.cpython-314.pyc",
        "evil.egg-link",
        "sitecustomize.py",
        "sitecustomize/__init__.py",
        "SiteCustomize.py",
        "usercustomize.py",
    ],
)
def test_a_file_that_runs_by_itself_or_is_not_source_is_refused(name):
    assert "may not be in an image" in refused(with_file(name))


@pytest.mark.parametrize("name", ["fine/pth.py", "fine/sitecustomize.py", "fine/so.py"])
def test_a_harmless_name_that_resembles_a_forbidden_one_is_accepted(name):
    assert name in accepted(with_file(name))


@pytest.mark.parametrize("head", [b"\x7fELF", b"\0asm", b"MZ\x90\x00"])
def test_compiled_code_under_an_innocent_name_is_refused(head):
    assert "compiled code" in refused(with_file("fine/data.bin", head + b"rest"))


def test_a_pth_file_that_hides_in_the_purelib_scheme_is_refused():
    assert "may not be in an image" in refused(with_file("fine-1.0.data/purelib/evil.pth"))


def test_files_of_the_purelib_scheme_are_kept_and_scripts_are_left_out():
    wheel = with_file("fine-1.0.data/purelib/more/__init__.py")
    wheel.members.append(("fine-1.0.data/scripts/run", b"#!python\n"))
    files = accepted(wheel)
    assert "more/__init__.py" in files
    assert not [name for name in files if name.endswith("run")]


@pytest.mark.parametrize("scheme", ["platlib", "include", "..", "stdlib"])
def test_another_installation_scheme_is_refused(scheme):
    refused(with_file(f"fine-1.0.data/{scheme}/x.py"))


def test_two_files_that_land_on_one_path_are_refused():
    wheel = with_file("fine-1.0.data/purelib/fine/__init__.py", b"other = 1\n")
    assert "there twice" in refused(wheel)


@pytest.mark.parametrize(
    "mode", [stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644, stat.S_IFCHR | 0o644, stat.S_IFSOCK]
)
def test_a_link_or_special_file_is_refused(mode):
    wheel = CraftedWheel(members=[(member("fine/link", mode=mode), b"/etc/passwd")])
    assert "a link or a special file" in refused(wheel)


def test_the_same_member_as_a_regular_file_is_accepted():
    wheel = CraftedWheel(members=[(member("fine/link", mode=stat.S_IFREG | 0o644), b"text")])
    assert accepted(wheel)["fine/link"] == b"text"


@pytest.mark.parametrize("twin", ["fine/__init__.py", "fine/__INIT__.py"])
def test_a_name_that_is_there_twice_is_refused(twin, recwarn):
    wheel = CraftedWheel(members=[("fine/__init__.py", b"a = 1\n"), (twin, b"a = 2\n")])
    with io.BytesIO() as out:
        with zipfile.ZipFile(out, "w") as archive:
            for name, content in wheel.all_members():
                archive.writestr(name, content)
        data = out.getvalue()
    recwarn.clear()
    assert "there twice" in refused(wheel, data)


test_a_name_that_is_there_twice_is_refused = pytest.mark.filterwarnings("ignore:Duplicate name")(
    test_a_name_that_is_there_twice_is_refused
)


def test_a_file_below_a_file_is_refused():
    wheel = CraftedWheel(members=[("fine", b"a file"), ("fine/x.py", b"")])
    assert "is below a file" in refused(wheel)


def test_a_file_that_is_not_in_record_is_refused():
    wheel = with_file("fine/extra.py")
    wheel.unrecorded = ("fine/extra.py",)
    assert "is not in its RECORD" in refused(wheel)


@pytest.mark.parametrize("content", [b"x = 2\n", b"x = 1\n\n"])
def test_a_file_with_another_hash_or_size_than_record_says_is_refused(content):
    wheel = with_file("fine/extra.py", content)
    wheel.unrecorded = ("fine/extra.py",)
    wheel.record_more = record_line("fine/extra.py", b"x = 1\n")
    assert "another hash or size" in refused(wheel)
    wheel.record_more = record_line("fine/extra.py", content)
    assert accepted(wheel)["fine/extra.py"] == content


@pytest.mark.parametrize("row", ["fine/extra.py,,\n", "fine/extra.py,md5=abc,6\n"])
def test_a_file_that_record_lists_without_sha256_is_refused(row):
    wheel = with_file("fine/extra.py")
    wheel.unrecorded = ("fine/extra.py",)
    wheel.record_more = row
    assert "another hash or size" in refused(wheel)


def test_a_record_that_names_an_absent_file_is_refused():
    wheel = CraftedWheel(record_more=record_line("fine/gone.py", b""))
    assert "not in the wheel" in refused(wheel)


def test_a_record_that_names_a_file_twice_is_refused():
    wheel = CraftedWheel(record_more=record_line("fine/__init__.py", b"x = 1\n"))
    assert "twice" in refused(wheel)


@pytest.mark.parametrize("record", ["a,b\n", 'a,"b\n', "a,b,c,d\n"])
def test_a_record_of_another_form_is_refused(record):
    assert "RECORD" in refused(CraftedWheel(record=record))


def test_a_wheel_with_another_hash_than_the_lock_is_refused_before_it_is_read():
    wheel = CraftedWheel()
    data = wheel.data()
    with pytest.raises(WheelRefusedError, match="the lock allows"):
        read_wheel(data + b"\0", wheel.package(data=data))


def test_a_source_archive_is_refused():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        info = tarfile.TarInfo("fine-1.0/setup.py")
        archive.addfile(info, io.BytesIO(b""))
    assert "not a wheel" in refused(CraftedWheel(), out.getvalue())


def test_a_zip_without_dist_info_is_refused():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("fine-1.0/setup.py", "")
    assert "0 .dist-info" in refused(CraftedWheel(), out.getvalue())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tag": "cp314-cp314-manylinux_2_28_x86_64"}, "it is for 'manylinux_2_28_x86_64'"),
        ({"tag": "cp314-cp314-pyemscripten_2025_0_wasm32"}, "it is for 'pyemscripten_2025_0"),
        ({"tag": "cp312-cp312-pyodide_2024_0_wasm32"}, "it is for 'pyodide_2024_0_wasm32'"),
        ({"tag": "cp313-cp313-pyemscripten_2026_0_wasm32"}, "its tags"),
        ({"tag": "py2-none-any"}, "its tags"),
        ({"tag": "py3-none"}, "its tags"),
        ({"purelib": "false"}, "not a pure-Python wheel"),
        ({"wheel_version": "2.0"}, "its wheel format"),
        ({"dist_info": "other-1.0.dist-info"}, "of another release"),
        ({"dist_info": "fine-2.0.dist-info"}, "of another release"),
        ({"metadata": "", "members": [("other-1.dist-info/x", b"")]}, "2 .dist-info"),
    ],
)
def test_a_wheel_that_says_it_is_something_else_is_refused(change, said):
    assert said in refused(CraftedWheel(**change))


def test_metadata_of_another_project_is_refused():
    wheel = CraftedWheel()
    data = wheel.data()
    other = CraftedWheel(name="other", dist_info="other-1.0.dist-info").package(data=data)
    with pytest.raises(WheelRefusedError, match="another release"):
        read_wheel(data, other)


def test_requirements_are_reported_as_they_are_written():
    wheel = CraftedWheel(
        metadata="Requires-Dist: Other_One<2,>=1\nRequires-Dist: extra; extra == 'x'\n"
    )
    data = wheel.data()
    found = read_wheel(data, wheel.package(data=data)).requires
    assert found == ("Other_One<2,>=1", "extra; extra == 'x'")


def test_more_bytes_than_allowed_are_refused_before_they_are_unpacked(monkeypatch):
    wheel = with_file("fine/zeros.bin", bytes(2**20))
    monkeypatch.setattr(unpack, "MAX_BYTES", 2**20)
    assert "it unpacks to" in refused(wheel)
    monkeypatch.setattr(unpack, "MAX_BYTES", 2**21)
    assert len(accepted(wheel)["fine/zeros.bin"]) == 2**20


def test_more_files_than_allowed_are_refused(monkeypatch):
    wheel = CraftedWheel(members=[(f"fine/{n}.py", b"") for n in range(20)])
    monkeypatch.setattr(unpack, "MAX_FILES", 22)
    assert "it has 23 files" in refused(wheel)
    monkeypatch.setattr(unpack, "MAX_FILES", 23)
    assert len(accepted(wheel)) == 23


def test_a_member_that_claims_fewer_bytes_than_it_has_is_refused():
    wheel = with_file("fine/zeros.bin", bytes(100_000))
    data = wheel.data().replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert "not a wheel" in refused(wheel, data)


def test_an_encrypted_member_is_refused():
    data = bytearray(CraftedWheel().data())
    at = data.find(b"PK\x01\x02")
    data[at + 8] |= 1
    assert "is encrypted" in refused(CraftedWheel(), bytes(data))


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_wheel_with_any_bit_flipped_is_refused_or_gives_the_same_files(at, bit):
    """
    Even where the lock's hash were of the damaged file: the checks do not lean on it.
    """
    wheel = CraftedWheel()
    data = bytearray(wheel.data())
    data[at % len(data)] ^= 1 << bit
    try:
        found = read_wheel(bytes(data), wheel.package(data=bytes(data)))
    except WheelRefusedError:
        return
    assert dict(found.files) == accepted(wheel)
