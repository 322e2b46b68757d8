"""
What a policy that loads is: values, defaults, digest, built-in and example policies.
"""

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import policy as package
from policy.builtin import CALCULATOR
from policy.decide import decide
from policy.digest import canonical, digest_of
from policy.parse import DEFAULT_MAX_FILES, DEFAULT_QUOTA, load, parse
from policy.paths import _own_home, dangerous_source, is_within
from policy.requests import FileAction, FileRequest, NetworkRequest, ProcessRequest
from policy.schema import LimitsSection
from policy.types import (
    Access,
    Approval,
    Audit,
    CageKind,
    Clock,
    Deny,
    Happening,
    Isolation,
    Limits,
    NetworkGrant,
    Policy,
    ProcessGrant,
    Ratchet,
    Rule,
    ToolGrant,
)
from policy.units import parse_size, parse_time, show_size, show_time

EXAMPLES = Path(package.__file__).parent / "examples"


def test_an_empty_policy_grants_nothing_and_has_finite_limits(policy):
    empty = policy()
    assert (empty.filesystem, empty.environment, empty.seed, empty.disclose) == (
        (),
        (),
        None,
        False,
    )
    assert (empty.image, empty.clock, empty.limits) == ("core", Clock.REAL, Limits())
    assert not decide(empty, FileRequest(FileAction.STAT, "/data")).allowed
    assert not decide(empty, NetworkRequest("localhost", 80)).allowed
    assert not decide(empty, ProcessRequest("true")).allowed


def test_an_empty_list_grants_nothing_either(policy):
    assert policy("filesystem: []\n").filesystem == ()


def test_every_key_arrives(policy):
    full = policy(
        """description: Says.
cage: wasm
image: science
network: none
environment: {TZ: UTC, A: "1"}
limits: {memory: 64Mi, cpu_time: 1.5s, wall_time: 2m, output: 1024, cells: 3,
  idle_timeout: 1h, scratch: 1Gi, files: 5, open_files: 9, requests: 7, connections: 6,
  sessions: 2, cpus: 2.25}
random: {seed: 9}
clock: frozen
disclose: true
filesystem:
  - {mount: /data, source: ./in, access: read, deny: [x]}
  - {mount: /out, source: /mnt/out, access: read-write, quota: 1Mi, max_files: 3}
  - {mount: /also, source: /mnt/also, access: read-write}
"""
    )
    assert full.limits == Limits(
        64 * 2**20, 1.5, 120.0, 1024, 3, 3600.0, 2**30, 5, 9, 7, 6, 2, 2.25
    )
    assert (full.description, full.image, full.clock) == ("Says.", "science", Clock.FROZEN)
    assert (full.seed, full.disclose) == (9, True)
    assert full.environment == (("A", "1"), ("TZ", "UTC"))
    data, out, also = full.filesystem
    assert (data.source, data.access, data.deny) == ("/srv/policies/in", Access.READ, ("x",))
    assert (data.quota, data.max_files) == (0, 0)
    assert (out.source, out.access, out.quota, out.max_files) == (
        "/mnt/out",
        Access.READ_WRITE,
        2**20,
        3,
    )
    assert (also.quota, also.max_files) == (DEFAULT_QUOTA, DEFAULT_MAX_FILES)


def test_every_limit_has_a_key_and_every_key_a_limit():
    assert [one.name for one in fields(Limits)] == list(LimitsSection.model_fields)
    assert Limits(**LimitsSection().model_dump()) == Limits()


def test_a_rule_says_where_a_key_stands_and_a_default_says_nothing(policy):
    one = policy("limits: {memory: 64Mi}\n")
    assert one.rule("limits.memory") == Rule(
        "limits.memory", "sample.yaml", 3, 10, "limits: {memory: 64Mi}"
    )
    assert one.rule("limits.cells") == Rule("limits.cells", "sample.yaml")
    assert str(one.rule("limits.memory")) == "limits.memory (sample.yaml:3)"


# The digest (Y11)

FIRST = """version: 1
name: a
limits: {memory: 1Gi, cpu_time: 1m}
filesystem:
  - {mount: /x, source: ./x, access: read, deny: [p, q]}
  - {mount: /y, source: ./y, access: read}
"""
SECOND = """# The same, said differently.
filesystem:
  - access: "read"
    source: /base/y
    mount: /y
  - {deny: [q, p, q], mount: /x, access: read, source: ./x}
name: a
disclose: false
limits:
  cpu_time: 60000ms
  memory: 1024Mi
version: 1
"""


def digest(text: str, base: str = "/base", file: str = "a.yaml") -> str:
    return parse(text, file=file, base=base).digest


CONNECTION = NetworkGrant(
    "api.example.com", (443,), True, False, (), 1, None, frozenset(), Rule("network[0]", "a.yaml")
)


def test_the_same_meaning_has_the_same_digest():
    assert digest(FIRST) == digest(SECOND) == digest(FIRST, file="b.yaml")
    assert len(digest(FIRST)) == 64


@pytest.mark.parametrize(
    ("old", "new"),
    [
        *(("name: a", "name: b"), ("1Gi", "2Gi"), ("1m", "59s"), ("/x,", "/z,"), ("p,", "r,")),
        *(("./y", "./z"), ("./y, access: read", "./y, access: read-write")),
        ("name: a", "name: a\ndescription: x"),
        ("name: a", "name: a\nimage: x"),
        ("name: a", "name: a\nclock: frozen"),
        ("name: a", "name: a\nrandom: {seed: 0}"),
        ("name: a", "name: a\ndisclose: true"),
        ("name: a", "name: a\nenvironment: {A: x}"),
        ("name: a", "name: a\naudit: {level: replay}"),
        ("name: a", "name: a\naudit: {redact: [pin]}"),
        ("name: a", "name: a\ndeny: [{path: /x/secret}]"),
    ],
)
def test_another_meaning_has_another_digest(old, new):
    assert old in FIRST
    assert digest(FIRST.replace(old, new)) != digest(FIRST)


def test_the_digest_covers_every_field_that_means_something():
    denied = Deny("/work/x", "", Rule("deny[0]", "a.yaml"))
    process = ProcessGrant(False, ("/usr/bin/git",), False, Rule("process", "a.yaml"))
    connected = replace(
        CALCULATOR,
        network=(CONNECTION,),
        limits=replace(CALCULATOR.limits, cpus=2.0),
        deny=(denied,),
        cage=CageKind.ANY,
        process=process,
        imports=(),
        tools=(ToolGrant("f", 1, Approval.NONE, (), Rule("tools[0]", "a.yaml")),),
        audit=Audit(redact=("x",)),
        after=(Ratchet(Happening.CONNECT, "a.org", ("tools",), Rule("after[0]", "a.yaml")),),
    )
    told = json.loads(canonical(connected))
    silent, renamed = {"digest", "file", "rules", "within", "mode", "lenient"}, {"images": "image"}
    meant = {renamed.get(one.name, one.name) for one in fields(Policy)} - silent
    assert meant == set(told) - {"format"}
    assert set(told["limits"]) == {one.name for one in fields(Limits)}
    grants = {"credential": "credentials"}
    meant = {grants.get(one.name, one.name) for one in fields(NetworkGrant)} - {"rule"}
    assert meant == set(told["network"][0])
    assert {one.name for one in fields(ProcessGrant)} - {"rule", "program_rules"} == set(
        told["process"]
    )
    assert len(told["isolation"]) == len(fields(Isolation))
    assert digest_of(replace(CALCULATOR, file="x", rules=(), digest="")) == CALCULATOR.digest
    assert digest(FIRST, base="/other") != digest(FIRST)


# Units


@given(st.integers(0, 10**12))
def test_a_size_survives_being_shown(size):
    assert parse_size(show_size(size)) == size


@given(st.integers(0, 10**6))
def test_a_time_survives_being_shown(milliseconds):
    assert parse_time(show_time(milliseconds / 1000)) == milliseconds / 1000


@pytest.mark.parametrize(
    "text", ["", "Mi", "1 Mi", "1mi", "1M", "01", "+1", "-1", "1.0", "1e3", "٣"]
)
def test_what_is_not_a_size_is_none(text):
    assert parse_size(text) is None


@pytest.mark.parametrize(
    "text", ["", "s", "1", "1 s", "1S", ".5s", "1.s", "-1s", "1e3s", "nans", "1d"]
)
def test_what_is_not_a_time_is_none(text):
    assert parse_time(text) is None


# Sources, as a server asks again with the path that it really opened


@pytest.mark.parametrize(
    "path",
    ["/etc/x", "/", "/home/a", "/home/a/.ssh/x", "/root/.aws", "relative", "/a/../etc", "//etc"],
)
def test_a_dangerous_path_is_refused_when_it_is_opened(path):
    assert dangerous_source(path) is not None


@pytest.mark.parametrize(
    "path", ["/srv/data", "/home/a/data", "/home/a/x/.y", "/var/lib/x", "/usr/share"]
)
def test_a_harmless_path_is_not(path):
    assert dangerous_source(path) is None


@pytest.mark.parametrize("path", ["/srv/data", "/home/a/data", "/root/data", "/usrlocal"])
def test_a_harmless_path_may_be_writable(path):
    assert dangerous_source(path, writable=True) is None


def test_system_directories_are_never_writable():
    assert dangerous_source("/var/lib/x") is None
    assert dangerous_source("/var/lib/x", writable=True) is not None


def test_the_home_of_the_server_is_known_from_the_accounts(monkeypatch, tmp_path):
    entry = type("Entry", (), {"pw_dir": "/srv/service"})
    monkeypatch.setattr("policy.paths.pwd.getpwuid", lambda _: entry)
    assert dangerous_source("/srv/service") is not None
    assert dangerous_source("/srv/service/data") is None
    entry.pw_dir = "/"
    assert _own_home() == []


def test_an_account_without_entry_has_no_home(monkeypatch):
    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.setattr("policy.paths.pwd.getpwuid", unknown)
    assert _own_home() == []


def test_containment_is_by_components():
    assert is_within("/a/b", "/a")
    assert not is_within("/ab", "/a")
    assert is_within("/a", "/")


# Policies that come with the program


def test_the_calculator_grants_memory_and_nothing_else():
    assert [(one.mount, one.source) for one in CALCULATOR.filesystem] == [("/work", None)]
    assert decide(CALCULATOR, FileRequest(FileAction.WRITE, "/work/x")).allowed
    assert not decide(CALCULATOR, FileRequest(FileAction.READ, "/data/x")).allowed
    assert not decide(CALCULATOR, NetworkRequest("example.org", 443)).allowed
    assert not decide(CALCULATOR, ProcessRequest("sh")).allowed


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_loads_under_its_own_name(path):
    assert load(str(path)).name == path.stem


@pytest.mark.parametrize(
    ("module", "loads"),
    [("policy.requests", "False"), ("policy.types", "False"), ("policy.parse", "True")],
)
def test_a_worker_gets_the_words_without_the_parser(module, loads):
    program = f"import sys, {module}; print('pydantic' in sys.modules or 'ruamel' in sys.modules)"
    root = Path(package.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == loads
