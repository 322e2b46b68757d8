"""
The steps of a captured session: events that are none of a session's are told.
"""

import pytest
from replay_world import ANSWER, ASK, BEGIN, CALL, DONE, RUN, inputs, numbered, output

from codecage.worker.v1 import worker_pb2 as wire
from executor.replay.errors import CaptureInvalid
from executor.replay.player import Differs, _compare
from executor.replay.steps import Show, steps


def test_a_session_is_its_begin_and_its_cells():
    begin, cell = steps(numbered(BEGIN, RUN, ASK, ANSWER, output(b"1"), DONE))
    assert begin.is_begin
    assert (cell.cell, cell.event, cell.ended) == (1, 3, 7)
    assert [(one.event, one.answer.errno) for one in cell.asked] == [(4, 2)]


def test_when_output_was_flushed_does_not_matter_and_its_order_does():
    def shown(*parts):
        return steps(numbered(BEGIN, RUN, *parts, DONE))[1].shown.parts

    whole = shown(output(b"ab"), output(b"c", 2), output(b"d"))
    assert whole == shown(output(b"a"), output(b"b"), output(b"c", 2), output(b"d"))
    assert whole == [(Show.STDOUT, b"ab"), (Show.STDERR, b"c"), (Show.STDOUT, b"d")]
    assert whole != shown(output(b"ab"), output(b"d"), output(b"c", 2))
    # An ask for a file may come before or after; a tool's call is seen in its place.
    assert shown(output(b"a"), ASK, ANSWER, output(b"b")) == [(Show.STDOUT, b"ab")]
    assert len(shown(output(b"a"), CALL, ANSWER, output(b"b"))) == 3


def test_inputs_go_to_the_step_that_they_were_told_in():
    begin, cell = steps(numbered(BEGIN, RUN, inputs(0, b"x"), inputs(1, b"y"), DONE))
    assert (bytes(begin.inputs), bytes(cell.inputs)) == (b"x", b"y")


@pytest.mark.parametrize(
    "frames",
    [
        (),
        (RUN, DONE),
        (BEGIN, RUN, BEGIN),
        (BEGIN, RUN, RUN),
        (BEGIN, RUN, DONE, output(b"late")),
        (BEGIN, ANSWER),
        (BEGIN, RUN, ASK, ASK),
        (BEGIN, RUN, ASK, ANSWER, ANSWER),
        (BEGIN, inputs(1, b"x")),
        (output(b"x"), BEGIN),
        (ANSWER, BEGIN),
    ],
)
def test_what_is_no_session_is_told(frames):
    with pytest.raises(CaptureInvalid):
        steps(numbered(*frames))


@pytest.mark.parametrize(
    ("came", "expected"),
    [
        ((ASK, ANSWER, output(b"1"), DONE), None),
        ((ASK, ANSWER, output(b"2"), DONE), "stdout with b'1' at byte 0"),
        ((ASK, ANSWER, output(b"1", 2), DONE), "stdout with b'1' at byte 0"),
        ((ASK, ANSWER, DONE), "stdout with b'1' at byte 0"),
        ((ASK, ANSWER, output(b"1"), CALL, ANSWER, DONE), "no more output"),
        ((output(b"1"), DONE), "the ask stat"),
        ((ASK, ANSWER, output(b"1"), wire.FromWorker(done=wire.CellDone())), "the end"),
    ],
)
def test_what_differs_first_is_named(came, expected):
    step = steps(numbered(BEGIN, RUN, ASK, ANSWER, output(b"1"), DONE))[1]
    other = steps(numbered(BEGIN, RUN, *came))[1]
    if expected is None:
        _compare(step, other)
        return
    with pytest.raises(Differs) as told:
        _compare(step, other)
    assert told.value.expected.startswith(expected)
    assert told.value.cell == 1
