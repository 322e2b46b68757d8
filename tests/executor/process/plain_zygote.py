"""
A native zygote whose workers are plain forks in no box: for tests of what is inside.

Argument: the socket's number. The guest works where its order says.
"""

import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from resource import struct_rusage

from executor.images.cache import default_cache
from executor.kernel.boxing import BoxExited, BoxSignal, BoxSpawned, Holding, SealedBox
from executor.linux import descriptors
from executor.process.images import DECLARED, image_of
from executor.process.zygote import Born, Zygote, be_born, take_in
from executor.process.zygote_boxes import send


@dataclass(frozen=True, slots=True)
class Forked:
    pid: int
    pidfd: int

    def spawned(self, number: int) -> tuple[BoxSpawned, tuple[int, ...]]:
        return BoxSpawned(number, self.pid, Holding("P0", "a fork")), (self.pidfd,)

    def told(self) -> None:
        pass

    def send(self, wanted: BoxSignal) -> None:
        send(self.pidfd, wanted)

    def ended(self, number: int, status: int, _usage: struct_rusage) -> BoxExited:
        os.close(self.pidfd)
        return BoxExited(number, status)


def fork(sealed: SealedBox, connection: int) -> Forked | str:
    pid = os.fork()
    if pid == 0:
        descriptors.keep_only({0, 1, 2, connection})
        directory = sealed.opened().directory
        os.chdir(directory)
        return directory
    return Forked(pid, os.pidfd_open(pid))


def main(arguments: Sequence[str]) -> int:
    born = served(int(arguments[0]))
    return 0 if born is None else be_born(born)


def served(number: int) -> Born | None:
    server = socket.socket(fileno=number)
    birth = take_in(image_of(DECLARED[0], default_cache()), "a fork")
    born = Zygote(server, birth, fork).serve()
    server.detach()
    return born


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
