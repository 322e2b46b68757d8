"""
Y31, Y32: every rule on every cage there is, one allowed case that works and one denied that does
not; and a rule that a cage cannot keep is an error when the policy is read.
"""

import builtins
import contextlib
import http.server
import os
import threading

import pytest

import agent_client
from executor.audit.read import records
from policy.errors import PolicyError
from policy.parse import parse
from tests.e2e.matrix import ROWS, table
from tests.e2e.serving import ACCOUNT, ROOT, needs_image, private_directory

pytestmark = [pytest.mark.image, needs_image]

PRELUDE = """
import http.client, os, socket, subprocess, time
def written(path, size):
    with open(path, 'wb', 0) as file: file.write(bytes(size))
def status(connection, method, path):
    connection.request(method, path)
    return connection.getresponse().status
def forked():
    child = os.fork()
    if not child: os._exit(0)
    return os.waitpid(child, 0)[1]
"""
CASES = [(row, image) for row in ROWS for image in row.images]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET  # noqa: N815 - the library's name

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def web():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def named(row, image):
    return f"row-{ROWS.index(row)}-{image}"


def text_of(row, image, port, files):
    cage = "process" if image == "native-core" else "wasm"
    head = f"version: 1\nname: {named(row, image)}\ncage: {cage}\nimage: {image}\n"
    out = files / named(row, image)
    text = row.text.replace("PORT", str(port)).replace("DATA", str(files / "data"))
    return head + text.replace("OUT", str(out))


@pytest.fixture(scope="module")
def served():
    with private_directory() as files, web() as port:
        files.chmod(0o755)
        for one in ("data", "data/private", "policies"):
            (files / one).mkdir()
        for one in ("a", "x.key", "private/x"):
            (files / "data" / one).write_text("content")
        for row, image in CASES:
            (files / named(row, image)).mkdir()
            (files / named(row, image)).chmod(0o777)
            path = files / "policies" / f"{named(row, image)}.yaml"
            path.write_text(text_of(row, image, port, files))
        audit = files / "audit" / "audit.sqlite3"
        made = agent_client.connect(
            policies=str(files / "policies"), audit=str(audit), run_as=ACCOUNT
        )
        with made as connected:
            yield connected, audit, port


@pytest.mark.parametrize(
    ("row", "image"), CASES, ids=[f"{row.rule} in {image}" for row, image in CASES]
)
def test_y31_a_rule_allows_what_it_says_and_denies_what_it_does_not(served, row, image):
    connected, audit, port = served
    with connected.session(named(row, image)) as session:
        allowed = session.run(PRELUDE + row.allowed.replace("PORT", str(port)))
        denied = session.run(row.denied.replace("PORT", str(port)))
        identity = session.id
    assert allowed.error is None, allowed.error
    assert allowed.value is not None
    assert denied.error is not None
    assert issubclass(exception(denied.error.name), exception(row.error)), denied.error
    if row.rule in {"filesystem.deny", "deny", "network: host and ports", "process.programs"}:
        answers = {one.answer.value for one in records(audit, session=identity) if one.answer}
        assert "deny" in answers


def exception(name):
    """
    The class of that name.
    """
    found = getattr(builtins, name, None)
    return found or {"RemoteDisconnected": ConnectionResetError}[name]


@pytest.mark.parametrize("row", [one for one in ROWS if one.not_in], ids=lambda row: row.rule)
def test_y32_a_rule_that_a_cage_cannot_keep_is_an_error_that_names_both(row):
    head = "version: 1\nname: a\ncage: process\nimage: native-core\n"
    with pytest.raises(PolicyError) as caught:
        parse(head + row.text, file="a.yaml", base="/")
    assert row.not_in in str(caught.value)
    assert row.rule in str(caught.value)


@pytest.mark.parametrize("row", [one for one in ROWS if one.images == ("native-core",)], ids=str)
def test_y32_what_means_nothing_on_webassembly_is_an_error_too(row):
    with pytest.raises(PolicyError, match="has no meaning with `cage: wasm`"):
        parse(f"version: 1\nname: a\n{row.text}", file="a.yaml", base="/")


def test_y31_the_table_in_the_page_is_this_one():
    page = ROOT / "docs" / "policies.md"
    begin, end = "## Every rule on every cage\n", "\n\n## "
    if os.environ.get("CODECAGE_REWRITE") == "1":
        before, rest = page.read_text().split(begin)
        said, after = rest.split("\n| rule", 1)[0], rest.split(end, 1)[1]
        page.write_text(f"{before}{begin}{said}\n{table()}{end}{after}")
    printed = page.read_text().split(begin)[1].split(end)[0].split("\n\n", 1)[1]
    assert printed == table()
