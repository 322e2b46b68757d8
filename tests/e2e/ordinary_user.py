"""
A server of an ordinary user, and one native session of it, told as JSON: for a test that is root.

Arguments: the directory for the socket, that of the policies.
"""

import json
import os
import sys
from pathlib import Path

import grpc

from codecage.v1 import codecage_pb2 as pb
from tests.e2e.serving import Server, serving
from tests.executor.fakes.harness import ended, reason

CELLS = (
    "import os; os.getuid(), sorted(os.listdir('/work'))",
    "open('/data/a.txt').read()",
    "bytearray(2**28)",
    "while True: pass",
    "'alive'",
    # Of what the worker, which is the guest's process, tells by itself the guest can make anything.
    "import resource; resource.getrusage = lambda _: type('Lie', (), {'ru_maxrss': 1})\n"
    "len(b'x' * (30 << 20))",
)


def main() -> None:
    with serving(Path(sys.argv[1]), ["--policies", sys.argv[2]], run_as=()) as server:
        session = server.stub.CreateSession(pb.CreateSessionRequest(policy="plain"), timeout=60)
        told = []
        for code in CELLS:
            events = server.run(session.id, code)
            last = ended(events)
            value = [event.value.text for event in events if event.HasField("value")]
            peak = last.usage.peak_memory_bytes
            told.append([pb.CellStatus.Name(last.status), last.error.name, *value])
        parts = {part.name: pb.Hold.Name(part.hold) for part in session.isolation_parts}
        server.stub.CloseSession(pb.CloseSessionRequest(session_id=session.id))
        said = {"user": os.getuid(), "isolation": session.isolation, "parts": parts, "cells": told}
        said["peak"] = peak
        said["strict"] = refused(server, "strict")
        print(json.dumps(said | {"status": server.stop()}))


def refused(server: Server, policy: str) -> str:
    try:
        server.stub.CreateSession(pb.CreateSessionRequest(policy=policy), timeout=60)
    except grpc.RpcError as error:
        return f"{reason(error)}: {error.details()}"
    return "given"


if __name__ == "__main__":
    main()
