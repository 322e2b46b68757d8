"""
The server's half of checkpoints: now and then it has the record's head signed by the signer.

A checkpoint is a copy of what the record says of itself, kept where the server cannot take it
back. So a signer that is gone stops no session: it is logged, and whoever watches the file sees
that nothing is added.
"""

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Self

from executor.audit.errors import AuditError
from executor.audit.record import Head
from executor.audit.store import AuditStore
from executor.audit.verify import extends, last_head
from executor.children import launcher
from executor.children.signer import LINE_MAX
from executor.errors import CannotStart

_LOG = logging.getLogger(__name__)
_SIGNER: Final = "executor.children.signer"
_POLL: Final = 1.0
_LAST_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class CheckpointOptions:
    """
    `key` is a file that `codecage audit key` has made, `to` the file that checkpoints are added
    to; the head is signed when it is `every` seconds old (at least 1), or `records` newer (at
    least 1) than the one signed last, whichever comes first. Both are looked at once a second.
    """

    key: Path
    to: Path
    every: float = 60.0
    records: int = 10_000

    def protected(self) -> tuple[str, ...]:
        """
        What no policy may grant, as absolute paths.
        """
        return (str(self.key.absolute()), str(self.to.absolute()))

    def check(self) -> None:
        """
        Raises CannotStart for a number that is out of its range.
        """
        if not 1 <= self.every <= 86_400:
            raise CannotStart(f"a checkpoint every {self.every:g} s: 1 to 86400 are possible")
        if self.records < 1:
            raise CannotStart(f"a checkpoint after {self.records} records: 1 or more are possible")

    def start(self) -> "SignerProcess":
        """
        The signer, started. Raises CannotStart.
        """
        return SignerProcess.start(self)


class SignerGone(Exception):
    """
    The signer has ended, or has refused.
    """


class SignerProcess:
    """
    The running signer. Its calls wait for it, and belong to one thread at a time.
    """

    def __init__(self, process: subprocess.Popen[bytes], options: CheckpointOptions) -> None:
        """
        Made by `start` alone.
        """
        self._process = process
        self.options = options
        self.last: Head | None = None

    @classmethod
    def start(cls, options: CheckpointOptions) -> Self:
        """
        Start the signer with the rights that this process has now: call it before the server
        becomes its account, from the main thread (the parent-death signal is bound to it).

        Raises CannotStart where the key or the checkpoints so far cannot be used.
        """
        command = launcher.program(
            _SIGNER,
            *("--key", str(options.key.absolute())),
            *("--to", str(options.to.absolute())),
            *("--parent", str(os.getpid())),
        )
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            env=launcher.environment(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        made = cls(process, options)
        try:
            made.last = made._heard()
        except SignerGone as error:
            made.close()
            raise CannotStart(f"checkpoints: {error}") from error
        return made

    def sign(self, head: Head, proof: tuple[bytes, ...]) -> None:
        """
        Have a head signed, and written to the file. Raises SignerGone.
        """
        asked = {"head": str(head), "proof": [step.hex() for step in proof]}
        try:
            pipe = self._pipe(self._process.stdin)
            pipe.write(json.dumps(asked).encode() + b"\n")
            pipe.flush()
        except OSError as error:
            raise SignerGone(f"the signer has ended: {error}") from error
        self.last = self._heard()

    def kill(self) -> None:
        """
        End the signer at once.
        """
        self._process.kill()

    def close(self) -> None:
        """
        Let the signer end, or end it. A second call does nothing.
        """
        with contextlib.suppress(OSError):
            self._pipe(self._process.stdin).close()
        try:
            self._process.wait(_LAST_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._pipe(self._process.stdout).close()

    def _heard(self) -> Head | None:
        line = self._pipe(self._process.stdout).readline(LINE_MAX)
        if not line.endswith(b"\n"):
            raise SignerGone("the signer has ended without a word; its log may say why")
        said = json.loads(line)
        if (error := said.get("error")) is not None:
            raise SignerGone(str(error))
        return None if said["signed"] is None else Head.parse(said["signed"])

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe


class Checkpoints:
    """
    Has the head of one store signed, from `begin` to `finish`.
    """

    def __init__(self, signer: SignerProcess, store: AuditStore) -> None:
        self._signer = signer
        self._store = store
        self._signed_at = 0.0
        self._over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """
        Sign the head as it is, then go on in the background.

        Raises CannotStart where the record is not what was signed before, with more added.
        """
        try:
            await self._sign()
        except (SignerGone, AuditError) as error:
            raise CannotStart(
                f"checkpoints: {error}; where this is another record than theirs, name another "
                "file for it"
            ) from error
        self._task = asyncio.get_running_loop().create_task(self._go_on())

    async def finish(self) -> None:
        """
        Sign the last head, and let the signer end.
        """
        self._over.set()
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                await self._end()
        except TimeoutError:
            _LOG.error("checkpoints: the signer does not answer; the last head is not signed")
            # Whoever waits for its answer, in a thread, waits no longer then.
            self._signer.kill()
        await asyncio.to_thread(self._signer.close)

    async def _end(self) -> None:
        if self._task is not None:
            await self._task
        try:
            if self._is_new():
                await self._sign()
        except (SignerGone, AuditError) as error:
            _LOG.error("checkpoints: the last head is not signed: %s", error)

    async def _go_on(self) -> None:
        try:
            while not self._over.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._over.wait(), _POLL)
                if self._is_due():
                    await self._sign()
        except (SignerGone, AuditError) as error:
            _LOG.error("checkpoints: no head is signed from now on: %s", error)

    def _is_new(self) -> bool:
        return self._signer.last is None or self._store.head() != self._signer.last

    def _is_due(self) -> bool:
        if self._signer.last is None or not self._is_new():
            return False
        added = self._store.head().sequence - self._signer.last.sequence
        waited = time.monotonic() - self._signed_at
        return added >= self._signer.options.records or waited >= self._signer.options.every

    async def _sign(self) -> None:
        await asyncio.to_thread(self._sign_now)
        self._signed_at = time.monotonic()

    def _sign_now(self) -> None:
        last = self._signer.last
        if last is None:
            self._signer.sign(last_head(self._store.path), ())
            return
        grown = extends(self._store.path, last)
        if grown.head != last:
            self._signer.sign(grown.head, grown.path)
