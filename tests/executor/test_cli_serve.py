"""
The command line with the real server: `serve`, and the commands that start a private one.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

import agent_client
import executor

ROOT = Path(executor.__file__).parents[1]
PATHS = [str(ROOT), str(ROOT / "proto")]
BOOT = f"import sys; sys.path += {PATHS!r}; from executor.cli import main; sys.exit(main())"
COMMAND = [sys.executable, "-P", "-c", BOOT]
PATIENCE = 60
RUN_AS = ["--run-as", "nobody"] if os.geteuid() == 0 else []

pytestmark = pytest.mark.image


@pytest.fixture
def directory():
    with tempfile.TemporaryDirectory(prefix="cc-") as name:
        Path(name).chmod(0o711)  # the server's account has to get to its own directory in it
        yield Path(name)


def codecage(*arguments, given="", env=None):
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=given,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, **(env or {})},
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


class Serving:
    """
    A `codecage serve` in the background, until it is told to stop.
    """

    def __init__(self, directory, *options, **given):
        self.address = f"unix:{directory}/run/sock"
        self.audit = directory / "audit" / "audit.sqlite3"
        self.log = directory / "log"
        command = ["serve", "--listen", self.address, "--audit", str(self.audit), *RUN_AS]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*COMMAND, *command, *map(str, options)], stdout=log, stderr=log, **given
            )
        self._wait()

    def _wait(self):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                agent_client.connect(self.address).close()
            except agent_client.ServerUnavailable:
                continue
            return
        pytest.fail(self.log.read_text())

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@pytest.fixture
def serving(directory):
    server = Serving(directory)
    yield server
    if server.process.poll() is None:
        server.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_serves_until_it_is_told_to_stop(serving, number):
    code = "# %%\nx = 40\n# %%\nprint('x', x)\nx + 2\n"
    done = codecage("run", "-", "--address", serving.address, given=code)
    assert done == (0, "x 40\n42\n", "")
    assert serving.stop(number) == 0
    assert not Path(serving.address.removeprefix("unix:")).exists()
    assert codecage("run", "-", "--address", serving.address, given="1")[0] == 3


def test_what_a_server_recorded_is_verified_after_its_end(serving):
    _, out, _ = codecage("run", "-", "--json", "--address", serving.address, given="1/0")
    head = json.loads(out)["audit_head"]
    assert serving.stop() == 0
    code, said, _ = codecage("audit", "verify", "--audit", serving.audit, "--head", head)
    assert code == 0, said
    sequence, _, digest = head.partition(":")
    other = f"{sequence}:{'0' * len(digest)}"
    assert codecage("audit", "verify", "--audit", serving.audit, "--head", other)[0] == 1


def test_a_server_ends_when_its_lifeline_closes(directory):
    held, lifeline = os.pipe()
    server = Serving(directory, "--lifeline", held, "--ephemeral", pass_fds=(held,))
    os.close(held)
    assert server.process.poll() is None
    os.close(lifeline)
    assert server.process.wait(PATIENCE) == 0


def test_a_second_server_at_the_same_socket_is_refused(serving, directory):
    arguments = [
        "serve",
        "--listen",
        serving.address,
        "--audit",
        directory / "other" / "a",
        *RUN_AS,
    ]
    code, _, said = codecage(*arguments)
    assert code == 3
    assert "a server listens on" in said
    assert codecage("run", "-", "--address", serving.address, given="1")[:2] == (0, "1\n")


@pytest.mark.parametrize(
    ("listen", "said"),
    [("localhost:50051", "only unix:PATH"), ("unix:" + "d" * 200, "107 bytes")],
)
def test_a_place_that_is_no_unix_socket_is_refused(directory, listen, said):
    code, _, shown = codecage("serve", "--listen", listen, "--audit", directory / "a", *RUN_AS)
    assert code == 3
    assert said in shown


def test_a_wrong_policy_keeps_the_server_from_starting_and_is_shown(directory):
    policies = directory / "policies"
    policies.mkdir(mode=0o700)
    (policies / "bad.yaml").write_text("version: 1\nname: bad\nnetwerk: none\n")
    code, _, said = codecage(
        "serve",
        "--listen",
        f"unix:{directory}/run/sock",
        "--audit",
        directory / "audit" / "a",
        "--policies",
        policies,
        *RUN_AS,
    )
    assert code == 1
    assert "bad.yaml:3:1: " in said
    assert "     3 | netwerk: none\n       | ^" in said
    assert not (directory / "run").exists()


def test_root_has_to_name_an_account(directory):
    if os.geteuid() != 0:
        pytest.skip("only root is asked for one")
    code, _, said = codecage(
        "serve", "--listen", f"unix:{directory}/run/sock", "--audit", directory / "audit" / "a"
    )
    assert code == 3
    assert "--run-as" in said


NETWORKED = """\
version: 1
name: mine
description: d
network:
  - host: api.example.com
    credentials: {header: Authorization, secret: prices-api}
  - {host: 127.0.0.1, ports: [9], raw: true, tls: false, addresses: [loopback]}
"""
CONNECT = "import socket; socket.create_connection(({!r}, {}))"


def networked(directory, *options):
    policies = directory / "policies"
    policies.mkdir()
    (policies / "mine.yaml").write_text(NETWORKED)
    listen = f"unix:{directory}/run/sock"
    audit = directory / "audit" / "audit.sqlite3"
    place = ("--listen", listen, "--audit", audit, "--policies", policies)
    return codecage("serve", *place, *options, *RUN_AS)


def test_a_secret_that_is_not_there_keeps_the_server_from_starting(directory):
    secrets = directory / "secrets"
    secrets.mkdir(mode=0o700)
    status, _, said = networked(directory, "--secrets", secrets)
    assert status == 3
    assert "mine.yaml:5" in said
    assert f"names the secret prices-api, and {secrets} has no such file" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--secrets", "/nowhere"), "--secrets /nowhere: No such file or directory"),
        (("--trust", "/nowhere"), "--trust /nowhere: there is no such file"),
        (("--resolver", "dns.example"), "--resolver dns.example: write an address and a port"),
        ((), "say with --secrets in which directory it lies"),
    ],
)
def test_options_of_the_network_that_nothing_could_work_with_are_refused(directory, options, said):
    status, _, found = networked(directory, *options)
    assert status == 3
    assert said in found


def test_a_server_whose_policies_grant_connections_starts_with_their_secrets(directory):
    secrets, policies = directory / "secrets", directory / "policies"
    secrets.mkdir(mode=0o700)
    (secrets / "prices-api").write_text("hush\n")
    (secrets / "prices-api").chmod(0o600)
    policies.mkdir()
    (policies / "mine.yaml").write_text(NETWORKED)
    server = Serving(directory, "--policies", policies, "--secrets", secrets)
    try:
        with agent_client.connect(server.address) as cage, cage.session("mine") as session:
            denied = session.run(CONNECT.format("evil.example", 443))
            tried = session.run(CONNECT.format("127.0.0.1", 9))
    finally:
        server.stop()
    assert denied.error.name == "PermissionError"
    assert (denied.denied, denied.connections) == (1, 0)
    # The port of discard(9), where nobody listens: a broker has tried.
    assert tried.error.name == "ConnectionRefusedError"
    assert (tried.denied, tried.connections) == (0, 1)


def test_a_private_server_comes_and_goes_with_the_command(directory):
    directory.chmod(0o1777)
    env = {"TMPDIR": str(directory)}
    assert codecage("run", "-", given="print('hi')\n6 * 7", env=env) == (0, "hi\n42\n", "")
    code, out, said = codecage("run", "-", given="print('hi')\n1/0", env=env)
    assert (code, out) == (1, "hi\n")
    assert said.endswith("ZeroDivisionError: division by zero\n")
    assert codecage("run", "-", "--timeout", "0.3", given="while 1: pass", env=env)[0] == 1
    assert list(directory.iterdir()) == []


def test_a_session_that_is_lost_ends_the_command_with_3(serving, directory):
    with running(serving, directory) as process:
        assert process.stdout.readline() == "on\n"
        for inmate in psutil.Process(serving.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # workers end with their zygote
                if "executor.children.launching" not in inmate.cmdline():
                    inmate.kill()
        assert process.wait(PATIENCE) == 3
        assert process.stderr.read().startswith("[the session is lost: ")


@contextmanager
def running(serving, directory):
    """
    The command while it runs a cell without end.
    """
    file = directory / "endless.py"
    file.write_text("print('on', flush=True)\nwhile True: pass\n")
    command = [*COMMAND, "run", str(file), "--address", serving.address]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process


def test_ctrl_c_reaches_the_code_and_the_command_ends_with_130(serving, directory):
    with running(serving, directory) as process:
        assert process.stdout.readline() == "on\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
        said = process.stderr.read()
    assert "KeyboardInterrupt" in said
    assert said.endswith("[interrupted; the session's variables are kept]\n")
