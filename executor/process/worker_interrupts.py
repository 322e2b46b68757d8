"""
The server's interrupts, from a thread that waits for its signals to the thread that runs cells.

The signals are blocked in every thread and taken by sigwait(3), because each has to be counted:
a handler in Python sees that one came, not how many. (Blocked they also reach a process that is
the first of its namespace, to which the kernel delivers nothing that it has no handler for.) The
cell's thread gets SIGINT, which ends what it waits for, and raises KeyboardInterrupt there.

That thread may be about to wait: it has looked for signals and is not in the kernel yet, as it
is each time it lets go of the interpreter for a call, which is also when the watching thread gets
to run. Its signal is noted then, and the wait goes on. So the thread is nudged as long as the cell
runs and has not taken the interrupt, by the signal that is there for this and raises nothing: what
waits looks again, and a cell that has taken its interrupt never gets a second one. The next cell
is not nudged either, for beginning and nudging have one lock, and to begin is to owe nothing.

SIGINT is sent by tgkill(2) itself: libc keeps the number of the thread that it believes to be the
first, and does not know that this one was cloned behind its back (pthread_kill(3) finds nobody).
"""

import errno
import os
import signal
import threading
from typing import Final

from executor.kernel.errors import InternalError
from executor.kernel.spawn import INTERRUPT_SIGNAL, LIMIT_SIGNAL, NUDGE_SIGNAL
from executor.linux.libc import call

SIGNALS: Final = frozenset({INTERRUPT_SIGNAL, LIMIT_SIGNAL})
# An interrupt that was sent arrives within this many seconds, or something is wrong.
_SETTLE: Final = 5.0
# Seconds until a cell that has not taken its interrupt is nudged; then twice as many, and so on.
_NUDGE: Final = 0.02


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
        # Until the next nudge, where an interrupt has not been taken. One too many does nothing, so
        # that it is taken needs no lock.
        self._untaken: float | None = None
        self._nudged = False
        self.limit_message = ""

    def watch(self) -> None:
        """
        The watching thread's whole life.
        """
        while True:
            wait = self._untaken
            if wait is None:
                found: signal.struct_siginfo | None = signal.sigwaitinfo(SIGNALS)
            else:
                found = signal.sigtimedwait(SIGNALS, wait)
            if found is None:
                self._nudge()
            else:
                self._deliver(limit=found.si_signo == LIMIT_SIGNAL)

    def _deliver(self, *, limit: bool) -> None:
        with self._changed:
            self._taken += 1
            if self._running:
                self._reason = self.limit_message if limit else ""
                self._untaken = _NUDGE
                call("tgkill", os.getpid(), self._cells, int(signal.SIGINT))
            self._changed.notify_all()

    def _nudge(self) -> None:
        with self._changed:
            wait = self._untaken if self._running else None
            self._untaken = None if wait is None else 2 * wait
            if wait is not None:
                self._nudged = True
                call("tgkill", os.getpid(), self._cells, NUDGE_SIGNAL)

    def start(self, sent: int) -> None:
        """
        A cell begins, after `sent` interrupts. Raises InternalError when one of them is missing.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._taken >= sent, _SETTLE):
                raise InternalError("an interrupt that was sent has not arrived")
            self._reason = ""
            self._untaken = None
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

    def may_come(self) -> bool:
        """
        Whether a cell runs, and whoever asks was nudged by another than this: an interrupt may be
        under way, for which the watching thread has to run.
        """
        nudged, self._nudged = self._nudged, False
        return self._running and not nudged

    def reason(self) -> str:
        """
        Why the last interrupt came, once: an errno, a blank and words; "0" for no words. Asked by
        whoever takes it.
        """
        self._untaken = None
        told, self._reason = self._reason, ""
        return f"{errno.EINTR} {told}" if told else "0"
