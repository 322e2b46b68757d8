"""
A session that is refused when nearly all of it is there: nothing of it stays.
"""

import asyncio
from dataclasses import replace

import grpc

from codecage.v1 import codecage_pb2 as pb
from executor.linux import descriptors
from executor.sessions.capturing import Captures
from tests.executor.fakes.harness import policy
from tests.executor.fakes.served import refused, serving
from tests.executor.waiting import PATIENCE

# One of everything that is made for a session before its first record.
WHOLE = (
    "audit: {{level: replay}}\n"
    "filesystem: [{{mount: /data, source: {}, access: read}}]\n"
    "network: [{{host: a.test.example}}]\n"
    "limits: {{sessions: 1}}\n"
)


def files_of(captures):
    return [path.name for path in captures.parent.glob(f"{captures.name}.capture*/*")]


def test_a_session_whose_first_record_cannot_be_written_leaves_nothing(tmp_path):
    async def scenario(server):
        sessions = server.sessions
        captures = Captures(server.audit)
        sessions._served = replace(sessions._served, captures=captures)
        await sessions.close(await server.create("test"), "made once")
        assert len(files_of(server.audit)) == 2
        server.store.close()
        before, left = descriptors.own(), files_of(server.audit)
        wanted = (grpc.StatusCode.UNAVAILABLE, "AUDIT_UNAVAILABLE")
        for _ in range(3):
            asked = server.stub.CreateSession(pb.CreateSessionRequest(policy="test"))
            assert await refused(asked) == wanted
        workers = [*server.zygotes._images[0].current._workers.values()]
        await asyncio.wait_for(asyncio.gather(*(one.ended for one in workers)), 20)
        captures.close()
        (line,) = sessions._served.brokers._lines.values()
        assert (line._sessions, sessions._taken["test"], sessions.list()) == (0, 0, [])
        assert files_of(server.audit) == left
        async with asyncio.timeout(PATIENCE):
            while len(descriptors.own()) > len(before):  # noqa: ASYNC110 - the pool tells nobody
                await asyncio.sleep(0.01)

    (tmp_path / "data").mkdir()
    serving(tmp_path, scenario, [policy(WHOLE.format(tmp_path / "data"))])
