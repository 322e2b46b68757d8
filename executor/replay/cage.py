"""
Workers for replays: the same jail as a server's, and nobody to ask.

A zygote of the very image is started as a server starts it, and forks a worker for each session.
Nothing is served: no policy is read, no directory held, no network broker started.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from typing import Final

from executor.children import launcher
from executor.children.launcher import Launcher
from executor.children.workers import Worker
from executor.children.zygotes import ImageRow, Zygotes
from executor.identity import account
from executor.images import catalog
from executor.images.cache import default_cache
from executor.replay.errors import ImageMissing

_ZYGOTE: Final = "executor.children.zygote"
_NOBODY: Final = "nobody"


@contextlib.contextmanager
def launched(images: dict[str, str]) -> Iterator[Launcher]:
    """
    A launcher of the zygotes of these images, names by key. Call it while no thread runs.

    Raises ImageMissing, and OSError where it cannot be started.
    """
    cache = default_cache()
    for key, name in images.items():
        if catalog.find_key(key, cache) is None:
            raise ImageMissing(name, key)
    started = launcher.launch([_command(name, key) for key, name in images.items()])
    try:
        yield started
    finally:
        started.stop()


@contextlib.asynccontextmanager
async def workers(started: Launcher, images: dict[str, str]) -> AsyncIterator["Workers"]:
    """
    The source of their workers; every one is ended with it.
    """
    made = Workers(Zygotes(started, [ImageRow(key, key) for key in images]))
    try:
        yield made
    finally:
        await made.close()


class Workers:
    """
    Locked workers, by the key of their image, each for one replay.
    """

    def __init__(self, zygotes: Zygotes) -> None:
        self._zygotes = zygotes

    @contextlib.asynccontextmanager
    async def take(self, key: str) -> AsyncIterator[Worker]:
        """
        A worker, which is ended at the end. Raises CageUnavailable.
        """
        worker = await self._zygotes.take(key)
        try:
            yield worker
        finally:
            worker.drop()
            await asyncio.wait({worker.ended})

    async def close(self) -> None:
        """
        End the zygotes.
        """
        await self._zygotes.close()


def _command(name: str, key: str) -> tuple[str, ...]:
    arguments = ["--image", name, "--key", key]
    if os.geteuid() == 0:
        guest = account(_NOBODY)
        arguments += ["--uid", str(guest.uid), "--gid", str(guest.gid)]
    return launcher.program(_ZYGOTE, *arguments)
