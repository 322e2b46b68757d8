"""
A running server reads its policies anew, by a signal and over the wire: all of them or none, and
sessions that exist keep what they have (Y22).
"""

import signal

import pytest

import agent_client
from executor.audit.read import records
from tests.e2e.serving import needs_image, private_directory, serving

pytestmark = [pytest.mark.image, needs_image]

READ = """
try: print(open('/data/x.key').read())
except OSError as error: print(type(error).__name__)
"""


@pytest.fixture
def policies():
    with private_directory() as files:
        files.chmod(0o755)
        data, made = files / "data", files / "policies"
        for one in (data, made):
            one.mkdir()
        (data / "x.key").write_text("secret")
        write(made, deny="*.key")
        yield made


@pytest.fixture
def served(policies):
    options = ["--policies", str(policies)]
    with (
        private_directory() as directory,
        serving(directory, options) as server,
        agent_client.connect(f"unix:{directory}/sock") as connected,
    ):
        yield server, connected


def write(policies, deny, more=""):
    data = policies.parent / "data"
    grant = f"{{mount: /data, source: {data}, access: read, deny: ['{deny}']}}"
    text = f"version: 1\nname: one\nfilesystem: [{grant}]\n{more}"
    (policies / "one.yaml").write_text(text)


def said(server, words):
    """
    Wait until the server's log has a line with these words.
    """
    for line in server.process.stderr:
        if words in line:
            return line
    raise AssertionError(f"the server has ended and never said {words!r}")


def test_y22_policies_are_reloaded_whole_or_not_at_all_and_sessions_keep_theirs(policies, served):
    server, connected = served
    with connected.session("one") as running:
        old = running.info.policy.digest
        assert running.run(READ).stdout == "FileNotFoundError\n"

        # A wider policy, by a signal: for those who come after it.
        write(policies, deny="*.pem")
        server.process.send_signal(signal.SIGHUP)
        said(server, "reloaded the policies calculator, one")
        assert running.run(READ).stdout == "FileNotFoundError\n"
        assert running.info.policy.digest == old
        with connected.session("one") as later:
            new = later.info.policy.digest
            assert later.run(READ).stdout == "secret\n"
        assert new != old

        # A broken file changes nothing, nor does one that is right beside it.
        write(policies, deny="*.key")
        (policies / "two.yaml").write_text("version: 1\nname: two\ndisclosed: true\n")
        server.process.send_signal(signal.SIGHUP)
        assert "two.yaml:3:1: unknown key" in said(server, "were not reloaded")
        with pytest.raises(agent_client.CodecageError) as caught:
            connected.reload_policies()
        assert "the server's log says why" in str(caught.value)
        assert "two.yaml" not in str(caught.value)
        assert {one.name: one.digest for one in connected.policies()}["one"] == new

        # What the server was not started for needs another start.
        (policies / "two.yaml").write_text(
            "version: 1\nname: two\nnetwork: [{host: a.example.com}]\n"
        )
        with pytest.raises(agent_client.CodecageError):
            connected.reload_policies()
        said(server, "restart the server")

        # Over the wire: one is as it was at first, and another is there.
        (policies / "two.yaml").write_text("version: 1\nname: two\n")
        reloaded = {one.name: one.digest for one in connected.reload_policies()}
        assert (sorted(reloaded), reloaded["one"]) == (["calculator", "one", "two"], old)
        with connected.session("two") as another:
            assert another.run("1 + 1").value == "2"

        # One that is gone is gone for new sessions alone.
        (policies / "one.yaml").unlink()
        connected.reload_policies()
        with pytest.raises(agent_client.PolicyNotFound):
            connected.session("one").run("1")
        assert running.run("1 + 1").value == "2"
    found = [
        (dict(one.detail).get("policy"), one.policy_digest, one.outcome)
        for one in records(server.audit, limit=1000)
        if one.event.value == "policy.load"
    ]
    ones = [(digest, outcome) for name, digest, outcome in found if name == "one"]
    assert ones == [(old, None), (new, None), (old, None)]
    assert [outcome for name, _, outcome in found if name is None] == ["refused"] * 3


def test_audit_mode_does_not_come_in_by_a_reload(policies, served):
    server, connected = served
    (policies / "top.yaml").write_text("version: 1\nname: top\n")
    write(policies, deny="*.key", more="mode: audit\nwithin: [one-more]\n")
    (policies / "one-more.yaml").write_text("version: 1\nname: one-more\n")
    with pytest.raises(agent_client.CodecageError):
        connected.reload_policies()
    assert "--allow-audit-mode" in said(server, "were not reloaded")
