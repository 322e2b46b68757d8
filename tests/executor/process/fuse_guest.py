"""
A process with FUSE mounts of its own, in user and mount namespaces of its own: a box without walls.

Run by exec. It says when it is in its namespaces, mounts what it is told, hands the devices (and
the listener of a filter that reports two calls) to its parent, and then does jobs: each is the
name of a function in `fuse_deeds.py` with arguments, each answer what came of it.
"""

import ctypes
import json
import os
import signal
import socket
import sys
import traceback

from executor.linux import mounts, prctl, seccomp
from executor.linux.filters import ALLOW, Action, Filter, Refuse, Verdict, compile_filter
from executor.linux.libc import call
from executor.linux.mounts import Attribute
from tests.executor.process import fuse_deeds

GUEST_ID = 1000
OWN = Attribute.NO_SET_ID | Attribute.NO_DEVICES | Attribute.NO_EXECUTION
_NEW_USER, _NEW_MOUNTS = 0x1000_0000, 0x2_0000
_WATCHED = ("sethostname", "keyctl", "ptrace")


def main(number: int) -> None:
    parent = socket.socket(fileno=number)
    call("prctl", 1, signal.SIGKILL)
    call("unshare", _NEW_USER | _NEW_MOUNTS)
    parent.send(b"apart")
    told = json.loads(parent.recv(65536))
    mounts.isolate()
    devices = [mounts.fuse_device() for _ in told["mounts"]]
    call("setresgid", GUEST_ID, GUEST_ID, GUEST_ID)
    call("setresuid", GUEST_ID, GUEST_ID, GUEST_ID)
    attach(mounts.memory_file_system(2**20, 100, 0o755, OWN), told["top"])
    for place, device in zip(told["mounts"], devices, strict=True):
        os.mkdir(place)
        attach(mounts.fuse_file_system(device, GUEST_ID, OWN), place)
    prctl.drop_bounding_set()
    prctl.drop_capabilities()
    if told["watched"]:
        reported = Action(Verdict.NOTIFY)
        rows = tuple(Refuse(name, "a test's", reported) for name in _WATCHED)
        devices.append(
            seccomp.install_watched(compile_filter(Filter("t", rows, ALLOW), os.getpid()))
        )
    socket.send_fds(parent, [b"mounted"], devices)
    for device in devices:
        os.close(device)
    serve(parent)


def attach(tree: int, place: str) -> None:
    mounts.attach(tree, None, place)
    os.close(tree)


def serve(parent: socket.socket) -> None:
    while data := parent.recv(2**20):
        name, arguments = json.loads(data)
        try:
            done = {"done": getattr(fuse_deeds, name)(*arguments)}
        except OSError as error:
            done = {"errno": error.errno, "text": str(error)}
        except Exception:  # noqa: BLE001 - whatever it is goes to the test
            done = {"text": traceback.format_exc()}
        parent.send(json.dumps(done).encode())


if __name__ == "__main__":
    ctypes.CDLL(None)
    main(int(sys.argv[1]))
