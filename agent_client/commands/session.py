"""
What `run` and `shell` share: the options that choose a server and a policy, and Ctrl-C.
"""

import argparse
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from types import FrameType

import agent_client
from agent_client.client import Cage, Session
from agent_client.errors import CodecageError
from agent_client.events import Status
from agent_client.observation import Observation


class ExitCode(IntEnum):
    """
    What the commands answer to the shell that started them.
    """

    OK = 0
    CODE_FAILED = 1
    USAGE = 2
    SERVER_FAILED = 3
    INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def add_connection_options(parser: argparse.ArgumentParser) -> None:
    """
    Add the options that say which server, which policy and which image.
    """
    parser.add_argument("--policy", metavar="NAME", help="the session's policy (none: computing)")
    parser.add_argument(
        "--image", metavar="NAME", help="what can be imported (default: the policy's first image)"
    )
    parser.add_argument(
        "--policies", metavar="DIR", help="start a private server with these policy files"
    )
    parser.add_argument(
        "--secrets", metavar="DIR", help="for that server: the secrets that policies name"
    )
    parser.add_argument(
        "--trust", metavar="FILE", help="for that server: certificates (PEM) trusted besides"
    )
    parser.add_argument(
        "--resolver",
        action="append",
        default=[],
        metavar="ADDRESS:PORT",
        help="for that server: a name server in place of the system's; may be repeated",
    )
    parser.add_argument(
        "--address",
        metavar="unix:PATH",
        help="use this server (default: $CODECAGE_ADDRESS, else a private one)",
    )


def connected(args: argparse.Namespace) -> Cage:
    """
    The connection that the options ask for.
    """
    return agent_client.connect(
        args.address,
        policies=args.policies,
        secrets=args.secrets,
        trust=args.trust,
        resolvers=args.resolver,
    )


def exit_code(observation: Observation) -> ExitCode:
    """
    What a cell's end means for the command.
    """
    if observation.session_lost:
        return ExitCode.SERVER_FAILED
    if observation.status is Status.INTERRUPTED:
        return ExitCode.INTERRUPTED
    return ExitCode.OK if observation.ok else ExitCode.CODE_FAILED


@contextmanager
def interrupting(session: Session) -> Iterator[None]:
    """
    Let the first Ctrl-C interrupt the session's cell, and the second one this program.
    """
    pressed = threading.Event()

    def on_press(_signal: int, _frame: FrameType | None) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()
        # A handler runs between any two steps of the main thread, which may be inside gRPC and
        # hold its locks; another thread waits for them instead of standing still forever.
        threading.Thread(target=_interrupt, args=(session,), daemon=True).start()

    before = signal.signal(signal.SIGINT, on_press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupt(session: Session) -> None:
    try:
        session.interrupt()
    except CodecageError:
        # Whatever keeps the interrupt from arriving is what ends the cell's own call, and that
        # one reports it.
        return
