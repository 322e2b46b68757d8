"""
Notices that a guest has let go of its stream while nobody reads or writes it.

A guest that closes its socket while an answer is waited for would hold a connection to the
world until that answer comes. End of file does not say it, because a guest that has only
finished sending looks the same; the kernel says it as a hangup (EPOLLHUP), which epoll reports
for every registered descriptor, also one of which nothing else is wanted.

A TCP connection says only that its other side has finished sending (EPOLLRDHUP), also where it
was closed; the hangup comes when something is sent there. Source: epoll_ctl(2).
"""

import asyncio
import select
from collections.abc import Callable


class Hangups:
    """
    Watches descriptors of this loop; each is told of once. To be made before the lock.
    """

    def __init__(self) -> None:
        self._poll = select.epoll(flags=select.EPOLL_CLOEXEC)
        self._told: dict[int, Callable[[], None]] = {}
        self._finished: dict[int, Callable[[], None]] = {}

    def start(self) -> None:
        """
        Begin to watch, in the running loop.
        """
        asyncio.get_running_loop().add_reader(self._poll.fileno(), self._look)

    def stop(self) -> None:
        """
        Watch no more, and give the descriptor back.
        """
        asyncio.get_running_loop().remove_reader(self._poll.fileno())
        self._poll.close()

    def watch(
        self,
        descriptor: int,
        tell: Callable[[], None],
        finished: Callable[[], None] | None = None,
    ) -> None:
        """
        Call `tell` once when the other side of the stream `descriptor` is gone altogether, and
        `finished`, if given, once when it has finished sending.
        """
        self._told[descriptor] = tell
        if finished is not None:
            self._finished[descriptor] = finished
        wanted = select.EPOLLRDHUP if finished is not None else 0
        self._poll.register(descriptor, select.EPOLLONESHOT | wanted)

    def forget(self, descriptor: int) -> None:
        """
        Watch `descriptor` no more; to be called before it is closed.
        """
        self._finished.pop(descriptor, None)
        if self._told.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def _look(self) -> None:
        for descriptor, events in self._poll.poll(0):
            tell = self._told.get(descriptor)
            if tell is not None and events & (select.EPOLLHUP | select.EPOLLERR):
                tell()
            elif (finished := self._finished.pop(descriptor, None)) is not None:
                self._poll.modify(descriptor, select.EPOLLONESHOT)
                finished()
