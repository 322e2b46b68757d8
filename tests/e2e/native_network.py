"""
A small internet for tests of native sessions: sites, names, policies that grant some of them, and
what a guest does there.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import agent_client
from executor.audit.read import records
from tests.servers.authority import Authority
from tests.servers.names import NameServer, addresses
from tests.servers.sites import HttpServer

HEAD = "version: 1\nname: {name}\ncage: process\nimage: native-core\n{more}"
GRANTED = """\
network:
  - {{host: api.test, ports: [{api}], addresses: [loopback]}}
  - host: plain.test
    ports: [{plain}]
    scheme: http
    http: [{{methods: [GET], paths: [/v1/**]}}]
    addresses: [loopback]
"""
OTHER = """\
network:
  - {{host: other.test, ports: [{plain}], raw: true, tls: false, addresses: [loopback]}}
"""

GUEST = """
import asyncio, http.client, json, socket, ssl, urllib.request
TLS = ssl.create_default_context(cadata=CERTIFICATE)
def attempt(act):
    try:
        return ["done", act()]
    except Exception as error:
        while isinstance(error, urllib.error.URLError):
            error = error.reason
        return [type(error).__name__, str(error)]
def opened(url):
    with urllib.request.urlopen(url, timeout=20, context=TLS) as response:
        return json.load(response)["target"]
def by_http_client(host, port, tls):
    made = http.client.HTTPSConnection(host, port, context=TLS) if tls else http.client.HTTPConnection(host, port)
    made.request("GET", "/v1/a")
    return json.load(made.getresponse())["target"]
def by_asyncio(host, port, tls):
    async def asked():
        reader, writer = await asyncio.open_connection(host, port, ssl=TLS if tls else None)
        writer.write(f"GET /v1/a HTTP/1.1\\r\\nHost: {host}:{port}\\r\\nConnection: close\\r\\n\\r\\n".encode())
        said = await reader.read(65536)
        writer.close()
        return json.loads(said.partition(b"\\r\\n\\r\\n")[2])["target"]
    return asyncio.run(asked())
def received(host, port):
    with socket.create_connection((host, port), timeout=20) as end:
        return end.recv(1).decode()
"""


@dataclass
class World:
    cage: agent_client.Cage
    audit: Path
    api: HttpServer
    plain: HttpServer
    names: NameServer
    pem: str

    @contextlib.contextmanager
    def session(self, policy="granted"):
        with self.cage.session(policy=policy, image="native-core") as session:
            assert session.run(f"CERTIFICATE = {self.pem!r}\n{GUEST}").ok
            yield session

    def denials(self, session):
        return [
            (str(one.request), one.rule)
            for one in records(self.audit, session=session.id, limit=1000)
            if one.answer is not None and one.answer.value == "deny"
        ]

    @property
    def touched(self):
        return self.api.accepted + self.plain.accepted, self.names.packets


def value(session, code):
    observation = session.run(f"json.dumps({code})")
    assert observation.ok, observation.text
    return json.loads(eval(observation.value))


def reached(world, session):
    """
    What each library gets of each site that is granted.
    """
    return [
        value(session, call)
        for host, port, tls in (
            ("api.test", world.api.port, True),
            ("plain.test", world.plain.port, False),
        )
        for call in (
            f"opened('{'https' if tls else 'http'}://{host}:{port}/v1/a')",
            f"by_http_client({host!r}, {port}, {tls})",
            f"by_asyncio({host!r}, {port}, {tls})",
        )
    ]


def check_refused(world, cases):
    """
    Each code is an exception in the policy's own words, with one record that names the request and
    the rule; and nobody hears of it.
    """
    with world.session() as session:
        touched = world.touched
        for code, request, rule in cases:
            kind, text = value(session, f"attempt(lambda: {code})")
            assert kind == "PermissionError", (code, text)
            assert f"[policy granted, rule {rule}] {request} is not granted" in text
        assert world.denials(session) == [(request, rule) for _, request, rule in cases]
        assert world.touched == touched


def check_sealed(world):
    """
    Without a grant there are no names, no connections and no datagrams.
    """
    with world.session("sealed") as session:
        touched = world.touched
        for code in (
            "socket.gethostbyname('plain.test')",
            f"received('127.0.0.1', {world.plain.port})",
            "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 53))",
        ):
            kind, text = value(session, f"attempt(lambda: {code})")
            assert kind in {"PermissionError", "gaierror", "OSError"}, (code, text)
        assert world.touched == touched


# Connects to a server with these policies, this record, and this name server.
Connects = Callable[[Path, Path, str], contextlib.AbstractContextManager[agent_client.Cage]]


@contextlib.contextmanager
def small_internet(connects: Connects, owner: int | None, more: str = "") -> Iterator[World]:
    """
    The world, with policies that say `more`. The record belongs to `owner`, if root runs this.
    """
    authority, here = Authority(), addresses("127.0.0.1")
    folder = Path(tempfile.mkdtemp(prefix="codecage-native-"))
    folder.chmod(0o755)
    zone = {f"{host}.test": here for host in ("api", "plain", "other", "evil")}
    with (
        HttpServer(tls=authority.context()) as api,
        HttpServer() as plain,
        NameServer(zone) as names,
    ):
        policies, audit = folder / "policies", folder / "audit"
        policies.mkdir()
        audit.mkdir(0o700)
        if owner is not None:
            os.chown(audit, owner, -1)
        for name, text in (("granted", GRANTED), ("other", OTHER), ("sealed", "network: none\n")):
            grants = text.format(api=api.port, plain=plain.port)
            (policies / f"{name}.yaml").write_text(HEAD.format(name=name, more=more) + grants)
        record = audit / "audit.sqlite3"
        with connects(policies, record, names.address) as cage:
            yield World(cage, record, api, plain, names, authority.pem.decode())
    shutil.rmtree(folder)
