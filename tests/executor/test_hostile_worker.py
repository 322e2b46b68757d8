"""
Workers that have been taken over: each sends what no correct worker sends.

Green says that the session is lost, the client told, and that a neighbour and the server go on.
It does not say what such a worker could do to its host; that is the jail's to prove.
"""

import grpc
import pytest

from codecage.v1 import codecage_pb2 as pb
from executor.audit.record import Event
from executor.linux.descriptors import own
from executor.sessions.session import State
from tests.executor.fakes.harness import ended, policy
from tests.executor.fakes.served import FOREVER, OK, refused, serving, until

SHOW = "def show(forms, more=False): frame(display=wire.Display(data=forms, more=more))\n"
ATTACKS = {
    "a frame of 4 GiB": "raw(b'\\xff\\xff\\xff\\xff')",
    "a frame just too long": "raw((2**20 + 2**16 + 1).to_bytes(4, 'little'))",
    "no protobuf": "raw(b'\\x04\\0\\0\\0' + b'\\xff' * 4)",
    "a text that is not UTF-8": "raw(b'\\x05\\0\\0\\0' + b'\\x1a\\x03\\x0a\\x01\\xff')",
    "an empty frame": "raw(b'\\0\\0\\0\\0')",
    "an unknown frame": "raw(b'\\x03\\0\\0\\0' + b'\\x9a\\x06\\x00')",
    "readiness again": "frame(ready=wire.Ready(isolation='W2'))",
    "a reply to no command": "frame(file=wire.FileReply(data=b'x'))",
    "an ask for nothing": "frame(ask=wire.Ask())",
    "output of stream 0": "frame(output=wire.Output(stream=0, data=b'x'))",
    "output of stream 3": "frame(output=wire.Output(stream=3, data=b'x'))",
    "two values": "frame(value=wire.Value(text='1')); frame(value=wire.Value(text='2'))",
    "a display that never ends": "show({'a/b': b'x'}, more=True); frame(done=wire.CellDone(status=1))",
    "a display in a million parts": "while True: show({'a/b': b''}, more=True)",
    "a display of 4 MiB": "while True: show({'a/b': bytes(2**20)}, more=True)",
    "a display without forms": "show({})",
    "a display of 17 forms": "show({f'a/{n}': b'' for n in range(17)})",
    "17 forms over two parts": "show({f'a/{n}': b'' for n in range(16)}, more=True); show({'b/c': b''})",
    "a form that has no media type": "show({'../../etc/passwd': b'x'})",
    "a form with an escape in its name": "show({'image/\x1b[2j': b'x'})",
    "output between parts": "show({'a/b': b'x'}, more=True); print('x')",
    "a value between parts": "show({'a/b': b'x'}, more=True); frame(value=wire.Value(text='1'))",
    "an ask between parts": "show({'a/b': b'x'}, more=True); frame(ask=wire.Ask(run='sh'))",
    "a note between parts": "show({'a/b': b'x'}, more=True); frame(note=wire.Note(what='x'))",
    "endless displays": "while True: show({'a/b': bytes(2**20)})",
    "endless displays of nothing": "while True: show({'a/b': b''})",
    "an end without status": "frame(done=wire.CellDone())",
    "an end with an unknown status": "frame(done=wire.CellDone(status=77))",
    "endless output": "while True: frame(output=wire.Output(stream=1, data=bytes(2**20)))",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_no_worker_sends_ends_its_session_alone(tmp_path, attack):
    async def scenario(server):
        session, neighbour = await server.create(), await server.create()
        end = ended(await server.run(session, SHOW + ATTACKS[attack] + "\n" + FOREVER))
        assert (end.status, end.session_lost) == (pb.CELL_STATUS_WORKER_LOST, True)
        assert "protocol" in end.reason
        lost = [r for r in server.records(session) if r.event is Event.WORKER_LOST]
        assert len(lost) == 1
        assert ended(await server.run(neighbour, "1")).status == OK
        await server.stub.CloseSession(pb.CloseSessionRequest(session_id=session))
        assert ended(await server.run(await server.create(), "1")).status == OK

    serving(tmp_path, scenario)


@pytest.mark.parametrize(
    "late",
    [
        "ask=wire.Ask(run='sh')",
        "output=wire.Output(stream=1, data=b'x')",
        "display=wire.Display(data={'a/b': b'x'})",
    ],
)
def test_frames_after_the_end_of_a_cell_end_the_session(tmp_path, late):
    async def scenario(server):
        session = await server.create()
        lost = server.sessions.get(session)
        await server.run(session, f"frame(done=wire.CellDone(status=1)); frame({late})")
        await lost._reading
        assert "protocol" in lost.lost_reason

    serving(tmp_path, scenario)


def test_a_worker_cannot_name_another_session_or_pass_a_descriptor_up(tmp_path):
    async def scenario(server):
        session = await server.create()
        before = len(own())
        code = (
            "import socket\n"
            "data = (2).to_bytes(4, 'little') + b'\\x12\\x00'\n"
            "for _ in range(50): socket.send_fds(sock, [data], [0, 1, 2])\n"
        )
        await server.run(session, code)
        assert len(own()) <= before

    serving(tmp_path, scenario)


def test_a_flood_of_asks_leaves_the_neighbours_their_turn(tmp_path):
    async def scenario(server):
        session, neighbour = await server.create(), await server.create()
        flood = server.execute(session, "print('up')\nwhile True: ask(run='sh')")
        await until(flood, "output")
        for number in range(20):
            assert (await server.run(neighbour, str(number)))[1].value.text == str(number)
        assert server.sessions.get(session)._gate.counts.requests > 0
        await server.stub.Interrupt(pb.InterruptRequest(session_id=session))

    serving(tmp_path, scenario)


def test_a_flood_of_denied_asks_makes_as_many_records_as_the_budget_and_one_more(tmp_path):
    async def scenario(server):
        session = await server.create("test")
        end = ended(await server.run(session, "for _ in range(100): ask(run='sh')"))
        assert (end.usage.requests, end.usage.denied) == (100, 11)
        decisions = [r for r in server.records(session) if r.event is Event.DECISION]
        assert 10 <= len(decisions) <= 11

    serving(tmp_path, scenario, [policy("limits: {requests: 10}\n")])


def test_notes_are_bounded_by_the_same_budget(tmp_path):
    async def scenario(server):
        session = await server.create("test")
        code = "for n in range(100): frame(note=wire.Note(what='x' * 5000, count=n))"
        assert ended(await server.run(session, code)).status == OK
        notes = [r for r in server.records(session) if r.event is Event.WORKER_NOTE]
        assert len(notes) == 10
        assert all(len(dict(note.detail)["what"]) == 200 for note in notes)

    serving(tmp_path, scenario, [policy("limits: {requests: 10}\n")])


def test_a_worker_that_does_not_answer_a_file_command_loses_its_session(tmp_path, monkeypatch):
    monkeypatch.setattr("executor.sessions.commanding._PATIENCE", 0.2)

    async def scenario(server):
        session, neighbour = await server.create(), await server.create()
        await server.run(session, "frame.__self__.file = lambda command: pause()")
        listing = pb.ListFilesRequest(session_id=session, path="/work")
        assert (await refused(server.stub.ListFiles(listing)))[1] == "SESSION_LOST"
        await server.sessions.get(session)._reading
        assert server.sessions.get(session).state is State.LOST
        assert ended(await server.run(neighbour, "1")).status == OK

    serving(tmp_path, scenario)


def test_a_worker_that_says_it_is_locked_and_is_not_gets_no_session(tmp_path):
    async def scenario(server):
        create = server.stub.CreateSession(pb.CreateSessionRequest())
        assert (await refused(create))[1] == "CAGE_UNAVAILABLE"
        assert server.records() == []

    serving(tmp_path, scenario, options=["--unlocked"])


def test_a_client_that_does_not_read_holds_the_guest_and_not_the_server(tmp_path):
    async def scenario(server):
        session = await server.create("test")
        code = "print('up')\nwhile True: frame(output=wire.Output(stream=1, data=bytes(2**16)))"
        cell = server.execute(session, code)
        await cell.read()
        log = server.sessions.get(session)._cell.log
        while not log._is_full():
            await log._change()
        assert log._size <= 4 * 2**20 + 2**20 + 2**16
        await server.stub.Interrupt(pb.InterruptRequest(session_id=session))
        while await cell.read() is not grpc.aio.EOF:
            assert log._size <= 4 * 2**20 + 2**20 + 2**16
        last = server.records(session)[-1]
        assert (last.event, last.outcome) == (Event.CELL_END, "interrupted")

    serving(tmp_path, scenario, [policy("limits: {output: 64Mi}\n")])


def test_displays_that_no_client_reads_hold_the_guest_and_not_the_server(tmp_path):
    async def scenario(server):
        session = await server.create("test")
        code = f"{SHOW}print('up')\nwhile True: show({{'image/png': bytes(2**16)}})"
        cell = server.execute(session, code)
        await cell.read()
        log = server.sessions.get(session)._cell.log
        while not log._is_full():
            await log._change()
        await server.stub.Interrupt(pb.InterruptRequest(session_id=session))
        while await cell.read() is not grpc.aio.EOF:
            assert log._size <= 4 * 2**20 + 2**16 + 2**12
        last = server.records(session)[-1]
        assert (last.event, last.outcome) == (Event.CELL_END, "interrupted")

    serving(tmp_path, scenario, [policy("limits: {output: 64Mi}\n")])


def test_an_unfinished_frame_ends_with_the_cells_wall_time(tmp_path):
    async def scenario(server):
        session = await server.create()
        code = "raw(b'\\x40\\0\\0\\0abc')\n" + FOREVER
        end = ended(await server.run(session, code, wall_time={"nanos": 200_000_000}))
        assert end.status == pb.CELL_STATUS_WORKER_LOST

    serving(tmp_path, scenario)
