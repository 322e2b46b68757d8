"""
A GET of 1 KiB over HTTPS by a guest, beside the same program without us.


What a request takes is the time from one to the next as their server sees them come: one clock for
everybody, which leaves out what a cell costs.
"""

import http.client
import json
import shutil
import ssl
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import agent_client
from agent_client.client import Cage
from agent_client.embedded import account
from executor.bench.contest import Act, Better, Contestant, Missing, Role, Row, Setting
from executor.bench.servers import Asked, built, directory, ran

_SERVER: Final = Path(__file__).parents[1] / "guest" / "answering.py"
_EACH: Final = 20
_POLICY: Final = """\
version: 1
name: bench
image: core
network:
  - {{host: 127.0.0.1, ports: [{port}], addresses: [loopback], max_bytes: 1Gi}}
limits: {{cpu_time: 10m, wall_time: 10m}}
"""
# What runs outside runs inside to the letter.
_CLIENT: Final = """
import http.client
def many(count):
    connection = http.client.HTTPSConnection("127.0.0.1", PORT, **TRUST)
    for _ in range(count):
        connection.request("GET", "/v1/x")
        response = connection.getresponse()
        assert len(response.read()) == 1024
    connection.close()
def fresh(count):
    for _ in range(count):
        many(1)
"""
_OUTSIDE: Final = """
import json, ssl, sys
PORT, TRUST = int(sys.argv[1]), {"context": ssl.create_default_context(cafile=sys.argv[2])}
exec(sys.argv[3])
for line in sys.stdin:
    eval(json.loads(line))
    print("done", flush=True)
"""
_WAYS: Final = {"one connection": f"many({_EACH})", "a new connection each": f"fresh({_EACH})"}


def gets(_setting: Setting, stack: ExitStack) -> Sequence[Contestant]:
    """
    Milliseconds from one request to the next.
    """
    folder = directory(stack)
    port = _answering(folder, stack)
    authority = str(folder / "authority.pem")
    cage = _served(folder, port, stack)
    found = []
    for way, code in _WAYS.items():
        floor = f"without us, {way}"
        found += [
            Contestant(f"core, {way}", Role.OURS, _guest(cage, port, authority, code), floor),
            Contestant(floor, Role.FLOOR, _outside(port, authority, code), note="http.client"),
        ]
    return found


def _guest(cage: Cage, port: int, authority: str, code: str) -> Callable[[ExitStack], Act]:
    def begin(stack: ExitStack) -> Act:
        built("core")
        session = stack.enter_context(cage.session("bench", image="core"))
        ran(session, f"PORT, TRUST = {port}, {{}}\n{_CLIENT}")

        def act(_case: str) -> float:
            ran(session, code)
            return _between(port, authority)

        return act

    return begin


def _outside(port: int, authority: str, code: str) -> Callable[[ExitStack], Act]:
    def begin(stack: ExitStack) -> Act:
        client = stack.enter_context(Asked(_OUTSIDE, str(port), authority, _CLIENT))

        def act(_case: str) -> float:
            client.text(json.dumps(code))
            return _between(port, authority)

        return act

    return begin


def _between(port: int, authority: str) -> float:
    """
    The median time between the requests since the last time it was asked.
    """
    context = ssl.create_default_context(cafile=authority)
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context)
    connection.request("GET", "/gaps")
    found = json.loads(connection.getresponse().read())
    connection.close()
    return float(statistics.median(found)) / 1e6


def _answering(folder: Path, stack: ExitStack) -> int:
    try:
        import trustme  # noqa: F401, PLC0415
    except ImportError:
        raise Missing(
            "it makes its certificate with trustme: pip install 'codecage[bench]'"
        ) from None
    process = stack.enter_context(
        subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-P", str(_SERVER), str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    stack.callback(process.stdin.close)
    return int(process.stdout.readline())


def _served(folder: Path, port: int, stack: ExitStack) -> Cage:
    (folder / "policies").mkdir()
    (folder / "policies" / "bench.yaml").write_text(_POLICY.format(port=port))
    (folder / "audit").mkdir(mode=0o700)
    if user := account():
        shutil.chown(folder / "audit", user)
    return stack.enter_context(
        agent_client.connect(
            policies=folder / "policies",
            audit=folder / "audit" / "audit.sqlite3",
            trust=folder / "authority.pem",
        )
    )


ROWS: Final = (Row("network", "a GET of 1 KiB over HTTPS", "ms", Better.LOWER, gets),)
