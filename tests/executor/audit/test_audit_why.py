"""
`codecage audit why`: what one decision was, told from the record and the policy's own line.
"""

import json

import pytest
from audit_world import SESSION, draft
from review_world import OTHER, asked, fill, run, world

from executor.audit.record import UNKNOWN, Answer, Event, Origin
from policy.parse import load

POLICY = """\
version: 1
name: notebook
image: core
filesystem:
  - {mount: /data, source: ./data, access: read, deny: ["keys/**"]}
network: none
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("why") / "state" / "audit.sqlite3"
    fill(path, world())
    return path


@pytest.fixture
def policy_file(tmp_path):
    (tmp_path / "data").mkdir()
    file = tmp_path / "notebook.yaml"
    file.write_text(POLICY)
    return file


def told(log, capsys, *arguments):
    assert run("why", *arguments, "--audit", log) == 0
    return capsys.readouterr().out


def test_a_denial_is_told_with_who_asked_what_decided_and_what_the_agent_heard(log, capsys):
    assert told(log, capsys, SESSION, 6).splitlines() == [
        "Record 6, 2025-12-17T19:33:25.123Z.",
        f"Asked:   read /data/keys/id.pem, by cell 1 of session {SESSION}.",
        "Decided: denied, by rule filesystem[0] at notebook.yaml:14, of policy notebook (digest -).",
        "Reason:  the agent was told: because of it",
        "Then:    nothing was done, for it was denied.",
    ]


@pytest.mark.parametrize("sequence", [7, 8])
def test_an_allowed_act_is_told_with_what_came_of_it_by_either_number(log, capsys, sequence):
    lines = told(log, capsys, SESSION[:8], sequence).splitlines()
    assert lines[0].startswith("Record 7,")
    assert lines[2].startswith("Decided: allowed, by rule filesystem[0] at notebook.yaml:12,")
    assert lines[3] == "Reason:  because of it"
    assert lines[4] == "Then:    it failed with ECONNRESET (30 bytes), record 8."


def test_what_belongs_to_no_session_is_found_under_none_alone(log, capsys):
    text = told(log, capsys, "none", 14)
    assert "Asked:   image big, by a client that wanted a session, and got none." in text
    assert run("why", SESSION, 14, "--audit", log) == 1
    assert run("why", "none", 6, "--audit", log) == 1
    assert "there is no record 6 outside of sessions" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("session", "sequence", "message"),
    [
        (OTHER, 6, f"there is no record 6 of session {OTHER}"),
        (SESSION, 99, f"there is no record 99 of session {SESSION}"),
        (SESSION, 3, "record 3 is a cell.start, which nobody decided"),
        ("feedface", 6, "no record of session feedface"),
    ],
)
def test_what_cannot_be_told_is_1_with_a_sentence(log, capsys, session, sequence, message):
    assert run("why", session, sequence, "--audit", log) == 1
    assert message in capsys.readouterr().err


def test_a_supervisors_word_is_told_as_such(log, capsys):
    assert f"session {OTHER} (as the supervisor of the box says)." in told(log, capsys, OTHER, 13)


def decided(policy, **fields):
    place = {"rule_place": "notebook.yaml:5", "rule": "filesystem[0].deny[0]"}
    return [
        draft(Event.SESSION_CREATE, detail=(("policy", "notebook"),)),
        asked("read /data/keys/x", Answer.DENY, policy_digest=policy.digest, **place | fields),
    ]


def test_the_policys_line_is_shown_with_a_caret(path, capsys, policy_file):
    fill(path, decided(load(str(policy_file))))
    lines = told(path, capsys, SESSION, 2, "--policy", policy_file).splitlines()
    shown, caret = lines[3:5]
    assert shown == (
        '              5 |   - {mount: /data, source: ./data, access: read, deny: ["keys/**"]}'
    )
    assert shown[caret.index("^") :] == '"keys/**"]}'


def test_a_line_that_has_moved_since_is_shown_where_it_is_now(path, capsys, policy_file):
    fill(path, decided(load(str(policy_file))))
    policy_file.write_text("# a comment\n" + POLICY)
    text = told(path, capsys, SESSION, 2, "--policy", policy_file)
    assert "              6 |   - {mount: /data," in text
    assert "(it stands at notebook.yaml:6 now)" in text


def test_another_version_of_the_policy_explains_nothing(path, capsys, policy_file):
    fill(path, decided(load(str(policy_file))))
    policy_file.write_text(POLICY.replace("keys/**", "key/**"))
    text = told(path, capsys, SESSION, 2, "--policy", policy_file)
    assert "The policy that was given is another version" in text
    assert "^" not in text
    found = json.loads(told(path, capsys, SESSION, 2, "--json", "--policy", policy_file))
    assert (found["policy_is_the_recorded_one"], found["line"]) == (False, None)


def test_a_rule_that_no_line_holds_is_said_to_hold_for_every_policy(path, capsys, policy_file):
    fill(path, decided(load(str(policy_file)), rule="process", rule_place="notebook.yaml:process"))
    text = told(path, capsys, SESSION, 2, "--policy", policy_file)
    assert "(in no line of the file: it holds for every policy)" in text


def test_a_policy_that_cannot_be_read_is_1(log, capsys, policy_file, tmp_path):
    policy_file.write_text("version: 1\nname: [")
    assert run("why", SESSION, 6, "--policy", policy_file, "--audit", log) == 1
    assert "notebook.yaml:2" in capsys.readouterr().err
    assert run("why", SESSION, 6, "--policy", tmp_path / "none.yaml", "--audit", log) == 1


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (None, "it goes on, or its session was never closed."),
        ({"outcome": "ok", "size": 5}, "it was done (5 bytes), record 3."),
        ({"outcome": UNKNOWN}, "nobody knows, for the server or the connection ended"),
        ({"outcome": "aborted_by_restart"}, "the server was started anew before it was done"),
        (
            {"outcome": "ECONNRESET", "detail": (("status", 200), ("reason", "\x1b[2J"))},
            "it failed with ECONNRESET (status 200): \\x1b[2J, record 3.",
        ),
    ],
)
def test_how_it_ended_is_told(path, capsys, outcome, expected):
    drafts = [draft(Event.SESSION_CREATE), asked("read /data/x")]
    if outcome is not None:
        drafts.append(draft(Event.OUTCOME, refers=2, **outcome))
    fill(path, drafts)
    assert expected in told(path, capsys, SESSION, 2)


def test_what_only_audit_mode_let_pass_is_told_as_such(path, capsys):
    detail = (("reason", "audit mode"), ("would_deny", "filesystem[0].deny[0]"))
    fill(path, [draft(Event.SESSION_CREATE), asked("read /data/keys/x", detail=detail)])
    text = told(path, capsys, SESSION, 2)
    assert "Only audit mode let it pass: rule filesystem[0].deny[0] denies it." in text
    assert run("show", SESSION, "--audit", path) == 0
    assert "allow, would deny" in capsys.readouterr().out


def test_as_json_it_has_the_same_in_fields(log, capsys):
    assert json.loads(told(log, capsys, SESSION, 8, "--json")) == {
        "sequence": 7,
        "session": SESSION,
        "cell": 1,
        "origin": "broker",
        "request": "connect API.Example.com:443",
        "decision": "allow",
        "rule": "filesystem[0]",
        "rule_place": "notebook.yaml:12",
        "policy": "notebook",
        "policy_digest": None,
        "policy_is_the_recorded_one": None,
        "line": None,
        "column": None,
        "text": None,
        "would_deny": None,
        "reason": "because of it",
        "outcome": "ECONNRESET",
        "outcome_sequence": 8,
        "bytes": 30,
        "outcome_detail": {},
    }


def test_a_session_without_a_beginning_is_told_all_the_same(path, capsys):
    fill(path, [asked("read /x", origin=Origin.WORKER)])
    text = told(path, capsys, SESSION, 1)
    assert "(by its own word)." in text
    assert "of the policy (digest -)" in text
