"""
Displays on their way through the server: joined, counted with the output, recorded by their size.
"""

import pytest

from codecage.v1 import codecage_pb2 as pb
from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.audit.record import Event
from executor.errors import ProtocolBroken
from executor.kernel.bundles import BUNDLE_COST, BUNDLE_MAX, FORMS_MAX
from executor.sessions.displays import PARTS_MAX, Joiner
from tests.executor.fakes.harness import ended, policy
from tests.executor.fakes.served import OK, serving

SHOW = "def show(forms, more=False): frame(display=wire.Display(data=forms, more=more))\n"
PART = BUNDLE_MAX // 3


def part(forms, *, more=False):
    return frames_pb2.Display(data=forms, more=more)


def broken(joiner, forms, **options):
    with pytest.raises(ProtocolBroken):
        joiner.add(part(forms, **options))


def shown(events):
    return [dict(event.display.data) for event in events if event.HasField("display")]


# ---- joining -------------------------------------------------------------------------------------


def test_a_bundle_in_one_part_is_whole_at_once():
    joiner = Joiner()
    assert joiner.add(part({"a/b": b"1", "c/d": b""})) == {"a/b": b"1", "c/d": b""}
    assert not joiner.is_open


def test_a_form_goes_on_where_it_stopped_and_the_next_bundle_begins_anew():
    joiner = Joiner()
    assert joiner.add(part({"a/b": b"12"}, more=True)) is None
    assert joiner.is_open
    assert joiner.add(part({"a/b": b"3", "c/d": b"4"})) == {"a/b": b"123", "c/d": b"4"}
    assert joiner.add(part({"a/b": b"5"})) == {"a/b": b"5"}


def test_as_many_parts_as_a_bundle_can_need_are_taken_and_one_more_is_not():
    joiner = Joiner()
    for _ in range(PARTS_MAX - 1):
        joiner.add(part({"a/b": b""}, more=True))
    assert joiner.add(part({"a/b": b"x"})) == {"a/b": b"x"}
    for _ in range(PARTS_MAX):
        joiner.add(part({"a/b": b""}, more=True))
    broken(joiner, {"a/b": b"x"})


def test_the_largest_bundle_is_taken_and_one_byte_more_is_not():
    joiner = Joiner()
    for _ in range(2):
        joiner.add(part({"a/b": bytes(PART)}, more=True))
    assert joiner.add(part({"a/b": bytes(PART)})) == {"a/b": bytes(BUNDLE_MAX)}
    for _ in range(2):
        joiner.add(part({"a/b": bytes(PART)}, more=True))
    broken(joiner, {"c/d": bytes(PART + 1)})


def test_as_many_forms_as_allowed_are_taken_and_one_more_is_not():
    forms = {f"a/{number}": b"" for number in range(FORMS_MAX)}
    assert Joiner().add(part(forms)) == forms
    broken(Joiner(), forms | {"b/c": b""})
    broken(Joiner(), {})


@pytest.mark.parametrize("name", ["", "png", "Image/png", "image/png; q=1", "a/../b", "a/b\n"])
def test_a_form_needs_a_media_type(name):
    with pytest.raises(ProtocolBroken, match="has no media type"):
        Joiner().add(part({name: b"x"}))
    assert Joiner().add(part({"image/png": b"x"})) == {"image/png": b"x"}


# ---- through the service -------------------------------------------------------------------------


def test_displays_are_events_between_the_outputs_around_them(tmp_path):
    async def scenario(server):
        code = SHOW + (
            "print('before')\n"
            "show({'image/png': b'12', 'text/plain': b'a'}, more=True)\n"
            "show({'image/png': b'3'})\n"
            "print('after')\n"
        )
        events = await server.run(await server.create(), code)
        kinds = [event.WhichOneof("event") for event in events]
        assert kinds == ["started", "output", "display", "output", "ended"]
        assert shown(events) == [{"image/png": b"123", "text/plain": b"a"}]
        assert [event.sequence for event in events] == [1, 2, 3, 4, 5]

    serving(tmp_path, scenario)


@pytest.mark.parametrize(("spare", "fits"), [(0, True), (-1, False)])
def test_the_limit_holds_for_displays_and_output_together(tmp_path, spare, fits):
    room = 2048 - len("hello\n") - BUNDLE_COST - len("a/b")

    async def scenario(server):
        code = f"{SHOW}print('hello')\nshow({{'a/b': bytes({room - spare})}})\nprint('more')"
        session = await server.create("test")
        events = await server.run(session, code)
        usage = ended(events).usage
        assert len(shown(events)) == fits
        assert usage.output_truncated
        assert usage.stdout_bytes == len("hello\nmore\n")
        assert b"".join(event.output.data for event in events) == b"hello\n"
        record = server.records(session)[-1]
        detail = dict(record.detail)
        assert (record.event, record.outcome) == (Event.CELL_END, "ok")
        assert (detail["displays"], detail["displayed"]) == (int(fits), 2048 - 6 - spare)

    serving(tmp_path, scenario, [policy("limits: {output: 2Ki}\n")])


def test_a_cell_that_shows_nothing_is_recorded_with_none(tmp_path):
    async def scenario(server):
        session = await server.create()
        assert ended(await server.run(session, "1")).status == OK
        detail = dict(server.records(session)[-1].detail)
        assert (detail["displays"], detail["displayed"]) == (0, 0)

    serving(tmp_path, scenario)


def test_a_display_can_be_read_again_by_who_comes_back(tmp_path):
    async def scenario(server):
        session = await server.create()
        first = await server.run(session, f"{SHOW}show({{'image/png': b'x'}})")
        request = pb.AttachRequest(session_id=session, cell=1, after_sequence=1)
        again = [event async for event in server.stub.Attach(request)]
        assert again == first[1:]

    serving(tmp_path, scenario)
