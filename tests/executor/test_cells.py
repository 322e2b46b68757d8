import asyncio

from executor.audit.record import Head
from executor.sessions.cells import KEPT, CellLog
from executor.sessions.events import (
    CellStatus,
    Display,
    Ended,
    Numbered,
    Output,
    Started,
    Stream,
    Usage,
    Value,
)

END = Ended(CellStatus.OK, Usage(0, 0, 0, 0, 0, False, 0, 0, 0, 0), Head(1, bytes(32)))
OUT, ERR = Stream.STDOUT, Stream.STDERR


def new_log() -> tuple[CellLog, list[str]]:
    calls: list[str] = []
    return CellLog(lambda: calls.append("left"), lambda: calls.append("back")), calls


async def everything(log: CellLog, after: int = 0) -> list[Numbered]:
    with log.read(after) as reader:
        return [found async for found in reader]


def test_events_are_numbered_and_can_be_read_again():
    async def scenario():
        log, _ = new_log()
        for event in (Started("s", 1), Output(OUT, b"a"), Value("1", 1, truncated=False), END):
            await log.add(event)
        found = await everything(log)
        assert [one.sequence for one in found] == [1, 2, 3, 4]
        assert await everything(log) == found
        assert await everything(log, 2) == found[2:]
        assert await everything(log, 99) == []

    asyncio.run(scenario())


def test_output_that_nobody_has_yet_is_joined_and_streams_are_not_mixed():
    async def scenario():
        log, _ = new_log()
        for stream, data in ((OUT, b"a"), (OUT, b"b"), (ERR, b"c"), (OUT, b"d")):
            await log.add(Output(stream, data))
        await log.add(END)
        found = [one.event for one in await everything(log)]
        assert found[:3] == [Output(OUT, b"ab"), Output(ERR, b"c"), Output(OUT, b"d")]

    asyncio.run(scenario())


async def groups(log: CellLog, hold: float) -> list[list[int]]:
    found = []
    with log.read() as reader:
        while group := await reader.group(hold):
            found.append([one.sequence for one in group])
    return found


def test_the_events_of_a_cell_that_ends_at_once_are_one_group():
    async def scenario():
        log, _ = new_log()
        reading = asyncio.ensure_future(groups(log, 60))
        for event in (Started("s", 1), Output(OUT, b"a"), Value("1", 1, truncated=False), END):
            await log.add(event)
            await asyncio.sleep(0)
        assert await reading == [[1, 2, 3, 4]]

    asyncio.run(scenario())


def test_without_an_end_the_first_group_goes_out_when_its_time_is_over():
    async def scenario():
        log, _ = new_log()
        with log.read() as reader:
            await log.add(Started("s", 1))
            assert [one.sequence for one in await reader.group(0)] == [1]
            later = asyncio.ensure_future(reader.group(0))
            await log.add(Output(OUT, b"a"))
            assert [one.sequence for one in await later] == [2]

    asyncio.run(scenario())


def test_much_output_is_not_held_back_and_a_group_is_no_longer_than_a_message():
    async def scenario():
        log, _ = new_log()
        reading = asyncio.ensure_future(groups(log, 60))
        for stream in (OUT, ERR, OUT):
            await log.add(Output(stream, b"x" * 600_000))
        await log.add(END)
        assert await reading == [[1], [2], [3, 4]]

    asyncio.run(scenario())


def test_output_that_somebody_has_is_never_changed():
    async def scenario():
        log, _ = new_log()
        await log.add(Output(OUT, b"a"))
        with log.read() as reader:
            events = aiter(reader)
            assert (await anext(events)).event == Output(OUT, b"a")
            await log.add(Output(OUT, b"b"))
            assert await anext(events) == Numbered(2, Output(OUT, b"b"))

    asyncio.run(scenario())


def test_a_display_stands_between_outputs_that_would_be_joined():
    async def scenario():
        log, _ = new_log()
        picture = Display({"image/png": b"x"})
        for event in (Output(OUT, b"a"), picture, Output(OUT, b"b"), END):
            await log.add(event)
        found = [one.event for one in await everything(log)]
        assert found == [Output(OUT, b"a"), picture, Output(OUT, b"b"), END]

    asyncio.run(scenario())


def test_displays_that_nobody_reads_are_dropped_from_the_oldest():
    async def scenario():
        log, _ = new_log()
        await log.add(Started("s", 1))
        for number in range(20):
            await log.add(Display({"image/png": bytes([number]) * 2**20}))
            assert log._size <= KEPT
        await log.add(END)
        found = await everything(log)
        shown = [one.event.forms["image/png"][0] for one in found if isinstance(one.event, Display)]
        assert shown == [17, 18, 19]
        assert (found[0].event, found[-1].event) == (Started("s", 1), END)

    asyncio.run(scenario())


def test_a_million_small_outputs_nobody_reads_cost_a_bounded_log():
    async def scenario():
        log, _ = new_log()
        for number in range(100_000):
            await log.add(Output(OUT if number % 2 else ERR, b"x" * 100))
            assert log._size <= KEPT + 2**10
        await log.add(END)
        found = await everything(log)
        assert found[0].sequence > 1
        assert found[-1].sequence == 100_001
        assert len(found) < 10_000

    asyncio.run(scenario())


def test_writing_waits_for_the_slowest_reader():
    async def scenario():
        log, _ = new_log()
        with log.read() as slow, log.read() as quick:
            events = aiter(quick)
            writing = asyncio.ensure_future(fill(log, 8))
            for _ in range(4):
                await anext(events)
            assert not writing.done()
            assert (await anext(aiter(slow))).sequence == 1
            assert not writing.done()
            slow.close()
            quick.close()
            await writing

    asyncio.run(scenario())


async def fill(log: CellLog, megabytes: int) -> None:
    for number in range(megabytes):
        await log.add(Output(OUT if number % 2 else ERR, bytes(2**20)))


def test_a_cell_that_is_stopped_does_not_wait_for_its_reader():
    async def scenario():
        log, _ = new_log()
        with log.read():
            writing = asyncio.ensure_future(fill(log, 20))
            await asyncio.sleep(0)
            assert not writing.done()
            log.stop_waiting()
            await writing
            assert log._size <= KEPT

    asyncio.run(scenario())


def test_the_beginning_and_the_end_are_never_dropped():
    async def scenario():
        log, _ = new_log()
        await log.add(Started("s", 1))
        await fill(log, 9)
        await log.add(END)
        found = await everything(log)
        assert (found[0].event, found[-1].event) == (Started("s", 1), END)

    asyncio.run(scenario())


def test_the_last_reader_to_leave_is_told_of_once():
    async def scenario():
        log, calls = new_log()
        first, second = log.read(), log.read()
        first.close()
        first.close()
        assert calls == ["back", "back"]
        second.close()
        assert calls == ["back", "back", "left"]

    asyncio.run(scenario())
