"""
Approvals by another account of the machine, with the command, in both cages; and who is none.

What green does not prove: anything about a program of the server's own account.
"""

import json
import os
import pwd
import subprocess
import sys
import threading

import pytest

import agent_client
from executor.children.probing import NotHeld, probe
from executor.cli import main
from tests.e2e.serving import (
    ROOT,
    RUN_AS,
    environment,
    find,
    needs_image,
    private_directory,
    refusal,
    serving,
)

pytestmark = [
    pytest.mark.image,
    needs_image,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two accounts"),
]
POLICY = """version: 1
name: {name}
cage: {cage}
image: {image}
limits: {{wall_time: 60s}}
tools:
  - {{name: send, approval: {{required: true, expires: 1h}}, max_calls: 10}}
  - {{name: look}}
"""
LEDGER = """version: 1
name: {name}
image: core
filesystem:
  - {{mount: /ledger, source: {source}, access: transaction, {by}}}
"""
GUESTS = {"core": "wasm", "native-core": "process"}
CELL = "try:\n    print(send('ann', text='a\\x1b[31mb'))\nexcept PermissionError as error:\n    print(error)"


@pytest.fixture(scope="module")
def place():
    with private_directory() as directory:
        directory.chmod(0o755)
        policies = directory / "policies"
        policies.mkdir()
        policies.chmod(0o755)
        for image, cage in GUESTS.items():
            text = POLICY.format(name=f"shop-{image}", cage=cage, image=image)
            if find(image) is not None and not (cage == "process" and isinstance(probe(), NotHeld)):
                (policies / f"shop-{image}.yaml").write_text(text)
        for name, by in (
            ("anybody", "commit_by: approver, max_files: 2000"),
            ("kept", "approval: required"),
        ):
            source = directory / name
            source.mkdir()
            source.chmod(0o777)
            text = LEDGER.format(name=name, source=source, by=by)
            (policies / f"{name}.yaml").write_text(text)
        yield directory


@pytest.fixture
def books(place):
    """
    A ledger with one file, whatever the test before has left.
    """
    for name in ("anybody", "kept"):
        for path in (place / name).iterdir():
            path.unlink()
        (place / name / "main").write_text("old\n")
        (place / name / "main").chmod(0o666)
    return place


@pytest.fixture(scope="module")
def server(place):
    options = ["--policies", str(place / "policies"), *door(place), "--approver", "daemon"]
    (place / "server").mkdir(mode=0o700)
    with serving(place / "server", options) as started:
        yield started


def door(place):
    return ["--approvals", f"unix:{place}/door/sock"]


def approvals(place, *words, account="daemon"):
    uid = str(pwd.getpwnam(account).pw_uid)
    command = [sys.executable, "-m", "tests.e2e.approver", uid, *words]
    return subprocess.run(
        [*command, "--address", f"unix:{place}/door/sock"],
        env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


class Running:
    """
    A cell that runs in a thread, and what its tool was called with.
    """

    def __init__(self, cage, policy):
        self.called = []
        self.session = cage.session(policy, tools=[self.send, look])
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def send(self, to, text="", copies=1):
        self.called.append((to, text, copies))
        return "sent"

    def run(self):
        self.observation = self.session.run(CELL)

    def ended(self):
        self.thread.join(60)
        return self.observation


def look():
    return 1


def first_that_waits(place):
    """
    `watch` ends for nobody; its first line is enough here.
    """
    uid = str(pwd.getpwnam("daemon").pw_uid)
    command = [sys.executable, "-m", "tests.e2e.approver", uid, "watch", "--json"]
    with subprocess.Popen(
        [*command, "--address", f"unix:{place}/door/sock"],
        env=environment(), cwd=ROOT, stdout=subprocess.PIPE, text=True,
    ) as watching:  # fmt: skip
        try:
            return json.loads(watching.stdout.readline())
        finally:
            watching.terminate()


@pytest.mark.parametrize("image", GUESTS)
def test_another_account_sees_what_would_be_done_and_lets_it(place, server, image, capsys):
    if not (place / "policies" / f"shop-{image}.yaml").exists():
        pytest.skip(f"{image} cannot be had here")
    with agent_client.connect(f"unix:{place}/server/sock") as cage:
        running = Running(cage, f"shop-{image}")
        one = first_that_waits(place)
        assert one["call"]["tool"] == "send"
        assert [(arg["name"], arg["text"]) for arg in one["call"]["arguments"]] == [
            ("to", "'ann'"),
            ("text", "'a\\x1b[31mb'"),
            ("copies", "1"),
        ]
        shown = approvals(place, "show", one["id"][:8]).stdout
        assert f"digest   {one['digest']}\n" in shown
        assert "  to = 'ann'\n  text = 'a\\x1b[31mb'\n  copies = 1\n" in shown
        assert running.called == []
        done = approvals(place, "approve", one["id"], "--reason", "as agreed")
        assert (done.returncode, done.stdout.startswith("approved: call send(to='ann'")) == (
            0,
            True,
        )
        assert running.ended().stdout == "sent\n"
        assert running.called == [("ann", "a\x1b[31mb", 1)]
        again = approvals(place, "approve", one["id"])
        assert (again.returncode, "nothing waits under" in again.stderr) == (1, True)
        identity = running.session.id
        decision = next(one for one in running.session.audit() if one.decision == "allow")
        running.session.close()
    assert f"daemon (uid {pwd.getpwnam('daemon').pw_uid}) has approved it" in decision.detail
    record = ["--audit", str(server.audit)]
    assert main(["audit", "why", identity, str(decision.sequence), *record]) == 0
    assert f"has approved it (approval {one['id']})" in " ".join(capsys.readouterr().out.split())
    assert main(["audit", "show", identity, *record]) == 0
    assert "as agreed" in capsys.readouterr().out
    assert main(["audit", "verify", *record]) == 0


def test_the_agent_reads_why_it_was_denied_and_not_by_whom(place, server):
    with agent_client.connect(f"unix:{place}/server/sock") as cage:
        running = Running(cage, "shop-core")
        one = first_that_waits(place)
        assert approvals(place, "deny", one["id"], "--reason", "no budget").returncode == 0
        said = running.ended().stdout
        assert "[policy shop-core, rule tools[0]] calling send was not done" in said
        assert "an approver denied it: no budget" in said
        assert "daemon" not in said
        assert running.called == []


@pytest.mark.parametrize("account", ["bin", "nobody", "root"])
def test_nobody_else_is_let_in_not_even_the_servers_own_account(place, server, account):
    with agent_client.connect(f"unix:{place}/server/sock") as cage:
        running = Running(cage, "shop-core")
        one = first_that_waits(place)
        for words in (["list"], ["approve", one["id"]]):
            turned_away = approvals(place, *words, account=account)
            assert (turned_away.returncode, turned_away.stdout) == (3, "")
        assert running.session.interrupt()
        running.ended()
        assert running.called == []
    assert approvals(place, "list").stdout == ""


CHANGE = "open('/ledger/main', 'a').write('new\\n'); open('/ledger/more', 'w').write('x')"
COMMIT = """
import codecage
try:
    print(codecage.commit().outcome)
except Exception as error:
    print(type(error).__name__, error)
"""


def in_a_thread(act):
    done = []
    thread = threading.Thread(target=lambda: done.append(act()))
    thread.start()

    def ended():
        thread.join(60)
        return done[0]

    return ended


def test_a_commit_of_the_guests_waits_until_its_changes_are_approved(books, server):
    with (
        agent_client.connect(f"unix:{books}/server/sock") as cage,
        cage.session("anybody") as session,
    ):
        assert session.run(CHANGE).ok
        preview = session.commit(dry_run=True)
        ended = in_a_thread(lambda: session.run(COMMIT))
        one = first_that_waits(books)
        assert (one["commit"]["mount"], one["commit"]["digest"]) == ("/ledger", preview.digest)
        assert {found["path"]: found["kind"] for found in one["commit"]["changes"]} == {
            "main": "modified",
            "more": "added",
        }
        shown = approvals(books, "show", one["id"]).stdout
        assert f"commit   /ledger, changes sha256 {preview.digest}\n" in shown
        assert "    +new\n" in shown
        assert (books / "anybody" / "main").read_text() == "old\n"
        assert approvals(books, "approve", one["id"]).returncode == 0
        assert ended().stdout == "committed\n"
        assert (books / "anybody" / "main").read_text() == "old\nnew\n"
        said = [found for found in session.audit() if found.request.startswith("commit")]
        assert [found.outcome or found.decision for found in said] == ["asked", "allow"]
        assert f"has approved it (approval {one['id']})" in said[-1].detail


def test_a_commit_of_the_clients_is_refused_where_an_approver_denies_it(books, server):
    with (
        agent_client.connect(f"unix:{books}/server/sock") as cage,
        cage.session("kept") as session,
    ):
        assert session.run(CHANGE).ok

        def commit():
            with pytest.raises(agent_client.Denied) as caught:
                session.commit()
            return str(caught.value)

        ended = in_a_thread(commit)
        one = first_that_waits(books)
        assert one["cell"] is None
        assert approvals(books, "deny", one["id"], "--reason", "not this month").returncode == 0
        assert "an approver denied it: not this month" in ended()
        assert (books / "kept" / "main").read_text() == "old\n"


def test_what_was_approved_is_not_done_where_the_host_has_changed_meanwhile(books, server):
    with (
        agent_client.connect(f"unix:{books}/server/sock") as cage,
        cage.session("kept") as session,
    ):
        assert session.run(CHANGE).ok
        ended = in_a_thread(session.commit)
        one = first_that_waits(books)
        (books / "kept" / "main").write_text("another's\n")
        assert approvals(books, "approve", one["id"]).returncode == 0
        report = ended()
        assert (report.outcome.value, report.conflicts) == ("conflict", ("main",))
        assert (books / "kept" / "main").read_text() == "another's\n"
        # And who is in conflict already has nobody asked.
        with pytest.raises(agent_client.Denied) as caught:
            session.commit()
        assert "nobody was asked to approve it" in str(caught.value)


MANY = "for at in range({count}): open(f'/ledger/{{at:04}}', 'w').write('a\\n' * 500)\n"
TRICK = "open('/ledger/0000', 'w').write('one\\x0b    -two\\n')\n"


def test_who_approves_a_commit_is_shown_all_of_it_and_told_what_has_no_diff(books, server):
    with (
        agent_client.connect(f"unix:{books}/server/sock") as cage,
        cage.session("anybody") as session,
    ):
        assert session.run(MANY.format(count=300) + TRICK).ok
        ended = in_a_thread(lambda: session.run(COMMIT))
        one = first_that_waits(books)
        assert len(one["commit"]["changes"]) == 300
        assert one["commit"]["more_changes"] == 0
        rows = approvals(books, "show", one["id"]).stdout.splitlines()
        listed = [row for row in rows if row.startswith("  added ")]
        assert len(listed) == 300
        assert not listed[0].endswith("(content not shown)")
        assert listed[-1].endswith("  (content not shown)")
        assert "    +one\\x0b    -two" in rows  # in one line, as it is in the file
        assert approvals(books, "deny", one["id"]).returncode == 0
        assert "denied it" in ended().text


def test_a_commit_that_nobody_would_be_shown_whole_has_nobody_asked(books, server):
    with (
        agent_client.connect(f"unix:{books}/server/sock") as cage,
        cage.session("anybody") as session,
    ):
        assert session.run(MANY.format(count=1001)).ok
        said = session.run(COMMIT).text
        assert "it changes 1001 paths, more than a person is shown" in said
        assert [*(books / "anybody").iterdir()] == [books / "anybody" / "main"]


def test_a_commit_of_nothing_has_nobody_asked(books, server):
    with (
        agent_client.connect(f"unix:{books}/server/sock") as cage,
        cage.session("anybody") as session,
    ):
        assert session.commit().outcome.value == "unchanged"
        assert not [found for found in session.audit() if found.event == "approval"]


def test_the_end_of_a_session_ends_the_wait_of_its_commit(books, server):
    with agent_client.connect(f"unix:{books}/server/sock") as cage:
        session = cage.session("kept")
        assert session.run(CHANGE).ok

        def commit():
            with pytest.raises(agent_client.CodecageError) as caught:
                session.commit()
            return str(caught.value)

        ended = in_a_thread(commit)
        one = first_that_waits(books)
        with agent_client.connect(f"unix:{books}/server/sock") as other:
            other.attach(session.id).close()
        ended()
        assert approvals(books, "approve", one["id"]).returncode == 1
        assert (books / "kept" / "main").read_text() == "old\n"
        found = [one.event for one in session.audit()]
        assert (found[-1], found.count("session.end")) == ("session.end", 1)


def test_an_interrupt_ends_the_wait_of_a_commit_and_the_session_goes_on(books, server):
    with (
        agent_client.connect(f"unix:{books}/server/sock") as cage,
        cage.session("anybody") as session,
    ):
        assert session.run(CHANGE).ok
        ended = in_a_thread(lambda: session.run(COMMIT))
        one = first_that_waits(books)
        session.interrupt()
        ended()
        assert approvals(books, "approve", one["id"]).returncode == 1
        assert session.run("open('/ledger/main').read()").value == "'old\\nnew\\n'"
        assert (books / "anybody" / "main").read_text() == "old\n"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "wants an approval (filesystem[0] (anybody.yaml:5)), and nobody could give it"),
        (["--approvals"], "go together"),
        (["--approver", "daemon"], "go together"),
        (["--approvals", "--approver", "root"], "root can open sessions"),
        (["--approvals", "--approver", "nobody"], "nobody approves what he asks for himself"),
        (["--approvals", "--approver", "no-such"], "there is no such account"),
        (["--beside", "--approver", "daemon"], "its directory is that of --listen"),
        (["--open", "--approver", "daemon"], "others may put a socket of their own into"),
    ],
)
def test_a_server_that_could_not_keep_approvals_does_not_start(place, options, told):
    with private_directory() as directory:
        (place / "open").mkdir(exist_ok=True)
        (place / "open").chmod(0o777)
        place_of = {
            "--approvals": ["--approvals", f"unix:{directory}/door/sock"],
            "--beside": ["--approvals", f"unix:{directory}/other"],
            "--open": ["--approvals", f"unix:{place}/open/sock"],
        }
        given = [word for one in options for word in place_of.get(one, [one])]
        said = refusal(directory, *RUN_AS, "--policies", str(place / "policies"), *given)
    assert told in said


def test_what_is_left_of_a_server_is_no_socket(place):
    with private_directory() as directory:
        directory.chmod(0o755)
        (directory / "server").mkdir(mode=0o700)
        options = ["--policies", str(place / "policies"), *door(directory), "--approver", "daemon"]
        with serving(directory / "server", options) as started:
            assert sorted(os.listdir(directory / "door")) == ["sock"]
            assert (directory / "server" / "sock.approvers").exists()
            assert started.stop() == 0
        assert os.listdir(directory / "door") == []
        assert not (directory / "server" / "sock.approvers").exists()
