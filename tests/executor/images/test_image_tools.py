"""
The tools of a build run under limits, with a stated environment, and leave nothing running.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from executor.images.errors import ToolFailedError, ToolMissingError
from executor.images.node import find_node, run_module
from executor.images.process import ToolLimits, network_environment, plain_environment, run

ROOT = Path(__file__).parents[3]
LIMITED = ROOT / "executor" / "images" / "limited.py"
PATIENCE_MILLISECONDS = 20_000


def tool(source: str, tmp_path: Path, limits: ToolLimits | None = None, **environment: str) -> str:
    return run(
        [sys.executable, "-I", "-c", source],
        directory=tmp_path,
        environment=plain_environment(tmp_path) | environment,
        limits=limits or ToolLimits(),
        tick=lambda: None,
    )


def test_what_a_tool_writes_comes_back(tmp_path):
    assert tool("print('hello')", tmp_path) == "hello\n"


def test_a_tool_that_fails_is_an_error_with_the_end_of_what_it_wrote(tmp_path):
    with pytest.raises(ToolFailedError) as caught:
        tool("import sys; print('out'); sys.exit('the reason')", tmp_path)
    assert "ended with status 1" in str(caught.value)
    assert "the reason" in str(caught.value)
    assert "out" in str(caught.value)


def test_a_tool_takes_no_more_data_than_it_may(tmp_path):
    source = "b = bytearray(300 << 20); print(len(b))"
    assert tool(source, tmp_path, ToolLimits(data=2**30)) == f"{300 << 20}\n"
    with pytest.raises(ToolFailedError, match="MemoryError"):
        tool(source, tmp_path, ToolLimits(data=200 << 20))


def test_a_tool_takes_no_more_processor_time_than_it_may(tmp_path):
    with pytest.raises(ToolFailedError, match=f"signal {signal.SIGKILL.value}"):
        tool("while True: pass", tmp_path, ToolLimits(cpu_seconds=1))


def test_a_tool_writes_no_larger_file_than_it_may(tmp_path):
    source = "open('big', 'wb').write(bytes(2 << 20))"
    tool(source, tmp_path, ToolLimits(file=2 << 20))
    with pytest.raises(ToolFailedError, match="File too large"):
        tool(source, tmp_path, ToolLimits(file=1 << 20))


def test_a_tool_that_takes_too_long_is_stopped_with_its_children(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    source = (
        "import subprocess, sys\n"
        f"out = open({str(fifo)!r}, 'wb')\n"
        "subprocess.run([sys.executable, '-c', 'while True: pass'], stdout=out)\n"
    )
    # Long enough for both to start, also where the machine is busy.
    with pytest.raises(ToolFailedError, match="was stopped after 3 s"):
        tool(source, tmp_path, ToolLimits(wall_seconds=3))
    # Both held the writing end; its end of file says that both are gone.
    waiting = select.poll()
    waiting.register(reader, 0)
    assert waiting.poll(PATIENCE_MILLISECONDS) == [(reader, select.POLLHUP)]
    os.close(reader)


def test_a_tool_has_no_core_dumps_and_no_new_privileges(tmp_path):
    source = (
        "import resource\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE))\n"
        "print([l for l in open('/proc/self/status') if l.startswith('NoNewPrivs')])\n"
    )
    assert tool(source, tmp_path) == "(0, 0)\n['NoNewPrivs:\\t1\\n']\n"


def test_limits_never_raise_one_that_is_lower_already(tmp_path):
    source = (
        "import os, resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (7, 7))\n"
        "print_it = 'import resource; print(resource.getrlimit(resource.RLIMIT_CPU))'\n"
        "python = [sys.executable, '-I', '-S']\n"
        "numbers = [str(os.getppid()), '1000000000', '9999999999', '50', '9999']\n"
        f"limits = [{str(LIMITED)!r}, *numbers, 'none', '']\n"
        "os.execv(python[0], [*python, *limits, *python, '-c', print_it])\n"
    )
    assert tool(source, tmp_path) == "(7, 7)\n"


BUILDER = """
import sys
from pathlib import Path
from executor.images.process import ToolLimits, plain_environment, run
fifo, scratch = sys.argv[1], Path(sys.argv[2])
source = '''
import signal, sys
out = open(sys.argv[1], "wb")
out.write(b"up")
out.flush()
signal.pause()
'''
run([sys.executable, "-I", "-c", source, fifo], directory=scratch,
    environment=plain_environment(scratch), limits=ToolLimits(), tick=lambda: None)
"""


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGINT])
def test_a_tool_dies_with_the_build_that_started_it(tmp_path, death):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    command = [sys.executable, "-c", BUILDER, str(fifo), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with (
        subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as builder,
        fifo.open("rb") as end,
    ):
        assert end.read(2) == b"up"
        builder.send_signal(death)
        builder.wait()
        # End of file: the tool, the only writer, is gone.
        assert end.read() == b""


def test_ticks_come_while_a_tool_runs(tmp_path):
    """
    The tool ends only when a tick has told it to.
    """
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    end = os.open(fifo, os.O_RDWR)
    told = run(
        [sys.executable, "-I", "-c", "import sys; print(open(sys.argv[1]).readline())", str(fifo)],
        directory=tmp_path,
        environment=plain_environment(tmp_path),
        limits=ToolLimits(),
        tick=lambda: os.write(end, b"go\n"),
    )
    os.close(end)
    assert told.split() == ["go"]


def test_a_tool_sees_only_the_environment_it_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("LD_PRELOAD_NOT", "x")
    source = "import json, os; print(json.dumps(sorted(os.environ)))"
    names = set(json.loads(tool(source, tmp_path, EXTRA="1")))
    assert names - {"LD_LIBRARY_PATH", "LC_CTYPE"} == {"EXTRA", "LANG", "PATH", "TMPDIR"}


def test_the_users_registry_configuration_reaches_npm_and_pip_and_the_rest_does_not(
    monkeypatch, tmp_path
):
    kept = {
        "HOME": "h",
        "npm_config_registry": "r",
        "NPM_CONFIG_CAFILE": "c",
        "PIP_INDEX_URL": "i",
        "NODE_EXTRA_CA_CERTS": "e",
        "SSL_CERT_FILE": "s",
        "https_proxy": "p",
        "HTTPS_PROXY": "P",
    }
    lost = ["NODE_OPTIONS", "PYTHONPATH", "PYTHONSTARTUP", "LD_PRELOAD", "BASH_ENV", "AWS_SECRET"]
    for name, value in kept.items():
        monkeypatch.setenv(name, value)
    for name in lost:
        monkeypatch.setenv(name, "")
    environment = network_environment(tmp_path)
    assert {name: environment[name] for name in kept} == kept
    assert not set(lost) & set(environment)
    assert not set(kept) & set(plain_environment(tmp_path))


def fake_program(path: Path, version: str) -> None:
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)


@pytest.fixture
def only_path(tmp_path, monkeypatch) -> Path:
    """
    A directory that is all of PATH, and no wheel that brings node.
    """
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", str(place))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    return place


def test_a_recent_node_and_npm_on_the_path_are_taken(only_path, tmp_path):
    fake_program(only_path / "node", "v18.0.0")
    fake_program(only_path / "npm", "9.0.0")
    node = find_node(tmp_path)
    assert (node.node_version, node.npm_version) == ("18.0.0", "9.0.0")
    assert node.program == only_path / "node"


@pytest.mark.parametrize(("node", "npm"), [("v17.9.9", "9.0.0"), ("v18.0.0", "8.19"), ("x", "y")])
def test_an_old_node_or_npm_is_refused_with_both_versions(only_path, tmp_path, node, npm):
    fake_program(only_path / "node", node)
    fake_program(only_path / "npm", npm)
    with pytest.raises(ToolMissingError) as caught:
        find_node(tmp_path)
    assert f"node {node.removeprefix('v')}, npm {npm}" in str(caught.value)
    assert "pip install" in str(caught.value)


def test_a_node_that_does_not_start_is_refused_with_the_reason(only_path, tmp_path):
    (only_path / "node").write_text("#!/bin/sh\nexit 3\n")
    (only_path / "node").chmod(0o755)
    fake_program(only_path / "npm", "9.0.0")
    with pytest.raises(ToolMissingError, match="ended with status 3"):
        find_node(tmp_path)


def test_no_node_at_all_is_refused(only_path, tmp_path):
    assert shutil.which("node") is None
    with pytest.raises(ToolMissingError, match="found none"):
        find_node(tmp_path)


def test_webassembly_is_compiled_in_a_process_of_its_own(tmp_path):
    module = tmp_path / "empty.wasm"
    module.write_bytes(b"\0asm\x01\0\0\0")
    target = tmp_path / "empty.cwasm"
    arguments = [str(module), str(target)]
    run_module("executor.images.compile", arguments, tmp_path, lambda: None)
    assert target.read_bytes().startswith(b"\x7fELF")


@pytest.mark.parametrize("content", [b"", b"\0asm\x02\0\0\0", b"\x7fELF"])
def test_what_is_no_webassembly_does_not_compile(tmp_path, content):
    module = tmp_path / "bad.wasm"
    module.write_bytes(content)
    arguments = [str(module), str(tmp_path / "bad.cwasm")]
    with pytest.raises(ToolFailedError, match="does not compile"):
        run_module("executor.images.compile", arguments, tmp_path, lambda: None)
    assert not (tmp_path / "bad.cwasm").exists()
