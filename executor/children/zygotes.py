"""
All zygotes: a live one for each image, and for each a few workers forked and locked ahead.

A box of the process cage is made for an order, which is its policy's: boxes wait for each order
that was asked for, and are let go of when nobody has asked for so long that they only cost memory.

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

from executor.children.launcher import Launcher
from executor.children.spawning import Zygote
from executor.children.workers import Worker
from executor.choice import ImageNotBuilt
from executor.errors import CageUnavailable
from executor.holding import CageMissing
from executor.idle import IdleTime
from executor.kernel.boxing import Holding
from executor.kernel.orders import BoxOrder
from executor.kernel.spawn import ZygoteReady

_LOG = logging.getLogger(__name__)
# After a zygote that ended before it was ready the next one of its image waits this long
# (seconds), so that a broken image does not keep a processor busy.
_PAUSE: Final = 1.0
# What a host lacks altogether does not come back soon.
_LONG_PAUSE: Final = 60.0
_PATIENCE: Final = 1.0
# So long after the last one was taken (seconds) the next worker is made: forking and locking it
# would take the processor from the first cell of the session that took that one.
_BREATH: Final = 0.008
# So long (seconds) boxes of an order wait for the next session that orders the same.
BOX_IDLE: Final = 300.0


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
    (0 or more) is how many workers of each started image wait ahead of need, in the process cage
    how many boxes of each order; those for `idle` seconds after the last session that took one.
    """

    def __init__(
        self,
        launcher: Launcher,
        images: Sequence[ImageRow],
        *,
        pool: int = 1,
        rotation: Rotation | None = None,
        idle: float = BOX_IDLE,
    ) -> None:
        self._launcher = launcher
        self._images = [_Image(index, row, idle) for index, row in enumerate(images)]
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

    def holding(self, name: str) -> Holding | None:
        """
        How boxes of an image of the process cage are held here, once its zygote has tried.
        """
        for image in self._images:
            if image.row.name == name:
                return image.holding
        return None

    async def start(self, name: str, order: BoxOrder | None = None) -> bytes:
        """
        Start image `name`, unless it is, and fill its pool in the background; its boot digest.

        For an image of the process cage boxes after `order` are made. Raises ImageNotBuilt,
        CageUnavailable, CageMissing.
        """
        image = self._find(name)
        ready = await self._booted(image)
        pool = image.pool(order)
        pool.used()
        # The first session often waits already, and would share its zygote and a processor.
        later = pool.wanted > 0
        self._in_background(self._refill_later(pool, pool.taken) if later else self._refill(pool))
        return ready.digest

    async def take(self, name: str, order: BoxOrder | None = None) -> Worker:
        """
        A worker of image `name` that nobody has used: locked, waiting for its session's facts.

        The first that is asked of an image starts its zygote, and all who ask meanwhile wait for
        the same one. Raises ImageNotBuilt, CageUnavailable, CageMissing.
        """
        image = self._find(name)
        pool = image.pool(order)
        pool.used()
        pool.wanted += 1
        try:
            worker = pool.pooled() or await pool.coming() or await self._spawn(pool)
        finally:
            pool.wanted -= 1
        pool.taken += 1
        self._in_background(self._refill_later(pool, pool.taken))
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
            if image.missing is not None:
                raise CageMissing(image.missing)
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
            image.not_before = time.monotonic() + (_LONG_PAUSE if zygote.is_in_vain else _PAUSE)
        if image.current is not zygote or self._closed:
            return
        image.current = None
        _LOG.warning("zygote %d of image %s ended by itself", zygote.number, image.row.name)
        if zygote.ready.done():
            for pool in image.pools():
                self._in_background(self._refill(pool))

    async def _booted(self, image: "_Image") -> ZygoteReady:
        zygote = self._zygote(image)
        try:
            ready = await zygote.booted()
        except CageMissing as error:
            image.missing = error.detail
            raise
        image.holding, image.missing = zygote.holding, None
        return ready

    async def _spawn(self, pool: "_Pool") -> Worker:
        await self._booted(pool.image)
        return await self._zygote(pool.image).spawn(pool.order)

    async def _refill_later(self, pool: "_Pool", taken: int) -> None:
        """
        Fill the pool again a breath after worker number `taken`, unless there is a later one by
        then, or somebody waits for one, and has it filled after that: what is made ahead would keep
        the zygote and a processor from who waits.
        """
        await asyncio.sleep(_BREATH)
        if pool.taken == taken and not pool.wanted:
            await self._refill(pool)

    async def _refill(self, pool: "_Pool") -> None:
        async with pool.refilling:
            while pool.count() < self._pool and not self._closed and not pool.closed:
                if await self._bring(pool):
                    return  # who claimed it has the pool refilled later

    async def _bring(self, pool: "_Pool") -> bool:
        """
        Make one worker for the pool; whether it is enough for now.
        """
        pool.brings, worker = True, None
        try:
            worker = await self._spawn(pool)
        except (CageUnavailable, CageMissing) as error:
            _LOG.warning("the pool of image %s stays low: %s", pool.image.row.name, error.detail)
            return True
        finally:
            claimed = pool.brought(worker)
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
    What is kept for one image: its zygotes (one current, others retired), and a pool of workers,
    or of boxes for each order that was asked for, until nobody has for `idle` seconds.
    """

    def __init__(self, index: int, row: ImageRow, idle: float) -> None:
        self.index = index
        self.row = row
        self._idle = idle
        self.current: Zygote | None = None
        self.zygotes: set[Zygote] = set()
        self.not_before = 0.0
        self.holding: Holding | None = None
        # What the host lacked for any box of this image, when it was last tried.
        self.missing: str | None = None
        self._pools: dict[BoxOrder | None, _Pool] = {}

    def pool(self, order: BoxOrder | None) -> "_Pool":
        if (pool := self._pools.get(order)) is None:
            pool = self._pools[order] = _Pool(self, order, self._idle)
        return pool

    def pools(self) -> list["_Pool"]:
        return [*self._pools.values()]

    def forget(self, pool: "_Pool") -> None:
        """
        Nobody has asked for this order in a long time.
        """
        if self._pools.get(pool.order) is pool:
            del self._pools[pool.order]

    def count(self) -> int:
        return sum(pool.count() for pool in self._pools.values())

    def end(self) -> list[Zygote]:
        zygotes = [*self.zygotes]
        for pool in self.pools():
            pool.end()
        for zygote in zygotes:
            zygote.retire()
        return zygotes


class _Pool:
    """
    The workers of one image that wait, made after one order, and the one that is being made.
    """

    def __init__(self, image: _Image, order: BoxOrder | None, idle: float) -> None:
        self.image = image
        self.order = order
        self.refilling = asyncio.Lock()
        # How many sessions have had one, and how many wait for one.
        self.taken = self.wanted = 0
        self.brings = False
        self.closed = False
        self._waiting: deque[Worker] = deque()
        self._claim: asyncio.Future[Worker | None] | None = None
        self._idle = IdleTime(idle, self.end)

    def used(self) -> None:
        """
        A session wants one: boxes wait for the next one for as long again.
        """
        if self.order is not None:
            self._idle.rest()

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
        if self.closed:
            worker.drop()
            return
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

    def end(self) -> None:
        """
        Let go of those that wait; the next who asks begins another pool.
        """
        self.closed = True
        self._idle.end()
        self.image.forget(self)
        while self._waiting:
            self._waiting.popleft().drop()

    def _drop(self, worker: Worker) -> None:
        if worker in self._waiting:
            self._waiting.remove(worker)
            worker.drop()
