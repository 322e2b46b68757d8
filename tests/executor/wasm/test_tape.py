"""
The tape: what was put on it comes from it again, in the same order and for the same questions.
"""

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.wasm.tape import (
    FLUSH_BYTES,
    Diverged,
    Input,
    ReplayedTape,
    Tape,
    put_varint,
    take_varint,
)

CLOCKS = (Input.WALL, Input.MONOTONIC, Input.CPU, Input.WAITED)
NUMBERS = st.tuples(st.sampled_from([one for one in Input if one is not Input.RECEIVE]), st.integers(-(2**62), 2**62))  # fmt: skip
BYTES = st.tuples(st.just(Input.RECEIVE), st.none() | st.binary(max_size=300))


def recorded(entries):
    sent = []
    tape = Tape(sent.append)
    for kind, value in entries:
        put(tape, kind, value)
    return b"".join(sent) + tape.flush()


def put(tape, kind, value):
    if kind is Input.RECEIVE:
        return tape.bytes_of(kind, lambda: value)
    return tape.number(kind, lambda: value)


def never():
    raise AssertionError("a replay asked the host")


def replaying(data, *, live=False):
    tape = ReplayedTape(lambda _: None)
    tape.feed(data, live=live)
    tape.begin_segment()
    return tape


def get(tape, kind):
    return (tape.bytes_of if kind is Input.RECEIVE else tape.number)(kind, never)


@given(st.lists(NUMBERS | BYTES, max_size=60))
def test_what_was_recorded_is_given_again_and_told_again(entries):
    data = recorded(entries)
    tape = replaying(data)
    assert [(kind, get(tape, kind)) for kind, _ in entries] == entries
    assert tape.flush() == data
    tape.begin_segment()


@given(st.integers(-(2**100), 2**100))
def test_a_number_is_read_as_it_was_written(value):
    data = bytearray()
    put_varint(data, value)
    assert take_varint(bytes(data), 0) == (value, len(data))


def test_a_clock_costs_few_bytes():
    start = 1_790_000_000 * 10**9
    data = recorded([(Input.WALL, start + number * 10**6) for number in range(1000)])
    assert len(data) < 5 * 1000 + 10


def test_another_question_than_the_recorded_one_diverges():
    tape = replaying(recorded([(Input.WALL, 5)]))
    with pytest.raises(Diverged, match="asked for CPU, and the record has WALL"):
        tape.number(Input.CPU, never)


def test_a_question_beyond_the_record_diverges():
    with pytest.raises(Diverged, match="nothing more"):
        replaying(b"").number(Input.WALL, never)


def test_what_nobody_asked_for_diverges_with_the_next_segment():
    tape = replaying(recorded([(Input.WALL, 5), (Input.CPU, 6)]))
    assert tape.number(Input.WALL, never) == 5
    with pytest.raises(Diverged, match="nothing has asked for"):
        tape.begin_segment()


@given(st.lists(NUMBERS | BYTES, max_size=8), st.integers(0), st.binary(max_size=4))
def test_any_bytes_diverge_or_are_given_as_they_are_told_again(entries, place, noise):
    whole = recorded(entries)
    place %= len(whole) + 1
    tape = replaying(whole[:place] + noise + whole[place + len(noise) :])
    given_first = taken(tape, [kind for kind, _ in entries])
    told = tape.flush()
    assert told == recorded(given_first)
    assert taken(replaying(told), [kind for kind, _ in given_first]) == given_first


def taken(tape, kinds):
    """
    What the tape gives for these questions, up to the first that diverges.
    """
    answers = []
    with contextlib.suppress(Diverged):
        for kind in kinds:
            answers.append((kind, get(tape, kind)))  # noqa: PERF401 - those before are kept
    return answers


def test_a_tape_that_is_cut_off_diverges():
    data = recorded([(Input.RECEIVE, b"hello")])
    for end in range(len(data)):
        with pytest.raises(Diverged):
            replaying(data[:end]).bytes_of(Input.RECEIVE, never)


def test_much_is_sent_before_the_end():
    sent = []
    tape = Tape(sent.append)
    tape.bytes_of(Input.RECEIVE, lambda: bytes(FLUSH_BYTES))
    assert len(sent) == 1
    assert tape.flush() == b""


def test_a_live_tape_goes_on_from_the_last_time_that_the_record_has():
    data = recorded([(kind, 10**12) for kind in CLOCKS])
    tape = replaying(data, live=True)
    for kind in CLOCKS:
        assert tape.number(kind, never) == 10**12
    before = time.monotonic_ns()
    first = tape.number(Input.MONOTONIC, never)
    assert first >= 10**12
    assert tape.number(Input.MONOTONIC, never) >= first
    assert first - 10**12 <= time.monotonic_ns() - before + 60 * 10**9
    assert tape.number(Input.SEND, lambda: -1) == -1
    assert tape.bytes_of(Input.RECEIVE, lambda: b"") == b""
