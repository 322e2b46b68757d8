"""
How the program of a service begins and ends: see `service_lock.py` for what it is.

The launcher executes it with one socket to the server. It is locked before it reads a stranger's
byte, and after that nothing of Python's own end is done.
"""

import argparse
import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, Final, NoReturn

from executor.linux.service_lock import Confinement, lock_down

BROKEN: Final = 1
"""The exit status when the server broke the protocol, or a fault of ours ended the process."""
UNUSABLE: Final = 2
"""The exit status when something that is needed is not there."""


def parser(program: str) -> argparse.ArgumentParser:
    """
    What every such program is told: its socket, and whom to become.
    """
    made = argparse.ArgumentParser(prog=program)
    made.add_argument("--socket", type=int, required=True)
    made.add_argument("--uid", type=int, default=0)
    made.add_argument("--gid", type=int, default=0)
    return made


def run(confinement: Confinement, serve: Callable[[str], Coroutine[Any, Any, int]]) -> NoReturn:
    """
    Lock this process, then `serve`, which is told in words what holds, and exit with its status.

    Raises MechanismError where the lock does not hold.
    """
    runner = asyncio.Runner()
    # Now, for it needs sockets that the lock forbids.
    runner.get_loop()
    isolation = lock_down(confinement)
    status = BROKEN
    try:
        status = runner.run(serve(isolation))
    finally:
        # Closing one by one is the kernel's work; the interpreter's own end asks for much that is
        # refused by now.
        os._exit(status)
