import asyncio
import json
import stat
from dataclasses import replace
from decimal import Decimal

import pytest
import scripted as scripts

from agent_client import (
    AsyncCodeActLoop,
    BareText,
    CodeActLoop,
    Ending,
    InvalidRequest,
    LoopLimits,
    Recorded,
    Reply,
    Wording,
    connect_async,
    load_transcript,
    replay,
    save_transcript,
)
from agent_client.course import Manner, Outcome
from agent_client.transcript import Difference, differences, transcript_of

REPLIES = [
    "<execute>1/0</execute>",
    Reply("<execute>both", cut=False, tokens=7),
    Reply("<execute>half", cut=True),
    "<execute>\ud800</execute>",
    "<execute>print('hi')</execute><solution>no</solution>",
    "It is <solution>4</solution>",
]


def play(session, *replies, **options):
    left = list(replies)
    return CodeActLoop(lambda _: left.pop(0), session, **options).run("the task \N{EURO SIGN}")


def saved(outcome, directory):
    path = directory / "run.jsonl"
    save_transcript(outcome, path)
    return path


def lines_of(path):
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


@pytest.fixture
def outcome(session):
    return play(session, *REPLIES, wording=Wording.CODEACT, bare=BareText.PROBLEM, max_chars=900)


def test_what_is_saved_is_what_is_loaded(outcome, directory):
    path = saved(outcome, directory)
    transcript = load_transcript(path)
    assert transcript == transcript_of(outcome)
    assert transcript.manner == outcome.manner
    assert [turn.status for turn in transcript.turns] == ["error", "ok", "", "", "ok", ""]
    assert (transcript.ending, transcript.answer) == (Ending.ANSWER, "4")


def test_a_file_is_whole_and_its_owners_and_alone(outcome, directory):
    path = saved(outcome, directory)
    path.write_text("something else")
    path = saved(outcome, directory)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in directory.iterdir() if one.name != "sock"] == ["run.jsonl"]
    assert len(lines_of(path)) == 2 + len(REPLIES)


def test_a_file_that_cannot_be_put_in_its_place_leaves_nothing_behind(outcome, directory):
    (directory / "run.jsonl").mkdir()
    with pytest.raises(OSError, match="directory"):
        saved(outcome, directory)
    assert sorted(one.name for one in directory.iterdir()) == ["run.jsonl", "sock"]


def test_no_id_and_no_address_is_in_the_file(cage, directory, server):
    with cage.session(labels={"a": "b"}) as session:
        text = saved(play(session, *REPLIES), directory).read_text()
    assert session.id == "s1"
    assert '"s1"' not in text
    assert server.address not in text
    assert "api" not in text
    first, second, *_, last = lines_of(directory / "run.jsonl")
    assert sorted(first) == [
        "bare",
        "codecage_transcript",
        "cut",
        "max_chars",
        "system",
        "task",
        "wording",
    ]
    assert sorted(second) == sorted(["turn", "reply", "code", "told", "cut", "tokens", "status", "error", "duration", "denied", "tool_calls", "audit_head"])  # fmt: skip
    assert sorted(last) == ["answer", "ending", "tokens"]


@pytest.mark.parametrize("answer", [None, True, "\ud800", 10**3000, 0.5, [1, {"a": [None]}]])
def test_an_answer_that_json_has_a_word_for_is_kept(answer, directory):
    outcome = Outcome("t", Manner("s"), Ending.FINAL_ANSWER, answer, ())
    assert load_transcript(saved(outcome, directory)).answer == answer


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (Decimal("1.50"), "Decimal('1.50')"),
        ((1, 2), "(1, 2)"),
        ({1: 2}, "{1: 2}"),
        ([b"x"], "[b'x']"),
        (float("inf"), "inf"),
        pytest.param(10**5000, "<int with a number too long to be shown>", id="long"),
    ],
)
def test_any_other_answer_is_kept_as_its_repr(answer, kept, directory):
    outcome = Outcome("t", Manner("s"), Ending.FINAL_ANSWER, answer, ())
    path = saved(outcome, directory)
    assert lines_of(path)[-1] == {"ending": "final_answer", "tokens": None, "answer_repr": kept}
    assert load_transcript(path).answer == kept


@pytest.mark.parametrize("wording", Wording)
def test_a_replay_of_the_same_code_has_no_differences(session, directory, wording, server):
    outcome = play(session, *REPLIES, wording=wording, limits=LoopLimits(turns=9))
    ran = len(server.executed)
    again = replay(load_transcript(saved(outcome, directory)), session)
    assert again.differences == ()
    assert again.outcome.answer == outcome.answer
    assert len(server.executed) == 2 * ran == 6


@pytest.mark.parametrize(
    "replies", [["<execute>die</execute>"], ["<execute>final_answer(42)</execute>"]]
)
def test_other_endings_are_replayed_as_well(session, replies):
    outcome = play(session, *replies)
    assert replay(transcript_of(outcome), session).differences == ()


def test_code_that_came_too_late_is_not_run_by_a_replay(session, server):
    times = iter([0, 1, 2, 3, 4, 61])
    limits = LoopLimits(seconds=60)
    code = "<execute>2 + 2</execute>"
    outcome = play(session, code, code, limits=limits, clock=lambda: next(times))
    assert outcome.ending is Ending.TIME
    ran = len(server.executed)
    assert replay(transcript_of(outcome), session).differences == ()
    assert len(server.executed) == 2 * ran == 2


def test_a_replay_says_where_it_went_another_way(session, monkeypatch):
    transcript = transcript_of(play(session, "<execute>2 + 2</execute>", "4"))
    monkeypatch.setitem(scripts.SCRIPTS, "2 + 2", scripts.SCRIPTS["late"])
    late = "half\n[timed out after 10 s; the session's variables are kept]"
    assert replay(transcript, session).differences == (
        Difference(1, "status", "ok", "timed_out"),
        Difference(1, "told", "4", late),
    )


def test_a_replay_that_ends_early_says_so(session):
    outcome = play(session, "<execute>2 + 2</execute>", "<execute>pass</execute>", "4")
    shorter = replace(outcome, turns=outcome.turns[:2], ending=Ending.SESSION_LOST, answer=None)
    assert differences(transcript_of(outcome), shorter) == (
        Difference(0, "ending", Ending.ANSWER, Ending.SESSION_LOST),
        Difference(0, "answer", "4", None),
    )
    assert differences(transcript_of(outcome), replace(outcome, turns=outcome.turns[:1]))[0] == (
        Difference(2, "code", "pass", None)
    )


def test_a_recorded_model_plays_to_an_asyncio_loop_as_well(outcome, server):
    transcript = transcript_of(outcome)
    manner = transcript.manner

    async def again():
        async with connect_async(server.address) as cage, cage.session() as session:
            return await AsyncCodeActLoop(
                Recorded(transcript),
                session,
                wording=manner.wording,
                bare=manner.bare,
                max_chars=manner.max_chars,
            ).run(transcript.task)

    assert differences(transcript, asyncio.run(again())) == ()


def test_a_recorded_model_has_an_end(outcome):
    model = Recorded(transcript_of(outcome))
    said = [model([]) for _ in REPLIES]
    assert said[1] == REPLIES[1]
    with pytest.raises(InvalidRequest, match="has 6 replies, and one more was asked"):
        model([])


HEAD = {"codecage_transcript": 1, "task": "t", "system": "", "wording": "plain", "bare": "answer", "max_chars": 500}  # fmt: skip
TURN = {"turn": 1, "reply": "r", "code": None, "told": "", "cut": False, "tokens": None}
END = {"ending": "answer", "answer": "r", "tokens": None}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "no transcript of format 1"),
        ([HEAD], "no transcript of format 1"),
        ([{**HEAD, "codecage_transcript": 2}, END], "no transcript of format 1"),
        ([HEAD, "text", END], "line 2 of the transcript is no JSON object"),
        ([HEAD, TURN], "no whole transcript: KeyError"),
        ([{**HEAD, "wording": "loud"}, END], "no whole transcript: ValueError"),
        ([{**HEAD, "max_chars": 4}, END], "max_chars is 4"),
        ([HEAD, {**TURN, "reply": 4}, END], "reply is not a text"),
        ([HEAD, TURN, {**END, "ending": "never"}], "no whole transcript: ValueError"),
    ],
)
def test_a_file_that_is_no_transcript_is_refused(lines, said, tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(InvalidRequest, match=said):
        load_transcript(path)


def test_a_file_of_bytes_or_nesting_is_refused(tmp_path):
    path = tmp_path / "run.jsonl"
    for content in (b"\xff\x00", b"[" * 100_000, b"{}\x1c{}"):
        path.write_bytes(content)
        with pytest.raises(InvalidRequest, match="no JSON object|no transcript"):
            load_transcript(path)
