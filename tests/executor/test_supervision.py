"""
The server's side of the supervisor, when what says that it is ready is no supervisor.
"""

import asyncio
import contextlib
import os
import resource
import sys

import pytest

from executor.children import launcher
from executor.children.supervision import Supervision
from executor.errors import CageUnavailable
from executor.kernel.cage import BoxEnds


def ask_a_liar(limits=contextlib.nullcontext):
    """
    Have a session served, within `limits`, by a program that says it is ready and is not locked.
    """
    program = "import sys,socket; s=socket.socket(fileno=int(sys.argv[-1])); "
    liar = [sys.executable, "-c", program + "s.send(b'ready unlocked'); s.recv(9)"]
    started = launcher.launch([liar])

    async def main():
        supervision = Supervision(started, 0)
        supervision._supervisor()
        with limits(), pytest.raises(CageUnavailable):
            await supervision.attach("s", BoxEnds(listener=0), None, None)
        supervision.close()

    try:
        asyncio.run(main())
    finally:
        started.stop()


def test_a_program_that_is_not_locked_gets_no_session(caplog):
    ask_a_liar()
    assert "the supervisor is ended: the worker says that it is locked" in caplog.text


@contextlib.contextmanager
def no_free_descriptor():
    lowest = os.dup(0)
    os.close(lowest)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_one_that_cannot_be_looked_at_gets_none_either(caplog):
    ask_a_liar(no_free_descriptor)
    assert "the supervisor is ended: pidfd: " in caplog.text
