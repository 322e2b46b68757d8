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
from executor.wasm.jail import Confinement, Identity, forbid_threads, lock_down

# The policy's memory is not known yet: the server lowers RLIMIT_DATA by prlimit(2) before it
# sends `Begin`. This is what a guest could ever need.
_DATA_GROWTH = 2**32 + 2**26
_EXIT_FAILED = 70


@dataclass(frozen=True, slots=True)
class Birth:
    """
    What a zygote hands to a worker: itself, the guest, and who to be.
    """

    parent: int
    guest: Guest
    boot_digest: bytes
    run_as: Identity | None


def live(birth: Birth, connection: socket.socket) -> NoReturn:
    """
    Be a worker on `connection`, in the forked child; never returns.
    """
    # Until the session has ended as it should; an error that nobody foresaw changes nothing.
    code = _EXIT_FAILED
    try:
        session = Session(birth.guest, connection)
        held = lock_down(
            Confinement(
                parent=birth.parent,
                kept=frozenset({connection.fileno()}) | session.descriptors,
                data_growth=_DATA_GROWTH,
                run_as=birth.run_as,
            )
        )
        _begin_watch(session)
        forbid_threads()
        session.serve(f"{held.level.name} ({held.level.value})", birth.boot_digest)
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
