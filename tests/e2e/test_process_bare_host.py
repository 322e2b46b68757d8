"""
The process cage on a host that makes no namespaces: what asks for them is refused and told why,
what is content with less is held by what there is.
"""

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from codecage.v1 import codecage_pb2 as pb
from executor.process.images import find
from tests.e2e.serving import ROOT, Server, environment, needs_image, private_directory, serving
from tests.executor.fakes.harness import ended, metadata, output, reason

# Without namespaces a box's own user reads Python where it lies.
OPEN = all(place.stat().st_mode & 0o001 for place in Path(os.__file__).resolve().parents)
held = pytest.mark.skipif(os.geteuid() == 0 and not OPEN, reason="only root may read Python here")
UNDER = (sys.executable, "-m", "tests.e2e.without_namespaces")
pytestmark = [pytest.mark.image, needs_image]
HEAD = "version: 1\ndescription: a test's policy\ncage: process\nimage: native-core\n"


@contextlib.contextmanager
def starting() -> Iterator[Server]:
    with private_directory() as directory, private_directory() as policies:
        policies.chmod(0o755)
        (policies / "usual.yaml").write_text(f"name: usual\n{HEAD}")
        (policies / "content.yaml").write_text(f"name: content\n{HEAD}isolation: {{min: P2}}\n")
        with serving(directory, ["--policies", str(policies)], under=UNDER) as server:
            yield server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with starting() as server:
        yield server


def create(server: Server, policy: str) -> Any:
    return server.stub.CreateSession(pb.CreateSessionRequest(policy=policy), timeout=60)


def got(server: Server, session: str, path: str) -> list[pb.GetFileResponse]:
    return list(server.stub.GetFile(pb.GetFileRequest(session_id=session, path=path), timeout=60))


@held
def test_what_asks_for_namespaces_is_refused_and_told_what_holds_instead(server: Server) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        create(server, "usual")
    assert reason(refused.value) == "ISOLATION_TOO_WEAK"
    assert metadata(refused.value)["isolation"] == "P2"
    assert "codecage doctor" in refused.value.details()


@held
def test_what_is_content_with_less_runs_and_is_told_so(server: Server) -> None:
    session = create(server, "content")
    assert session.isolation.startswith("P2 (")
    parts = {part.name: part.hold for part in session.isolation_parts}
    assert parts["calls"] == parts["access"] == pb.HOLD_ENFORCED
    assert parts["files"] != pb.HOLD_ENFORCED
    events = server.run(
        session.id, "open('kept.txt', 'w').write('x')\nprint(open('kept.txt').read())"
    )
    assert (output(events), ended(events).status) == ("x\n", pb.CELL_STATUS_OK)
    assert b"".join(part.data for part in got(server, session.id, "/work/kept.txt")) == b"x"
    named = server.run(session.id, "import tempfile; tempfile.NamedTemporaryFile().close()")
    assert ended(named).status == pb.CELL_STATUS_OK
    for outside in ("/etc/passwd", "/etc/n0passwd"):
        error = ended(server.run(session.id, f"open('{outside}')")).error
        assert error.name == "FileNotFoundError"
        assert f"reading {outside} is not granted: no grant covers the path" in error.message
    posix = server.run(session.id, "import posix; posix.open('/etc/passwd', 0)")
    assert ended(posix).error.name == "PermissionError"
    server.stub.CloseSession(pb.CloseSessionRequest(session_id=session.id))


def wait_until_nobody_has(directory: Path) -> None:
    """
    Until no process is left that has made it; it may be gone even before, for whoever makes boxes
    on this machine removes what is nobody's.
    """
    with contextlib.suppress(FileNotFoundError):
        number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(number, fcntl.LOCK_EX)
        os.close(number)


def places(server: Server) -> Path:
    """
    Where the own places of a new session lie.
    """
    told = "import os; print(os.path.dirname(os.environ['TMPDIR']))"
    return Path(output(server.run(create(server, "content").id, told)).strip())


@held
def test_what_a_killed_server_leaves_the_next_one_removes(server: Server) -> None:
    living = places(server)
    with starting() as killed:
        left = places(killed)
        assert left.is_dir()
        killed.process.kill()
        killed.process.wait()
    wait_until_nobody_has(left)
    with starting() as following:
        assert places(following).is_dir()
        assert not left.exists()
        assert living.is_dir()
        following.stop()


@pytest.mark.skipif(os.geteuid() != 0 or OPEN, reason="everybody may read Python here")
def test_python_where_only_root_may_look_holds_no_box_of_another_user(server: Server) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        create(server, "content")
    assert reason(refused.value) == "CAGE_MISSING"
    assert "have Python where everybody may read it" in refused.value.details()


@pytest.mark.skipif(find("native-data") is None, reason="the image `native-data` is not built")
def test_the_demo_says_why_it_leaves_the_cage_out(tmp_path: Path) -> None:
    done = subprocess.run(
        [*UNDER, sys.executable, "examples/demo_codeact.py", str(tmp_path)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "left out" in done.stdout
    assert "codecage doctor" in done.stdout
    assert os.listdir(tmp_path) == []
