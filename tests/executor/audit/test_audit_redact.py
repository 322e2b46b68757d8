"""
A12, A13: what looks like a credential is not in the record, and looking costs little.

What green does not prove: that every secret has a form which is known here. One without is in the
record where a request names it.
"""

import asyncio

import pytest
from audit_world import POLICY, draft
from hypothesis import given
from hypothesis import strategies as st

from executor.audit.read import records
from executor.audit.record import TEXT_CAP, Answer, Cut, Event
from executor.audit.redact import redacted, withheld, without_named, without_secrets
from executor.audit.session import SessionLog
from executor.audit.store import AuditStore
from executor.audit.verify import verify
from policy.redaction import NO_REDACTION, Redaction
from policy.requests import FileAction, FileRequest, tool_request
from policy.types import Decision, Rule

# Made up, and put together here so that no tool takes this file for a leak.
SECRETS = {
    "an access key": "AKIA" + "ABCDEFGHIJKLMNOP",
    "a session key": "ASIA" + "0123456789ABCDEF",
    "a token of a forge": "ghp_" + "a1B2" * 9,
    "a fine token of a forge": "github_pat_" + "a1B2_" * 9,
    "another forge's token": "glpat-" + "a1B2" * 6,
    "a key of a model": "sk-" + "proj-a1B2" * 4,
    "a chat's token": "xoxb-" + "1234-abcd" * 3,
    "a key of an interface": "AIza" + "a1B2_" * 7,
    "a web token": "eyJ" + "hbGciOiJI" + ".eyJ" + "zdWIiOiIx" + "." + "c2lnbmF0dXJl",
    "a field": "Bearer " + "abcdef.012345",
    "another field": "Basic " + "dXNlcjpwYXNz",
    "a loud field": "BEARER " + "abcdef.012345",
    "another loud field": "BASIC " + "dXNlcjpwYXNz",
    "a key in a file": "-----BEGIN " + "RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
    "a password in an address": "https://" + "me:hunter2" + "@host.example/x",
}


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("around", ["{}", "read /data/{}", "a {} b", "x={};y", "/{}/{}"])
def test_a12_a_secret_is_replaced_wherever_it_stands(name, around):
    text = around.format(*[SECRETS[name]] * 2)
    said = without_secrets(text)
    assert "[redacted]" in said
    for part in (
        "ABCDEFGHIJ",
        "0123456789A",
        "a1B2",
        "abcd1234",
        "hunter2",
        "MIIE",
        "012345",
        "dXN",
    ):
        assert part not in said


@pytest.mark.parametrize(
    "text",
    [
        "read /data/a.csv",
        "read /data/AKIA",
        "read /data/AKIAabcdefghijklmnop",
        "read /data/task-abcdefghijklmnopqrstuvwxyz",
        "GET https://host.example:443/path",
        "read /data/sk-short",
        "the bearer of news",
        "https://host/a@b",
        "",
    ],
)
def test_what_is_no_secret_stays(text):
    assert without_secrets(text) is text


@given(st.text(st.characters(exclude_categories=())))
def test_a_text_is_redacted_once_and_for_all(text):
    for one in (text, f"Bearer {text}", f"://{text}@", f"sk-{text}"):
        said = without_secrets(one)
        assert without_secrets(said) == said


def test_a12_no_secret_is_on_the_disk_and_the_decision_is_the_same(path):
    secret = SECRETS["an access key"]
    rule = Rule("filesystem[0]", "policy.yaml", 12, 3)
    allowed = Decision(allowed=True, rule=rule, reason=f"reading {secret} is granted")

    async def write(store):
        log = SessionLog(store, "s", POLICY, 10)
        await log.create("p", (("labels", f"key {secret}"),))
        head = await log.decision(FileRequest(FileAction.READ, f"/data/{secret}"), allowed)
        await log.outcome(head, secret)
        log.note((("what", secret),))
        await log.end("closed")

    with AuditStore.open(path) as store:
        asyncio.run(write(store))
        files = [one.read_bytes() for one in path.parent.iterdir()]
    files += [one.read_bytes() for one in path.parent.iterdir()]
    assert not any(secret.encode() in data for data in files)
    found = records(path)
    assert found[1].request == "read /data/[redacted]"
    assert found[1].answer is Answer.ALLOW
    assert found[1].detail == (("reason", "reading [redacted] is granted"),)
    assert found[2].outcome == "[redacted]"
    assert verify(path).whole


def test_a12_a_secret_that_crosses_the_end_of_what_is_stored_is_not_there_in_part(path):
    secret = SECRETS["a key of a model"]
    text = "x/" * (TEXT_CAP // 2 - 4) + secret + "y" * 100_000
    with AuditStore.open(path) as store:
        asyncio.run(store.append(draft(request=text)))
    (found,) = records(path)
    assert isinstance(found.request, Cut)
    assert "sk-" not in found.request.start


def test_a12_a_secret_that_was_not_looked_at_does_not_come_to_where_texts_are_stored():
    first = "-----BEGIN " + "PRIVATE KEY-----" + "x" * 10_000
    assert len(without_secrets(f"{first} {SECRETS['an access key']}")) < TEXT_CAP
    assert "AKIA" not in without_secrets(f"{first} {SECRETS['an access key']}")


def test_a_draft_without_a_secret_is_the_same_object():
    plain = draft(Event.OUTCOME, outcome="ok", detail=(("status", 200), ("reason", "fine")))
    assert redacted(plain) is plain


HARD = ["a", "://", "eyJ", "eyJa.", "sk-", "Bearer ", "ghp_", "-----BEGIN ", "://a:", "AKIA", "xox"]


@pytest.mark.parametrize("piece", HARD)
def test_a13_of_ten_megabytes_only_what_can_be_stored_is_looked_at(piece):
    """
    An expression that is slow on such a text would not come to its end within the suite's limit.
    """
    secret = SECRETS["an access key"]
    far = piece * (10_000_000 // len(piece)) + f" {secret}"
    kept = without_secrets(far)
    assert kept.endswith("[and more]" if "[redacted]" in kept else secret)
    assert len(kept) <= len(far)
    assert secret not in without_secrets(piece * (TEXT_CAP // len(piece)) + f" {secret}")


# What a policy names

NAMED = Redaction(("Authorization", "*token*", "pin"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pin=1234", "pin=[redacted]"),
        ("a my_token=abc&b=c", "a my_token=[redacted]&b=c"),
        ("Authorization: Basic x, y\nHost: h", "Authorization: [redacted]\nHost: h"),
        ('{"token": "a\\"b", "n": 1}', '{"token": "[redacted]", "n": 1}'),
        ("{'pin': '1'}", "{'pin': '[redacted]'}"),
        ("PIN = 5, x=1", "PIN = [redacted], x=1"),
        ('pin="never closed', 'pin="[redacted]'),
        ("pin=", "pin=[redacted]"),
    ],
)
def test_the_value_of_a_name_that_the_policy_hides_is_replaced(text, said):
    assert without_named(text, NAMED) == said


@pytest.mark.parametrize(
    "text",
    [
        "pins=1234",
        "spin: 1",
        "the token is missing",
        "pin",
        "x=pin",
        "authorizations: a",
        "a=b",
        "",
    ],
)
def test_the_value_of_another_name_stays(text):
    assert without_named(text, NAMED) is text


@pytest.mark.parametrize("piece", ["pin", "pin=", "pin:", 'pin="', "a=", "=", " ", "\\", "x.", "é"])
def test_a13_a_long_text_is_searched_for_names_once(piece):
    far = "pin=1 " + piece * (10_000_000 // len(piece)) + " pin=2"
    assert "pin=2" not in without_named(far, NAMED)


def test_what_the_policy_names_is_not_on_the_disk_and_the_rest_is(path):
    rule = Rule("tools[0]", "policy.yaml", 12, 3)
    allowed = Decision(allowed=True, rule=rule, reason="token=hunter2 may be used by Ann")
    call = tool_request("pay", {"pin": 918273, "amount": 1717, "token": "hunter2"})

    async def write(store):
        log = SessionLog(store, "s", POLICY, 10, NAMED)
        head = await log.decision(call, allowed)
        await log.outcome(head, "token: hunter2")
        log.note((("said", "pin=918273 left=3"),))
        await log.end("closed")

    with AuditStore.open(path) as store:
        asyncio.run(write(store))
        files = [one.read_bytes() for one in path.parent.iterdir()]
    for secret in (b"hunter2", b"918273"):
        assert not any(secret in data for data in files)
    decision, outcome, note, _ = records(path)
    assert decision.request == "call pay(pin=[redacted], amount=1717, token=[redacted])"
    assert decision.detail == (("reason", "token=[redacted] may be used by Ann"),)
    assert outcome.outcome == "token: [redacted]"
    assert note.detail == (("said", "pin=[redacted] left=3"),)
    assert verify(path).whole


def test_without_names_a_draft_is_the_same_object():
    plain = draft(Event.OUTCOME, outcome="pin=1")
    assert withheld(plain, NO_REDACTION) is plain
