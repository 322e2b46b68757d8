"""
Rules of the house that a linter has no word for.
"""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOST = [
    path
    for package in ("policy", "executor", "agent_client")
    for path in sorted((ROOT / package).rglob("*.py"))
    if "guest" not in path.parts
]
# What turns a number into memory, or memory into a number: methods by any name they have, and
# what is of ctypes where it is ctypes'.
POINTER_METHODS = {
    "contents",
    "data_ptr",
    "from_address",
    "from_buffer",
    "from_buffer_copy",
    "get_buffer_ptr",
    "in_dll",
}
POINTER_FUNCTIONS = {
    "addressof",
    "byref",
    "cast",
    "memmove",
    "memset",
    "POINTER",
    "pointer",
    "py_object",
    "string_at",
    "wstring_at",
}
# Who may, and why it is no pointer of the guest's.
POINTER_USERS = {
    "executor/kernel/descriptors.py": "structures of our own for system calls: openat2(2)",
    "executor/linux/clone.py": "a structure of our own for clone3(2)",
    "executor/linux/descriptors.py": "structures of our own for recvmsg(2)",
    "executor/linux/prctl.py": "a structure of our own for prctl(2)",
    "executor/linux/seccomp.py": "the filter's program for seccomp(2)",
    "executor/wasm/calls.py": "handles of the engine's, and the array of a call's raw values",
    "executor/wasm/function_table.py": "handles of the engine's: the table and its functions",
    "executor/wasm/memory.py": "the one class that adds a guest's integers to an address",
}
# Who may run code given as text, and whose it is.
INTERPRETERS = {
    "executor/process/runtime.py": "the guest's: this very interpreter, in a box",
    "executor/commands/m3tooleval/plain.py": "a benchmark's own, to compare the sandbox with",
}
DANGEROUS = {"eval", "exec", "compile_command"}
UNPICKLING = {"pickle", "marshal", "shelve", "dill"}


def ids(path):
    return str(path.relative_to(ROOT))


def pointers(source):
    """
    The ways in which a source makes pointers.
    """
    tree = ast.parse(source)
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            of_ctypes = isinstance(node.value, ast.Name) and node.value.id == "ctypes"
            if node.attr in POINTER_METHODS | (POINTER_FUNCTIONS if of_ctypes else set()):
                found.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and node.module == "ctypes":
            found |= {alias.name for alias in node.names} & (POINTER_FUNCTIONS | {"*"})
        elif isinstance(node, ast.Import):
            # Under another name it would be overlooked above.
            found |= {"as" for alias in node.names if alias.name == "ctypes" and alias.asname}
    return found


def test_pointers_are_made_by_those_alone_who_have_a_reason():
    users = {ids(path) for path in HOST if pointers(path.read_text())}
    assert users == set(POINTER_USERS)


def test_guest_memory_is_touched_in_one_file_only():
    reaching = {"data_ptr", "get_buffer_ptr", "from_address", "string_at", "memmove", "memset"}
    users = {ids(path) for path in HOST if reaching & pointers(path.read_text())}
    assert users == {"executor/wasm/memory.py"}


@pytest.mark.parametrize(
    ("source", "ways"),
    [
        ("import ctypes\nctypes.string_at(base + pointer, 4)", {"string_at"}),
        ("from ctypes import memmove\nmemmove(a, b, 4)", {"memmove"}),
        ("memory.data_ptr(store)[pointer]", {"data_ptr"}),
        ("(c_char * 4).from_address(base + pointer)", {"from_address"}),
        ("import ctypes\nctypes.cast(pointer, ctypes.POINTER(kind)).contents", {"cast", "POINTER", "contents"}),
        ("import ctypes as c\nc.memset(0, 0, 1)", {"as"}),
        ("from ctypes import *\nstring_at(0)", {"*"}),
        ("memory.write(pointer, data)\nview.cast('B')\ntyping.cast(int, x)\npointer = 1", set()),
    ],
)  # fmt: skip
def test_the_rule_about_pointers_sees_them(source, ways):
    assert pointers(source) == ways


@pytest.mark.parametrize("path", HOST, ids=ids)
def test_the_host_never_evaluates_or_unpickles(path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in DANGEROUS or ids(path) in INTERPRETERS
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
            assert not UNPICKLING & {name.split(".")[0] for name in names}
        if isinstance(node, ast.keyword) and node.arg == "shell":
            assert isinstance(node.value, ast.Constant)
            assert node.value.value is False


def test_modules_are_deserialised_only_from_sealed_copies():
    """
    `Module.deserialize*` runs native code: it is called in engine.py, with paths that the zygote
    made from sealed descriptors, and nowhere else.
    """
    users = {ids(path) for path in HOST if "Module.deserialize" in path.read_text()}
    assert users - {"executor/images/sealed.py"} == {"executor/wasm/engine.py"}


def test_generated_code_is_what_the_proto_files_say(tmp_path):
    subprocess.run([sys.executable, str(ROOT / "proto" / "generate.py"), str(tmp_path)], check=True)
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.py*")}
    kept = {path.relative_to(ROOT / "proto") for path in (ROOT / "proto").rglob("*_pb2*.py*")}
    sources = len(list((ROOT / "proto").rglob("*.proto")))
    assert set(made) == {path for path in kept if path.suffix != ".pyc"}
    assert len(made) >= 2 * sources >= 4
    for name, text in made.items():
        assert (ROOT / "proto" / name).read_text() == text, f"run `make generate`: {name}"


def test_lock_files_carry_hashes_and_no_addresses():
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        text = path.read_text()
        assert "--hash=sha256:" in text
        assert not re.search(r"https?://|file://|--index-url|--find-links", text), path.name


# Taken apart, so that this file is looked at as well.
MARKS = "|".join(
    rf"\b{first}{second}\b" for first, second in (("TO", "DO"), ("FIX", "ME"), ("X", "XX"))
)


def test_no_file_names_a_registry_or_leaves_a_mark():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\n")
    for name in filter(None, listed):
        path = ROOT / name
        if path.suffix not in {".py", ".sh", ".json", ".toml", ".yaml", ".md", ""}:
            continue
        text = path.read_text(errors="replace")
        assert not re.search(r"https?://(registry|files|deb|pypi)\.", text), name
        if path.suffix == ".py":
            assert not re.search(MARKS, text), name


def test_no_two_files_of_tests_have_one_name():
    found = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in found.items() if count > 1] == []
