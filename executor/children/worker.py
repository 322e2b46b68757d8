"""
The worker process: forked from a zygote, locked, then one session until its socket closes.

Everything here happens between the fork and the first frame: the lock is complete before a
byte of the session is read, and any step that fails ends the process.
"""

import _thread
import os
import socket
from dataclasses import dataclass
from typing import NoReturn

from executor.kernel.errors import CodecageError
from executor.linux.errors import MechanismError
from executor.wasm.backend import Session
from executor.wasm.booted import Guest
from executor.wasm.jail import Held, forbid_threads, lock_down

_EXIT_FAILED = 70


@dataclass(frozen=True, slots=True)
class Birth:
    """
    What a zygote hands to a worker: itself, the guest, and who to be.
    """

    parent: int
    guest: Guest
    boot_digest: bytes
    held: Held


def live(birth: Birth, connection: socket.socket) -> NoReturn:
    """
    Be a worker on `connection`, in the forked child; never returns.
    """
    # Until the session has ended as it should; an error that nobody foresaw changes nothing.
    code = _EXIT_FAILED
    try:
        session = Session(birth.guest, connection)
        kept = frozenset({connection.fileno()}) | session.descriptors
        level = lock_down(birth.held, birth.parent, kept).level
        _begin_watch(session)
        forbid_threads()
        session.serve(f"{level.name} ({level.value})", birth.boot_digest)
        code = 0
    except (MechanismError, CodecageError, OSError):
        # Nobody is left to tell: the descriptors of the zygote are closed. The code says it.
        pass
    finally:
        os._exit(code)


def _begin_watch(session: Session) -> None:
    """
    Start the watchdog's thread, and wait until it runs: what it starts with is forbidden later.

    Not by `threading`, whose way to start one copies a quarter of a megabyte of shared pages.
    """
    begun = _thread.allocate_lock()
    begun.acquire()

    def watch() -> None:
        begun.release()
        session.watch()

    _thread.start_new_thread(watch, ())
    begun.acquire()
