"""
A thousand GETs of 1 KiB over HTTPS, one after another, by clients that take turns: plain Python
straight to the server, plain Python through a network broker that is asked for nothing else, and
a guest through all of ours. On one connection, and each on a new one.

What a request takes is the time from one to the next as the server sees them come, which is the
same clock for everybody and leaves out what a cell costs. `requests` outside the guest is measured
where this Python has it. The processes of the server, of ours, and of the client share the cores.
"""

import contextlib
import http.client
import importlib.util
import json
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import types
from dataclasses import dataclass, field
from pathlib import Path

from broker_alone import BrokerAlone, through
from measure import Row

import agent_client
from agent_client.embedded import account
from executor.images import catalog

ROUNDS = 20
EACH = 50
AIM = 1.5
POLICY = """\
version: 1
name: bench
image: {images}
network:
  - {{host: 127.0.0.1, ports: [{port}], addresses: [loopback], max_bytes: 1Gi}}
limits: {{cpu_time: 10m, wall_time: 10m}}
"""
# What runs outside runs inside to the letter: `many(count)` on one connection, `fresh(count)` on a
# new one each time.
HTTP_CLIENT = """
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
REQUESTS = """
import requests
def many(count):
    with requests.Session() as session:
        session.trust_env = False
        for _ in range(count):
            response = session.get(f"https://127.0.0.1:{PORT}/v1/x", **TRUST)
            assert len(response.content) == 1024
def fresh(count):
    for _ in range(count):
        many(1)
"""
WAYS = {"many": "on one connection", "fresh": "each on a new connection"}
LIBRARIES = {"http.client": ("core", HTTP_CLIENT), "requests": ("web", REQUESTS)}


@dataclass
class Contestant:
    """Somebody who can make requests, and the times that each of them took, in milliseconds."""

    act: object
    times: list[float] = field(default_factory=list)

    @property
    def median(self):
        return statistics.median(self.times)

    @property
    def p99(self):
        return statistics.quantiles(self.times, n=100)[98]


def rows():
    with (
        tempfile.TemporaryDirectory(prefix="codecage-bench-") as name,
        contextlib.ExitStack() as stack,
    ):
        folder = Path(name)
        folder.chmod(0o755)
        port = stack.enter_context(server(folder))
        cage = stack.enter_context(served(folder, port))
        broker = stack.enter_context(BrokerAlone(folder / "authority.pem"))
        for library, (image, program) in LIBRARIES.items():
            if catalog.find(image) is None:
                print(f"left out: `codecage image build {image}` builds it", file=sys.stderr)
                continue
            session = stack.enter_context(cage.session(policy="bench", image=image))
            assert session.run(f"PORT, TRUST = {port}, {{}}\n{program}").ok
            for way, what in WAYS.items():
                contestants = {
                    "in a guest": _cell(session, f"{way}({EACH})"),
                    "without us": outside(folder, port, library, program, way),
                }
                if library == "http.client":
                    contestants["through a broker alone"] = beside(broker, port, program, way)
                yield from compared(folder, port, f"{what}, {library}", contestants)


def compared(folder, port, what, acts):
    contestants = {name: Contestant(act) for name, act in acts.items() if act}
    for number in range(ROUNDS + 1):
        for contestant in contestants.values():
            contestant.act()
            found = gaps(folder, port)
            # The first round warms everybody up.
            contestant.times += found if number else []
    native = contestants.pop("without us", None)
    floor = native.median if native else None
    floor_is = f"without us (p99 {native.p99:.2f} ms)" if native else ""
    for name, one in contestants.items():
        yield Row(
            f"a GET of 1 KiB over HTTPS, {what} {name} (p99 {one.p99:.2f} ms)",
            one.median, AIM * floor if floor else 0.0, "ms", floor, floor_is,
        )  # fmt: skip


def _cell(session, code):
    def act():
        observation = session.run(code)
        assert observation.ok, observation.text

    return act


def outside(folder, port, library, program, way):
    """
    The same program in this process; None where its library is not installed here.
    """
    if importlib.util.find_spec(library) is None:
        print(f"{library} is not installed: no floor for it", file=sys.stderr)
        return None
    authority = str(folder / "authority.pem")
    trust = {"verify": authority} if library == "requests" else {"context": trusting(folder)}
    names = {"PORT": port, "TRUST": trust}
    exec(program, names)
    return lambda: names[way](EACH)


def beside(broker, port, program, way):
    """
    The same program in this process, with a broker for its network.
    """
    names = {"PORT": port, "TRUST": {}}
    exec(program, names)
    names["http"] = types.SimpleNamespace(
        client=types.SimpleNamespace(HTTPSConnection=through(broker))
    )
    return lambda: names[way](EACH)


def trusting(folder):
    return ssl.create_default_context(cafile=str(folder / "authority.pem"))


def gaps(folder, port):
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=trusting(folder))
    connection.request("GET", "/gaps")
    found = json.loads(connection.getresponse().read())
    connection.close()
    return [gap / 1e6 for gap in found]


@contextlib.contextmanager
def server(folder):
    program = Path(__file__).parent / "answering.py"
    with subprocess.Popen(
        [sys.executable, str(program), str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        yield int(process.stdout.readline())
        process.stdin.close()


@contextlib.contextmanager
def served(folder, port):
    (folder / "policies").mkdir()
    built = [name for name, _ in LIBRARIES.values() if catalog.find(name)]
    images = f"[{', '.join(built)}]"
    (folder / "policies" / "bench.yaml").write_text(POLICY.format(images=images, port=port))
    (folder / "audit").mkdir(mode=0o700)
    if user := account():
        shutil.chown(folder / "audit", user)
    with agent_client.connect(
        policies=folder / "policies",
        audit=folder / "audit" / "audit.sqlite3",
        trust=folder / "authority.pem",
    ) as cage:
        yield cage


if __name__ == "__main__":
    for row in rows():
        print(row.data())
