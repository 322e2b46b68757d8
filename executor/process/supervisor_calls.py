"""
The system calls that the kernel has refused a guest: told, counted by name, answered EPERM.

The box's filter turns a refusal into a notification. Nothing is decided here and nothing of the
guest's memory is read: the answer is EPERM whatever was asked, without CONTINUE and without a
descriptor, so there is nothing to race. What is worth the detour is the record of what was tried.
Two calls are no refusals where a guest has sockets that the server makes (`supervisor_sockets.py`).

A guest that asks for forbidden calls in a loop waits: so many are answered in a tenth of a second,
then others have their turn. Its notes are one for each name at first, then one a second at most.

Source: seccomp_unotify(2).
"""

import asyncio
import errno
import os
import select
from collections import Counter
from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from codecage.worker.v1 import worker_pb2 as wire
from executor.linux import notifications
from executor.linux.errors import MechanismError
from executor.linux.syscalls import NUMBERS
from executor.process.supervisor_sockets import CALLS, GuestSockets

_NAMES: Final = MappingProxyType({number: name for name, number in NUMBERS.items()})
_A_TURN: Final = 16
_A_PAUSE: Final = 256
_PAUSE: Final = 0.1
_NOTES_EVERY: Final = 1.0
_COUNT_MAX: Final = 2**32 - 1


class RefusedCalls:
    """
    One session's listener, owned until no process of the box is left. `note` takes what is to be
    recorded; `end` is told why nothing can be heard any more, while the box lives. `sockets`, if
    there are any, answer their calls.
    """

    def __init__(
        self,
        listener: int,
        note: Callable[[wire.Note], None],
        end: Callable[[str], None],
        sockets: GuestSockets | None = None,
    ) -> None:
        self._listener = listener
        self._sockets = sockets
        self._note = note
        self._end = end
        self._counts: Counter[str] = Counter()
        self._seen: set[str] = set()
        self._answered = 0
        self._timer: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._listen()

    def close(self) -> None:
        """
        Let go of the listener; refused calls answer ENOSYS from now on.
        """
        if self._listener < 0:
            return
        for timer in (self._timer, self._pause):
            if timer is not None:
                timer.cancel()
        asyncio.get_running_loop().remove_reader(self._listener)
        if self._sockets is not None:
            self._sockets.close()
        os.close(self._listener)
        self._listener = -1
        self._tell()

    def _listen(self) -> None:
        self._pause, self._answered = None, 0
        asyncio.get_running_loop().add_reader(self._listener, self._on_readable)

    def _on_readable(self) -> None:
        try:
            waiting = sum(self._refuse_one() for _ in range(_A_TURN))
        except MechanismError as error:
            self._end(f"its refused calls cannot be heard: {error}")
            return
        if not waiting and self._is_over():
            self.close()
        elif self._answered >= _A_PAUSE:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._listener)
            self._pause = loop.call_later(_PAUSE, self._listen)

    def _is_over(self) -> bool:
        """
        Whether no process has the filter any more.

        That nothing waits does not say so: a caller that a signal has called away is gone before
        it is looked at, and a guest can have as many signals as it likes.
        """
        poll = select.poll()
        poll.register(self._listener, 0)
        return any(events & select.POLLHUP for _, events in poll.poll(0))

    def _refuse_one(self) -> bool:
        found = notifications.receive(self._listener)
        if found is None:
            return False
        if self._sockets is not None and found.number in CALLS:
            self._answered += 1
            self._sockets.take(found)
            return True
        self._count(_NAMES.get(found.number, f"number {found.number}"))
        notifications.refuse(self._listener, found, errno.EPERM)
        return True

    def _count(self, name: str) -> None:
        self._answered += 1
        if name not in self._seen:
            self._seen.add(name)
            self._note(wire.Note(what=name, errno="EPERM", count=1))
            return
        self._counts[name] += 1
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_NOTES_EVERY, self._tell)

    def _tell(self) -> None:
        self._timer = None
        counts, self._counts = self._counts, Counter()
        for name, number in sorted(counts.items()):
            self._note(wire.Note(what=name, errno="EPERM", count=min(number, _COUNT_MAX)))
