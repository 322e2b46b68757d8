"""
The command line where the client alone is installed: a Python with grpcio and protobuf, no more.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import google.protobuf
import grpc
import pytest
import typing_extensions

import executor
from executor.cli import COMMANDS

ROOT = Path(executor.__file__).parents[1]
NEEDS_SERVER = "this command needs the server: pip install 'codecage[server]'"


@pytest.fixture(scope="module")
def thin():
    """
    A function that runs the command line with two packages of the environment, and no site.
    """
    with tempfile.TemporaryDirectory(prefix="cc-") as name:
        site = Path(name)
        protobuf = Path(google.protobuf.__file__).parent
        (site / "google").mkdir()
        for found in protobuf.parent.iterdir():
            if found.name.startswith(("protobuf", "_upb")):
                (site / "google" / found.name).symlink_to(found)
        for module in (grpc, typing_extensions):
            path = Path(module.__file__)
            path = path.parent if path.name == "__init__.py" else path
            (site / path.name).symlink_to(path)
        paths = [str(site), str(ROOT), str(ROOT / "proto")]
        boot = f"import sys; sys.path += {paths!r}; from executor.cli import main; sys.exit(main())"

        def run(*arguments, code=boot):
            return subprocess.run(
                [sys.executable, "-I", "-S", "-B", "-c", code, *arguments],
                capture_output=True,
                text=True,
                check=False,
                input="",
                timeout=30,
            )

        run.paths = paths
        yield run


def test_the_environment_of_these_tests_is_thin(thin):
    code = f"import sys; sys.path += {thin.paths!r}; import grpc, codecage.v1.codecage_pb2_grpc"
    assert thin(code=code).returncode == 0
    assert "No module named 'pydantic'" in thin(code=f"{code}; import pydantic").stderr


@pytest.mark.parametrize("command", [one.name for one in COMMANDS if one.needs_server])
def test_a_command_that_needs_the_server_says_what_to_install(thin, command):
    done = thin(command, "anything", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"codecage {command}: {NEEDS_SERVER}\n"


@pytest.mark.parametrize("command", ["run", "shell"])
def test_a_command_of_the_client_works_up_to_the_private_server(thin, command):
    arguments = ("-",) if command == "run" else ()
    done = thin(command, *arguments)
    assert done.returncode == 2
    assert "pip install 'codecage[server]'" in done.stderr
    assert "wasmtime" in done.stderr


def test_help_and_version_work(thin):
    assert thin("--help").returncode == 0
    assert thin("run", "--help").returncode == 0
    told = json.loads(thin("version", "--json").stdout)
    assert told["wasmtime"] == "not installed"
