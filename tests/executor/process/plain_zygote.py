"""
A native zygote whose workers are plain forks in no box: for tests of what is inside.

Argument: the socket's number. The guest works where its order says.
"""

import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from resource import struct_rusage
from typing import NoReturn

from executor.images.cache import default_cache
from executor.kernel.boxing import BoxExited, BoxSignal, BoxSpawned, Holding
from executor.kernel.orders import BoxOrder
from executor.linux import descriptors
from executor.process.images import DECLARED, image_of
from executor.process.zygote import Zygote, take_in


@dataclass(frozen=True, slots=True)
class Forked:
    pid: int
    pidfd: int

    def spawned(self, number: int) -> tuple[BoxSpawned, tuple[int, ...]]:
        return BoxSpawned(number, self.pid, Holding("P0", "a fork")), (self.pidfd,)

    def told(self) -> None:
        pass

    def send(self, wanted: BoxSignal) -> None:
        signal.pidfd_send_signal(self.pidfd, wanted.value)

    def ended(self, number: int, status: int, _usage: struct_rusage) -> BoxExited:
        os.close(self.pidfd)
        return BoxExited(number, status)


def fork(_order: BoxOrder, connection: socket.socket, run: Callable[[], NoReturn]) -> Forked:
    pid = os.fork()
    if pid == 0:
        descriptors.keep_only({0, 1, 2, connection.fileno()})
        run()
    return Forked(pid, os.pidfd_open(pid))


def main() -> int:
    with socket.socket(fileno=int(sys.argv[1])) as server:
        birth = take_in(image_of(DECLARED[0], default_cache()), "a fork", "/")
        return Zygote(server, birth, fork).serve()


if __name__ == "__main__":
    sys.exit(main())
