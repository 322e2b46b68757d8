"""
`mode: audit`: what a policy denies and its ceiling allows may be looked at, and nothing else.
"""

import json

import pytest

from policy.compare import compare
from policy.decide import compile_policy, decide
from policy.doubts import doubts
from policy.effective import effective
from policy.errors import PolicyError
from policy.explain import explain, parse_request, to_json
from policy.narrow import narrow
from policy.parse import load, parse
from policy.relaxing import prepared
from policy.requests import FileAction, FileRequest, tool_request
from policy.types import Access, Mode

CEILING = """version: 1
name: top
image: [core, math]
filesystem:
  - {mount: /data, source: /srv/data, access: read, deny: ["*.pem"]}
  - {mount: /out, source: /srv/out, access: read-write, quota: 1Mi}
  - {mount: /more, source: /srv/more, access: transaction}
  - {mount: /work, source: scratch, access: read-write}
deny: [{path: "/more/never", reason: "Not even to look at."}]
network:
  - {host: api.example.com, http: [{methods: [GET, POST], paths: ["/v1/**"]}]}
  - {host: any.example.com, scheme: http}
  - {host: own.example.com, addresses: [private]}
  - {host: 10.0.0.1, addresses: [private]}
  - {host: localhost, addresses: [loopback]}
  - {host: key.example.com, credentials: {header: X-Key, secret: k}}
  - {host: raw.example.com, raw: true, ports: [5432], tls: false}
  - {host: write.example.com, http: [{methods: [POST]}]}
tools: [{name: look}]
limits: {cells: 9}
"""
POLICY = """version: 1
name: sample
within: [top]
mode: audit
filesystem:
  - {mount: /data, source: /srv/data, access: read, deny: ["*.key", "*.pem"]}
  - {mount: /out, source: /srv/out, access: read-write, quota: 1Mi, deny: [hidden]}
network:
  - {host: key.example.com, credentials: {header: X-Key, secret: k}, http: [{paths: [/a]}]}
"""


@pytest.fixture
def made(tmp_path):
    def make(text=POLICY, ceiling=CEILING):
        (tmp_path / "ceilings").mkdir(exist_ok=True)
        (tmp_path / "ceilings" / "top.yaml").write_text(ceiling)
        (tmp_path / "sample.yaml").write_text(text)
        return load(str(tmp_path / "sample.yaml"))

    return make


RELAXED = [
    "read /data/a.key",
    "stat /data/a.key",
    "list /more",
    "read /more/x",
    "read /out/hidden",
    "connect api.example.com:443",
    "resolve api.example.com",
    "dial api.example.com:443 at 9.9.9.9",
    "GET https://api.example.com/v1/x",
    "HEAD http://any.example.com/",
    "connect own.example.com:443",
]
DENIED = [
    # What the ceiling denies too.
    "read /data/a.pem",
    "read /more/never",
    "read /etc/passwd",
    "connect evil.example.com:443",
    "GET https://api.example.com/v2",
    # What changes something, or reaches further than looking.
    "write /more/x",
    "create /out/hidden",
    "remove /data/a.key",
    "mkdir /more/d",
    "commit /more",
    "POST https://api.example.com/v1/x",
    "POST https://write.example.com/",
    "connect write.example.com:443",
    "connect raw.example.com:5432",
    # What is never relaxed.
    "connect 10.0.0.1:443",
    "resolve localhost",
    "dial own.example.com:443 at 10.0.0.1",
    "dial api.example.com:443 at 127.0.0.1",
    "dial api.example.com:443 at 169.254.169.254",
    "dial api.example.com:443 at 9.9.9.9 own",
    "GET https://key.example.com/b",
    "socket udp",
    "run /bin/sh",
    "run fork",
    "call look",
    "image math",
]
ALLOWED = ["read /data/a.csv", "write /out/x", "GET https://key.example.com/a", "image core"]


@pytest.mark.parametrize("text", RELAXED)
def test_what_the_ceiling_lets_be_looked_at_passes_and_is_marked(made, text):
    decision = decide(made(), parse_request(text))
    assert decision.allowed
    assert decision.would_deny is not None
    assert decision.reason.startswith("audit mode lets it pass; this policy denies it: ")
    strict = made(POLICY.replace("mode: audit\n", ""))
    denied = decide(strict, parse_request(text))
    assert (denied.allowed, denied.would_deny) == (False, None)
    assert denied.rule.name == decision.would_deny.name


@pytest.mark.parametrize("text", DENIED)
def test_nothing_else_passes(made, text):
    decision = decide(made(), parse_request(text))
    assert (decision.allowed, decision.would_deny) == (False, None)


@pytest.mark.parametrize("text", ALLOWED)
def test_what_the_policy_allows_is_not_marked(made, text):
    decision = decide(made(), parse_request(text))
    assert (decision.allowed, decision.would_deny) == (True, None)


def test_no_request_at_all_is_relaxed_that_the_ceiling_denies(made):
    policy, top = compile_policy(made()), compile_policy(parse(CEILING, file="t", base="/"))
    for action in FileAction:
        for path in ("/data/a.pem", "/data/a.key", "/more/x", "/out/hidden", "/work/x", "/x"):
            request = FileRequest(action, path)
            if policy.decide(request).would_deny is not None:
                assert top.decide(request).allowed
                assert action in {FileAction.STAT, FileAction.LIST, FileAction.READ}


def test_calls_and_approvals_are_not_relaxed(made):
    assert not decide(made(), tool_request("look", {})).allowed


def test_the_limits_of_the_policy_stay(made):
    assert made(POLICY + "limits: {cells: 3}\n").limits.cells == 3
    assert made().lenient.tools == ()


def test_what_is_made_ready_has_the_mounts_and_hosts_of_both(made):
    ready = prepared(made())
    assert [one.commit_by for one in ready.filesystem] == [None] * 3
    assert {one.mount: (one.source, one.access, one.quota) for one in ready.filesystem} == {
        "/data": ("/srv/data", Access.READ, 0),
        "/out": ("/srv/out", Access.READ_WRITE, 2**20),
        "/more": ("/srv/more", Access.READ, 0),
    }
    rules = [one.rule.name for one in ready.network]
    assert rules == ["network[0]", "top/network[0]", "top/network[1]", "top/network[2]"]
    strict = made(POLICY.replace("mode: audit", "mode: enforce"))
    assert prepared(strict) is strict


@pytest.mark.parametrize(("own", "other"), [("/a", "/a/b"), ("/a/b", "/a"), ("/x", "/work/in")])
def test_a_mount_of_the_ceiling_that_meets_one_of_the_policy_is_not_added(made, own, other):
    if own == "/x":
        ceiling = "- {mount: /work, source: scratch, access: read-write}\n  "
        ceiling += f"- {{mount: {other}, source: /srv/o, access: read}}"
        policy = made(HEAD + "filesystem: []\n", f"{TOP}filesystem:\n  {ceiling}\n")
    else:
        grants = f"[{{mount: {other}, source: /srv{other}, access: read}}]"
        text = f"{HEAD}filesystem: [{{mount: {own}, source: /srv{own}, access: read}}]\n"
        policy = made(text, f"{TOP}filesystem: {grants}\n")
    mounts = {one.mount for one in policy.filesystem}
    assert {one.mount for one in prepared(policy).filesystem} == mounts


HEAD = "version: 1\nname: sample\nwithin: [top]\nmode: audit\n"
TOP = "version: 1\nname: top\n"


def test_two_ceilings_relax_as_far_as_both_allow(tmp_path):
    (tmp_path / "ceilings").mkdir()
    for name, hosts in (("one", "[{host: a.org}, {host: b.org}]"), ("two", "[{host: b.org}]")):
        text = f"version: 1\nname: {name}\nnetwork: {hosts}\n"
        (tmp_path / "ceilings" / f"{name}.yaml").write_text(text)
    text = "version: 1\nname: sample\nmode: audit\nwithin: [one, two]\n"
    (tmp_path / "sample.yaml").write_text(text)
    policy = load(str(tmp_path / "sample.yaml"))
    assert decide(policy, parse_request("connect b.org:443")).would_deny
    assert not decide(policy, parse_request("connect a.org:443")).allowed


@pytest.mark.parametrize(
    "held",
    ["raw: true, tls: true, ports: [5432]", "credentials: {header: X-Key, secret: k}, http: [{}]"],
)
def test_no_wildcard_speaks_for_a_host_that_the_ceiling_names_and_that_is_no_look(made, held):
    held = held.replace("{}", "{paths: [/a]}")
    wildcards = '{host: "*.a.org"}, {host: "*.b.org"}'
    policy = made(HEAD, f"{TOP}network: [{wildcards}, {{host: x.a.org, {held}}}]\n")
    for text in ("connect x.a.org:443", "GET https://x.a.org/b", "resolve x.a.org"):
        assert not decide(policy, parse_request(text)).allowed
    assert not decide(policy, parse_request("connect y.a.org:443")).allowed
    assert decide(policy, parse_request("connect y.b.org:443")).would_deny


def test_without_a_ceiling_there_is_no_audit_mode(policy, expected):
    with pytest.raises(PolicyError) as caught:
        policy("mode: audit\n")
    expected("mode-without-ceiling", str(caught.value))
    with pytest.raises(PolicyError) as caught:
        policy("mode: learn\n")
    expected("mode", str(caught.value))


def test_the_process_cage_has_none(made):
    ceiling = "version: 1\nname: top\ncage: any\nimage: [core, native-core]\n"
    text = (
        "version: 1\nname: sample\nmode: audit\nwithin: [top]\ncage: process\nimage: native-core\n"
    )
    with pytest.raises(PolicyError, match="cannot be relaxed in audit mode"):
        made(text, ceiling)


def test_a_mode_is_not_inherited_and_a_ceilings_means_nothing(tmp_path):
    (tmp_path / "ceilings").mkdir()
    (tmp_path / "ceilings" / "top.yaml").write_text(f"{TOP}network: [{{host: a.org}}]\n")
    house = "version: 1\nname: house\nwithin: [top]\nmode: audit\n"
    (tmp_path / "house.yaml").write_text(house)
    for key in ("defaults: house", "within: [house]"):
        (tmp_path / "a.yaml").write_text(f"version: 1\nname: a\n{key}\n")
        policy = load(str(tmp_path / "a.yaml"))
        assert (policy.mode, policy.lenient) == (Mode.ENFORCE, None)
        assert not decide(policy, parse_request("connect a.org:443")).allowed


def test_narrowing_leaves_nothing_relaxed(made):
    assert narrow(made(), made()).lenient is None
    request = parse_request("read /more/x")
    assert not decide(narrow(made(), made()), request).allowed


def test_the_mode_and_what_it_relaxes_are_in_the_digest(made):
    enforced = made(POLICY.replace("audit", "enforce")).digest
    assert made(POLICY.replace("mode: audit\n", "")).digest == enforced
    more = CEILING.replace("/v1/**", "/v2/**")
    assert len({enforced, made().digest, made(ceiling=more).digest}) == 3


def test_a_difference_says_so(made):
    strict = made(POLICY.replace("audit", "enforce"))
    assert [one.place for one in compare(strict, made()).looser] == ["mode"]
    assert compare(made(), strict).looser == ()
    wider = made(ceiling=CEILING.replace('paths: ["/v1/**"]', 'paths: ["/**"]'))
    assert [f"{one.place} {one.text}" for one in compare(made(), wider).looser] == [
        "mode: api.example.com:443 GET /**"
    ]


def test_it_is_shown_and_doubted(made, expected):
    expected("effective-audit-mode", effective(made()).split("\n", 1)[1])
    assert "mode: audit lets pass" in str(doubts(made())[0])
    assert doubts(made(POLICY.replace("audit", "enforce"))) == ()


def test_an_explanation_says_both(made, expected):
    request = parse_request("read /more/x")
    expected("explain-audit-mode", explain(made(), request))
    assert json.loads(to_json(made(), request))["would_deny"] == "filesystem"
