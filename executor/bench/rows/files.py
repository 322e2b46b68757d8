"""
Files: to a session and from it, and the same programs on the host's own file system, on a view
(a bind that nobody asks about), on a served mount of the process cage, and in the wasm cage.
"""

import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent_client.client import Cage, Session
from agent_client.embedded import account
from executor.bench.contest import Act, Better, Contestant, Effort, Failed, Role, Row, Setting
from executor.bench.servers import (
    MILLI,
    Asked,
    built,
    directory,
    policy,
    ran,
    serving,
)

_SIZE: Final = 100 * 10**6
_WRITTEN: Final = 16 * 2**20
_FILES: Final = 1000
_LEAST_FILES: Final = 20
_MODULES: Final = 20
_SCRATCH: Final = "filesystem: [{mount: /work, source: scratch, access: read-write, quota: 256Mi}]"
_MOUNTS: Final = """filesystem:
  - {{mount: /data, source: {host}/data, access: read{deny}}}
  - {{mount: /out, source: {host}/out, access: read-write, quota: 10Gi}}"""
PROGRAMS: Final = {
    "open, read, close of 1000": """
        for i in range({files}):
            with open(f"{at}/small/{{i % 10}}", "rb") as file:
                file.read()
    """,
    "read 100 MB": """
        with open("{at}/large", "rb", buffering=0) as file:
            total = 0
            while data := file.read(2**20):
                total += len(data)
        assert total == {size}
    """,
    "import 20 modules": """
        import importlib, sys
        sys.dont_write_bytecode = True
        sys.path.insert(0, "{at}")
        importlib.invalidate_caches()
        import package
        for name in [name for name in sys.modules if name.partition(".")[0] == "package"]:
            del sys.modules[name]
        sys.path.remove("{at}")
    """,
    "walk 1000 files": """
        import os
        for above, _, names in os.walk("{at}/many"):
            for name in names:
                os.stat(f"{{above}}/{{name}}")
    """,
    "write 16 MB": """
        with open("{out}/written", "wb", buffering=0) as file:
            for i in range({written} // 2**18):
                file.write(bytes(2**18))
    """,
}
_HOST: Final = """
import json, sys, time
for line in sys.stdin:
    began = time.perf_counter()
    exec(json.loads(line), {})
    print(time.perf_counter() - began, flush=True)
"""


def transfer(setting: Setting, stack: ExitStack) -> Sequence[Contestant]:
    """
    100 MB into a session's scratch and out of it, by the file calls.
    """
    size = int(_SIZE * setting.effort.amount)
    data = bytes(size)
    cage = serving(stack, dict([policy("any", "[core, native-core]", _SCRATCH)]))
    found = [Contestant("socketpair", Role.FLOOR, lambda _: _copied(data), note="a copy through")]
    for image in ("core", "native-core"):
        found += [
            Contestant(f"{image}, in", Role.OURS, _put(cage, image, data), "socketpair", 1000.0),
            Contestant(f"{image}, out", Role.OURS, _got(cage, image, data), "socketpair", 1000.0),
        ]
    return found


def _put(cage: Cage, image: str, data: bytes) -> Callable[[ExitStack], Act]:
    def begin(stack: ExitStack) -> Act:
        built(image)
        session = stack.enter_context(cage.session("any", image=image))

        def act(_case: str) -> float:
            began = time.perf_counter()
            info = session.put("/work/large", data)
            took = time.perf_counter() - began
            if info.size != len(data):
                raise Failed(f"{info.size} bytes of {len(data)} arrived")
            return len(data) / took / 1e6

        return act

    return begin


def _got(cage: Cage, image: str, data: bytes) -> Callable[[ExitStack], Act]:
    def begin(stack: ExitStack) -> Act:
        built(image)
        session = stack.enter_context(cage.session("any", image=image))
        session.put("/work/large", data)

        def act(_case: str) -> float:
            began = time.perf_counter()
            came = session.get("/work/large")
            took = time.perf_counter() - began
            if len(came) != len(data):
                raise Failed(f"{len(came)} bytes of {len(data)} came")
            return len(data) / took / 1e6

        return act

    return begin


def _copied(data: bytes) -> Act:
    def act(_case: str) -> float:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            sender = threading.Thread(target=theirs.sendall, args=(data,))
            began = time.perf_counter()
            sender.start()
            buffer, left = bytearray(2**20), len(data)
            while left > 0:
                left -= ours.recv_into(buffer)
            took = time.perf_counter() - began
            sender.join()
        return len(data) / took / 1e6

    return act


def mounts(setting: Setting, stack: ExitStack) -> Sequence[Contestant]:
    """
    What a program pays for files of the host that it was granted.
    """
    host = directory(stack)
    much = _Amount.of(setting.effort)
    _populate(host, much)
    deny = ", deny: ['*.key']"
    texts = dict(
        policy(name, "[core, native-core]", _MOUNTS.format(host=host, deny=more))
        for name, more in (("shown", ""), ("gated", deny))
    )
    cage = serving(stack, texts)
    here = {"at": f"{host}/data", "out": f"{host}/here"}
    return [
        Contestant("the host's own", Role.FLOOR, _on_the_host(here, much),
                   note="this Python, no cage"),
        Contestant("native-core, view", Role.OURS, _in_a_cage(cage, "shown", "native-core", much),
                   "the host's own", note="a tree that needs no finer rule: a mount in the box"),
        Contestant("native-core, served", Role.OURS, _in_a_cage(cage, "gated", "native-core", much),
                   "the host's own", note="by FUSE, each name decided"),
        Contestant("core", Role.OURS, _in_a_cage(cage, "gated", "core", much),
                   "the host's own", note="by the broker, each name decided"),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Amount:
    """
    How many bytes are read and written, and how many files are opened or looked at.
    """

    size: int
    written: int
    files: int

    @classmethod
    def of(cls, effort: Effort) -> "_Amount":
        files = max(_LEAST_FILES, int(_FILES * effort.amount))
        written = max(2**18, int(_WRITTEN * effort.amount) // 2**18 * 2**18)
        return cls(int(_SIZE * effort.amount), written, files)


def _populate(host: Path, much: "_Amount") -> None:
    data = host / "data"
    for name in ("small", "many", "package"):
        (data / name).mkdir(parents=True)
    (host / "here").mkdir()
    (host / "out").mkdir()
    if user := account():
        shutil.chown(host / "out", user)
    for number in range(10):
        (data / "small" / str(number)).write_bytes(bytes(100))
    for number in range(much.files):
        (data / "many" / str(number)).touch()
    (data / "large").write_bytes(bytes(much.size))
    names = [f"m{number}" for number in range(_MODULES)]
    imports = "".join(f"from package import {name}\n" for name in names)
    (data / "package" / "__init__.py").write_text(imports)
    for name in names:
        (data / "package" / f"{name}.py").write_text("def f(a, b):\n    return a + b\n" * 20)


def _program(case: str, at: str, out: str, much: "_Amount") -> str:
    body = PROGRAMS[case].format(
        at=at, out=out, size=much.size, files=much.files, written=much.written
    )
    lines = "\n".join(line[4:] for line in body.splitlines())
    return f"def work():\n{lines}\nwork()\n"


def _on_the_host(here: dict[str, str], much: "_Amount") -> Callable[[ExitStack], Act]:
    def begin(stack: ExitStack) -> Act:
        worker = stack.enter_context(Asked(_HOST))

        def act(case: str) -> float:
            program = _program(case, here["at"], here["out"], much)
            return worker.number(json.dumps(program)) * MILLI

        return act

    return begin


def _in_a_cage(cage: Cage, name: str, image: str, much: "_Amount") -> Callable[[ExitStack], Act]:
    def begin(stack: ExitStack) -> Act:
        built(image)
        session = stack.enter_context(cage.session(name, image=image))

        def act(case: str) -> float:
            return _timed(session, _program(case, "/data", "/out", much)) * MILLI

        return act

    return begin


def _timed(session: Session, code: str) -> float:
    began = time.perf_counter()
    ran(session, code)
    return time.perf_counter() - began


ROWS: Final = (
    Row("file", "a file of 100 MB to a session and back", "MB/s", Better.HIGHER, transfer),
    Row("mounts", "five programs on granted files of the host", "ms", Better.LOWER, mounts,
        tuple(PROGRAMS)),
)  # fmt: skip
