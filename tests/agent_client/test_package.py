import ast
import subprocess
import sys
from pathlib import Path

import agent_client

ROOT = Path(agent_client.__file__).parent


def isolated(code):
    paths = [str(ROOT.parent), str(ROOT.parent / "proto")]
    start = f"import sys; sys.path += {paths!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", start + code], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_importing_the_package_loads_neither_grpc_nor_anything_of_the_server():
    code = "import agent_client\nprint(*sys.modules)"
    loaded = set(isolated(code))
    assert "agent_client" in loaded
    assert not loaded & {"grpc", "google.protobuf", "dataclasses", "asyncio", "typing"}


def test_connecting_loads_nothing_of_the_server():
    code = (
        "import agent_client\nagent_client.connect\nagent_client.connect_async\nprint(*sys.modules)"
    )
    loaded = set(isolated(code))
    assert "grpc" in loaded
    assert not loaded & {"executor", "policy", "pydantic", "wasmtime", "ruamel"}


def test_every_public_name_is_there():
    assert sorted(agent_client.__all__) == sorted(agent_client._HOMES)
    assert all(getattr(agent_client, name) is not None for name in agent_client.__all__)
    assert dir(agent_client) == sorted(agent_client.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    assert not hasattr(agent_client, "Sandbox")


def test_no_module_of_the_client_imports_what_lies_below_the_wire():
    allowed = {"agent_client", "codecage", "google", "grpc"} | sys.stdlib_module_names
    for module in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert {name.split(".")[0] for name in names} <= allowed, module
