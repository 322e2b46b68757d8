"""
A session that has read what is private has no network from then on: not for a new connection, and
not for one that is open. Nor has another that reads where the first may have written.
"""

import contextlib
import socket
import threading

import pytest

import agent_client
from executor.audit.read import records
from tests.e2e.serving import ACCOUNT, needs_image, private_directory

pytestmark = [pytest.mark.image, needs_image]

BEFORE = """
import socket
def tried(act):
    try: return act()
    except OSError as error: return str(error)
def connected():
    made = socket.create_connection(('localhost', PORT), timeout=20)
    made.sendall(b'hello')
    return made, made.recv(5)
kept, said = connected()
print(said, open('/data/public').read())
"""
AFTER = """
print(open('/data/READ').read())
def sent():
    kept.sendall(b'secret')
    return kept.recv(5)
print(tried(sent))
print(tried(connected))
"""


@contextlib.contextmanager
def echo():
    """
    A server that sends back what it is sent, and keeps it.
    """
    heard = []

    def serve(made):
        with made:
            while data := made.recv(100):
                heard.append(data)
                made.sendall(data)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1], heard
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.fixture(scope="module")
def world():
    with private_directory() as files, echo() as (port, heard):
        files.chmod(0o755)
        data, out, policies = (files / name for name in ("data", "out", "policies"))
        for one in (data, data / "private", out, policies):
            one.mkdir()
        out.chmod(0o777)
        (data / "public").write_text("public")
        (data / "private" / "x").write_text("private")
        (data / "alias").symlink_to("private/x")
        (policies / "one.yaml").write_text(
            "version: 1\nname: one\ncage: any\nimage: [core, native-core]\nfilesystem:\n"
            f"  - {{mount: /data, source: {data}, access: read}}\n"
            f"  - {{mount: /out, source: {out}, access: read-write}}\n"
            f"network: [{{host: localhost, raw: true, tls: false, ports: [{port}], "
            "addresses: [loopback]}]\n"
            'after: [{event: "read /data/private/**", revoke: [network]}]\n'
        )
        audit = files / "audit" / "audit.sqlite3"
        yield policies, audit, port, heard


@pytest.fixture
def cage(world):
    # Another server for each test: what has happened is remembered as long as it runs.
    policies, audit, _, _ = world
    with agent_client.connect(
        policies=str(policies), audit=str(audit), run_as=ACCOUNT
    ) as connected:
        yield connected


@pytest.fixture(params=["core", "native-core"])
def image(request):
    return request.param


@pytest.mark.parametrize("name", ["private/x", "alias"])
def test_reading_what_is_private_ends_the_network(world, cage, image, name):
    _, audit, port, heard = world
    heard.clear()
    with cage.session("one", image=image) as session:
        before = session.run(BEFORE.replace("PORT", str(port)))
        assert (before.stdout, before.error) == ("b'hello' public\n", None)
        lines = session.run(AFTER.replace("READ", name)).stdout.splitlines()
        identity = session.id
    assert lines[0] == "private"
    assert "after[0]" in lines[2]
    assert b"secret" not in b"".join(heard)
    found = records(audit, session=identity, limit=1000)
    denied = [(one.request, one.rule) for one in found if one.answer and one.answer.value == "deny"]
    assert ("after[0]") in {rule for _, rule in denied}


def test_reading_anything_else_leaves_it(world, cage, image):
    _, _, port, heard = world
    heard.clear()
    with cage.session("one", image=image) as session:
        session.run(BEFORE.replace("PORT", str(port)))
        lines = session.run(AFTER.replace("READ", "public")).stdout.splitlines()
    assert lines[1:2] == ["b'secre'"]
    assert b"secret" in b"".join(heard)


def test_a_cell_that_was_run_without_network_has_none_and_the_next_has(world, cage, image):
    _, _, port, heard = world
    heard.clear()
    before = BEFORE.replace("PORT", str(port))
    with cage.session("one", image=image) as session:
        assert session.run(before).error is None
        narrowed = session.run(AFTER.replace("READ", "public"), narrow=["network"])
        lines = narrowed.stdout.splitlines()
        assert session.run(before).error is None
        with pytest.raises(agent_client.InvalidRequest, match="narrow names"):
            session.run("1", narrow=["files"])
        with pytest.raises(agent_client.InvalidRequest, match="give a list"):
            session.run("1", narrow="network")
    assert "b'secre'" not in lines
    assert "the cell was run without network" in lines[2]
    assert b"secret" not in b"".join(heard)


def test_another_session_that_reads_where_the_first_may_write_has_none_either(world, cage):
    _, _, port, _ = world
    with cage.session("one") as first, cage.session("one") as second:
        assert second.run(BEFORE.replace("PORT", str(port))).error is None
        first.run("text = open('/data/private/x').read(); open('/out/x', 'w').write(text)")
        lines = second.run("print(open('/out/x').read()); print(tried(connected))").stdout
        with cage.session("one") as third:
            error = third.run(BEFORE.replace("PORT", str(port))).error
    assert lines.startswith("private\n")
    assert "after[0]" in lines
    assert error is not None
    assert "after[0]" in error.message
