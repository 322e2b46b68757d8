"""
A client's file in several pieces: what is asked of the worker, when, and what is left undone.

The session is a fake that answers when it is told to; with a real one it is test_service.py.
"""

import asyncio
import errno
import hashlib

import pytest

from codecage.worker.v1 import worker_pb2 as wire
from executor.errors import FileRefused, ProtocolBroken
from executor.kernel.frames import PIECE
from executor.sessions import files

DATA = bytes(range(256)) * (PIECE // 256) * 3 + b"end"


class Session:
    """
    Holds one file; `answers` is set while it answers.
    """

    def __init__(self, data=b""):
        self.data = bytearray(data)
        self.asked = []
        self.recorded = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.refused_from = len(DATA) + 1
        self.longer = 0

    async def command(self, frame, data=b""):
        command = frame.file
        offset = (command.get if command.HasField("get") else command.put).offset
        self.asked.append(offset)
        await self.answers.wait()
        if offset >= self.refused_from:
            return wire.FileReply(errno=errno.ENOSPC)
        if command.HasField("put"):
            assert offset == len(self.data)
            self.data += data
            return wire.FileReply(status=wire.FileStatus(kind=wire.KIND_FILE))
        length = command.get.length
        found = bytes(self.data[offset : offset + length + self.longer])
        return wire.FileReply(data=found, end=len(found) < length)

    async def record_file(self, request, outcome, size=None, digest=None):
        self.recorded.append((request, outcome, size, digest))


async def quiet():
    """
    Let everything run that can.
    """
    for _ in range(20):
        await asyncio.sleep(0)


async def given(*parts):
    for part in parts:
        yield part


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, len(DATA)])
def test_what_goes_in_comes_out_and_both_digests_are_recorded(size):
    async def scenario():
        session, data = Session(), DATA[:size]
        await files.put(session, "/a", given(data[: size // 3], data[size // 3 :]))
        assert session.data == data
        assert b"".join([piece async for piece in files.get(session, "/a")]) == data
        digest = hashlib.sha256(data).digest()
        assert session.recorded == [
            ("put /a", "ok", size, digest),
            ("get /a", "started", None, None),
            ("get /a", "ok", size, digest),
        ]

    asyncio.run(scenario())


def test_one_piece_is_read_ahead_and_no_more():
    async def scenario():
        session = Session(DATA)
        pieces = files.get(session, "/a")
        assert await anext(pieces) == DATA[:PIECE]
        await quiet()
        assert session.asked == [0, PIECE]
        await anext(pieces)
        await quiet()
        assert session.asked == [0, PIECE, 2 * PIECE]
        await pieces.aclose()
        await quiet()
        assert session.asked == [0, PIECE, 2 * PIECE]
        # What has not been given is not recorded as read.
        assert [outcome for _, outcome, _, _ in session.recorded] == ["started"]

    asyncio.run(scenario())


def test_a_piece_is_sent_when_the_one_before_is_written():
    async def scenario():
        session = Session()
        session.answers.clear()
        putting = asyncio.ensure_future(files.put(session, "/a", given(DATA)))
        await quiet()
        assert session.asked == [0]
        session.answers.set()
        await putting
        assert session.asked == [0, PIECE, 2 * PIECE, 3 * PIECE]

    asyncio.run(scenario())


def test_a_refused_piece_ends_what_was_begun():
    async def scenario():
        session = Session(DATA)
        session.refused_from = PIECE
        pieces = files.get(session, "/a")
        await anext(pieces)
        with pytest.raises(FileRefused):
            await anext(pieces)
        session.data.clear()
        with pytest.raises(FileRefused):
            await files.put(session, "/a", given(DATA))
        assert session.data == DATA[:PIECE]
        assert [outcome for _, outcome, _, _ in session.recorded] == ["started", "ENOSPC", "ENOSPC"]

    asyncio.run(scenario())


def test_a_client_that_breaks_off_leaves_what_it_has_sent():
    async def scenario():
        session = Session()

        async def broken():
            yield DATA[:PIECE]
            await quiet()
            raise ConnectionError

        with pytest.raises(ConnectionError):
            await files.put(session, "/a", broken())
        assert session.data == DATA[:PIECE]
        assert session.recorded == []

    asyncio.run(scenario())


def test_more_than_was_asked_for_breaks_the_protocol():
    async def scenario():
        session = Session(DATA)
        session.longer = 1
        with pytest.raises(ProtocolBroken):
            await anext(files.get(session, "/a"))

    asyncio.run(scenario())
