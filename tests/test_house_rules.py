"""
Rules of the house that a linter has no word for.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOST = [
    path
    for package in ("policy", "executor", "agent_client")
    for path in sorted((ROOT / package).rglob("*.py"))
    if "guest" not in path.parts
]
# Pointers into guest memory are made in one class only.
POINTERS = re.compile(r"\b(from_address|string_at|memmove|data_ptr|get_buffer_ptr)\b")
DANGEROUS = {"eval", "exec", "compile_command"}
UNPICKLING = {"pickle", "marshal", "shelve", "dill"}


def ids(path):
    return str(path.relative_to(ROOT))


def test_guest_memory_is_touched_in_one_file_only():
    users = {ids(path) for path in HOST if POINTERS.search(path.read_text())}
    assert users == {"executor/wasm/memory.py"}


@pytest.mark.parametrize("path", HOST, ids=ids)
def test_the_host_never_evaluates_or_unpickles(path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec"}
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
    assert len(made) == 6
    for name, text in made.items():
        assert (ROOT / "proto" / name).read_text() == text, f"run `make generate`: {name}"


def test_lock_files_carry_hashes_and_no_addresses():
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        text = path.read_text()
        assert "--hash=sha256:" in text
        assert not re.search(r"https?://|file://|--index-url|--find-links", text), path.name


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
        if path.suffix == ".py" and path != Path(__file__):
            assert not re.search(r"\b(TODO|FIXME|XXX)\b", text), name
