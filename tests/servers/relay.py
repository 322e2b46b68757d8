"""
A unix socket that passes bytes on to another one, until a test breaks what passes through it.
"""

import contextlib
import socket
import threading
from pathlib import Path
from typing import Self

_PIECE = 65_536


class Relay:
    """
    Listens at `path` for connections to `target`; `cut` ends all that there are.
    """

    def __init__(self, path: Path, target: str) -> None:
        self.accepted = 0
        self._target = target
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A thread that waits in accept is not woken by a close.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)

    def cut(self) -> None:
        """
        Break every connection.
        """
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._target)
            with self._lock:
                self.accepted += 1
                self._open |= {near, far}
            lasting = threading.Thread(target=self._pass_both, args=(near, far))
            self._threads.append(lasting)
            lasting.start()

    def _pass_both(self, near: socket.socket, far: socket.socket) -> None:
        back = threading.Thread(target=_pass, args=(far, near))
        back.start()
        _pass(near, far)
        back.join()
        with self._lock:
            self._open -= {near, far}
        near.close()
        far.close()


def _pass(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            target.sendall(piece)
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
