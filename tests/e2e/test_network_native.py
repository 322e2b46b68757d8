"""
What an agent does with a network in native Python: libraries as they are, TLS that the guest speaks
itself, and what is refused told in the policy's own words.
"""

import contextlib
import json
import os
import pwd
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import agent_client
from agent_client.embedded import account
from executor.audit.read import records
from executor.probing import NotHeld, probe
from tests.e2e.serving import needs_image
from tests.servers.authority import Authority
from tests.servers.names import NameServer, addresses
from tests.servers.sites import HttpServer

HELD = probe()
pytestmark = [
    pytest.mark.image,
    needs_image,
    pytest.mark.skipif(isinstance(HELD, NotHeld), reason=f"no box can be made here: {HELD}"),
]
HEAD = "version: 1\nname: {name}\ncage: process\nimage: native-core\n"
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


@pytest.fixture(scope="module")
def world():
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
        if os.geteuid() == 0:
            user = pwd.getpwnam(account())
            os.chown(audit, user.pw_uid, user.pw_gid)
        for name, text in (("granted", GRANTED), ("other", OTHER), ("sealed", "network: none\n")):
            grants = text.format(api=api.port, plain=plain.port)
            (policies / f"{name}.yaml").write_text(HEAD.format(name=name) + grants)
        record = audit / "audit.sqlite3"
        with agent_client.connect(
            policies=policies, audit=record, resolvers=[names.address]
        ) as cage:
            yield World(cage, record, api, plain, names, authority.pem.decode())
    shutil.rmtree(folder)


def test_libraries_reach_what_is_granted(world):
    with world.session() as session:
        for host, port, tls in (
            ("api.test", world.api.port, True),
            ("plain.test", world.plain.port, False),
        ):
            url = f"{'https' if tls else 'http'}://{host}:{port}/v1/a"
            for call in (
                f"opened({url!r})",
                f"by_http_client({host!r}, {port}, {tls})",
                f"by_asyncio({host!r}, {port}, {tls})",
            ):
                assert value(session, call) == "/v1/a"
        assert world.denials(session) == []


def test_what_is_not_granted_is_an_exception_with_the_policys_words_and_one_record(world):
    with world.session() as session:
        port, touched = world.plain.port, world.touched
        cases = [
            (f"opened('http://evil.test:{port}/v1/a')", "resolve evil.test", "network"),
            (f"received('10.0.0.1', {port})", f"connect 10.0.0.1:{port}", "network"),
            (f"received('127.0.0.1', {port})", f"connect 127.0.0.1:{port}", "network"),
            (f"opened('http://api.test:{port}/')", f"connect api.test:{port}", "network[0]"),
            ("received('plain.test', 22)", "connect plain.test:22", "network[1]"),
        ]
        for code, request, rule in cases:
            kind, text = value(session, f"attempt(lambda: {code})")
            assert kind == "PermissionError", (code, text)
            assert f"[policy granted, rule {rule}] {request} is not granted" in text
        assert world.denials(session) == [(request, rule) for _, request, rule in cases]
        assert world.touched == touched


def test_a_request_that_no_rule_allows_is_refused_and_an_allowed_one_goes_on(world):
    with world.session() as session:
        url, seen = f"http://plain.test:{world.plain.port}", len(world.plain.seen)
        kind, text = value(session, f"attempt(lambda: opened('{url}/admin'))")
        assert (kind, len(world.plain.seen)) == ("PermissionError", seen), text
        assert f"GET {url}/admin is not granted: the path is not granted for GET" in text
        assert value(session, f"opened('{url}/v1/b')") == "/v1/b"


def test_tls_for_another_name_is_refused_in_the_policys_words(world):
    with world.session() as session:
        code = (
            f"TLS.wrap_socket(socket.create_connection(('api.test', {world.api.port})), "
            "server_hostname='evil.test').version()"
        )
        accepted = world.api.accepted
        kind, text = value(session, f"attempt(lambda: {code})")
        assert kind != "done", text
        place = f"connect api.test:{world.api.port}"
        assert world.denials(session) == [(place, "network[0]")]
        assert world.api.accepted == accepted


def test_boxes_have_nothing_in_common(world):
    """
    The same made-up address leads each to its own name, and neither to the other's.
    """
    with world.session() as one, world.session("other") as another:
        assert value(one, "socket.gethostbyname('plain.test')") == "198.18.0.1"
        assert value(another, "socket.gethostbyname('other.test')") == "198.18.0.1"
        for session, name in ((one, "api.test"), (another, "plain.test")):
            attempt = f"attempt(lambda: received('198.18.0.2', {world.plain.port}))"
            assert value(session, attempt)[0] == "PermissionError", name
        assert value(another, f"attempt(lambda: received('198.18.0.1', {world.api.port}))")[0] == (
            "PermissionError"
        )


def test_a_policy_without_network_has_none(world):
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
