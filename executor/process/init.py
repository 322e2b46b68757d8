"""
The first process of a box that may have children: it waits for them, and does nothing else.

The kernel gives orphans to the first process of a pid namespace, and ends all of the namespace
when that process ends. A guest that were first would have to wait for processes that it never
started, and signals with default actions would not reach it. So the box goes on in a child, and
what was first stays behind, locked as the box is, with no descriptor and every signal blocked.

Signals for the box arrive here, for this is the process that its maker knows; each is passed on,
and those that queue arrive as often as they were sent. How the box's process ended is told by this
one's exit: the same code, or 128 and the signal.
"""

import os
import signal
from typing import NoReturn

from executor.kernel.spawn import INTERRUPT_SIGNAL, LIMIT_SIGNAL, NUDGE_SIGNAL
from executor.linux import descriptors
from executor.linux.errors import asking

# What a box's maker sends it: an interrupt, and those of `executor.kernel.spawn`.
_PASSED_ON = frozenset({signal.SIGINT, INTERRUPT_SIGNAL, LIMIT_SIGNAL, NUDGE_SIGNAL})
_BY_SIGNAL = 128


def stay_behind() -> None:
    """
    Fork: return in the child, and wait for it and all others in this process, for good.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    with asking("fork", "a process for the guest", "allow the box two processes or more"):
        pid = os.fork()
    if pid:
        _wait_for(pid)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait_for(guest: int) -> NoReturn:
    try:
        descriptors.keep_only(())
        while True:
            number = signal.sigwaitinfo({signal.SIGCHLD, *_PASSED_ON}).si_signo
            if number == signal.SIGCHLD:
                _reap(guest)
            else:
                os.kill(guest, number)
    finally:
        os._exit(1)


def _reap(guest: int) -> None:
    # One signal may stand for several children.
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == guest:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else _BY_SIGNAL - code)
        if not pid:
            return
