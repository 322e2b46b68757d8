"""
Connections that are passed on to the approvers' server, and what is left of them.
"""

import asyncio
import os
import pwd
import socket
import subprocess
import sys

import pytest

from executor.api.approvers import ApprovalOptions, Door, nobodies
from executor.api.listening import Place
from executor.sessions.approving import Approver, Desk

# Around what a socket takes that nobody reads (net.core.wmem_default): beyond that, and up to what
# a stream of asyncio's waits for, bytes are unsent when the connection ends.
SIZES = range(2**17, 2**19, 2**14)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    return tmp_path


def listening(path):
    made = socket.socket(socket.AF_UNIX)
    made.bind(path)
    made.listen()
    return made


def still_watched(loop):
    """
    Which descriptors that are new, and so have numbers that others had, cannot be watched: the loop
    believes that they are a transport's, or that it watches them already.
    """
    found, pairs = [], [socket.socketpair() for _ in range(4)]
    for one in (one for pair in pairs for one in pair):
        try:
            loop.add_reader(one.fileno(), print)
        except (OSError, RuntimeError) as error:
            found.append(str(error))
        else:
            loop.remove_reader(one.fileno())
        one.close()
    return found


async def cut_off(door, deaf, size):
    """
    A connection that ends while its bytes are unsent, for the other side reads none.
    """
    loop, end = asyncio.get_running_loop(), socket.socket(socket.AF_UNIX)
    end.setblocking(False)
    await loop.sock_connect(end, "door")
    sending = loop.create_task(loop.sock_sendall(end, b"x" * size))
    behind = await asyncio.to_thread(lambda: deaf.accept()[0])
    await asyncio.wait({sending}, timeout=0.1)
    sending.cancel()
    end.close()
    if door._passing:
        await asyncio.wait(door._passing, timeout=0.05)
    behind.close()
    if door._passing:
        await asyncio.wait(door._passing)


def test_a_connection_that_ends_with_bytes_unsent_leaves_its_descriptor_to_others(place):
    """
    The loop would watch a number that a later connection gets, which then fails for no fault of
    its own.
    """

    async def scenario():
        options = ApprovalOptions(Place(place / "door"), (Approver("somebody", os.geteuid()),))
        door = Door(options, Place(place / "inner"), Desk())
        await door.open()
        deaf, troubled = listening("deaf"), []
        door._inner = Place(place / "deaf")
        for size in SIZES:
            await cut_off(door, deaf, size)
            troubled += still_watched(asyncio.get_running_loop())
        deaf.close()
        await door.close()
        return troubled

    assert asyncio.run(scenario()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a namespace of users here")
def test_who_has_no_number_here_has_that_of_a_nobody():
    """
    The kernel says so of the owner of a file that no number of the namespace is for.
    """
    unshared = (
        "import ctypes, os\n"
        "assert ctypes.CDLL(None).unshare(0x1000_0000) == 0\n"
        "print(os.stat('/').st_uid)"
    )
    said = subprocess.run(
        [sys.executable, "-c", unshared], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(said.stdout) in nobodies()
    assert pwd.getpwnam("nobody").pw_uid in nobodies()
    assert 0 not in nobodies()
