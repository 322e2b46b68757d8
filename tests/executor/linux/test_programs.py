import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from executor.linux import programs
from executor.linux.errors import MechanismFailed

LOADER = Path("/lib64/ld-linux-x86-64.so.2").resolve()
SHELL = Path("/bin/sh").resolve()


def script(path: Path, first: str) -> Path:
    path.write_text(f"{first}\necho\n")
    path.chmod(0o755)
    return path


def test_a_program_starts_itself_and_its_loader():
    assert programs.started_by(Path("/bin/sh"), "") == (SHELL, LOADER)


def test_links_are_resolved(tmp_path):
    link = tmp_path / "link"
    link.symlink_to("/bin/sh")
    assert programs.started_by(link, "") == (SHELL, LOADER)


def test_a_script_starts_its_interpreter(tmp_path):
    made = script(tmp_path / "made", "#! /bin/sh -e")
    assert programs.started_by(made, "") == (made, SHELL, LOADER)


@pytest.mark.parametrize("first", ["#!/usr/bin/env sh", "#!/usr/bin/env -S sh -e"])
def test_env_starts_what_it_finds_in_the_search_path(tmp_path, first):
    made = script(tmp_path / "made", first)
    found = programs.started_by(made, "/usr/bin:/bin")
    assert set(found) == {made, Path("/usr/bin/env").resolve(), SHELL, LOADER}
    assert SHELL not in programs.started_by(made, str(tmp_path))


def test_a_script_of_a_script_is_followed(tmp_path):
    inner = script(tmp_path / "inner", "#!/bin/sh")
    outer = script(tmp_path / "outer", f"#!{inner}")
    assert programs.started_by(outer, "") == (outer, inner, SHELL, LOADER)


def test_scripts_without_end_are_refused(tmp_path):
    for number in range(20):
        script(tmp_path / str(number), f"#!{tmp_path / str(number + 1)}")
    with pytest.raises(MechanismFailed, match="starts 11 files; name the last"):
        programs.started_by(tmp_path / "0", "")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x7fELF",
        b"\x7fELF\x01\x01" + bytes(60),
        b"\x7fELF\x02\x01" + bytes(60),
        b"text",
        b"#!",
        b"#!\n",
    ],
)
def test_what_names_no_interpreter_starts_itself_alone(tmp_path, content):
    made = tmp_path / "made"
    made.write_bytes(content)
    assert programs.started_by(made, "") == (made,)


def test_a_damaged_program_is_refused(tmp_path):
    made = tmp_path / "made"
    damaged = bytearray(Path("/bin/sh").read_bytes()[:80])
    made.write_bytes(damaged)
    with pytest.raises(MechanismFailed, match="program: reading .*made"):
        programs.started_by(made, "")


def test_a_program_that_is_absent_or_a_directory_is_refused(tmp_path):
    with pytest.raises(MechanismFailed, match="looking for .*absent answered ENOENT"):
        programs.started_by(tmp_path / "absent", "")
    with pytest.raises(MechanismFailed, match="answered EISDIR"):
        programs.started_by(tmp_path, "")


def test_of_a_library_path_relative_and_absent_directories_are_left_out(tmp_path):
    value = f"{tmp_path}::relative:{tmp_path / 'absent'}:/usr/lib"
    assert programs.library_path(value) == (tmp_path, Path("/usr/lib"))


def test_this_python_reads_its_library_and_its_packages(tmp_path):
    found = programs.python_files(("executor", "wasmtime"))
    assert Path(os.__file__).parent in found
    wasmtime = Path(sys.modules["pytest"].__file__).parents[1]
    assert wasmtime in found


def test_a_checkout_is_listed_and_only_its_package_is_read():
    root = Path(programs.__file__).resolve().parents[2]
    if root.name in {"site-packages", "dist-packages"}:
        pytest.skip("the package is installed and not in a checkout")
    assert root / "executor" in programs.python_files(("executor",))
    assert root not in programs.python_files(("executor",))
    assert programs.python_directories(("executor", "wasmtime")) == (root,)
    assert programs.import_path(("executor",)) == (root,)


def test_a_package_that_is_absent_or_a_module_is_refused():
    for name in ("nonexistent_package", "this"):
        with pytest.raises(MechanismFailed, match=f"the package {name} is not installed"):
            programs.python_files((name,))


def test_nothing_that_every_program_reads_belongs_to_a_user():
    for path in programs.system_files():
        found = path.stat()
        assert found.st_uid == 0, path
        assert not found.st_mode & stat.S_IWOTH or path.is_char_device(), path


def test_a_loader_that_is_not_there_is_refused(tmp_path):
    made = tmp_path / "made"
    shutil.copyfile("/bin/sh", made)
    data = made.read_bytes().replace(b"/lib64/ld-linux", b"/nolib/ld-linux", 1)
    made.write_bytes(data)
    with pytest.raises(MechanismFailed, match="looking for /nolib/ld-linux"):
        programs.started_by(made, "")
