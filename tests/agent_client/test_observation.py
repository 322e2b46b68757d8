import pytest
import scripted as scripts
from hypothesis import given
from hypothesis import strategies as st

import agent_client
from agent_client import Status, Stream
from agent_client.observation import MIN_MAX_CHARS, Cut, shortened


def text_of(session, code, **options):
    return session.run(code, **options).text


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("2 + 2", "4"),
        ("pass", "[no output]"),
        ("print('hi')", "hi"),
        ("both", "out 1\nerr 1\nout 2\n'v'"),
        (
            "1/0",
            "before\n" + scripts.ERROR.traceback.rstrip(),
        ),
        ("big", "x" * 100 + "\n[output truncated: 100 of 5,000,000 bytes shown]"),
        ("long value", "[0, 1\n[value truncated: 5 of 1,000 characters shown]"),
        ("late", "half\n[timed out after 10 s; the session's variables are kept]"),
        ("burn", "[stopped after 0.005 s of CPU time; the session's variables are kept]"),
        ("exit(0)", "[exit(0) ended the cell; the session's variables are kept]"),
        ("exit(3)", "[exit(3) ended the cell; the session's variables are kept]"),
        (
            "die",
            "last words\n[the session is lost: its memory limit was reached; open a new one]",
        ),
    ],
)
def test_text_is_what_a_model_reads_next(session, code, text):
    assert text_of(session, code) == text


def test_fields_of_a_cell_that_went_well(session):
    observation = session.run("both")
    assert observation.ok
    assert observation.status is Status.OK
    assert observation.stdout == "out 1\nout 2\n"
    assert observation.stderr == "err 1\n"
    assert observation.chunks == (
        (Stream.STDOUT, "out 1\n"),
        (Stream.STDERR, "err 1\n"),
        (Stream.STDOUT, "out 2\n"),
    )
    assert (observation.value, observation.error, observation.truncated) == ("'v'", None, False)
    assert (observation.duration, observation.cpu_time) == (10.02, 0.005)
    assert (observation.peak_memory, observation.requests, observation.denied) == (1 << 20, 3, 1)
    assert str(observation.audit_head) == "7:abcd"
    assert not observation.session_lost


def test_fields_of_a_cell_that_raised(session):
    observation = session.run("1/0")
    assert not observation.ok
    assert observation.status is Status.ERROR
    assert observation.error.name == "ZeroDivisionError"
    assert observation.error.message == "division by zero"
    assert observation.stdout == "before\n"


def test_a_lost_session_is_told_by_a_field(session):
    observation = session.run("die")
    assert observation.session_lost
    assert observation.status is Status.WORKER_LOST
    assert observation.reason == "its memory limit was reached"
    assert not observation.ok


@pytest.mark.parametrize(("code", "ok"), [("exit(0)", True), ("exit(3)", False)])
def test_exit_with_0_is_an_end_like_any_other_and_exit_with_3_is_not(session, code, ok):
    assert session.run(code).ok is ok


def test_bytes_are_decoded_across_cuts_and_by_stream(session):
    observation = session.run("utf8")
    assert observation.stdout == "\N{EURO SIGN} \\xff\n\\xe2"
    assert observation.stderr == "\\xff"


def test_output_that_looks_like_a_protocol_stays_in_its_field(session):
    observation = session.run("escapes")
    assert observation.stdout == '\x1b]52;c;ZXZpbA==\x07\x1b[2J\x00RESULT {"status": "ok"}\n'
    assert observation.stderr == ""
    assert observation.value == "'\x1b[31m'"


def test_an_end_of_an_unknown_kind_is_not_taken_for_success(session):
    observation = session.run("newer")
    assert observation.status is Status.ERROR
    assert not observation.ok
    assert observation.stderr == "?"


def test_events_without_an_end_are_an_error_of_the_server(session):
    with pytest.raises(agent_client.ServerUnavailable, match="before the cell's end") as caught:
        session.run("cut off")
    assert caught.value.chunks == ((Stream.STDOUT, "then nothing"),)


def test_a_long_text_loses_its_middle_and_says_how_much(session):
    code = "a" * 15_000 + "z" * 15_000
    text = text_of(session, code)
    assert len(text) == 20_000
    head, _, rest = text.partition("\n[... ")
    cut, _, tail = rest.partition(" characters cut here ...]\n")
    assert set(head) == {"a"}
    assert set(tail) == {"z"}
    assert int(cut.replace(",", "")) == 30_000 - len(head) - len(tail)


def test_a_text_that_just_fits_is_not_cut(session):
    assert text_of(session, "a" * 20_000) == "a" * 20_000


def test_marks_survive_the_cut(session):
    text = session.run("late").render(MIN_MAX_CHARS)
    assert text.endswith("[timed out after 10 s; the session's variables are kept]")


def test_max_chars_below_the_least_is_refused_before_anything_runs(session, server):
    with pytest.raises(agent_client.InvalidRequest, match="max_chars is 499; 500 or more"):
        session.run("2 + 2", max_chars=499)
    assert server.executed == []


@given(st.text(max_size=3000), st.integers(0, 2000))
def test_what_is_shortened_never_gives_more_than_asked(text, limit):
    cut = shortened(text, limit, Cut.MIDDLE)
    gap = len(f"\n[... {len(text):,} characters cut here ...]\n")
    assert len(cut) <= max(limit, gap)
    assert cut == text if len(text) <= limit else " characters cut here ...]" in cut


def test_a_text_may_lose_all_but_its_head_or_nothing(session):
    whole = "".join(f"line {number}\n" for number in range(1000))
    head = shortened(whole, 600, Cut.HEAD)
    assert len(head) <= 600
    assert whole.startswith(head.split("\n[... ")[0])
    assert head.endswith(" characters cut here ...]\n")
    assert shortened(whole, 600, Cut.NONE) == whole
    text = session.run("late").render(MIN_MAX_CHARS, cut=Cut.HEAD)
    assert text.endswith("[timed out after 10 s; the session's variables are kept]")
