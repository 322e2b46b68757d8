"""
Generates the modules beside the .proto files: `python proto/generate.py [OUTPUT]`.

Uses grpcio-tools 1.72.2, the oldest release that is supported, because generated code runs with
its own release of protobuf or a later one, never with an earlier one. A test generates into a
temporary folder and compares.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
MESSAGES = (
    "codecage/v1/codecage.proto",
    "codecage/v1/approvals.proto",
    "codecage/worker/v1/worker.proto",
    "codecage/network/v1/network.proto",
)
SERVICES = ("codecage/v1/codecage.proto", "codecage/v1/approvals.proto")


def generate(output: Path) -> None:
    """
    Write the modules and their stubs below `output`.
    """
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={ROOT}"]
    # protoc looks for the plugins of mypy-protobuf on PATH; they stand beside this Python.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path}
    messages = [f"--python_out={output}", f"--mypy_out=quiet:{output}", *MESSAGES]
    services = [f"--grpc_python_out={output}", f"--mypy_grpc_out=quiet:{output}", *SERVICES]
    for arguments in (messages, services):
        subprocess.run([*protoc, *arguments], check=True, env=environment)


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
