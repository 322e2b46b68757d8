"""
Threads for what may block: the host's file system. Bounded, and shared out among policies.

A granted directory may be slow or hang (a network file system, FUSE). Sessions under one policy
have the same directories, so each policy has a share of the threads and a stuck one leaves the
others theirs. A session has one operation under way at most, because its worker has one ask open.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, Final, ParamSpec, TypeVar

from executor.kernel.ready import Haste, NotReady

_P = ParamSpec("_P")
_R = TypeVar("_R")
_THREADS: Final = 8
_SHARE: Final = 4


class FilePool:
    """
    The threads of one server; `share` gives each policy its part.
    """

    def __init__(self, threads: int = _THREADS, share: int = _SHARE) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="files")
        self._share = share
        self._shares: dict[str, Share] = {}

    def share(self, policy: str) -> "Share":
        """
        The part of `policy`.
        """
        return self._shares.setdefault(policy, Share(self._threads, self._share))

    def close(self) -> None:
        """
        Take no more work; what is under way ends by itself.
        """
        self._threads.shutdown(wait=False, cancel_futures=True)


class Share:
    """
    One policy's part of the threads, and whether its acts are tried without one.
    """

    def __init__(self, threads: ThreadPoolExecutor, width: int) -> None:
        self._threads = threads
        self._free = asyncio.Semaphore(width)
        self._haste = Haste()

    async def attempt(
        self, act: Callable[Concatenate[bool, _P], _R], *args: _P.args, **kwargs: _P.kwargs
    ) -> _R:
        """
        Call `act` with True: here and now, where it raises NotReady rather than wait. Where it
        does, call it with False, by `run`.
        """
        try:
            return self._haste.attempt(act, True, *args, **kwargs)
        except NotReady:
            pass
        return await self.run(act, False, *args, **kwargs)

    async def run(self, act: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """
        Call `act` on a thread and wait for what it returns or raises.

        Do not cancel who waits here: the thread goes on, and what it returns would be lost.
        """
        loop = asyncio.get_running_loop()
        async with self._free:
            return await loop.run_in_executor(self._threads, lambda: act(*args, **kwargs))
