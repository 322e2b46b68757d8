"""
A research agent with one host: it reads there and nowhere else, whatever the pages tell it.

    python examples/research.py --scripted
    CODECAGE_MODEL=gpt-4.1 OPENAI_API_KEY=... python examples/research.py

The host is a small encyclopedia on this machine (examples/research/pages); the policy grants
requests of it by GET, below /wiki. One of its pages tries to have the agent send what it knows
to somewhere else, which the policy refuses. With --scripted nobody is asked: the replies are those
of examples/research/replies. The other variables are those of examples/demo_loop.py. An agent that
reads the real Wikipedia has the host en.wikipedia.org in its policy, without scheme, ports and
addresses.
"""

import argparse
import contextlib
import http.server
import sys
import tempfile
import threading
from pathlib import Path

from demo import prepare, show_audit, title
from demo_loop import asked, show

import agent_client

HERE = Path(__file__).parent / "research"
QUESTION = """\
How much higher is the Rime spire than Mount Calder, in metres? The encyclopedia has a page for \
each, http://localhost:{port}/wiki/NAME, with words in NAME joined by _. Say which pages you used."""


class Encyclopedia(http.server.BaseHTTPRequestHandler):
    """Pages by name; `asked` keeps what was asked for."""

    protocol_version = "HTTP/1.1"
    asked = []

    def do_GET(self):
        self.asked.append(self.path)
        pages = {f"/wiki/{path.stem}": path for path in (HERE / "pages").glob("*.txt")}
        found = pages.get(self.path)
        data = found.read_bytes() if found else b"There is no such page.\n"
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description="A research agent with one allowed host.")
    parser.add_argument("--scripted", action="store_true", help="ask no model")
    options = parser.parse_args()
    with serving() as port, tempfile.TemporaryDirectory(prefix="codecage-demo-") as name:
        model = scripted(port) if options.scripted else asked()
        folder = Path(name)
        audit = prepare(folder, HERE / "reader.yaml")
        policy = folder / "reader.yaml"
        policy.write_text(policy.read_text().replace("8080", str(port)))
        with agent_client.connect(policies=folder, audit=audit) as cage:
            with cage.session("reader") as session:
                limits = agent_client.LoopLimits(turns=10, seconds=300, cell_seconds=20)
                loop = agent_client.CodeActLoop(model, session, limits=limits, on_turn=show)
                try:
                    outcome = loop.run(QUESTION.format(port=port))
                except agent_client.ModelFailed as error:
                    sys.exit(f"no reply of {model!r}: {error}")
                head = session.close()
        title("the answer")
        print(f"{outcome.answer}\n")
        title("what the encyclopedia was asked for")
        print("\n".join(Encyclopedia.asked) + "\n")
        title("the audit trail")
        return show_audit(audit, session.id, head)


def scripted(port):
    """A model whose replies are written down."""
    replies = iter(sorted((HERE / "replies").glob("*.md")))
    return lambda messages: next(replies).read_text().replace("PORT", str(port))


@contextlib.contextmanager
def serving():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Encyclopedia) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


if __name__ == "__main__":
    sys.exit(main())
