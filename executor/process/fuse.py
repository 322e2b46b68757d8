"""
One served mount: requests are read from its FUSE device, driven to their end, and answered.

A request that needs the gate waits for it without holding up others: its act (`fuse_acts.py`) is a
generator that stops where it asks. The session asks one thing at a time, so what more is asked for
waits in a line (`Line`), which all mounts of a session share.

A process of the guest that waits here can be interrupted. A request that is still in the line is
given up at once; one that the gate is busy with gets a moment, and is then answered with EINTR
although it goes on: a hanging file system of the host holds the gate, and no longer the guest.
What such an act brings in the end nobody has heard of, so it is taken back.

Sources: fuse(4), <linux/fuse.h>; Linux `Documentation/filesystems/fuse/fuse.rst` on interrupting.
"""

import asyncio
import errno
import os
from collections.abc import Callable
from typing import Final

from codecage.worker.v1 import worker_pb2 as wire
from executor.process import fuse_protocol as fuse
from executor.process.fuse_acts import ACTS, Passed, Steps, Told, Tree
from executor.process.fuse_nodes import Fault
from executor.process.fuse_protocol import Malformed, Opcode, Request
from executor.process.fuse_refusals import REFUSED

# Between the loop's looks at other sessions.
_REQUESTS_A_TURN: Final = 16
# Requests that are read and not answered; each may bring as much as a write does.
_UNANSWERED_MAX: Final = 64
# How long (seconds) an interrupted request may still be answered in earnest.
_GRACE: Final = 1.0
_FORGETS: Final = frozenset({Opcode.FORGET, Opcode.BATCH_FORGET})
# What a read of the device says when a request was given up before it was read.
_AGAIN: Final = frozenset({errno.ENOENT, errno.EINTR})


class Job:
    """
    One request on its way: the generator of its act, whether the gate was `asked` for it, whether
    its caller was told something else meanwhile (`abandoned`), and whether nothing is to be done
    for it any more (`dropped`).
    """

    __slots__ = ("abandoned", "asked", "dropped", "mount", "steps", "unique")

    def __init__(self, mount: "Mount", unique: int, steps: Steps) -> None:
        self.mount = mount
        self.unique = unique
        self.steps = steps
        self.abandoned = False
        self.asked = False
        self.dropped = False

    def go_on(self, told: Passed | Fault) -> None:
        """
        Drive it further with the answer to what it has asked, or the refusal.
        """
        self.mount.go_on(self, told)


# Puts a question of a job in the session's line.
Line = Callable[[Job, wire.Ask], None]


class Mount:
    """
    One FUSE device, owned until it is unmounted, and what is served on it. `line` takes questions;
    `end` is told what no kernel would have done, or why nothing can be served any more.
    """

    def __init__(self, device: int, tree: Tree, line: Line, end: Callable[[str], None]) -> None:
        os.set_blocking(device, False)
        self._device = device
        self._tree = tree
        self._line = line
        self._end = end
        self._begun = False
        self._reading = False
        self._jobs: dict[int, Job] = {}
        self._listen()

    def go_on(self, job: Job, passed: Passed | Fault) -> None:
        """
        Drive a job further with the answer to what it has asked, or the refusal.
        """
        if self._device < 0:
            self._let_go(job, passed)
            return
        try:
            ask = job.steps.throw(passed) if isinstance(passed, Fault) else job.steps.send(passed)
        except StopIteration as over:
            self._told(job, over.value)
        except Fault as fault:
            self._over(job, fuse.refusal(job.unique, fault.number))
        except Malformed as error:
            self._end(str(error))
        else:
            self._line(job, ask)

    def close(self) -> None:
        """
        Let go of the device; the kernel answers everything there with ENOTCONN from now on.
        """
        if self._device < 0:
            return
        self._deafen()
        os.close(self._device)
        self._device = -1
        for job in self._jobs.values():
            # What nobody has been asked yet is done for nobody.
            job.dropped = not job.asked
        self._jobs.clear()
        self._tree.files.close()
        self._tree.nodes.close()

    @staticmethod
    def _let_go(job: Job, passed: Passed | Fault) -> None:
        """
        An answer for a mount that is gone: its tables are closed, so nothing is kept any more.
        """
        if isinstance(passed, Passed) and passed.descriptor >= 0:
            os.close(passed.descriptor)
        job.steps.close()

    def _listen(self) -> None:
        if not self._reading and self._device >= 0:
            asyncio.get_running_loop().add_reader(self._device, self._on_readable)
            self._reading = True

    def _deafen(self) -> None:
        if self._reading:
            asyncio.get_running_loop().remove_reader(self._device)
            self._reading = False

    def _on_readable(self) -> None:
        try:
            for _ in range(_REQUESTS_A_TURN):
                if self._device < 0 or (data := self._read()) is None:
                    return
                self._take(fuse.parse(memoryview(data)))
        except Malformed as error:
            self._end(str(error))
        except OSError as error:
            if error.errno == errno.ENODEV:  # unmounted: no process of the box is left
                self.close()
            else:
                self._end(f"the device cannot be read: {error.strerror}")

    def _read(self) -> bytes | None:
        """
        The next request, or None where there is none. Raises OSError when the mount is gone.
        """
        while True:
            try:
                return os.read(self._device, fuse.REQUEST_MAX)
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno not in _AGAIN:
                    raise

    def _take(self, request: Request) -> None:
        if not self._begun:
            self._begin(request)
        elif request.opcode in _FORGETS:
            for node, lookups in fuse.forgotten(request):
                self._tree.nodes.forget(node, lookups)
        elif request.opcode == Opcode.INTERRUPT:
            self._interrupt(request.numbers[0])
        elif request.opcode == Opcode.DESTROY:
            self._send(fuse.answer(request.unique, 0), b"")
        elif (act := ACTS.get(request.opcode)) is None:
            number, _ = REFUSED.get(request.opcode, (errno.ENOSYS, ""))
            self._send(fuse.refusal(request.unique, number), b"")
        else:
            self._start(Job(self, request.unique, act(self._tree, request)))

    def _begin(self, request: Request) -> None:
        if request.opcode != Opcode.INIT:
            raise Malformed(f"opcode {request.opcode} before INIT")
        agreed = fuse.agreed(request)
        self._send(fuse.answer(request.unique, len(agreed)), agreed)
        self._begun = True

    def _start(self, job: Job) -> None:
        if job.unique in self._jobs:
            raise Malformed(f"request {job.unique} comes a second time")
        self._jobs[job.unique] = job
        if len(self._jobs) >= _UNANSWERED_MAX:
            self._deafen()
        try:
            ask = next(job.steps)
        except StopIteration as over:
            self._told(job, over.value)
        except Fault as fault:
            self._over(job, fuse.refusal(job.unique, fault.number))
        else:
            self._line(job, ask)

    def _interrupt(self, unique: int) -> None:
        job = self._jobs.get(unique)
        if job is None:
            return
        if job.asked:
            asyncio.get_running_loop().call_later(_GRACE, self._abandon, job)
        else:
            self._abandon(job)
            job.dropped = True
            job.steps.close()

    def _abandon(self, job: Job) -> None:
        if self._jobs.get(job.unique) is job:
            job.abandoned = True
            self._over(job, fuse.refusal(job.unique, errno.EINTR))

    def _told(self, job: Job, told: Told) -> None:
        if job.abandoned or not self._over(job, fuse.answer(job.unique, len(told.data)), told.data):
            self._take_back(told)

    def _over(self, job: Job, header: bytes, data: bytes | bytearray | memoryview = b"") -> bool:
        """
        Answer a job, once; whether the kernel took the answer.
        """
        if self._jobs.get(job.unique) is not job:
            return False
        del self._jobs[job.unique]
        self._listen()
        return self._send(header, data)

    def _send(self, header: bytes, data: bytes | bytearray | memoryview) -> bool:
        if self._device < 0:
            return False
        try:
            os.writev(self._device, [header, data])
        except OSError as error:
            # ENOENT: its caller is gone. ENODEV: the mount is; reading says so.
            if error.errno not in {errno.ENOENT, errno.ENODEV}:
                self._end(f"the kernel takes no answer: {error.strerror}")
            return False
        return True

    def _take_back(self, told: Told) -> None:
        """
        Undo what the kernel would have to be told of, had it heard the answer.
        """
        if self._device < 0:
            return
        if told.node:
            self._tree.nodes.forget(told.node, 1)
        if told.handle:
            file = self._tree.files.pop(told.handle)
            if file.handle:
                job = Job(self, 0, _closing(file.handle))
                job.abandoned = True
                self._line(job, next(job.steps))


def _closing(handle: int) -> Steps:
    yield wire.Ask(close=handle)
    return Told()
