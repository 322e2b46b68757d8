import json

import pytest

from policy.decide import decide
from policy.errors import RequestTextError
from policy.explain import explain, parse_request, to_json
from policy.requests import (
    FileAction,
    FileRequest,
    ImageRequest,
    NetworkRequest,
    ProcessRequest,
)

SALES = """filesystem:
  - {mount: /data, source: ./sales, access: read, deny: ["**/*.key", ".git/**"]}
  - {mount: /work/out, source: ./reports, access: read-write}
  - {mount: /work, source: scratch, access: read-write}
"""
ASKED = {
    "allowed-host": "read /data/x.csv",
    "allowed-scratch": "write /work/x",
    "read-only": "write /data/x.csv",
    "denied-name": "read /data/a/b.key",
    "outside": "read /etc/passwd",
    "guarded": "create /work/out/Makefile",
    "mount-point": "rename /work",
    "network": "connect evil.example:443",
    "process": "run /bin/sh",
}


@pytest.mark.parametrize("case", ASKED)
def test_an_explanation_reads_like_this(policy, expected, case):
    request = parse_request(ASKED[case])
    expected(f"explain-{case}", explain(policy(SALES), request))
    expected(f"explain-{case}.json", to_json(policy(SALES), request))


@pytest.mark.parametrize("text", ASKED.values())
def test_an_explanation_says_what_decide_returned(policy, text):
    one, request = policy(SALES), parse_request(text)
    decision, answer = decide(one, request), json.loads(to_json(one, request))
    assert answer["allowed"] == decision.allowed
    assert answer["absent"] == decision.absent
    assert answer["reason"] == decision.reason
    assert answer["rule"] == decision.rule.name
    assert answer["digest"] == one.digest


@pytest.mark.parametrize("action", FileAction)
def test_every_act_can_be_asked(action):
    assert parse_request(f"{action.value} /a b") == FileRequest(action, "/a b")


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("connect example.org:443", NetworkRequest("example.org", 443)),
        ("connect [0:0::1]:65535", NetworkRequest("::1", 65535)),
        ("connect 10.0.0.1:0", NetworkRequest("10.0.0.1", 0)),
        (" run git status ", ProcessRequest("git status")),
        ("image data", ImageRequest("data")),
    ],
)
def test_connections_and_programs_can_be_asked(text, request_):
    assert parse_request(text) == request_


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no request; write `ACT /path` with ACT one of stat"),
        ("read", "'read' is no request; write "),
        ("fly /data", "there is no act 'fly'; write "),
        ("read data", "'data' is not absolute; write `read /data/x.csv`"),
        ("connect", "'' is no HOST:PORT; write example.org:443"),
        ("connect host", "'host' is no HOST:PORT"),
        ("connect :443", "':443' is no HOST:PORT"),
        ("connect host:", "'host:' is no HOST:PORT"),
        ("connect host:65536", "'host:65536' is no HOST:PORT"),
        ("connect host:-1", "'host:-1' is no HOST:PORT"),
        ("connect host:0000443", "'host:0000443' is no HOST:PORT"),
        ("connect [::1:443", "'[::1:443' has too many colons"),
        ("connect ::1]:443", "'::1]:443' has too many colons"),
        ("connect host:٤", "'host:٤' is no HOST:PORT"),
        ("connect host:" + "1" * 9999, "is no HOST:PORT"),
        ("connect ::1:443", "'::1:443' has too many colons; write [::1]:443"),
        ("connect [x]:443", "'x' is no IPv6 address; write [::1]:443"),
    ],
)
def test_what_is_no_request_is_refused_with_the_forms(text, message):
    with pytest.raises(RequestTextError) as caught:
        parse_request(text)
    assert message in str(caught.value)
