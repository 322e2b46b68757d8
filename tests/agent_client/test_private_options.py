"""
What `connect` is given for a private server reaches that server's command line.
"""

from pathlib import Path

import pytest

import agent_client
from agent_client import embedded


def test_each_option_of_a_private_server_is_on_its_command_line(tmp_path):
    asked = embedded.Options(
        policies=tmp_path / "p",
        audit=tmp_path / "a",
        secrets=tmp_path / "s",
        trust=tmp_path / "t.pem",
        resolvers=("192.0.2.53:53", "[2001:db8::53]:53"),
    )
    assert embedded._options(tmp_path, asked, "agents")[4:] == [
        *("--policies", str(tmp_path / "p")),
        *("--secrets", str(tmp_path / "s")),
        *("--trust", str(tmp_path / "t.pem")),
        *("--resolver", "192.0.2.53:53", "--resolver", "[2001:db8::53]:53"),
        *("--run-as", "agents"),
    ]


def test_an_option_that_was_not_given_is_not_there(tmp_path):
    options = embedded._options(tmp_path, embedded.Options(), None)
    assert options == [
        *("--listen", f"unix:{tmp_path / 'sock'}"),
        *("--audit", str(tmp_path / "audit.sqlite3")),
    ]


def test_paths_are_made_absolute_because_the_server_starts_elsewhere(tmp_path):
    options = embedded._options(tmp_path, embedded.Options(secrets="mine"), None)
    assert options[-2:] == ["--secrets", str(Path.cwd() / "mine")]


@pytest.mark.parametrize(
    "given", [{"secrets": "s"}, {"trust": "t"}, {"resolvers": ["192.0.2.53:53"]}]
)
def test_options_of_a_private_server_and_an_address_exclude_each_other(given):
    with pytest.raises(agent_client.InvalidRequest, match="secrets, trust or resolvers"):
        agent_client.connect("unix:/nowhere", **given)
    with pytest.raises(agent_client.InvalidRequest, match="secrets, trust or resolvers"):
        agent_client.connect_async("unix:/nowhere", **given)
