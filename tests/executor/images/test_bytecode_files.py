"""
Bytecode on its way from the guest into an image: no path of the guest's is believed.
"""

import pytest

from executor.images import bytecode, pyc
from executor.images.errors import ToolFailedError

CODE = {"a.py": b"one", "pack/b.py": b"", "pack/ü.py": b"\0" * 300}


@pytest.fixture
def root(tmp_path):
    made = tmp_path / "site-packages"
    (made / "pack").mkdir(parents=True)
    for name in CODE:
        (made / name).write_bytes(b"x = 1\n")
    (made / "pack" / "data.txt").write_bytes(b"")
    return made


def made(root) -> set[str]:
    return {str(path.relative_to(root)) for path in root.parent.rglob("*.pyc")}


def test_bytecode_is_put_beside_its_source(root):
    pyc.install(pyc.pack(CODE), root, "cpython-314")
    assert made(root) == {
        "__pycache__/a.cpython-314.pyc",
        "pack/__pycache__/b.cpython-314.pyc",
        "pack/__pycache__/ü.cpython-314.pyc",
    }
    assert (root / "__pycache__" / "a.cpython-314.pyc").read_bytes() == b"one"


@pytest.mark.parametrize(
    "name",
    [
        "../out.py",
        "/tmp/out.py",
        "pack/../a.py",
        "pack/absent.py",
        "pack/data.txt",
        "",
        ".",
        "a.py/",
    ],
)
def test_bytecode_of_what_is_no_source_is_refused_and_nothing_is_written(root, name):
    with pytest.raises(ToolFailedError, match="which is no source of the image"):
        pyc.install(pyc.pack(CODE | {name: b"evil"}), root, "cpython-314")
    assert made(root) == set()


WHOLE = pyc.pack(CODE)


@pytest.mark.parametrize(
    "packed",
    [WHOLE[:-1], WHOLE[:3], WHOLE[:9], WHOLE + b"\1", WHOLE + WHOLE, b"\xff" * 8,
     b"\1\0\0\0\xff\0\0\0\0"],
)  # fmt: skip
def test_bytecode_of_another_form_is_refused_and_nothing_is_written(root, packed):
    with pytest.raises(ToolFailedError, match="cannot be read"):
        pyc.install(packed, root, "cpython-314")
    assert made(root) == set()


def test_what_is_packed_is_what_is_unpacked():
    assert pyc.unpack(pyc.pack(CODE)) == CODE
    assert pyc.unpack(b"") == {}


class Answering:
    """
    A guest that answers every batch with bytecode of the same paths.
    """

    def __init__(self, *paths: str) -> None:
        self._answer = pyc.pack(dict.fromkeys(paths, b"code"))

    def call(self, _request):
        return {"status": "ok"}

    def read_file(self, _path):
        return self._answer


def test_a_guest_is_believed_about_what_it_was_asked():
    asked = {"/lib/a.py": b"", "/lib/b.py": b"(", "/lib/c.txt": b""}
    assert bytecode._compile(Answering("/lib/a.py"), asked) == {"/lib/a.py": b"code"}


@pytest.mark.parametrize("path", ["/lib/../../out.py", "/lib/c.txt", "/lib/z.py", "out.py"])
def test_a_guest_that_answers_about_another_path_is_refused(path):
    asked = {"/lib/a.py": b"", "/lib/b.py": b"(", "/lib/c.txt": b""}
    with pytest.raises(ValueError, match="which it was not asked"):
        bytecode._compile(Answering("/lib/a.py", path), asked)
