"""
All zygotes: a live one for each image, and for each a few workers forked and locked ahead.

Forks share their zygote's address layout, stack canary and pointer guard, so a zygote is retired
after some workers or some time and another takes its place; a retired one lives until its last
worker has ended, because the kernel ends its workers with it. One that ends by itself takes its
workers with it; their sessions are lost, and the next worker comes from a new zygote.
"""

import asyncio
import logging
import socket
import time
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Final

from executor.choice import ImageNotBuilt
from executor.errors import CageUnavailable
from executor.launcher import Launcher
from executor.spawning import Zygote
from executor.workers import Worker

_LOG = logging.getLogger(__name__)
# After a zygote that ended before it was ready the next one of its image waits this long
# (seconds), so that a broken image does not keep a processor busy.
_PAUSE: Final = 1.0
_PATIENCE: Final = 1.0
# So long after one was taken (seconds) the next worker is made: forking and locking it would
# take the processor from the first cell of the session that took the last one.
_BREATH: Final = 0.008


@dataclass(frozen=True, slots=True)
class ImageRow:
    """
    A row of the launcher's table: an image's name and its key (hex).
    """

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Rotation:
    """
    When a zygote is retired: after so many workers (1 or more), or so many seconds.
    """

    workers: int = 500
    seconds: float = 3600.0


class Zygotes:
    """
    The source of workers. `images` are the rows of the launcher's table, in its order; `pool`
    (0 or more) is how many workers of each started image wait ahead of need.
    """

    def __init__(
        self,
        launcher: Launcher,
        images: Sequence[ImageRow],
        *,
        pool: int = 1,
        rotation: Rotation | None = None,
    ) -> None:
        self._launcher = launcher
        self._images = [_Image(index, row) for index, row in enumerate(images)]
        self._pool = pool
        self._rotation = rotation or Rotation()
        self._started = 0
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()

    def keys(self) -> dict[str, str]:
        """
        The key of each image, by name.
        """
        return {image.row.name: image.row.key for image in self._images}

    async def start(self, name: str) -> bytes:
        """
        Start image `name`, unless it is, and fill its pool in the background; its boot digest.

        Raises ImageNotBuilt, CageUnavailable.
        """
        image = self._find(name)
        ready = await self._zygote(image).booted()
        self._in_background(self._refill(image))
        return ready.digest

    async def take(self, name: str) -> Worker:
        """
        A worker of image `name` that nobody has used: locked, waiting for its session's facts.

        The first that is asked of an image starts its zygote, and all who ask meanwhile wait for
        the same one. Raises ImageNotBuilt, CageUnavailable.
        """
        image = self._find(name)
        worker = image.pooled() or await image.coming() or await self._zygote(image).spawn()
        self._in_background(self._refill_later(image))
        return worker

    async def close(self) -> None:
        """
        End every zygote, and with them all workers.
        """
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        zygotes = [zygote for image in self._images for zygote in image.end()]
        if zygotes:
            # With its last worker reaped each ends by itself; what does not is let go of.
            await asyncio.wait({zygote.ended for zygote in zygotes}, timeout=_PATIENCE)
        for zygote in zygotes:
            zygote.end()

    def _find(self, name: str) -> "_Image":
        for image in self._images:
            if image.row.name == name:
                return image
        raise ImageNotBuilt(name)

    def _zygote(self, image: "_Image") -> Zygote:
        if self._closed:
            raise CageUnavailable("the server is stopping")
        current = image.current
        if current is not None and current.alive and self._is_worn(current):
            current.retire()
        if current is None or not current.alive:
            image.current = current = self._start(image)
        return current

    def _is_worn(self, zygote: Zygote) -> bool:
        age = time.monotonic() - zygote.started
        return zygote.spawned >= self._rotation.workers or age >= self._rotation.seconds

    def _start(self, image: "_Image") -> Zygote:
        if (wait := image.not_before - time.monotonic()) > 0:
            raise CageUnavailable(f"image {image.row.name!r} failed; tried again in {wait:.1f} s")
        self._started += 1
        ours = self._launcher.take_ahead(image.index) or self._ask_for_zygote(image)
        zygote = Zygote(self._started, image.row.key, ours)
        image.zygotes.add(zygote)
        zygote.ended.add_done_callback(lambda _: self._on_end(image, zygote))
        return zygote

    def _ask_for_zygote(self, image: "_Image") -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self._launcher.start_zygote(self._started, image.index, theirs)
        except OSError as error:
            ours.close()
            raise CageUnavailable(f"the launcher does not answer: {error}") from error
        return ours

    def _on_end(self, image: "_Image", zygote: Zygote) -> None:
        image.zygotes.discard(zygote)
        if not zygote.ready.done():
            image.not_before = time.monotonic() + _PAUSE
        if image.current is not zygote or self._closed:
            return
        image.current = None
        _LOG.warning("zygote %d of image %s ended by itself", zygote.number, image.row.name)
        if zygote.ready.done():
            self._in_background(self._refill(image))

    async def _refill_later(self, image: "_Image") -> None:
        await asyncio.sleep(_BREATH)
        await self._refill(image)

    async def _refill(self, image: "_Image") -> None:
        async with image.refilling:
            while image.count() < self._pool and not self._closed:
                if await self._bring(image):
                    return  # who claimed it has the pool refilled later

    async def _bring(self, image: "_Image") -> bool:
        """
        Make one worker for the pool; whether it is enough for now.
        """
        image.brings, worker = True, None
        try:
            worker = await self._zygote(image).spawn()
        except CageUnavailable as error:
            _LOG.warning("the pool of image %s stays low: %s", image.row.name, error.detail)
            return True
        finally:
            claimed = image.brought(worker)
        return claimed

    def _in_background(self, work: Coroutine[object, object, None]) -> None:
        if self._closed:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Image:
    """
    What is kept for one image: its zygotes (one current, others retired) and its pool.
    """

    def __init__(self, index: int, row: ImageRow) -> None:
        self.index = index
        self.row = row
        self.current: Zygote | None = None
        self.zygotes: set[Zygote] = set()
        self.not_before = 0.0
        self.refilling = asyncio.Lock()
        self._waiting: deque[Worker] = deque()
        self.brings = False
        self._claim: asyncio.Future[Worker | None] | None = None

    def brought(self, worker: Worker | None) -> bool:
        """
        A worker has been made for the pool, or could not be: it is whoever's has claimed it.
        """
        claim, self._claim, self.brings = self._claim, None, False
        claimed = claim is not None and not claim.done()
        if claim is not None and claimed:
            claim.set_result(worker)
        elif worker is not None:
            self.add(worker)
        return claimed

    async def coming(self) -> Worker | None:
        """
        The worker that is being made for the pool, if nobody has claimed it; None otherwise.
        """
        if not self.brings or self._claim is not None:
            return None
        claim: asyncio.Future[Worker | None] = asyncio.get_running_loop().create_future()
        self._claim = claim
        try:
            return await claim
        except asyncio.CancelledError:
            # It may have come just before: then it is the pool's.
            if claim.done() and not claim.cancelled() and (worker := claim.result()):
                self.add(worker)
            raise

    def add(self, worker: Worker) -> None:
        self._waiting.append(worker)
        worker.on_end(lambda: self._drop(worker))

    def pooled(self) -> Worker | None:
        while self._waiting:
            worker = self._waiting.popleft()
            if worker.alive:
                return worker
            worker.drop()
        return None

    def count(self) -> int:
        return len(self._waiting)

    def end(self) -> list[Zygote]:
        zygotes = [*self.zygotes]
        while self._waiting:
            self._waiting.popleft().drop()
        for zygote in zygotes:
            zygote.retire()
        return zygotes

    def _drop(self, worker: Worker) -> None:
        if worker in self._waiting:
            self._waiting.remove(worker)
            worker.drop()
