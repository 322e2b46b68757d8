"""
The server's interrupts, from a thread that waits for its signals to the thread that runs cells.

The signals are blocked in every thread and taken by sigwait(3), because each has to be counted:
a handler in Python sees that one came, not how many. (Blocked they also reach a process that is
the first of its namespace, to which the kernel delivers nothing that it has no handler for.) The
cell's thread gets SIGINT, which ends what it waits for, and raises KeyboardInterrupt there.

It is sent by tgkill(2) itself: libc keeps the number of the thread that it believes to be the
first, and does not know that this one was cloned behind its back (pthread_kill(3) finds nobody).
"""

import errno
import os
import signal
import threading
from typing import Final

from executor.kernel.errors import InternalError
from executor.kernel.spawn import INTERRUPT_SIGNAL, LIMIT_SIGNAL
from executor.linux.libc import call

SIGNALS: Final = frozenset({INTERRUPT_SIGNAL, LIMIT_SIGNAL})
# An interrupt that was sent arrives within this many seconds, or something is wrong.
_SETTLE: Final = 5.0


def block() -> None:
    """
    Hold the server's signals back in this thread and those that it starts.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


class Interrupts:
    """
    Counts what has come, and interrupts the cell that runs; one between cells has no effect.

    To be made in the thread that runs cells.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._cells = threading.get_native_id()
        self._running = False
        self._taken = 0
        self._reason = ""
        self.limit_message = ""

    def watch(self) -> None:
        """
        The watching thread's whole life.
        """
        while True:
            self._deliver(limit=signal.sigwait(SIGNALS) == LIMIT_SIGNAL)

    def _deliver(self, *, limit: bool) -> None:
        with self._changed:
            self._taken += 1
            if self._running:
                self._reason = self.limit_message if limit else ""
                call("tgkill", os.getpid(), self._cells, int(signal.SIGINT))
            self._changed.notify_all()

    def start(self, sent: int) -> None:
        """
        A cell begins, after `sent` interrupts. Raises InternalError when one of them is missing.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._taken >= sent, _SETTLE):
                raise InternalError("an interrupt that was sent has not arrived")
            self._reason = ""
            self._running = True

    def stop(self) -> None:
        """
        The cell has ended. An interrupt that is under way finds none.
        """
        # One store and no lock: nothing that an interrupt could leave half done.
        self._running = False

    def running(self) -> bool:
        """
        Whether a cell runs.
        """
        return self._running

    def reason(self) -> str:
        """
        Why the last interrupt came, once: an errno, a blank and words; "0" for no words.
        """
        told, self._reason = self._reason, ""
        return f"{errno.EINTR} {told}" if told else "0"
