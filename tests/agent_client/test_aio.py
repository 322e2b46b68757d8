import asyncio

import pytest
import scripted as scripts

import agent_client
from agent_client import Ended, Started, Status, Stream


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario, scripts.PATIENCE))


def in_session(server, scenario):
    async def whole():
        async with agent_client.connect_async(server.address) as cage, cage.session() as session:
            return await scenario(session)

    return run(whole())


@pytest.mark.parametrize("code", sorted(scripts.SCRIPTS.keys() - {"cut off"}))
def test_both_clients_observe_the_same(server, session, code):
    observed = in_session(server, lambda session: session.run(code))
    assert observed == session.run(code)


def test_a_session_is_awaited_or_entered(server):
    async def scenario():
        async with agent_client.connect_async(server.address) as cage:
            first = await cage.session("analyst", labels={"a": "b"})
            assert (first.id, first.policy) == ("s1", "analyst")
            async with cage.session() as second:
                assert second.id == "s2"
            assert server.closed == ["s2"]
            assert str(await first.close()) == "9:01"
            assert await first.close() is None

    run(scenario())
    assert server.closed == ["s2", "s1"]


def test_an_image_is_asked_for_and_refused_as_in_the_other_client(server):
    async def scenario():
        async with agent_client.connect_async(server.address) as cage:
            async with cage.session("analyst", image="data") as session:
                assert session.image == "data"
            with pytest.raises(agent_client.Denied) as denied:
                await cage.session("analyst", image="denied")
            assert denied.value.reason == "IMAGE_NOT_ALLOWED"
            with pytest.raises(agent_client.InvalidRequest) as missing:
                await cage.session("analyst", image="missing")
            assert missing.value.reason == "IMAGE_NOT_BUILT"

    run(scenario())
    assert [request.image for request in server.created] == ["data", "denied", "missing"]


def test_what_the_server_tells_arrives(server):
    async def scenario():
        async with agent_client.connect_async(server.address) as cage:
            assert cage.info().version == "0.1.0"
            assert cage.address == server.address
            assert [policy.name for policy in await cage.policies()] == ["analyst", "calculator"]
            assert [session.id for session in await cage.sessions()] == ["s1"]
            assert (await cage.attach("s1")).id == "s1"
            with pytest.raises(agent_client.SessionNotFound):
                await cage.attach("s2")

    run(scenario())


def test_events_and_output_come_as_they_happen(server):
    seen = []

    async def scenario(session):
        await session.run("both", on_output=lambda stream, text: seen.append((stream, text)))
        events = [event async for event in session.stream("both")]
        again = [event async for event in session.follow(1, after=6)]
        return events, again

    events, again = in_session(server, scenario)
    assert seen[:2] == [("stdout", "out 1\n"), ("stderr", "err 1\n")]
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Ended)
    assert again == events[-1:]


def test_files_and_audit_work_as_they_do_without_await(server, directory):
    (directory / "local").write_bytes(b"abc" * 200_000)

    async def scenario(session):
        await session.put("/work/a", b"123456789")
        await session.put("/work/b", directory / "local")
        assert await session.get("/work/a") == b"123456789"
        assert await session.get("/work/b") == b"abc" * 200_000
        assert [file.size for file in await session.files()] == [9, 600_000]
        await session.remove("/work/a")
        with pytest.raises(agent_client.PathNotFound):
            await session.get("/work/a")
        assert [record.sequence for record in await session.audit(after=1)] == [2, 3]

    in_session(server, scenario)


def test_interrupting_ends_the_cell(server):
    async def scenario(session):
        cell = asyncio.ensure_future(session.run("wait"))
        await asyncio.to_thread(server.running.wait, scripts.PATIENCE)
        assert await session.interrupt() is True
        return await cell

    assert in_session(server, scenario).status is Status.INTERRUPTED


def test_cancelling_the_task_cancels_the_cell(server):
    async def scenario(session):
        cell = asyncio.ensure_future(session.run("wait"))
        await asyncio.to_thread(server.running.wait, scripts.PATIENCE)
        assert not server.cancelled.is_set()
        cell.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cell
        assert await asyncio.to_thread(server.cancelled.wait, scripts.PATIENCE)

    in_session(server, scenario)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("busy", agent_client.CellRunning),
        ("lost", agent_client.SessionLost),
        ("too much", agent_client.LimitReached),
        ("cut off", agent_client.ServerUnavailable),
    ],
)
def test_errors_are_those_of_the_other_client(server, code, kind):
    async def scenario(session):
        with pytest.raises(kind) as caught:
            await session.run(code)
        assert caught.type is kind
        if code == "cut off":
            assert caught.value.chunks == ((Stream.STDOUT, "then nothing"),)

    in_session(server, scenario)


def test_a_connection_is_used_between_opening_and_closing_only(server):
    async def scenario():
        cage = agent_client.connect_async(server.address)
        with pytest.raises(agent_client.SessionClosed, match="open"):
            await cage.policies()
        with pytest.raises(agent_client.SessionClosed, match="open"):
            cage.info()
        await cage.close()
        async with cage:
            session = await cage.session()
        with pytest.raises(agent_client.SessionClosed):
            await session.run("pass")

    run(scenario())


def test_nobody_at_the_address_is_an_error(directory):
    async def scenario():
        async with agent_client.connect_async(f"unix:{directory}/none"):
            pytest.fail("it connected")

    with pytest.raises(agent_client.ServerUnavailable, match="codecage serve"):
        run(scenario())


def test_the_address_is_refused_where_it_is_given():
    with pytest.raises(agent_client.InvalidRequest, match="unix:PATH"):
        agent_client.connect_async("localhost:1")
