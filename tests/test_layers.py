"""
Imports point down: a module imports its own layer's package and what lies below, never above.

The table is the picture in BUILD.md. The walk is over the syntax tree, so imports inside
functions and under TYPE_CHECKING count as well.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Longest prefix wins. A module may import what its own prefix covers, and lower ranks.
RANKS = {
    "policy": 0,
    "codecage.worker": 0,
    "codecage.network": 0,
    "codecage.v1": 0,
    "executor.kernel.errors": 1,
    "executor.linux": 1,
    "executor.kernel.descriptors": 1.2,
    "executor.transactions": 1.5,
    "executor.capture": 1.7,
    "executor.kernel": 2,
    "executor.audit": 1,
    "executor.wasm": 3,
    "executor.network": 3,
    "executor.process": 3,
    "executor.images": 4,
    "executor.children.worker": 4,
    "executor.children.zygote": 5,
    "executor.process.zygote": 5.5,
    "executor.process.zygote_boxes": 5,
    "executor.process.images": 5,
    "executor.process.images_build": 5.5,
    "executor.process.images_kept": 5.5,
    "executor.process.probe": 5.5,
    "executor.alarm": 5.6,
    "executor.errors": 5.6,
    "executor.choice": 5.7,
    "executor.facts": 5.7,
    "executor.holding": 5.7,
    "executor.identity": 5.7,
    "executor.idle": 5.7,
    "executor.children": 6,
    "executor.sessions": 6.5,
    "executor.gating": 6.6,
    "executor.sessions.registry": 6.7,
    "executor.api": 7,
    "executor": 7.5,
    "executor.serving": 8,
    "executor.server": 9,
    "executor.review": 9,
    "executor.commands.m3tooleval": 9.2,
    "executor.bench": 9.5,
    "executor.commands": 10,
    "executor.cli": 11,
    "executor.private": 12,
    "agent_client": 1,
}
# The client knows the wire API and nothing of the server.
FORBIDDEN = {"agent_client": ("executor", "policy"), "policy": ("codecage", "agent_client")}
# Commands sit at the top and hand work to the packages' own; they are registered by name.
OUTSIDE = {"executor.images.cli", "executor.audit.cli"}


def sources():
    for package in ("policy", "executor", "agent_client"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if "guest" not in path.parts:
                yield path


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, "imports are absolute here"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(name):
    found = [prefix for prefix in RANKS if name == prefix or name.startswith(f"{prefix}.")]
    return max(found, key=len) if found else None


@pytest.mark.parametrize("path", list(sources()), ids=name_of)
def test_imports_point_down(path):
    own = name_of(path)
    tree = ast.parse(path.read_text())
    for name in imported(tree):
        top = name.split(".", 1)[0]
        assert top not in FORBIDDEN.get(own.split(".", 1)[0], ()), f"{own} imports {name}"
        layer = layer_of(name)
        if layer is None or own in OUTSIDE or layer == layer_of(own):
            continue
        assert RANKS[layer] < RANKS[layer_of(own)], (
            f"{own} (in {layer_of(own)}) imports {name} (in {layer})"
        )


def modules_after(program):
    code = f"{program}\nimport sys\nprint(*sorted(m.split('.')[0] for m in sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(result.stdout.split())


def test_a_zygote_never_imports_grpc():
    loaded = modules_after("import executor.children.zygote")
    assert "wasmtime" in loaded
    assert not loaded & {"grpc", "pydantic", "ruamel", "asyncio"}


def test_the_wire_messages_load_without_grpc():
    loaded = modules_after("import codecage.v1.codecage_pb2")
    assert "google" in loaded
    assert "grpc" not in loaded


def test_importing_the_client_loads_no_server_part():
    loaded = modules_after("import agent_client")
    assert "agent_client" in loaded
    assert not loaded & {"executor", "policy", "wasmtime", "pydantic"}
