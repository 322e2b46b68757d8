"""
Who is ended first when memory runs out: a worker, before the process that forked it.

The score is inherited by fork, and its file belongs to root for a process that is not dumpable.
So a parent opens its own file while it may, and forks while its score stands at the highest:
the child has it from its first instruction, and neither needs the right to write in /proc.

Rejected: a child that makes itself dumpable, writes and takes it back. In between every process
of its user can open its memory, and keeps what it has opened.
Rejected: a parent that keeps the highest score. It would be ended with its first hungry child.
Here it has that score for the length of a fork only, and then of two equal scores the larger
process is ended. Source: proc_pid_oom_score_adj(5).
"""

import os
from dataclasses import dataclass

from executor.linux import proc
from executor.linux.errors import MechanismFailed, asking

MECHANISM = "oom_score_adj"
HIGHEST = 1000

_FILE = "/proc/self/oom_score_adj"
_LONGEST = 16
_MEND = "mount /proc writable"


@dataclass(frozen=True, slots=True)
class Score:
    """
    The own score of a process: its file, open for writing, and what it keeps (-1000 to 1000).
    """

    descriptor: int
    kept: int

    def fork(self) -> int:
        """
        Fork a child with the highest score; returns as os.fork does.

        To be called by the process that opened the file, in its only thread. Raises OSError as
        fork(2) does, MechanismFailed when a score does not hold: the caller must then end.
        """
        self._be(HIGHEST)
        pid = -1
        try:
            pid = os.fork()
        finally:
            # Not in the child: the file is the parent's there too, which may fork again by then.
            if pid:
                self._be(self.kept)
        return pid

    def _be(self, score: int) -> None:
        with asking(MECHANISM, f"writing {score}", _MEND):
            os.pwrite(self.descriptor, str(score).encode("ascii"), 0)
        if _read(self.descriptor) != score:
            raise MechanismFailed(MECHANISM, f"set to {score}, and it reads otherwise; {_MEND}")


def own() -> Score:
    """
    Open the score of this process, close-on-exec, while it is dumpable or root.

    Raises MechanismFailed when /proc is not mounted, or not writable for this process.
    """
    with asking(MECHANISM, f"opening {_FILE}", _MEND):
        descriptor = os.open(_FILE, os.O_RDWR | os.O_CLOEXEC)
    return Score(descriptor, _read(descriptor))


def require_highest() -> None:
    """
    Have the highest score: inherited, or else written now.

    Raises MechanismFailed when it is neither inherited nor can be written.
    """
    with asking(MECHANISM, f"being {HIGHEST}", f"fork with Score.fork, or {_MEND}"):
        # Not by `proc.read`: each function is pages that the caller no longer shares.
        file = os.open(_FILE, os.O_RDONLY | os.O_CLOEXEC)
        said = os.read(file, _LONGEST)
        os.close(file)
        if said != b"%d\n" % HIGHEST:
            proc.write(_FILE, b"%d" % HIGHEST)


def _read(descriptor: int) -> int:
    with asking(MECHANISM, "reading it", _MEND):
        return int(os.pread(descriptor, _LONGEST, 0))
