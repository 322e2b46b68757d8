"""
The launcher's process; `launcher.py` says what it is to the server.

Its arguments are plain words: its socket, a pair of them for the program that is started ahead,
the server's process, and the command of that program, if any. The first guest waits for what is
imported before that start, so it is `os` and `signal` alone.
"""

import os
import signal
import sys

# Type checkers know the name; importing `typing` for it would be half of what is imported here.
TYPE_CHECKING = False

if TYPE_CHECKING:
    import socket
    import subprocess
    from collections.abc import Sequence
    from typing import Self

_FOUND_BROKEN = 1


def main(arguments: "Sequence[str]") -> int:
    """
    Serve until the server's socket closes; exit status 1 when the server broke the protocol.
    """
    number, row, taker, parent = map(int, arguments[:4])
    # A service manager signals every process of the service; the server alone decides the end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # They came through exec, and nothing that is started here has them.
    os.set_inheritable(number, False)
    os.set_inheritable(row, False)
    with _Ahead(row, taker, arguments[4:]) as ahead:
        import socket  # noqa: PLC0415 - while the program ahead imports as well

        with socket.socket(fileno=number) as channel:
            return _run(channel, parent, ahead)


class _Ahead:
    """
    The program that was started ahead, until it has its row. `command` is how it was started, as
    the rows that it can take begin; nothing is started where that is empty. `row` is the
    descriptor by which it is told its row, `taker` the program's own.
    """

    def __init__(self, row: int, taker: int, command: "Sequence[str]") -> None:
        self._row = row
        self._command = [*command]
        self._waits = bool(command)
        self.pid = 0
        if command:
            line = [*command, "--ahead", str(taker)]
            self.pid = os.posix_spawn(line[0], line, os.environ)
        os.close(taker)

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._row)
        if self._waits and self.pid:
            os.kill(self.pid, signal.SIGKILL)

    def take(self, row: "Sequence[str]", descriptor: int) -> bool:
        """
        Give it the row and the descriptor; false where it does not wait for such a one.
        """
        import socket  # noqa: PLC0415 - after the start

        from executor.kernel.ahead import hand_over  # noqa: PLC0415

        length = len(self._command)
        if not self._waits or [*row[:length]] != self._command:
            return False
        self._waits = False
        with socket.socket(fileno=os.dup(self._row)) as waiting:
            return hand_over(waiting, row[length:], descriptor)

    def reap(self) -> None:
        """
        Leave no zombie of it.
        """
        if self.pid and os.waitpid(self.pid, os.WNOHANG)[0]:
            self.pid = 0


def _run(channel: "socket.socket", parent: int, ahead: _Ahead) -> int:
    # While the program ahead imports as well.
    import json  # noqa: PLC0415

    from executor.kernel.starting import TABLE_MAX  # noqa: PLC0415
    from executor.linux.prctl import (  # noqa: PLC0415
        set_not_dumpable,
        set_parent_death_signal,
    )

    set_parent_death_signal(signal.SIGKILL)
    # Whoever writes its memory starts programs as the server's user.
    set_not_dumpable()
    if os.getppid() != parent:
        return 0  # the server ended before the signal was armed
    data = channel.recv(TABLE_MAX)
    if not data:
        return 0
    try:
        table = json.loads(data)
    except ValueError:
        return _FOUND_BROKEN
    return _serve(channel, table, ahead)


def _serve(channel: "socket.socket", table: "Sequence[Sequence[str]]", ahead: _Ahead) -> int:
    import socket  # noqa: PLC0415 - as in `main`

    from executor.kernel.starting import REQUEST_MAX, requested_row  # noqa: PLC0415

    children: list[subprocess.Popen[bytes]] = []
    # Runs between two receives and leaves no zombies. (Ignoring the signal would do so too, but
    # would be inherited, and zygotes have to wait for children of their own.)
    signal.signal(signal.SIGCHLD, lambda *_: _reap(children, ahead))
    while True:
        data, received, _, _ = socket.recv_fds(channel, REQUEST_MAX, 2)
        if not data:
            return 0
        try:
            if len(received) != 1:
                return _FOUND_BROKEN
            row = table[requested_row(data)]
            if not ahead.take(row, received[0]):
                children.append(_start(row, received[0]))
        except (ValueError, IndexError):
            return _FOUND_BROKEN
        finally:
            for descriptor in received:
                os.close(descriptor)


def _reap(children: "list[subprocess.Popen[bytes]]", ahead: _Ahead) -> None:
    ahead.reap()
    children[:] = [child for child in children if child.poll() is None]


def _start(command: "Sequence[str]", descriptor: int) -> "subprocess.Popen[bytes]":
    import subprocess  # noqa: PLC0415 - not before the program ahead

    # Not a session of its own: it is already the launcher's, away from any terminal.
    return subprocess.Popen(  # noqa: S603 - a row of the table, which the server fixed
        [*command, "--socket", str(descriptor)],
        pass_fds=(descriptor,),
        stdin=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
