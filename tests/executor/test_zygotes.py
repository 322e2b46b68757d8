import asyncio
import fcntl
import os
import resource
import select
import signal
import subprocess
import sys

import psutil
import pytest

from executor.children.launcher import environment, program
from executor.children.spawning import _identified
from executor.children.zygotes import ImageRow, Rotation, Zygotes
from executor.choice import ImageNotBuilt
from executor.errors import CageUnavailable
from executor.kernel.starting import zygote_request
from tests.executor.fakes.harness import KEY, ended, launched
from tests.executor.fakes.served import OK, serving
from tests.executor.waiting import PATIENCE, until


def with_zygotes(scenario, *options, pool=0, rotation=None):
    async def main():
        with launched(*options) as started:
            zygotes = Zygotes(started, [ImageRow("core", KEY)], pool=pool, rotation=rotation)
            try:
                await scenario(zygotes)
            finally:
                await zygotes.close()

    asyncio.run(main())


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def zygote_of(zygotes) -> "object":
    return zygotes._images[0].current


def waiting_of(zygotes) -> "list[object]":
    return [worker for pool in zygotes._images[0].pools() for worker in pool._waiting]


def test_workers_of_a_zygote_are_processes_of_their_own(tmp_path):
    async def scenario(zygotes):
        workers = [await zygotes.take("core") for _ in range(3)]
        assert len({worker.pid for worker in workers}) == 3
        assert all(worker.alive for worker in workers)
        workers[0].kill()
        assert str(await workers[0].ended).startswith("its process was ended by SIGKILL")
        assert workers[1].alive
        for worker in workers:
            worker.drop()

    with_zygotes(scenario)


def test_an_image_that_was_not_there_at_the_start_has_no_worker():
    async def scenario(zygotes):
        with pytest.raises(ImageNotBuilt):
            await zygotes.take("other")
        with pytest.raises(ImageNotBuilt):
            await zygotes.start("other")

    with_zygotes(scenario)


def test_the_pool_is_filled_ahead_and_each_worker_is_handed_out_once():
    async def scenario(zygotes):
        await zygotes.start("core")
        await settled(zygotes)
        waiting = [worker.pid for worker in waiting_of(zygotes)]
        assert len(waiting) == 2
        taken = [await zygotes.take("core") for _ in range(4)]
        assert {worker.pid for worker in taken[:2]} == set(waiting)
        assert len({worker.pid for worker in taken}) == 4
        for worker in taken:
            worker.drop()

    with_zygotes(scenario, pool=2)


def test_who_waits_while_an_image_starts_has_a_worker_before_the_pool():
    async def scenario(zygotes):
        waiting = asyncio.create_task(zygotes.take("core"))
        await asyncio.sleep(0)
        starting = asyncio.create_task(zygotes.start("core"))
        taken = await waiting
        assert zygote_of(zygotes).spawned == 1
        await starting
        await settled(zygotes)
        assert len(waiting_of(zygotes)) == 1
        taken.drop()

    with_zygotes(scenario, pool=1)


async def settled(zygotes) -> None:
    while zygotes._tasks:
        await asyncio.wait(zygotes._tasks)


def test_a_waiting_worker_that_dies_is_not_handed_out():
    async def scenario(zygotes):
        await zygotes.start("core")
        await settled(zygotes)
        (waiting,) = waiting_of(zygotes)
        os.kill(waiting.pid, signal.SIGKILL)
        await waiting.ended
        taken = await zygotes.take("core")
        assert taken.pid != waiting.pid
        assert taken.alive
        taken.drop()

    with_zygotes(scenario, pool=1)


def test_a_worn_zygote_is_replaced_and_lives_until_its_last_worker_ends():
    async def scenario(zygotes):
        first, second = await zygotes.take("core"), await zygotes.take("core")
        worn = zygote_of(zygotes)
        third = await zygotes.take("core")
        assert zygote_of(zygotes) is not worn
        assert (first.alive, second.alive, third.alive) == (True, True, True)
        first.drop()
        await first.ended
        assert not worn.ended.done()
        second.drop()
        await worn.ended
        assert third.alive
        third.drop()

    with_zygotes(scenario, rotation=Rotation(workers=2))


def test_an_old_zygote_is_replaced():
    async def scenario(zygotes):
        first = await zygotes.take("core")
        worn = zygote_of(zygotes)
        second = await zygotes.take("core")
        assert zygote_of(zygotes) is not worn
        first.drop()
        second.drop()

    with_zygotes(scenario, rotation=Rotation(seconds=0.0))


def test_a_zygote_that_dies_takes_its_workers_and_the_next_comes_from_another(tmp_path):
    async def scenario(server):
        session = await server.create()
        lost = server.sessions.get(session)
        worker = server.worker_pid(session)
        zygote = psutil.Process(worker).ppid()
        os.kill(zygote, signal.SIGKILL)
        await lost._reading
        assert lost.lost_reason
        assert not alive(worker)
        assert ended(await server.run(await server.create(), "1")).status == OK

    serving(tmp_path, scenario)


def test_a_zygote_that_never_gets_ready_is_reported_and_not_started_in_a_loop():
    async def scenario(zygotes):
        for _ in range(3):
            with pytest.raises(CageUnavailable):
                await zygotes.take("core")
        assert zygotes._started == 1

    with_zygotes(scenario, "--broken")


@pytest.mark.parametrize("alive", [True, False])
def test_a_worker_is_known_by_a_descriptor_of_any_number(alive):
    """
    select(2) takes none from 1024 up, and sessions have files and sockets open in the server.
    """
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        low = os.pidfd_open(child.pid)
        high = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 1500)
        try:
            if not alive:
                child.kill()
                select.select([low], [], [], 20)
            found = _identified(child.pid, high)
            assert (found is not None) == alive
            if found is not None:
                assert found.pid == child.pid
                found.close()
        finally:
            for number in (low, high):
                os.close(number)
            resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_closing_ends_every_worker_and_zygote():
    async def scenario(zygotes):
        worker = await zygotes.take("core")
        zygote = psutil.Process(worker.pid).ppid()
        await zygotes.close()
        await worker.ended
        assert not alive(worker.pid)
        worker.channel.close()
        await asyncio.to_thread(until, lambda: not alive(zygote))

    with_zygotes(scenario)


def test_the_launcher_ends_with_its_socket():
    with launched() as started:
        started.channel.close()
        assert started.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("data", [b"junk", b"", zygote_request(1, 7), b"zyg1" + bytes(500)])
def test_the_launcher_ends_when_a_message_is_not_of_its_table(data):
    import socket

    with launched() as started:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            if data:
                socket.send_fds(started.channel, [data], [theirs.fileno()])
            else:
                started.channel.send(zygote_request(1, 0))
        assert started.process.wait(PATIENCE) == 1


def test_zygotes_see_little_of_the_servers_environment():
    given = {"PATH": "/p", "HOME": "/h", "AWS_SECRET_ACCESS_KEY": "x", "PYTHONPATH": "/evil"}
    assert environment(given) == {"PATH": "/p", "HOME": "/h", "LANG": "C.UTF-8"}
    assert "PATH" in environment({})


def test_programs_are_run_isolated_from_environment_and_directory():
    assert program("executor.children.zygote")[1:3] == ("-I", "-B")


NO_DIGEST = """
from executor.children import zygote
from executor.kernel.errors import InternalError

class Guest:
    resumed_digest = b""

    def digest(self):
        {does}

try:
    print(zygote._begin_digest(Guest())())
except InternalError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("return bytes(range(32))", str(bytes(range(32)))),
        ("return b'short'", "the digest of the guest's memory could not be taken"),
        ("raise MemoryError", "the digest of the guest's memory could not be taken"),
    ],
)
def test_a_zygote_has_the_digest_that_its_child_took_or_none(does, said):
    done = subprocess.run(
        [sys.executable, "-c", NO_DIGEST.format(does=does)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == said
