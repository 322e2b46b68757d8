"""
Cells that follow each other on one stream, as the two clients have them.
"""

import asyncio
import threading
import time
import weakref
from contextlib import contextmanager

import pytest
import scripted as scripts

import agent_client
from agent_client import streams
from agent_client.errors import CellRunning, SessionNotFound
from codecage.v1 import codecage_pb2 as pb
from tests.servers.relay import Relay


@pytest.fixture(scope="module")
def real_cage():
    with agent_client.connect() as cage:
        yield cage


class Awaited:
    """
    The client for asyncio, asked as the other one is.
    """

    def __init__(self, loop, thing):
        self._loop = loop
        self._thing = thing

    def __getattr__(self, name):
        found = getattr(self._thing, name)
        if not asyncio.iscoroutinefunction(found):
            return found
        return lambda *args, **named: self._loop.run_until_complete(found(*args, **named))


@contextmanager
def sessions(address, kind, count=1):
    """
    A connection, and new sessions of it; the sessions stay.
    """
    if kind == "sync":
        with agent_client.connect(address) as cage:
            yield cage, *(cage.session() for _ in range(count))
        return
    loop = asyncio.new_event_loop()
    cage = loop.run_until_complete(agent_client.connect_async(address).open())
    try:
        opened = [loop.run_until_complete(cage.session().__aenter__()) for _ in range(count)]
        yield Awaited(loop, cage), *(Awaited(loop, one) for one in opened)
    finally:
        loop.run_until_complete(cage.close())
        loop.close()


both = pytest.mark.parametrize("kind", ["sync", "asyncio"])


ENDLESS = "print('on', flush=True)\nwhile True: pass"


def waiting(cage):
    return dict(cage.streams._waiting)


def running(session):
    """
    The further events of a cell that runs for ever, and does so by now.
    """
    events = session.stream(ENDLESS)
    while not isinstance(next(events), agent_client.Output):
        pass
    return events


@pytest.mark.image
@both
def test_from_the_second_cell_on_one_stream_is_used_again(real_cage, kind):
    with sessions(real_cage.address, kind) as (cage, session):
        assert session.run("x = 1\nx").value == "1"
        assert waiting(cage) == {}
        assert session.run("x + 1").value == "2"
        (stream,) = waiting(cage).values()
        assert session.run("1/0").error.name == "ZeroDivisionError"
        assert session.run("raise SystemExit(3)").status.value == "exited"
        assert session.run("x + 2", keep=60).value == "3"
        assert waiting(cage) == {session.id: stream}
        session.close()
        assert waiting(cage) == {}


@pytest.mark.image
@both
def test_a_cell_that_is_refused_is_the_same_error_and_the_next_one_runs(real_cage, kind):
    other = agent_client.connect(real_cage.address)
    with other, sessions(real_cage.address, kind) as (_, session):
        session.run("1")
        session.run("2")
        beside = other.attach(session.id)
        events = running(beside)
        with pytest.raises(CellRunning):
            session.run("3")
        assert session.interrupt() is True
        assert list(events)[-1].status.value == "interrupted"
        assert session.run("4").value == "4"


@pytest.mark.image
@both
def test_two_clients_of_a_session_in_turn_run_each_cell_once(real_cage, kind):
    with (
        sessions(real_cage.address, kind) as (_, first),
        agent_client.connect(real_cage.address) as other,
    ):
        second = other.attach(first.id)
        first.run("ran = []")
        for number in range(40):
            one = (first, second)[number % 2]
            assert one.run(f"ran.append({number})").ok
        assert first.run("ran == list(range(40))").value == "True"
        second.close()


@pytest.mark.image
@both
def test_a_session_that_somebody_else_has_closed_is_not_found(real_cage, kind):
    for _ in range(5):
        with sessions(real_cage.address, kind) as (_, session):
            session.run("1")
            session.run("2")
            real_cage.attach(session.id).close()
            with pytest.raises(SessionNotFound):
                session.run("3")


@pytest.mark.image
@both
def test_a_cell_whose_stream_breaks_is_come_back_to(real_cage, kind, directory):
    target = real_cage.address.removeprefix("unix:")
    with (
        Relay(directory / "sock", target) as relay,
        sessions(f"unix:{directory}/sock", kind) as (cage, session),
    ):
        session.run("1")
        session.run("2")
        assert len(waiting(cage)) == 1
        code = "print('on', flush=True)\nimport time\ntime.sleep(1)\n'end'"
        seen = session.run(code, keep=60, on_output=lambda *_: relay.cut())
        assert (seen.stdout, seen.value) == ("on\n", "'end'")
        session.close()


@pytest.mark.image
def test_a_stream_that_is_left_early_is_not_used_again(real_cage):
    with sessions(real_cage.address, "sync") as (cage, session):
        session.run("1")
        session.run("2")
        events = running(session)
        events.close()
        assert waiting(cage) == {}
        # The server hears of it in its time; until then the cell runs.
        patience = time.monotonic() + scripts.PATIENCE
        while True:
            try:
                assert session.run("3").value == "3"
                break
            except CellRunning:
                assert time.monotonic() < patience


@pytest.mark.image
def test_a_cell_whose_task_is_cancelled_is_interrupted(real_cage):
    async def scenario():
        async with agent_client.connect_async(real_cage.address) as cage, cage.session() as session:
            await session.run("1")
            await session.run("2")
            begun = asyncio.Event()
            told = session.run(ENDLESS, on_output=lambda *_: begun.set())
            cell = asyncio.create_task(told)
            await begun.wait()
            cell.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cell
            # The server hears of it in its time.
            while (observed := await value_of(session, "3")) is None:
                pass
            assert observed == "3"

    async def value_of(session, code):
        try:
            return (await session.run(code)).value
        except CellRunning:
            return None

    asyncio.run(asyncio.wait_for(scenario(), scripts.PATIENCE))


@pytest.mark.image
@both
def test_no_more_than_so_many_streams_wait(real_cage, kind, monkeypatch):
    for module in (streams, agent_client.aiostreams):
        monkeypatch.setattr(module, "MOST", 2)
    with sessions(real_cage.address, kind, 3) as (cage, *opened):
        for number in range(3):
            assert [session.run(str(number)).value for session in opened] == [str(number)] * 3
        assert list(waiting(cage)) == [session.id for session in opened[1:]]
        for session in opened:
            session.close()


@pytest.mark.image
def test_nothing_of_a_connection_that_is_closed_goes_on(real_cage):
    before = set(threading.enumerate())
    with sessions(real_cage.address, "sync", 2) as (_, *opened):
        for session in (*opened, *opened):
            session.run("1")
    for thread in set(threading.enumerate()) - before:
        thread.join(scripts.PATIENCE)
        assert not thread.is_alive()


@pytest.mark.image
def test_a_connection_that_is_forgotten_goes_at_once(real_cage):
    cage = agent_client.connect(real_cage.address)
    session = cage.session()
    assert [session.run(str(number)).value for number in range(3)] == ["0", "1", "2"]
    forgotten = weakref.ref(cage)
    del cage, session
    assert forgotten() is None


class LetsGo(scripts.Scripted):
    """
    Keeps a stream until the next cell is sent, and ends it then.
    """

    def Execute(self, request_iterator, context):  # noqa: N802, ARG002 - as generated
        start = next(request_iterator).start
        self.executed.append(start)
        started = pb.CellStarted(session_id=start.session_id, cell=1, another=True)
        yield from scripts.numbered(iter([{"started": started}, scripts.ended()]))
        if start.another:
            next(request_iterator, None)


@both
@pytest.mark.parametrize("server", [LetsGo, scripts.Scripted], ids=["lets go", "older"])
def test_a_cell_that_was_sent_and_not_begun_is_sent_once_more(directory, kind, server):
    """
    So it is with a server that does not know of streams that stay, since none is kept.
    """
    with (
        scripts.serving(directory, server()) as (scripted, address),
        sessions(address, kind) as (_, session),
    ):
        for code in "abcdef":
            assert session.run(code).ok
        assert "".join(start.code for start in scripted.executed) == "abcdef"
