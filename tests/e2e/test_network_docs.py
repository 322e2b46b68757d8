"""
The page about the network and the demo of it say what is true.
"""

import re
import subprocess
import sys

import pytest

from executor.cli import COMMANDS, parser_for
from policy.decide import compile_policy
from policy.parse import load, parse
from policy.request_text import parse_request
from tests.e2e.serving import environment, needs_image
from tests.pages import README, ROOT, blocks, excerpt, missing

PAGE = (ROOT / "docs" / "network.md").read_text()


def test_what_the_page_says_of_denials_is_what_the_policy_on_it_decides():
    policy = compile_policy(parse(blocks(PAGE, "yaml")[0], file="prices.yaml", base="/"))
    (told,) = blocks(PAGE, "denials")
    cases = [case.split("\n") for case in told.strip().split("\n\n")]
    assert len(cases) == 3
    for asked, reason in cases:
        decision = policy.decide(parse_request(asked))
        assert (decision.allowed, decision.reason) == (False, reason)
    allowed = parse_request("GET https://api.example.com/v1/prices/today")
    assert policy.decide(allowed).allowed


def test_the_grant_in_the_readme_is_read():
    (block,) = [block for block in blocks(README, "yaml") if block.startswith("network:")]
    policy = parse(f"version: 1\nname: prices\n{block}", file="prices.yaml", base="/")
    assert policy.network[0].credential.secret == "prices-api"


def test_the_options_that_the_page_names_are_taken():
    serve = next(command for command in COMMANDS if command.name == "serve")
    options = {"--secrets", *re.findall(r"`(--[a-z]+) [A-Z:]+`", PAGE)}
    assert options == {"--secrets", "--trust", "--resolver"}
    for option in sorted(options):
        parser_for(serve).parse_args(["serve", "--listen", "unix:/x", option, "127.0.0.1:53"])


def test_the_policy_of_the_demo_is_good():
    policy = load(ROOT / "examples" / "prices" / "prices.yaml")
    assert policy.network[0].host == "localhost"


@pytest.mark.image
@needs_image
def test_the_demo_runs_and_never_shows_the_key():
    ran = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo_network.py")],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "{'copper': 9412.5, 'zinc': 2788.0, 'tin': 33120.0}" in ran.stdout
    assert not missing(excerpt("## Network"), ran.stdout), ran.stdout
    assert "sk-demo" not in ran.stdout + ran.stderr
