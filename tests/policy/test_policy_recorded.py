"""
What is made of the record of past sessions: requests read back, a policy proposed, another asked.
"""

import pytest

from policy.errors import PolicyError
from policy.parse import load_text
from policy.proposal import propose
from policy.recorded import Recorded, as_allowed, recorded_request, words_of
from policy.regress import regress
from policy.requests import (
    AddressRequest,
    CommitRequest,
    Composite,
    FileAction,
    FileRequest,
    HttpRequest,
    ImageRequest,
    NetworkRequest,
    ProcessRequest,
    ResolveRequest,
    SocketRequest,
    ToolRequest,
    tool_request,
)
from policy.types import Effect

CEILING = """version: 1
name: top
filesystem:
  - {mount: /data, source: /srv/data, access: read, deny: ["*.pem"]}
  - {mount: /more, source: /srv/more, access: read-write}
  - {mount: /work, source: scratch, access: read-write}
network:
  - {host: api.example.com, http: [{methods: [GET, HEAD], paths: ["/**"]}]}
  - {host: "*.example.org"}
  - {host: key.example.com, credentials: {header: X-Key, secret: k, prefix: "Bearer "}}
  - {host: db.example.com, raw: true, ports: [5432], tls: false, addresses: [private]}
tools: [{name: look, arguments: {n: {max: 5}, to: {allow: [eu, true, 3]}}}]
deny: [{path: "/more/hidden/**", reason: "Not for you."}]
"""
POLICY = """version: 1
name: sample
description: "Learns, and says: what it needs."
within: [top]
mode: audit
filesystem:
  - {mount: /data, source: /srv/data, access: read, deny: ["*.key", "*.tmp"]}
  - {mount: /work, source: scratch, access: read-write}
network:
  - {host: key.example.com, credentials: {header: X-Key, secret: k, prefix: "Bearer "}}
  - {host: db.example.com, raw: true, ports: [5432], tls: false, addresses: [private]}
tools: [{name: look, approval: required, arguments: {n: {max: 5}, to: {allow: [eu, true, 3]}}}]
environment: {YEAR: "2026"}
imports: {allow: [csv]}
limits: {cells: 5}
"""


@pytest.fixture
def reads(tmp_path):
    (tmp_path / "ceilings").mkdir()
    (tmp_path / "ceilings" / "top.yaml").write_text(CEILING)
    return lambda text: load_text(str(tmp_path / "sample.yaml"), text)


def seen(*texts, allowed=True, rule="r"):
    return [Recorded("s", text, allowed, rule, "") for text in texts]


REQUESTS = [
    FileRequest(FileAction.READ, "/data/a b"),
    FileRequest(FileAction.REMOVE_DIRECTORY, "/data/\n"),
    NetworkRequest("a.org", 443),
    NetworkRequest("::1", 80),
    NetworkRequest("", 0),
    ResolveRequest("a.org"),
    AddressRequest("a.org", 443, "9.9.9.9"),
    AddressRequest("a.org", 443, "9.9.9.9", own=True),
    HttpRequest("a.org", 443, tls=True, method="GET", path="/a"),
    HttpRequest("a.org", 8080, tls=False, method="PUT", path="/"),
    SocketRequest("udp"),
    CommitRequest("/ledger"),
    ProcessRequest("/usr/bin/git"),
    ImageRequest("core"),
    tool_request("look", {}),
    tool_request("look", {"n": 5, "x": 1.5, "y": True, "z": None, "w": -3, "v": float("inf")}),
    tool_request("look", {"to": "eu", "text": "\0" * 12}),
    tool_request("look", {"rest": [1], "last": {}}),
]


@pytest.mark.parametrize("request_", [one for one in REQUESTS if str(one) != "connect :0"], ids=str)
def test_a_request_is_read_back_from_its_text(request_):
    assert recorded_request(str(request_), ["us", "eu"]) == request_


def test_a_query_is_left_out():
    asked = HttpRequest("a.org", 443, tls=True, method="GET", path="/a", query="x=1")
    assert recorded_request(str(asked)) == HttpRequest("a.org", 443, True, "GET", "/a")


def test_a_text_that_no_policy_names_is_one_of_its_length():
    found = recorded_request(str(tool_request("look", {"to": "secret"})), ["eu"])
    assert found == ToolRequest("look", (("to", "\0" * 6),))


@pytest.mark.parametrize(
    "text",
    [
        "connect :0",
        "",
        "dance /data",
        "call look(n=)",
        "call look(n=5 m=6)",
        "call look(n=x)",
        "call look(n=<list>m=5)",
        "call look(n=<99999999 characters, sha256 0123456789abcdef>)",
        str(tool_request("look", {"n": 2**200})),
    ],
)
def test_what_cannot_be_read_back_is_nothing(text):
    assert recorded_request(text) is None


def test_a_kind_of_argument_is_read_back():
    assert recorded_request("call f(x=<list>)") == ToolRequest("f", (("x", Composite("list")),))


def test_what_was_allowed_had_what_its_text_does_not_say():
    assert as_allowed(ToolRequest("look")) == ToolRequest("look", approved=True)
    assert as_allowed(CommitRequest("/a")) == CommitRequest("/a", by_client=True, approved=True)
    assert as_allowed(SocketRequest("udp")) == SocketRequest("udp")


def test_the_words_of_a_policy_are_those_that_arguments_may_be(reads):
    assert words_of(reads(POLICY)) == {"eu"}


SESSION = seen(
    "read /data/a.csv",
    "read /data/b.csv",
    "read /data/c.csv",
    "read /data/d.csv",
    "read /more/in/a",
    "stat /more/in/deep/b",
    "list /more/other",
    "read /more/other/x\ny",
    "connect api.example.com:443",
    "GET https://api.example.com:443/v1/a",
    "GET https://api.example.com:443/v1/b?(3 bytes, sha256 0123456789abcdef)",
    "HEAD https://api.example.com:443/v1/b",
    "connect b.example.org:443",
    "connect key.example.com:443",
    "POST https://key.example.com:443/x",
    "connect db.example.com:5432",
    str(tool_request("look", {"n": 5, "to": "eu"})),
)


def test_the_smallest_policy_says_what_needed_each_line(reads, expected):
    found = propose(reads(POLICY), "core", SESSION, reads)
    assert (found.asked, found.unasked, found.missing) == (len(SESSION), 0, ())
    expected("proposal", found.text)


def test_nothing_that_was_not_needed_is_proposed(reads):
    one = seen("read /more/in/a")
    proposed = reads(propose(reads(POLICY), "core", one, reads).text)
    assert [(grant.mount, grant.source) for grant in proposed.filesystem] == [
        ("/work", None),
        ("/more/in", "/srv/more/in"),
    ]
    assert (proposed.network, proposed.tools, proposed.lenient) == ((), (), None)
    assert [one.path for one in proposed.deny] == ["/more/hidden/**"]


def test_a_name_that_the_policy_hides_is_shown_by_leaving_out_what_hides_it(reads, expected):
    found = propose(reads(POLICY), "core", seen("read /data/a.key", "read /data/a.csv"), reads)
    assert found.missing == ()
    expected("proposal-hidden", found.text)
    assert reads(found.text).filesystem[0].deny == ("*.tmp", "*.pem")


def test_a_denial_of_the_whole_policy_is_left_out_too(reads):
    text = POLICY + "deny: [{path: /data/a/**}, {path: /data/b/**}]\n"
    found = propose(reads(text), "core", seen("read /data/a/x"), reads)
    assert (found.missing, "/data/a/**" in found.text) == ((), False)
    assert "/data/b/**" in found.text


def test_what_was_denied_needs_nothing_and_what_cannot_be_asked_again_is_told(reads):
    recorded = [*seen("read /more/in/a", allowed=False), *seen("read /etc/x", "dance")]
    found = propose(reads(POLICY), "core", recorded, reads)
    assert (found.asked, found.unasked) == (0, 2)
    assert "filesystem:\n  # memory of the session" in found.text


def test_many_paths_become_one_rule(reads):
    paths = [f"GET https://api.example.com:443/{number}" for number in range(40)]
    found = propose(reads(POLICY), "core", seen("connect api.example.com:443", *paths), reads)
    assert reads(found.text).network[0].http[0].paths == ("/**",)


LEDGER = "filesystem: [{mount: /ledger, source: /srv/books, access: transaction"


def test_what_grants_nothing_is_in_force_under_the_proposal_as_it_was(reads, tmp_path):
    more = (
        'after: [{event: "read /data/private/**", revoke: [network, tools.peek]}]\n'
        "random: {seed: 7}\nclock: frozen\ndisclose: true\n"
    )
    tools = "tools: [{name: look}, {name: peek, effect: read, max_calls: 3}]\n"
    top = tmp_path / "ceilings" / "top.yaml"
    top.write_text(CEILING.replace("tools: [", "tools: [{name: peek, effect: read}, "))
    text = "".join(one for one in POLICY.splitlines(keepends=True) if not one.startswith("tools:"))
    top.write_text(top.read_text() + "disclose: true\n")
    policy = reads(text + tools + more)
    asked = seen("read /data/a.csv", str(tool_request("peek", {})))
    proposed = reads(propose(policy, "core", asked, reads).text)
    for name in ("seed", "clock", "disclose", "environment", "imports", "limits", "within"):
        assert getattr(proposed, name) == getattr(policy, name), name
    assert (proposed.seed, proposed.disclose) == (7, True)
    assert [(one.event_text, one.revoke) for one in proposed.after] == [
        ("read /data/private/**", ("network", "tools.peek"))
    ]
    assert [(one.name, one.effect, one.max_calls) for one in proposed.tools] == [
        ("peek", Effect.READ, 3)
    ]


def test_an_event_that_cannot_happen_any_more_and_a_right_that_is_gone_are_left_out(
    reads, tmp_path
):
    top = tmp_path / "ceilings" / "top.yaml"
    top.write_text(CEILING + 'after: [{event: "read /data/x", revoke: [network]}]\n')
    more = (
        'after: [{event: "read /data/x", revoke: [tools.look, tools]}, '
        '{event: "write /data/y", revoke: [tools.look]}, '
        '{event: "write /**", revoke: [tools]}, '
        '{event: "connect a.example.org", revoke: [tools]}]\n'
    )
    policy = reads(POLICY + more)
    proposed = reads(propose(policy, "core", seen("read /data/a.csv"), reads).text)
    after = {(one.event_text, one.revoke) for one in proposed.after}
    assert after == {
        ("read /data/x", ("network",)),
        ("read /data/x", ("network", "tools")),
        ("write /**", ("tools",)),
        ("connect a.example.org", ("tools",)),
    }
    # Nothing but memory of the session, which asks nobody.
    proposed = reads(propose(policy, "core", [], reads).text)
    after = {(one.event_text, one.revoke) for one in proposed.after}
    assert after == {("read /data/x", ("network",)), ("connect a.example.org", ("tools",))}


@pytest.mark.parametrize(
    ("said", "asked", "kept"),
    [
        (", commit_by: client", ("write /ledger/a", "commit /ledger"), ("transaction", "client")),
        (", commit_by: client", ("commit /ledger",), ("transaction", "client")),
        ("", ("write /ledger/a", "commit /ledger"), ("transaction", "guest")),
        (", commit_by: client", ("read /ledger/a",), ("read", None)),
    ],
)
def test_a_transaction_is_proposed_at_the_word_of_who_may_commit_it(
    reads, tmp_path, said, asked, kept
):
    (tmp_path / "ceilings" / "top.yaml").write_text(f"version: 1\nname: top\n{LEDGER}}}]\n")
    head = "version: 1\nname: sample\nwithin: [top]\nmode: audit\n"
    found = propose(reads(f"{head}{LEDGER}{said}}}]\n"), "core", seen(*asked), reads)
    assert (found.asked, found.unasked, found.missing) == (len(asked), 0, ())
    (grant,) = reads(found.text).filesystem
    assert (grant.access.value, grant.commit_by and grant.commit_by.value) == kept


def test_a_proposal_that_is_no_policy_is_never_shown(reads, tmp_path):
    def broken(_):
        return reads("version: 1\nname: sample\nwithin: [nobody]\n")

    with pytest.raises(PolicyError, match="there is no policy `nobody`"):
        propose(reads(POLICY), "core", SESSION, broken)


# Regression


def test_a_change_of_policy_shows_in_what_was_asked(policy):
    one = policy(
        "filesystem: [{mount: /data, source: /srv/data, access: read, deny: ['*.key']}]\n"
        "network: [{host: a.org, http: [{paths: [/x]}]}, {host: b.org}]\n"
    )
    found = regress(
        one,
        [
            *seen("read /data/x", "read /data/y.key", "read /data/y.key", "connect c.org:443"),
            *seen("read /data/z", "connect a.org:443", "read /q", allowed=False),
            *seen("dance"),
            Recorded("s", "connect d.org:443", True, "top/network[0]", "", "network"),
        ],
    )
    assert (found.asked, found.unasked) == (8, 1)
    assert [(one.request, one.times, one.rule, one.was) for one in found.newly_denied] == [
        ("read /data/y.key", 2, "filesystem[0].deny[0]", "r"),
        ("connect c.org:443", 1, "network", "r"),
        ("connect d.org:443", 1, "network", "network"),
    ]
    assert [(one.request, one.rule, one.place) for one in found.newly_allowed] == [
        ("read /data/z", "filesystem[0]", "sample.yaml:3"),
        ("connect a.org:443", "network[0]", "sample.yaml:4"),
    ]
    assert found.unused == ("network[0].http[0]", "network[1]")


def test_denials_of_the_session_and_spent_budgets_are_not_the_policys_answer(policy):
    one = policy("network: [{host: a.org}]\n")
    spent = [
        *seen("connect a.org:443", allowed=False, rule="network[0]"),
        *seen("connect a.org:443", allowed=False, rule="network[0].max_bytes"),
        *seen("connect a.org:443", allowed=False, rule="limits.requests"),
        *seen("connect a.org:443", allowed=False, rule="after[0]"),
        *seen("connect a.org:443", allowed=False, rule="narrow"),
    ]
    found = regress(one, spent)
    assert (found.asked, found.newly_allowed) == (2, ())


def test_calls_are_counted_for_each_session(policy):
    one = policy("tools: [{name: look, max_calls: 2, approval: required}]\n")
    calls = [
        Recorded(session, "call look()", True, "tools[0]", "")
        for session in ("a", "b")
        for _ in range(3)
    ]
    found = regress(one, calls)
    assert [(one.request, one.times) for one in found.newly_denied] == [("call look()", 2)]
    assert regress(one, seen("call look()", allowed=False, rule="tools")).newly_allowed == ()


def test_a_call_that_was_denied_uses_none_up(policy):
    one = policy("tools: [{name: look, max_calls: 2}]\n")
    calls = [*seen(*["call look()"] * 3, allowed=False, rule="tools"), *seen(*["call look()"] * 2)]
    assert regress(one, calls).newly_denied == ()


@pytest.mark.parametrize(
    ("by", "allowed", "denied"), [("client", 0, 0), ("guest", 1, 0), ("client, x", 1, 1)]
)
def test_a_commit_is_asked_again_where_it_does_not_matter_who_has_asked(
    policy, by, allowed, denied
):
    mount = "/other" if "x" in by else "/ledger"
    said = f"mount: {mount}, source: /srv/books, access: transaction, commit_by: {by.split(',')[0]}"
    found = regress(policy(f"filesystem: [{{{said}}}]\n"), seen("commit /ledger"))
    assert (found.asked, found.unasked, len(found.newly_denied)) == (allowed, 1 - allowed, denied)


@pytest.mark.parametrize("more", ["", ", approval: required"])
@pytest.mark.parametrize("allowed", [True, False])
def test_a_commit_is_not_asked_again_where_the_record_does_not_say_by_whom(policy, more, allowed):
    said = f"mount: /ledger, source: /srv, access: transaction, commit_by: client{more}"
    found = regress(policy(f"filesystem: [{{{said}}}]\n"), seen("commit /ledger", allowed=allowed))
    assert (found.unasked, found.newly_denied, found.newly_allowed) == (1, (), ())


def test_audit_mode_is_asked_as_if_it_were_enforced(reads):
    found = regress(reads(POLICY), seen("read /more/in/a"))
    assert [one.request for one in found.newly_denied] == ["read /more/in/a"]
