"""
A process held by descriptor, so that no later process with the same number is ever meant.

Sources: pidfd_open(2), pidfd_send_signal(2), clock_getcpuclockid(3).
"""

import os
import select
import signal
import time
from types import TracebackType
from typing import Self

from executor.linux import proc
from executor.linux.errors import asking

MECHANISM = "pidfd"
_PEAK = b"VmHWM:"
_CPU_CLOCK_OF_PROCESS = 2  # CPUCLOCK_SCHED: what the scheduler counted, of all threads


class Process:
    """
    A running or just ended process. Not thread-safe against `close`.

    `pid` is the number it was opened by; it identifies the process as long as nobody has
    reaped it, and every method here notices when it is gone.
    """

    def __init__(self, pid: int) -> None:
        """
        Hold process `pid` (1 or more).

        Raises ProcessLookupError when there is none, MechanismMissing before Linux 5.3,
        MechanismFailed when no descriptor is free or the call is forbidden.
        """
        self.pid = pid
        with asking(MECHANISM, f"opening process {pid}", "use Linux 5.3 or later"):
            try:
                self._descriptor = os.pidfd_open(pid)
            except ProcessLookupError as error:
                gone = error
            else:
                return
        raise ProcessLookupError(f"process {pid} has ended") from gone

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """
        The descriptor; it becomes readable when the process has ended.
        """
        return self._descriptor

    def close(self) -> None:
        """
        Let go of the process. The second call does nothing.
        """
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def send(self, number: int) -> None:
        """
        Send signal `number` (0 to 64; 0 only asks whether it may).

        Raises ProcessLookupError when it has ended and was reaped, PermissionError.
        """
        signal.pidfd_send_signal(self._descriptor, number)

    def ended(self, timeout: float | None = 0.0) -> bool:
        """
        Whether it has ended, waiting up to `timeout` seconds (0 or more; None: for ever).
        """
        waiting = select.poll()
        waiting.register(self._descriptor, select.POLLIN)
        return bool(waiting.poll(None if timeout is None else timeout * 1000))

    def memory_peak(self) -> int | None:
        """
        The most memory (bytes) that it has had at once, as the kernel says, pages that it shares
        with others included; None where /proc does not tell. Raises ProcessLookupError when it has
        ended.

        Source: proc_pid_status(5), VmHWM.
        """
        try:
            lines = proc.read(f"/proc/{self.pid}/status").splitlines()
        except OSError:
            lines = []
        if self.ended():
            # The number may be another's by now.
            raise ProcessLookupError(f"process {self.pid} has ended")
        found = [line.split()[1] for line in lines if line.startswith(_PEAK)]
        return int(found[0]) * 1024 if found else None

    def cpu_time(self) -> float:
        """
        Seconds of CPU that all its threads have used, to the nanosecond.

        Raises ProcessLookupError when it has ended: its number may be another's by now.
        """
        try:
            used = time.clock_gettime((~self.pid << 3) | _CPU_CLOCK_OF_PROCESS)
        except OSError as error:
            raise ProcessLookupError(f"process {self.pid} has ended") from error
        # Asked after the reading: if it lives now, the number was its own all the time.
        if self.ended():
            raise ProcessLookupError(f"process {self.pid} has ended")
        return used
