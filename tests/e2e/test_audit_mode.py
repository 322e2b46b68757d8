"""
A server whose policy is in audit mode: what is looked at beyond the policy works, every result and
record says so, nothing else is relaxed, and no server does this without being told to.
"""

import contextlib
import json

import pytest

import agent_client
from executor.audit.read import records
from executor.cli import main
from tests.e2e.serving import RUN_AS, needs_image, private_directory, refusal, serving

pytestmark = [pytest.mark.image, needs_image]

CELL = """
import os
def tried(act):
    try: return act()
    except OSError as error: return type(error).__name__
print(tried(lambda: open('/data/a.csv').read()))
print(tried(lambda: open('/more/b.csv').read()))
print(tried(lambda: sorted(os.listdir('/more'))))
print(tried(lambda: os.stat('/data/x.key').st_size))
print(tried(lambda: open('/more/never').read()))
print(tried(lambda: open('/more/b.csv', 'w')))
print(tried(lambda: os.remove('/data/x.key')))
import socket
for host in ('127.0.0.1', 'relaxed.test'):
    print(tried(lambda: socket.create_connection((host, 9), timeout=5).recv(1)))
"""
STRICT = ["1,2", "FileNotFoundError", "FileNotFoundError", "FileNotFoundError"]
LENIENT = ["1,2", "3,4", "['b.csv']", "6"]
# Where nobody answers: no name is found.
NO_NAMES = ["--resolver", "127.0.0.1:9"]
DENIED = ["FileNotFoundError", "FileNotFoundError", "FileNotFoundError", "PermissionError"]


@pytest.fixture
def policies():
    with private_directory() as files:
        files.chmod(0o755)
        yield written(files)


def written(files):
    data, more, made = (files / name for name in ("data", "more", "policies"))
    for one in (data, more, made, made / "ceilings"):
        one.mkdir()
    (data / "a.csv").write_text("1,2")
    (data / "x.key").write_text("secret")
    (more / "b.csv").write_text("3,4")
    (more / "never").write_text("never")
    (made / "ceilings" / "top.yaml").write_text(
        "version: 1\nname: top\nfilesystem:\n"
        f"  - {{mount: /data, source: {data}, access: read-write}}\n"
        f"  - {{mount: /more, source: {more}, access: read-write, deny: [never]}}\n"
        "network:\n  - {host: 127.0.0.1, scheme: http, ports: [9], addresses: [loopback]}\n"
        "  - {host: relaxed.test, scheme: http, ports: [9]}\n"
    )
    own = f"filesystem: [{{mount: /data, source: {data}, access: read, deny: ['*.key']}}]\n"
    for name, mode in (("strict", "enforce"), ("learning", "audit")):
        text = f"version: 1\nname: {name}\nwithin: [top]\nmode: {mode}\n{own}"
        (made / f"{name}.yaml").write_text(text)
    return made


def test_what_is_looked_at_beyond_the_policy_works_and_says_so(policies):
    with private_directory() as directory:
        options = ["--policies", str(policies), "--allow-audit-mode", *NO_NAMES]
        with serving(directory, options) as server:
            with agent_client.connect(f"unix:{directory}/sock") as connected:
                with connected.session("learning") as session:
                    learned = session.run(CELL)
                    identity, mode = session.id, session.info.policy.audit_mode
                with connected.session("strict") as session:
                    strict = session.run(CELL)
                    assert not session.info.policy.audit_mode
            found = records(server.audit, session=identity, limit=1000)
    assert strict.stdout.splitlines() == [*STRICT, *DENIED, "PermissionError"]
    assert (strict.audit_mode, "audit mode" in strict.text) == (False, False)
    assert learned.stdout.splitlines() == [*LENIENT, *DENIED, "OSError"]
    assert (learned.audit_mode, mode) == (True, True)
    assert "[audit mode: the policy may have let pass what it denies]" in learned.text
    marked = [(one.request, dict(one.detail)["would_deny"]) for one in found if is_marked(one)]
    assert marked == [
        ("read /more/b.csv", "filesystem"),
        ("stat /more", "filesystem"),
        ("list /more", "filesystem"),
        ("stat /data/x.key", "filesystem[0].deny[0]"),
        ("resolve relaxed.test", "network"),
        ("connect relaxed.test:9", "network"),
    ]
    created = next(one for one in found if one.event.value == "session.create")
    assert dict(created.detail)["mode"] == "audit"
    denied = [one.request for one in found if one.answer and one.answer.value == "deny"]
    assert "connect 127.0.0.1:9" in denied


@contextlib.contextmanager
def learning_in(directory):
    made = agent_client.connect(f"unix:{directory}/sock")
    with made as connected, connected.session("learning") as session:
        yield session


def is_marked(record):
    return "would_deny" in dict(record.detail)


def test_a_policy_is_proposed_that_lets_pass_what_was_looked_at(policies, capsys):
    with private_directory() as directory:
        options = ["--policies", str(policies), "--allow-audit-mode", *NO_NAMES]
        with serving(directory, options) as server, learning_in(directory) as session:
            learned, identity = session.run(CELL), session.id
        learning, record = policies / "learning.yaml", ["--audit", str(server.audit)]
        assert main(["policy", "record", *record, "--session", identity[:8], str(learning)]) == 0
        proposed = capsys.readouterr().out
        assert main(["policy", "regress", *record, str(learning)]) == 1
        told = capsys.readouterr().out
        assert (
            "newly denied: read /more/b.csv, by filesystem (learning.yaml:5), was filesys" in told
        )
        strict = policies / "strict.yaml"
        assert main(["policy", "record", *record, "--session", identity, str(strict)]) == 1
        assert "is not in audit mode" in capsys.readouterr().err
        assert main(["policy", "record", *record, "--session", "zz", str(learning)]) == 3
        assert "no record of session zz" in capsys.readouterr().err
        learning.write_text(proposed)
        assert main(["policy", "regress", *record, "--json", str(learning)]) == 0
        assert json.loads(capsys.readouterr().out)["newly_denied"] == []
        assert main(["policy", "record", *record, "--session", identity, str(learning)]) == 1
        with serving(directory, ["--policies", str(policies)]), learning_in(directory) as session:
            enforced = session.run(CELL)
    assert "# read /more/b.csv; stat /more; list /more" in proposed
    assert enforced.stdout.splitlines()[:4] == learned.stdout.splitlines()[:4]
    assert not enforced.audit_mode


def test_no_server_does_this_without_being_told(policies):
    with private_directory() as directory:
        said = refusal(directory, *RUN_AS, "--policies", str(policies))
    assert "the policy learning has `mode: audit`" in said
    assert "--allow-audit-mode" in said
