"""
A native zygote whose workers are plain forks in no box: for tests of what is inside.

Arguments: the socket's number, the guest's working directory.
"""

import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from executor.images.cache import default_cache
from executor.linux import descriptors
from executor.process.images import DECLARED, image_of
from executor.process.zygote import Zygote, take_in


@dataclass(frozen=True, slots=True)
class Forked:
    pid: int
    pidfd: int

    def end(self) -> None:
        os.close(self.pidfd)


def fork(connection: socket.socket, run: Callable[[], NoReturn]) -> Forked:
    pid = os.fork()
    if pid == 0:
        descriptors.keep_only({0, 1, 2, connection.fileno()})
        run()
    return Forked(pid, os.pidfd_open(pid))


def main() -> int:
    with socket.socket(fileno=int(sys.argv[1])) as server:
        birth = take_in(image_of(DECLARED[0], default_cache()), "a fork", sys.argv[2])
        return Zygote(server, birth, fork).serve()


if __name__ == "__main__":
    sys.exit(main())
