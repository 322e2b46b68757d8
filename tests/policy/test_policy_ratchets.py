"""
`after`: what takes rights away, which ones, and what is told of it.
"""

import json

import pytest

from policy.compare import compare
from policy.effective import effective, to_json
from policy.errors import PolicyError
from policy.explain import parse_request
from policy.narrow import narrow
from policy.ratchets import happens, revoked, watches
from policy.requests import FileAction, FileRequest, NetworkRequest, tool_request
from policy.types import Happening, Ratchet, Rule

GRANTS = """filesystem:
  - {mount: /data, source: /srv/data, access: read-write}
  - {mount: /work, source: scratch, access: read-write}
network: [{host: a.example.com}]
tools: [{name: send_report}, {name: look}]
"""
SAID = (
    GRANTS
    + """after:
  - {event: "read /data/private/**", revoke: [network, tools.send_report]}
  - {event: "write /data/out/*", revoke: [tools]}
  - {event: "connect *.example.com", revoke: [tools.look]}
"""
)


def test_an_entry_arrives(policy):
    read, write, connect = policy(SAID).after
    assert (read.event, read.pattern) == (Happening.READ, "/data/private/**")
    assert (read.revoke, read.rule.name) == (("network", "tools.send_report"), "after[0]")
    assert (write.event_text, connect.event_text) == ("write /data/out/*", "connect *.example.com")
    assert policy().after == ()


@pytest.mark.parametrize(
    ("text", "fired"),
    [
        ("read /data/private/a", [0]),
        ("read /data/private/a/b", [0]),
        ("read /data/private", [0]),
        ("read /data/public/a", []),
        ("read /data/privatea", []),
        # What could be read under another name afterwards.
        ("rename /data/private/a", [0]),
        ("rename /data/private", [0]),
        ("rename /data", [0]),
        ("rename /data/other", []),
        # To look is not to read, and to write is not to read.
        ("stat /data/private/a", []),
        ("list /data/private", []),
        ("write /data/private/a", []),
        ("write /data/out/a", [1]),
        ("remove /data/out/a", [1]),
        ("read /data/out/a", []),
        ("connect a.example.com:443", [2]),
        ("connect A.Example.com.:443", [2]),
        ("connect example.com:443", []),
        ("resolve a.example.com", []),
    ],
)
def test_an_event_is_what_it_says(policy, text, fired):
    found = [happens(one, parse_request(text)) for one in policy(SAID).after]
    assert [index for index, one in enumerate(found) if one] == fired


@pytest.mark.parametrize("host", ["2001:db8::1", "2001:DB8::1", "2001:db8:0:0::0001"])
def test_no_spelling_of_an_address_is_another_host(host):
    ratchet = Ratchet(Happening.CONNECT, "2001:db8::1", ("tools",), Rule("after[0]", "a.yaml"))
    assert happens(ratchet, NetworkRequest(host, 443))
    assert not happens(ratchet, NetworkRequest("2001:db8::2", 443))


@pytest.mark.parametrize(
    ("fired", "gone"),
    [
        ([0], {"connect a.example.com:443", "resolve a.example.com", "GET https://a.example.com/",
               "dial a.example.com:443 at 9.9.9.9", "call send_report"}),
        ([1], {"call send_report", "call look"}),
        ([2], {"call look"}),
        ([], set()),
    ],
)  # fmt: skip
def test_what_is_revoked_is_gone_and_nothing_else(policy, fired, gone):
    asked = [
        *("connect a.example.com:443", "resolve a.example.com", "GET https://a.example.com/"),
        *("dial a.example.com:443 at 9.9.9.9", "call send_report", "call look"),
        *("read /data/private/a", "write /data/x", "image core", "run /bin/sh"),
    ]
    happened = [policy(SAID).after[index] for index in fired]
    denials = {text: revoked(happened, parse_request(text)) for text in asked}
    assert {text for text, denial in denials.items() if denial} == gone
    assert not any(denial.allowed for denial in denials.values() if denial)


def test_a_denial_says_what_has_happened(policy):
    after = policy(SAID).after
    denial = revoked(after, NetworkRequest("a.example.com", 443))
    assert (denial.reason, denial.rule.name) == (
        "network is revoked since the session did read /data/private/**",
        "after[0]",
    )
    denial = revoked(after, tool_request("look", {}))
    assert denial.reason == "calling look is revoked since the session did write /data/out/*"


def test_what_could_be_an_event_is_watched(policy):
    assert watches(policy(SAID), "/data")
    assert watches(policy(SAID), "/data/private")
    assert not watches(policy(SAID), "/other")
    assert not watches(policy(GRANTS), "/data")
    # No host is a path.
    connects = 'after: [{event: "connect xdata.org", revoke: [tools]}]\n'
    assert not watches(policy(GRANTS + connects), "/data.org")


def test_narrowing_keeps_what_either_takes_away(policy):
    other = policy(GRANTS + 'after: [{event: "read /data/**", revoke: [tools]}]\n')
    for one, two in ((policy(SAID), other), (other, policy(SAID))):
        texts = {ratchet.event_text for ratchet in narrow(one, two).after}
        assert texts == {one.event_text for one in (*policy(SAID).after, *other.after)}
    assert len(narrow(policy(SAID), policy(SAID)).after) == 3


def test_a_right_that_stays_is_looser_and_one_more_that_goes_is_tighter(policy):
    less = policy(SAID.replace("[network, tools.send_report]", "[network]"))
    (one,) = compare(policy(SAID), less).looser
    assert (
        f"{one.place}: {one.text}" == "after: tools.send_report stays after read /data/private/**"
    )
    assert compare(less, policy(SAID)).looser == ()
    assert len(compare(policy(SAID), policy(GRANTS)).looser) == 4
    assert compare(policy(GRANTS), policy(SAID)).looser == ()
    wider = policy(SAID.replace("[tools.look]", "[tools]"))
    assert compare(policy(SAID), wider).looser == ()


def test_the_meaning_is_in_the_digest_and_the_order_is_not(policy):
    lines = SAID.splitlines()
    turned = "\n".join([*lines[:-3], *lines[:-4:-1]]) + "\n"
    assert policy(turned).digest == policy(SAID).digest
    assert len({policy(text).digest for text in (GRANTS, SAID, "\n".join(lines[:-1]))}) == 3
    assert json.loads(to_json(policy(SAID)))["after"][0] == ["connect *.example.com", "tools.look"]
    line = "  read /data/private/**  revokes network, tools.send_report"
    assert line in effective(policy(SAID)).splitlines()


WRONG = {
    "after-event": '{event: "open /data/a", revoke: [network]}',
    "after-relative": '{event: "read data/**", revoke: [network]}',
    "after-glob": '{event: "read /data/a**", revoke: [network]}',
    "after-host": '{event: "connect *", revoke: [tools]}',
    "after-nothing": '{event: "read /data/**", revoke: []}',
    "after-right": '{event: "read /data/**", revoke: [write]}',
    "after-keys": '{event: "read /data/**", revok: [network]}',
    "after-scratch": '{event: "read /work/**", revoke: [network]}',
    "after-tool": '{event: "read /data/**", revoke: [tools.send_reports]}',
    "after-itself": '{event: "connect a.example.com", revoke: [network]}',
}


@pytest.mark.parametrize("name", WRONG)
def test_a_problem_is_told_like_this(policy, expected, name):
    with pytest.raises(PolicyError) as caught:
        policy(f"{GRANTS}after:\n  - {WRONG[name]}\n")
    expected(name, str(caught.value))


def test_an_event_that_stands_there_twice_is_an_error(policy):
    twice = '{event: "read /data/**", revoke: [network]}'
    with pytest.raises(PolicyError, match="the first is after"):
        policy(f"{GRANTS}after: [{twice}, {twice}]\n")


def test_a_rename_of_what_holds_the_names_counts(policy):
    ratchet = policy(SAID).after[0]
    assert happens(ratchet, FileRequest(FileAction.RENAME, "/data"))
    assert not happens(ratchet, FileRequest(FileAction.REMOVE_DIRECTORY, "/data"))
