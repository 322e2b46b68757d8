"""
Served mounts when something fails: a host that hangs, a guest that is killed, a supervisor that
dies, tables that are full; and what is left afterwards.
"""

import asyncio
import errno
import os
import signal
import stat
import time
from pathlib import Path

import pytest

from executor.audit.record import Event
from executor.process.fuse_nodes import FILES_MAX
from tests.executor.process import fuse_world
from tests.executor.process.fuse_world import PATIENCE, TOP, Refused, places, policy
from tests.executor.waiting import until


@pytest.fixture(scope="module")
def ring():
    with fuse_world.ring() as made:
        yield made


@pytest.fixture
def data(tmp_path):
    made = tmp_path / "data"
    made.mkdir()
    (made / "a.csv").write_bytes(b"1,2\n")
    return made


def granting(data, more=""):
    return policy(
        f"filesystem:\n  - {{mount: /data, source: {data}, access: read-write, quota: 64Mi}}\n{more}"
    )


def test_an_interrupted_guest_leaves_a_host_that_hangs_and_goes_on_when_it_answers(ring, data):
    async def scenario(world):
        free = asyncio.Event()
        free.set()
        found = places("/data")
        session = await world.session(granting(data), found, hold=free)
        free.clear()
        path = f"{found['/data']}/a.csv"
        assert await session.do("interrupted_read", path, 0.1) == "interrupted"
        free.set()
        assert await session.do("read", path) == "1,2\n"
        await world.end(session)

    ring(scenario)


def test_a_file_that_is_opened_when_nobody_waits_any_more_is_closed_again(ring, data):
    async def scenario(world):
        found, free, pid = places("/data"), asyncio.Event(), world.supervision.pid
        session = await world.session(granting(data), found, hold=free, only="locate")
        before, path = _held(pid), f"{found['/data']}/a.csv"
        assert await session.do("interrupted_read", path, 0.1) == "interrupted"
        free.set()
        assert await session.do("read", path) == "1,2\n"
        await asyncio.to_thread(until, lambda: _held(pid) == before)
        await world.end(session)

    ring(scenario)


def test_a_guest_that_is_killed_while_the_host_hangs_ends_and_its_neighbour_never_waits(ring, data):
    async def scenario(world):
        free = asyncio.Event()
        free.set()
        found = places("/data")
        stuck = await world.session(granting(data), found, hold=free)
        neighbour = await world.session(granting(data), found)
        free.clear()
        stuck.guest.ask("read", f"{found['/data']}/a.csv")
        await _waits_in_kernel(stuck.guest.process.pid)
        assert await neighbour.do("read", f"{found['/data']}/a.csv") == "1,2\n"
        stuck.guest.process.kill()
        assert await asyncio.to_thread(stuck.guest.process.wait, PATIENCE) == -signal.SIGKILL
        await stuck.attendance.close()
        stuck.gate.close()  # while its ask is under way: put off
        free.set()
        await world.end(stuck)
        await world.end(neighbour)

    ring(scenario)


async def _waits_in_kernel(pid: int) -> None:
    """
    Until the process waits for an answer of FUSE.
    """
    await asyncio.to_thread(until, lambda: "fuse" in _place(pid, "wchan") + _place(pid, "stack"))


def _place(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


def test_the_end_of_a_session_ends_what_waits_in_the_kernel_also_when_the_host_hangs(ring, data):
    async def scenario(world):
        free = asyncio.Event()
        free.set()
        found = places("/data")
        session = await world.session(granting(data), found, hold=free)
        free.clear()
        session.guest.ask("read", f"{found['/data']}/a.csv")
        await _waits_in_kernel(session.guest.process.pid)
        await session.attendance.close()
        with pytest.raises(Refused) as refused:
            await asyncio.to_thread(session.guest.told)
        assert refused.value.errno in {errno.ECONNABORTED, errno.ENOTCONN}
        free.set()
        await world.end(session)

    ring(scenario)


def test_a_supervisor_that_dies_takes_its_sessions_with_words_and_opens_nothing(ring, data):
    async def scenario(world):
        found = places("/data")
        session = await world.session(granting(data), found, watched=True)
        path = f"{found['/data']}/a.csv"
        assert await session.do("read", path) == "1,2\n"
        os.kill(world.supervision.pid, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE):
            said = await session.attendance.lost
        assert "has ended" in said
        assert await session.refused("read", path) == errno.ENOTCONN
        assert await session.do("refused_calls", 1) == [errno.ENOSYS]
        again = await world.session(granting(data), places("/data"))
        assert await again.do("read", f"{TOP}/data/a.csv") == "1,2\n"
        for one in (session, again):
            await world.end(one)

    ring(scenario)


def test_the_supervisor_gives_back_every_descriptor_of_a_session_that_is_over(ring, data):
    async def scenario(world):
        found = places("/data")
        first = await world.session(granting(data), found, watched=True)
        await world.end(first)
        before = _held(world.supervision.pid)
        for place in range(6):
            session = await world.session(granting(data), found, watched=True)
            assert await session.do("many_open", f"{found['/data']}/a.csv", 20) == [20, 0]
            session.guest.ask("many_open", f"{found['/data']}/a.csv", 5 + place)
            await world.end(session)
        pid = world.supervision.pid
        await asyncio.to_thread(until, lambda: _held(pid) <= before)

    ring(scenario)


def test_when_a_guest_ends_its_devices_and_its_listener_are_let_go_of_at_once(ring, data):
    async def scenario(world):
        found = places("/data")
        session = await world.session(granting(data), found, watched=True)
        pid = world.supervision.pid
        before = _held(pid)
        session.guest.close()
        await asyncio.to_thread(until, lambda: _held(pid) == before - 2)
        assert not session.attendance.lost.done()
        await world.end(session)

    ring(scenario)


def test_an_answer_that_comes_when_its_guest_is_gone_leaves_nothing_open(ring, data):
    async def scenario(world):
        neighbour = await world.session(granting(data), places("/data"))
        found, free, pid = places("/data"), asyncio.Event(), world.supervision.pid
        before = _held(pid)
        # Looking up goes on; what is opened is opened when its guest is gone.
        session = await world.session(granting(data), found, hold=free, only="locate")
        session.guest.ask("read", f"{found['/data']}/a.csv")
        async with asyncio.timeout(PATIENCE):
            await asyncio.to_thread(until, lambda: session.gate.counts.kinds.get("read"))
            session.guest.process.kill()
            await asyncio.to_thread(until, lambda: _held(pid) == before + 1)
            free.set()
            answered = False
            while not answered:
                answered = ("came", "read /data/a.csv", "ok", "4") in await session.rows()
                # Its answer is there before those of this one, which are sent later.
                assert await neighbour.do("read", f"{TOP}/data/a.csv") == "1,2\n"
            await asyncio.to_thread(until, lambda: _held(pid) == before + 1)
        for one in (session, neighbour):
            await world.end(one)

    ring(scenario)


def test_signals_call_no_refused_call_away_from_the_record(ring, data):
    async def scenario(world):
        session = await world.session(granting(data), places("/data"), watched=True)
        said = await session.do("refused_calls_under_signals", 2000)
        # A signal that comes before the call was received ends it: nothing was done, nothing asked.
        assert {errno.EPERM} <= {*said} <= {errno.EPERM, errno.EINTR}
        assert await session.do("refused_calls", 1) == [errno.EPERM]
        assert not session.attendance.lost.done()
        await world.end(session)

    ring(scenario)


def test_forbidden_calls_in_a_loop_have_to_wait_and_are_counted(ring, data):
    """
    A thousand: after some hundreds others have their turn, for a tenth of a second.
    """

    async def scenario(world):
        session = await world.session(granting(data), places("/data"), watched=True)
        began = time.monotonic()
        assert await session.do("refused_calls", 1000) == [errno.EPERM]
        assert time.monotonic() - began >= 0.3
        counts: list[int] = []
        async with asyncio.timeout(PATIENCE):
            while sum(counts) < 1000:
                # A record is often written without waiting, and then nobody else has a turn.
                await asyncio.sleep(0.01)
                notes = [one for one in await session.records() if one.event is Event.WORKER_NOTE]
                counts = [dict(one.detail)["count"] for one in notes]
        # The first, and what came in each second.
        assert sum(counts) == 1000
        assert len(counts) < 2 + time.monotonic() - began
        await world.end(session)

    ring(scenario)


def _held(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_files_that_are_open_for_reading_count_against_the_policy(ring, data):
    async def scenario(world):
        found = places("/data")
        rules = granting(data, "limits: {open_files: 16}\n")
        session = await world.session(rules, found)
        path = f"{found['/data']}/a.csv"
        assert await session.do("many_open", path, 20) == [16, errno.EMFILE]
        assert await session.do("read", path) == "1,2\n"
        assert FILES_MAX > 16
        await world.end(session)

    ring(scenario)


def test_lookups_have_a_bound_of_their_own_and_reading_costs_one_request(ring, data):
    async def scenario(world):
        found = places("/data")
        session = await world.session(granting(data, "limits: {requests: 10}\n"), found)
        path = f"{found['/data']}/a.csv"
        before = session.gate.counts.requests
        for _ in range(3):
            assert await session.do("read", path) == "1,2\n"
        assert session.gate.counts.requests == before + 3
        for _ in range(160 - session.gate.counts.lookups):
            assert await session.do("exists", f"{path}.nothing") is False
        assert session.gate.counts.requests == before + 3
        assert await session.refused("read", path) == errno.EDQUOT
        assert [row for row in await session.rows() if row[0] == "deny"] == [
            ("deny", "stat /data/a.csv", "limits.requests")
        ]
        await world.end(session)

    ring(scenario)


def test_a_tree_of_many_files_is_walked_and_a_listing_of_too_many_is_refused(ring, data):
    for directory in range(4):
        (data / f"d{directory}").mkdir()
        for name in range(500):
            (data / f"d{directory}" / f"{name}").touch()
    (data / "large").mkdir()
    for name in range(10_001):
        os.close(os.open(data / "large" / f"n{name}", os.O_CREAT | os.O_WRONLY))

    async def scenario(world):
        found = places("/data")
        session = await world.session(granting(data), found)
        assert await session.refused("listing", f"{found['/data']}/large") == errno.EOVERFLOW
        assert await session.do("walked", f"{found['/data']}/d1") == [1, 500]
        assert stat.S_ISDIR((await session.do("status", f"{found['/data']}/large"))["mode"])
        await world.end(session)

    ring(scenario)


def test_a_file_larger_than_memory_pieces_is_read_whole(ring, data):
    size = 3 * 2**20 + 17
    (data / "big").write_bytes(bytes(size))

    async def scenario(world):
        found = places("/data")
        session = await world.session(granting(data), found)
        for piece in (4096, 2**20, 2**22):
            assert await session.do("sum_of", f"{found['/data']}/big", piece) == size
        await world.end(session)

    ring(scenario)
