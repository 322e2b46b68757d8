"""
The worker process: cloned from a native zygote into its box, then one session until its socket
closes.

When `live` is called the box is complete; any step that fails ends the process.
"""

import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from executor.kernel.errors import CodecageError
from executor.linux.errors import MechanismError
from executor.process.backend import EXIT_FAILED, Session, leave
from executor.process.runtime import NativeGuest
from executor.process.worker_door import Door
from executor.process.worker_files import Work
from executor.process.worker_interrupts import block


@dataclass(frozen=True, slots=True)
class Birth:
    """
    What a zygote hands to a worker: the guest with its door and its generators of chance, what
    the image is (32 bytes), and how the box is called.
    """

    guest: NativeGuest
    door: Door
    kept: tuple[Any, ...]
    boot_digest: bytes
    isolation: str


def live(birth: Birth, directory: str, connection: socket.socket) -> NoReturn:
    """
    Be a worker on `connection`, in the box, whose guest works in `directory`; never returns.
    """
    code = EXIT_FAILED
    try:
        # Whatever the zygote or the box has made of signals before.
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        block()
        birth.guest.listen()
        # The box was entered where the guest works, which without namespaces lies elsewhere.
        work = Work(directory, str(Path.cwd()))
        session = Session(birth.guest, birth.door, connection, birth.kept, work)
        session.serve(birth.isolation, birth.boot_digest)
        code = 0
    except (MechanismError, CodecageError, OSError):
        # Nobody is left to tell: the descriptors of the zygote are closed. The code says it.
        pass
    finally:
        leave(code)
