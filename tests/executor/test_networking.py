"""
What the server's start says to options and policies of the network that it cannot serve.
"""

from pathlib import Path

import pytest
import trustme

from executor.errors import CannotStart
from executor.identity import Account
from executor.networking import (
    NetworkOptions,
    broker_command,
    check_network_options,
    require_network,
)
from policy.errors import PolicyError
from policy.parse import load_directory
from tests.executor.fakes.harness import policy

OWN = Account("agents", 1000, 1000, changes=False)
GRANT = (
    "network:\n"
    "  - host: api.example.com\n"
    "    credentials: {header: Authorization, secret: prices-api, prefix: 'Bearer '}\n"
)


def refusal(options: NetworkOptions) -> str:
    with pytest.raises(CannotStart) as caught:
        check_network_options(options)
    return caught.value.message


def secrets(place: Path, *names: str) -> Path:
    directory = place / "secrets"
    directory.mkdir(mode=0o700)
    for name in names:
        (directory / name).write_text("hush\n")
        (directory / name).chmod(0o600)
    return directory


def test_a_directory_of_secrets_and_a_bundle_and_resolvers_are_taken(tmp_path):
    bundle = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(bundle)
    options = NetworkOptions(secrets(tmp_path), bundle, ("192.0.2.53:53", "[2001:db8::53]:5353"))
    check_network_options(options)
    assert options.protected() == (str(tmp_path / "secrets"), str(bundle))


def test_a_directory_of_secrets_that_is_none_or_others_may_write_is_refused(tmp_path):
    missing = refusal(NetworkOptions(tmp_path / "none"))
    assert missing.startswith(f"--secrets {tmp_path / 'none'}: No such file or directory")
    file = tmp_path / "file"
    file.write_text("hush")
    assert "this is no directory" in refusal(NetworkOptions(file))
    directory = secrets(tmp_path)
    directory.chmod(0o770)
    assert "chmod go-w" in refusal(NetworkOptions(directory))


def test_a_bundle_that_holds_no_certificate_is_refused(tmp_path):
    file = tmp_path / "ca.pem"
    assert "there is no such file" in refusal(NetworkOptions(trust=file))
    file.write_text("nothing")
    assert "no certificates that can be read" in refusal(NetworkOptions(trust=file))


@pytest.mark.parametrize(
    "text",
    [
        *("192.0.2.53", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:65536", "192.0.2.53:x"),
        *("dns.example:53", "2001:db8::53:53", "[192.0.2.53]:53", "127.1:53", "[fe80::1%lo]:53"),
        "",
    ],
)
def test_a_resolver_is_an_address_and_a_port(text):
    assert refusal(NetworkOptions(resolvers=(text,))).startswith(f"--resolver {text}: write")


def test_a_secret_that_a_policy_names_has_to_be_there_by_name(tmp_path):
    rules = {"test": policy(GRANT)}
    require_network(rules, NetworkOptions(secrets(tmp_path, "prices-api")))
    with pytest.raises(CannotStart) as caught:
        require_network(rules, NetworkOptions())
    assert caught.value.message == (
        "policy test (test.yaml:5, network[0]) names the secret prices-api; say with --secrets "
        "in which directory it lies"
    )
    (tmp_path / "secrets" / "prices-api").unlink()
    with pytest.raises(CannotStart, match="has no such file") as caught:
        require_network(rules, NetworkOptions(tmp_path / "secrets"))
    assert str(tmp_path / "secrets") in caught.value.message
    (tmp_path / "secrets" / "prices-api").mkdir()
    with pytest.raises(CannotStart, match="is no file"):
        require_network(rules, NetworkOptions(tmp_path / "secrets"))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_secret_that_others_may_read_or_change_stops_the_start(tmp_path, mode):
    rules = {"test": policy(GRANT)}
    directory = secrets(tmp_path, "prices-api")
    (directory / "prices-api").chmod(mode)
    with pytest.raises(CannotStart) as caught:
        require_network(rules, NetworkOptions(directory))
    assert caught.value.message == (
        "policy test (test.yaml:5, network[0]) names the secret prices-api, and others may read "
        f"or change {directory / 'prices-api'} (mode {mode:o}); close it with chmod 600"
    )
    (directory / "prices-api").chmod(0o400)
    require_network(rules, NetworkOptions(directory))


def test_secrets_are_never_read_by_the_server(tmp_path):
    directory = secrets(tmp_path, "prices-api")
    (directory / "prices-api").write_bytes(b"\xff\0 not a secret at all")
    require_network({"test": policy(GRANT)}, NetworkOptions(directory))


def test_no_policy_may_grant_the_directory_of_secrets(tmp_path):
    directory = secrets(tmp_path, "prices-api")
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "p.yaml").write_text(
        "version: 1\nname: p\ndescription: d\nfilesystem:\n"
        f"  - {{mount: /data, source: {directory}, access: read}}\n"
    )
    protected = NetworkOptions(directory).protected()
    with pytest.raises(PolicyError):
        load_directory(str(tmp_path / "policies"), protected)


def test_the_brokers_command_names_paths_and_account_and_nothing_else(tmp_path):
    options = NetworkOptions(tmp_path / "secrets", tmp_path / "ca.pem", ("192.0.2.53:53",))
    changed = Account("agents", 1000, 1001, changes=True)
    assert broker_command(options, changed)[-9:] == (
        "executor.network.broker",
        *("--secrets", str(tmp_path / "secrets"), "--trust", str(tmp_path / "ca.pem")),
        *("--uid", "1000", "--gid", "1001"),
    )
    assert broker_command(NetworkOptions(), OWN)[-1] == "executor.network.broker"
