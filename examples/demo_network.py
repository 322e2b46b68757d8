"""
An agent calls an API with a key that it never sees, and tries what its policy does not grant.

    python examples/demo_network.py

The API is a small HTTPS server on this machine, with a certificate authority made for this run;
it gives prices to those who have the key, and repeats whatever it is asked to repeat. At the end
the audit trail says what was asked, of whom, and how many bytes went each way.
"""

import contextlib
import http.server
import json
import os
import pwd
import ssl
import sys
import tempfile
import threading
from pathlib import Path

import trustme
from demo import show_audit, title

import agent_client
from agent_client.embedded import account

HERE = Path(__file__).parent / "prices"
KEY = "sk-demo-0123456789abcdef"
PRICES = {"copper": 9412.5, "zinc": 2788.0, "tin": 33120.0}


class Api(http.server.BaseHTTPRequestHandler):
    """The service that the agent may use, as far as it may."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.headers["Authorization"] != f"Bearer {KEY}":
            return self.say(401, {"error": "no key"})
        if self.path.startswith("/v1/prices/"):
            metal = self.path.rpartition("/")[2]
            return self.say(200, {"metal": metal, "price": PRICES[metal]})
        return self.say(200, {"your fields": dict(self.headers.items())})

    def say(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def main():
    with (
        tempfile.TemporaryDirectory(prefix="codecage-demo-") as name,
        contextlib.ExitStack() as stack,
    ):
        folder = Path(name)
        port = stack.enter_context(serving(folder))
        prepare(folder, port)
        audit = folder / "audit" / "audit.sqlite3"
        with agent_client.connect(
            policies=folder / "policies",
            audit=audit,
            secrets=folder / "secrets",
            trust=folder / "authority.pem",
        ) as cage:
            with cage.session(policy="prices") as session:
                head = run_cells(session, port)
                identity = session.id
        title("the audit trail")
        return show_audit(audit, identity, head)


@contextlib.contextmanager
def serving(folder):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def prepare(folder, port):
    """The administrator's part: a policy, a key that only the network broker will read."""
    folder.chmod(0o755)
    for part in ("policies", "secrets", "audit"):
        (folder / part).mkdir(mode=0o755 if part == "policies" else 0o700)
    policy = (HERE / "prices.yaml").read_text().replace("8443", str(port))
    (folder / "policies" / "prices.yaml").write_text(policy)
    (folder / "secrets" / "prices-api").write_text(f"{KEY}\n")
    (folder / "secrets" / "prices-api").chmod(0o600)
    if os.getuid() == 0:
        user = pwd.getpwnam(account())
        os.chown(folder / "audit", user.pw_uid, user.pw_gid)


def run_cells(session, port):
    for number, path in enumerate(sorted((HERE / "cells").glob("*.py")), 1):
        code = path.read_text().replace("8443", str(port))
        title(f"cell {number}")
        print("".join(f"    {line}" for line in code.splitlines(keepends=True)))
        observation = session.run(code)
        print(observation.text)
        print(
            f"[{observation.status.name.lower()}, {observation.duration * 1000:.1f} ms, "
            f"{observation.network_sent} bytes sent, {observation.network_received} received]\n"
        )
    return observation.audit_head


if __name__ == "__main__":
    sys.exit(main())
