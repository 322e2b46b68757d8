"""
A world with servers of both kinds, a name server, and a real server of ours whose policies grant
some of it: what a guest does there is seen from the guest, from the servers and in the record.
"""

import contextlib
import json
import os
import pwd
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import agent_client
from agent_client.embedded import account
from executor.audit.read import records
from tests.servers import hostile, names, redirects, reflecting
from tests.servers.authority import Authority, Flaw, host_of
from tests.servers.listening import Listener
from tests.servers.names import NameServer
from tests.servers.sites import HttpServer

PAGES = {**hostile.PAGES, **redirects.PAGES, **reflecting.PAGES}
SECRET = "canary/7f3a+Zq9==_&\"'secret"
OTHER_SECRET = "canary-of-another-host"

HEAD = """\
version: 1
name: {name}
image: [core, web, data]
limits: {{memory: {memory}, cpu_time: 30s, wall_time: 50s, connections: 16}}
"""
POLICIES = {
    # What an administrator would write: rules, and a credential.
    "caller": """\
network:
  - host: api.test
    ports: [{api}]
    http:
      - {{methods: [GET, HEAD], paths: ["/v1/**"]}}
      - {{methods: [POST], paths: [/v1/orders]}}
    credentials: {{header: Authorization, secret: prices-api, prefix: "Bearer "}}
    addresses: [loopback]
  - {{host: plain.test, ports: [{plain}], scheme: http, addresses: [loopback]}}
  - {{host: "*.wild.test", ports: [{plain}], scheme: http, addresses: [loopback]}}
""",
    # The same places, with all that a grant can allow.
    "friend": """\
network:
  - host: api.test
    ports: [{api}]
    http: [{{methods: [GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH]}}]
    addresses: [loopback]
  - {{host: other.test, ports: [{other}], addresses: [loopback]}}
  - {{host: plain.test, ports: [{plain}], scheme: http, addresses: [loopback]}}
  - {{host: inner.test, ports: [{plain}], scheme: http, addresses: [loopback]}}
  - {{host: stream.test, ports: [{plain}], raw: true, tls: false, addresses: [loopback]}}
  - {{host: 127.0.0.1, ports: [{plain}], scheme: http, addresses: [loopback]}}
  - {{host: six.test, ports: [{six}], scheme: http, addresses: [loopback]}}
{flawed}""",
    # A credential for every path, whatever the server does with it.
    "trusting": """\
network:
  - host: api.test
    ports: [{api}]
    credentials: {{header: Authorization, secret: prices-api, prefix: "Bearer "}}
    addresses: [loopback]
  - {{host: other.test, ports: [{other}], addresses: [loopback]}}
  - host: key.test
    ports: [{api}]
    credentials: {{header: X-Api-Key, secret: prices-api}}
    addresses: [loopback]
""",
    # Names, and no class of addresses besides the public ones.
    "public": """\
network:
  - {{host: inner.test, ports: [{plain}], scheme: http}}
  - {{host: plain.test, ports: [{plain}], scheme: http}}
""",
    "frugal": """\
network:
  - {{host: plain.test, ports: [{plain}], scheme: http, max_bytes: 64Ki, addresses: [loopback]}}
""",
    # Little memory, see MEMORY.
    "small": """\
network:
  - {{host: plain.test, ports: [{plain}], scheme: http, addresses: [loopback]}}
""",
    "sealed": "network: none\n",
}
MEMORY = {"small": "192Mi"}
FLAWED = "  - {{host: {name}, ports: [{port}], addresses: [loopback]}}\n"

GUEST = """
import json, socket
PORTS = {ports}
FIRST = 20
def attempt(act):
    try:
        return ["done", act()]
    except Exception as error:
        return [type(error).__name__, str(error)]
def connect(host, port, seconds=20):
    return socket.create_connection((host, PORTS.get(port, port)), timeout=seconds)
def talk(data, host="plain.test", port="plain"):
    # As one without a library does: bytes, to the other side's end or three seconds of nothing;
    # the first ones may be late where the machine is busy.
    with connect(host, port) as end:
        end.sendall(data.encode("latin-1") if isinstance(data, str) else data)
        end.settimeout(FIRST)
        parts = []
        try:
            while part := end.recv(65536):
                parts.append(part)
                end.settimeout(3)
        except TimeoutError:
            parts.append(b"(waits)")
        return b"".join(parts).decode("latin-1")
def get(target, host="plain.test", port="plain", fields="", method="GET"):
    lines = f"{{method}} {{target}} HTTP/1.1\\r\\nHost: {{host}}:{{PORTS[port]}}\\r\\n{{fields}}"
    return talk(lines + "Connection: close\\r\\n\\r\\n", host, port)
"""


@dataclass
class World:
    """
    `run` does what an attacker's cell would; the servers say what came of it.
    """

    folder: Path
    cage: agent_client.Cage
    audit: Path
    api: HttpServer
    other: HttpServer
    plain: HttpServer
    six: HttpServer
    dns: NameServer
    trap: Listener
    flawed: dict[Flaw, HttpServer]
    ports: dict[str, int] = field(default_factory=dict)

    def session(self, policy="caller", image="core"):
        session = self.cage.session(policy=policy, image=image)
        assert session.run(GUEST.format(ports=self.ports)).ok
        return session

    def run(self, expression, policy="caller", *, image="core", before=""):
        """
        What the expression is worth in a new session, and the session's decisions.
        """
        with self.session(policy, image) as session:
            observation = session.run(f"{before}\njson.dumps({expression})")
            assert observation.ok, observation.text
            identity = session.id
        return json.loads(eval(observation.value)), self.decisions(identity)

    def records(self, session):
        return list(records(self.audit, session=session, limit=10_000))

    def decisions(self, session):
        return [
            (str(record.request), record.answer.value, str(record.rule))
            for record in self.records(session)
            if record.event.value == "decision"
        ]

    def denials(self, decisions):
        """
        The denied ones; each is recorded once.
        """
        denied = [(request, rule) for request, answer, rule in decisions if answer == "deny"]
        assert all(count == 1 for count in Counter(denied).values()), denied
        return denied

    def touched(self):
        """
        How often anything reached a server, and the name server, so far.
        """
        servers = (self.api, self.other, self.plain, self.six, *self.flawed.values())
        return sum(one.accepted for one in servers) + self.trap.accepted, self.dns.packets


@contextlib.contextmanager
def world(more=lambda _folder, _ports: {}):
    """
    `more` gives further policies, their texts by name, from the folder and the servers' ports.
    """
    folder = Path(tempfile.mkdtemp(prefix="codecage-world-"))
    folder.chmod(0o755)
    try:
        with contextlib.ExitStack() as stack:
            yield _started(folder, stack, more)
    finally:
        shutil.rmtree(folder)


def _started(folder, stack, more):
    authority = Authority()
    enter = stack.enter_context
    api = enter(HttpServer(PAGES, tls=authority.context()))
    other = enter(HttpServer(PAGES, tls=authority.context()))
    plain = enter(HttpServer(PAGES))
    six = enter(HttpServer(PAGES, family=10))
    trap = enter(Listener(lambda connection, _: connection.recv(1)))
    flawed = {flaw: enter(HttpServer(tls=authority.context(flaw))) for flaw in Flaw}
    dns = enter(NameServer(_zone()))
    servers = {"api": api, "other": other, "plain": plain, "six": six, "trap": trap}
    ports = {name: server.port for name, server in servers.items()}
    ports |= {flaw.name: server.port for flaw, server in flawed.items()}
    _fill(folder, authority, ports)
    for name, text in more(folder, ports).items():
        (folder / "policies" / f"{name}.yaml").write_text(text)
    audit = folder / "audit" / "audit.sqlite3"
    cage = enter(
        agent_client.connect(
            policies=folder / "policies",
            audit=audit,
            secrets=folder / "secrets",
            trust=folder / "authority.pem",
            resolvers=[dns.address],
        )
    )
    return World(folder, cage, audit, api, other, plain, six, dns, trap, flawed, ports)


def _zone():
    here = names.addresses("127.0.0.1")
    hosts = ("api", "other", "plain", "stream", "inner", "key", "evil", "a.wild", "b.wild", "wild")
    zone = {f"{host}.test": here for host in hosts}
    return zone | {"six.test": names.addresses("::1")} | {host_of(flaw): here for flaw in Flaw}


def _fill(folder, authority, ports):
    for name in ("policies", "secrets", "audit"):
        (folder / name).mkdir()
    (folder / "audit").chmod(0o700)
    (folder / "secrets").chmod(0o700)
    flawed = "".join(FLAWED.format(name=host_of(flaw), port=ports[flaw.name]) for flaw in Flaw)
    for name, text in POLICIES.items():
        policy = HEAD.format(name=name, memory=MEMORY.get(name, "512Mi")) + text.format(
            **ports, flawed=flawed
        )
        (folder / "policies" / f"{name}.yaml").write_text(policy)
    (folder / "authority.pem").write_bytes(authority.pem)
    for name, text in (("prices-api", SECRET), ("other-api", OTHER_SECRET)):
        (folder / "secrets" / name).write_text(f"{text}\n")
        (folder / "secrets" / name).chmod(0o600)
    if os.getuid() == 0:
        user = pwd.getpwnam(account())
        os.chown(folder / "audit", user.pw_uid, user.pw_gid)
