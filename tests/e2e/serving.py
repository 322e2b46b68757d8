"""
A real server for a test: `codecage serve` in a process of its own, real workers, a real guest.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from codecage.v1 import codecage_pb2 as pb
from codecage.v1 import codecage_pb2_grpc
from executor.images import catalog
from executor.process import images as native_images

ROOT = Path(__file__).parents[2]
# Root has to become somebody; everybody else stays who they are.
RUN_AS = ["--run-as", "nobody"] if os.geteuid() == 0 else []
ACCOUNT = "nobody" if RUN_AS else None


def find(image: str) -> object:
    """
    The image, built, of whichever cage; None where it is not.
    """
    return (native_images if image.startswith("native-") else catalog).find(image)


needs_image = pytest.mark.skipif(find("core") is None, reason="the image `core` is not built")


@dataclass(slots=True)
class Server:
    process: subprocess.Popen[str]
    directory: Path
    stub: Any
    health: Any

    def run(self, session: str, code: str, **options: Any) -> list[pb.Event]:
        start = pb.StartCell(session_id=session, code=code, **options)
        return list(self.stub.Execute(iter([pb.ExecuteRequest(start=start)]), timeout=60))

    def start(self, session: str, code: str, **options: Any) -> Any:
        start = pb.StartCell(session_id=session, code=code, **options)
        return self.stub.Execute(iter([pb.ExecuteRequest(start=start)]), timeout=60)

    def create(self, policy: str = "") -> str:
        return self.stub.CreateSession(pb.CreateSessionRequest(policy=policy)).id

    @property
    def audit(self) -> Path:
        return self.directory / "audit.sqlite3"

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


def command(directory: Path, *options: str) -> list[str]:
    serve = ["serve", "--listen", f"unix:{directory}/sock", "--audit", f"{directory}/audit.sqlite3"]
    return [sys.executable, "-m", "executor.cli", *serve, *options]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}"}


def start(
    directory: Path, *options: str, under: Sequence[str] = (), **more: Any
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*under, *command(directory, *options)],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def refusal(directory: Path, *options: str) -> str:
    process = start(directory, *options)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 3, said
    return said


@contextlib.contextmanager
def private_directory() -> Iterator[Path]:
    # Not below pytest's, which only its own user can enter.
    directory = Path(tempfile.mkdtemp(prefix="codecage-test-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def is_serving(health: Any) -> bool:
    request = health_pb2.HealthCheckRequest()
    try:
        answer = health.Check(request, wait_for_ready=True, timeout=0.5)
    except grpc.RpcError:
        return False
    return answer.status == health_pb2.HealthCheckResponse.SERVING


@contextlib.contextmanager
def serving(
    directory: Path,
    options: Sequence[str] = (),
    run_as: Sequence[str] = tuple(RUN_AS),
    **more: Any,
) -> Iterator[Server]:
    process = start(directory, *run_as, *options, **more)
    channel = grpc.insecure_channel(f"unix:{directory}/sock")
    stub = codecage_pb2_grpc.CodecageStub(channel)
    health = health_pb2_grpc.HealthStub(channel)
    try:
        while not is_serving(health):
            assert process.poll() is None, "the server has ended"
        yield Server(process, directory, stub, health)
    finally:
        channel.close()
        if process.poll() is None:
            process.kill()
        _, said = process.communicate()
        print(said, file=sys.stderr)  # pytest shows it where the test fails
