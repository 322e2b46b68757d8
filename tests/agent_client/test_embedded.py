"""
The private server: a real one, started and ended in every way in which a client can begin and end.
"""

import asyncio
import os
import pwd
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

import agent_client
from agent_client import embedded

ROOT = Path(agent_client.__file__).parents[1]
PATHS = [str(ROOT), str(ROOT / "proto")]
PATIENCE = 60

pytestmark = pytest.mark.image


@pytest.fixture(autouse=True)
def temporary(monkeypatch, directory):
    """
    Private directories are made here, so that one that stays is seen.
    """
    monkeypatch.setenv("TMPDIR", str(directory))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.delenv("CODECAGE_ADDRESS", raising=False)
    directory.chmod(0o1777)  # as /tmp is
    yield directory
    assert list(directory.glob("codecage-*")) == []


@pytest.fixture
def policies(directory):
    made = directory / "policies"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def started():
    server = embedded.start()
    yield server
    server.stop()


def directory_of(server):
    return Path(server.address.removeprefix("unix:")).parent


def family(pid):
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def all_end(processes):
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE)
    return not alive


def client(code, **options):
    """
    A program that uses the client, in a process of its own.
    """
    start = f"import sys; sys.path += {PATHS!r}\nfrom agent_client import embedded\n"
    return subprocess.Popen(
        [sys.executable, "-P", "-c", start + code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def ends(pid):
    """
    Wait for the end of a process that is nobody's child here.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    ended = bool(poll.poll(PATIENCE * 1000))
    os.close(descriptor)
    return ended


def test_a_session_of_a_private_server_computes():
    with agent_client.connect() as cage, cage.session() as session:
        assert session.run("import sys; sys.version_info[:2] >= (3, 14)").value == "True"


def test_both_clients_can_have_one():
    async def scenario():
        async with agent_client.connect_async() as cage, cage.session() as session:
            return await session.run("6 * 7")

    assert asyncio.run(scenario()).value == "42"


def test_only_its_user_can_enter_the_directory(started):
    status = directory_of(started).stat()
    assert status.st_mode & 0o777 == 0o700
    user = embedded.account()
    expected = pwd.getpwnam(user).pw_uid if user else os.geteuid()
    assert status.st_uid == expected


def test_stopping_leaves_no_process_and_no_directory(started):
    processes = family(started.pid)
    assert len(processes) >= 3  # the server, its launcher, a zygote
    started.stop()
    assert all_end(processes[1:])
    assert not psutil.pid_exists(started.pid)
    assert not directory_of(started).exists()
    started.stop()


def test_a_server_that_does_not_react_is_killed(started, monkeypatch):
    monkeypatch.setattr(embedded, "_STOP_SECONDS", 0.2)
    os.kill(started.pid, signal.SIGSTOP)
    processes = family(started.pid)
    started.stop()
    assert started._process.returncode == -signal.SIGKILL
    assert all_end(processes[1:])
    assert not directory_of(started).exists()


def test_no_descriptor_is_left_open():
    # In a process of its own: of this one, channels of earlier tests let go of theirs meanwhile.
    code = (
        "import os\n"
        "embedded.start().stop()\n"
        "before = sorted(os.listdir('/proc/self/fd'))\n"
        "for _ in range(3): embedded.start().stop()\n"
        "print(sorted(os.listdir('/proc/self/fd')) == before)\n"
    )
    said, _ = client(code).communicate(timeout=PATIENCE)
    assert said == "True\n"


def test_a_client_that_is_killed_takes_its_server_along(temporary):
    code = "server = embedded.start()\nprint(server.pid, flush=True)\nsys.stdin.read()"
    process = client(code)
    with process:
        pid = int(process.stdout.readline())
        (made,) = temporary.glob("codecage-*")
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert ends(pid)
    assert not made.exists()


def test_a_client_that_forgets_to_close_closes_at_its_exit():
    process = client("server = embedded.start()\nprint(server.pid)")
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert not psutil.pid_exists(int(said))


def test_a_forked_child_does_not_end_the_server_of_its_parent():
    code = (
        "import os\n"
        "server = embedded.start()\n"
        "child = os.fork()\n"
        "if child == 0: sys.exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print(repr(server.ended()))\n"
        "server.stop()\n"
    )
    said, _ = client(code).communicate(timeout=PATIENCE)
    assert said.strip() == "''"


def test_a_forked_child_is_refused_its_parents_connection_and_makes_its_own():
    code = (
        "import os, agent_client\n"
        "with agent_client.connect() as cage, cage.session() as session:\n"
        "    for _ in range(3): session.run('cell = 1')\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        for ask in (lambda: session.run('cell = 2'), cage.policies, session.close):\n"
        "            try: ask()\n"
        "            except agent_client.InvalidRequest as error: print(error, flush=True)\n"
        "        with agent_client.connect(cage.address) as own:\n"
        "            print(own.attach(session.id).run('cell').value, flush=True)\n"
        "        sys.exit(7)\n"
        "    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "    print(session.run('cell').value)\n"
    )
    asked = client(code)
    said, _ = asked.communicate(timeout=PATIENCE)
    *refused, own, status, after = said.splitlines()
    assert [line.partition(": ")[2] for line in refused] == [
        "gRPC does not survive that; connect again in the child"
    ] * 3
    assert f"process {asked.pid} made this connection" in refused[0]
    assert (own, status, after) == ("1", "7", "1")


def test_a_server_that_is_killed_is_an_error_with_its_status():
    with agent_client.connect() as cage:
        session = cage.session()
        assert session.run("1").ok
        server = cage._link._server
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(agent_client.ServerUnavailable):
            session.run("1")
        assert ends(server.pid)
        with pytest.raises(agent_client.ServerUnavailable, match="ended with status -9"):
            cage.policies()


def test_a_session_whose_worker_is_killed_is_lost_and_a_new_one_can_be_opened():
    with agent_client.connect() as cage:
        session = cage.session()
        events = session.stream("print('on', flush=True)\nwhile True: pass")
        assert [type(next(events)).__name__ for _ in range(2)] == ["Started", "Output"]
        for inmate in family(cage._link._server.pid)[1:]:
            if "executor.children.launching" not in inmate.cmdline():
                inmate.kill()
        *_, end = events
        assert end.session_lost
        assert end.status is agent_client.Status.WORKER_LOST
        assert end.reason
        with pytest.raises(agent_client.SessionLost, match="create a new one"):
            session.run("1")
        assert cage.session().run("1").value == "1"


def test_the_first_zygote_has_imported_before_its_image_was_known():
    with agent_client.connect() as cage:
        assert cage.session().run("1").value == "1"
        lines = [one.cmdline() for one in family(cage._link._server.pid)[1:]]
        running = [line for line in lines if "executor.children.launching" not in line]
        zygotes = [line for line in running if "executor.children.zygote" in line]
        assert zygotes
        assert all(line[-2] == "--ahead" for line in zygotes)


def test_a_server_that_cannot_start_says_why_and_leaves_nothing(policies):
    (policies / "bad.yaml").write_text("version: 1\nname: bad\nnetwerk: none\n")
    with pytest.raises(agent_client.ServerUnavailable) as caught:
        agent_client.connect(policies=policies)
    assert "ended with status 1" in str(caught.value)
    assert "bad.yaml:3:1: " in str(caught.value)
    assert "     3 | netwerk: none\n       | ^" in str(caught.value)


def test_what_only_the_log_of_a_private_server_says_is_told(policies):
    (policies / "mine.yaml").write_text(
        "version: 1\nname: mine\nfilesystem: [{mount: /out, source: ./missing, access: read}]\n"
    )
    with agent_client.connect(policies=policies) as cage:
        with pytest.raises(agent_client.CodecageError) as caught:
            cage.session("mine")
        assert caught.value.reason == "SOURCE_UNAVAILABLE"
        assert f"{policies}/missing" in str(caught.value)
        with pytest.raises(agent_client.PolicyNotFound) as caught:
            cage.session("other")
        assert "it said:" not in str(caught.value)


def test_policies_of_a_directory_are_offered_and_an_address_in_the_environment_is_not_used(
    policies, monkeypatch
):
    monkeypatch.setenv("CODECAGE_ADDRESS", "unix:/nowhere/sock")
    (policies / "mine.yaml").write_text("version: 1\nname: mine\n")
    (policies / "mine.yaml").chmod(0o600)
    with agent_client.connect(policies=policies) as cage:
        assert {policy.name for policy in cage.policies()} == {"calculator", "mine"}
        assert cage.session("mine").run("1 + 1").value == "2"


def test_the_audit_record_stays_where_a_path_is_given(directory):
    store = directory / "record" / "audit.sqlite3"
    with agent_client.connect(audit=store) as cage, cage.session() as session:
        session.run("1")
    assert store.read_bytes().startswith(b"SQLite format 3\0")


def test_files_of_the_current_directory_are_no_part_of_the_server(directory):
    for name in ("executor", "policy", "codecage", "grpc", "pydantic", "json"):
        (directory / f"{name}.py").write_text("raise SystemExit('imported from the directory')")
    process = client("server = embedded.start()\nserver.stop()\nprint('fine')", cwd=directory)
    assert process.communicate(timeout=PATIENCE)[0] == "fine\n"


def test_secrets_of_the_agent_do_not_reach_the_server(monkeypatch):
    monkeypatch.setenv("MODEL_API_KEY", "secret")
    monkeypatch.setenv("CODECAGE_CACHE_HINT", "kept")
    environment = embedded._environment()
    assert "MODEL_API_KEY" not in environment
    assert environment["CODECAGE_CACHE_HINT"] == "kept"


def test_an_account_that_does_not_exist_is_refused():
    if os.geteuid() != 0:
        pytest.skip("only root can become another account")
    with pytest.raises(agent_client.InvalidRequest, match="no such account"):
        agent_client.connect(run_as="nobody-of-that-name")


@pytest.mark.parametrize(
    ("user", "given", "environment", "expected"),
    [
        (1000, None, {}, None),
        (1000, "me", {}, "me"),
        (0, None, {}, "nobody"),
        (0, None, {"SUDO_USER": "ada"}, "ada"),
        (0, None, {"SUDO_USER": "ada", "CODECAGE_RUN_AS": "grace"}, "grace"),
        (0, "root", {"SUDO_USER": "ada", "CODECAGE_RUN_AS": "grace"}, "root"),
    ],
)
def test_a_server_is_root_only_where_root_is_named(monkeypatch, user, given, environment, expected):
    for name in ("SUDO_USER", "CODECAGE_RUN_AS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert embedded.account(given) == expected


def test_a_temporary_directory_too_deep_for_a_socket_is_refused_and_nothing_is_made(
    directory, monkeypatch
):
    deep = directory / ("d" * 90)
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with pytest.raises(agent_client.InvalidRequest, match="set TMPDIR to a shorter one"):
        embedded.start()
    assert list(deep.iterdir()) == []


def test_an_awaited_start_that_is_cancelled_leaves_nothing():
    async def scenario():
        opening = asyncio.ensure_future(agent_client.connect_async().open())
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        # The thread that starts it goes on; leaving the loop waits for it.

    asyncio.run(scenario())
