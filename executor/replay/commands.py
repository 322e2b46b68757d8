"""
`codecage audit replay` and `codecage audit erase`.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Collection
from typing import Final

from agent_client.terminal import visible
from executor.audit.erase import erase as erase_texts
from executor.audit.errors import AuditError
from executor.audit.review.search import session_named, session_named_anywhere
from executor.capture.errors import CaptureError, CaptureMissing
from executor.capture.vault import Vault
from executor.children.launcher import Launcher
from executor.errors import CageUnavailable, CannotStart
from executor.identity import account, become
from executor.replay.cage import Workers, launched, workers
from executor.replay.errors import NothingCaptured, ReplayError
from executor.replay.fetching import Fetcher, fetching
from executor.replay.player import Player
from executor.replay.reading import Recorded
from executor.replay.shell import Shell
from executor.replay.verdict import Answer, Verdict, disagreeing, plan, replayed

_IDENTICAL: Final = 0
_DIFFERS: Final = 1
_USAGE: Final = 2
_FAILED: Final = 3
_INCOMPLETE: Final = 4


def replay(args: argparse.Namespace) -> int:
    """
    `codecage audit replay`: the exit status.
    """
    return _reported(_replay, args)


def erase(args: argparse.Namespace) -> int:
    """
    `codecage audit erase`: the exit status.
    """
    return _reported(_erase, args)


def _reported(command: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    try:
        return command(args)
    except BrokenPipeError:
        raise
    except (CageUnavailable, CannotStart) as error:
        print(f"codecage audit: {visible(str(error))}", file=sys.stderr)
        return _FAILED
    except (AuditError, CaptureError, ReplayError, LookupError, OSError) as error:
        print(f"codecage audit: {visible(str(error))}", file=sys.stderr)
        return _USAGE


def _erase(args: argparse.Namespace) -> int:
    session = session_named_anywhere(args.audit, args.session)
    # The record first: where it cannot be erased nothing is, and the command says why.
    erased = None if args.capture_only else erase_texts(args.captures_of or args.audit, session)
    captured = _drop_capture(_vault(args), session, needed=args.capture_only)
    if args.json:
        records = 0 if erased is None else erased.records
        told = {"session": session, "erased": True, "records": records, "capture": captured}
        print(json.dumps(told))
        return 0
    if erased is not None:
        print(f"{session}: the texts of its {erased.records} records are gone")
    if captured:
        print(f"{session}: its capture can be read by nobody now")
    return 0


def _drop_capture(vault: Vault, session: str, *, needed: bool) -> bool:
    try:
        vault.erase(session)
    except CaptureMissing:
        if needed:
            raise
        return False
    return True


def _replay(args: argparse.Namespace) -> int:
    if args.all and args.until is not None:
        print("codecage audit: --until is for one session; name it", file=sys.stderr)
        return _USAGE
    vault = _vault(args)
    names = vault.sessions() if args.all else [session_named(args.audit, args.session)]
    if not names:
        raise NothingCaptured(args.audit)
    with fetching(args.audit, vault, names) as fetcher, launched(fetcher.images) as started:
        if os.geteuid() == 0:
            # Another process reads: what is left needs no right, and a worker's limits are its
            # user's to set.
            become(account("nobody"))
        return _status(asyncio.run(_play(args, fetcher, len(names), started)))


def _vault(args: argparse.Namespace) -> Vault:
    return Vault(args.captures_of or args.audit)


async def _play(
    args: argparse.Namespace, fetcher: Fetcher, count: int, started: Launcher
) -> list[Answer | None]:
    """
    What came of each session, None for one that cannot be read.
    """
    async with workers(started, fetcher.images) as source:
        answers = [await _next(args, fetcher, source) for _ in range(count)]
    if args.all and not args.json:
        print(f"{answers.count(Answer.IDENTICAL)} of {count} identical")
    return answers


async def _next(args: argparse.Namespace, fetcher: Fetcher, source: Workers) -> Answer | None:
    try:
        return (await _one(args, fetcher.fetch(), source)).answer
    except ReplayError as error:
        if not args.all:
            raise
        # The others are no worse for it.
        print(f"codecage audit: {visible(str(error))}", file=sys.stderr)
        return None


async def _one(args: argparse.Namespace, recorded: Recorded, source: Workers) -> Verdict:
    verdict = disagreeing(recorded)
    if verdict is not None:
        _print(args, verdict)
        return verdict
    steps = plan(recorded, args.until)
    async with source.take(str(recorded.header["image_key"])) as worker:
        verdict = await replayed(recorded, steps, Player(worker))
        _print(args, verdict)
        if args.until is not None and not args.json and verdict.answer is not Answer.DIFFERS:
            print(f"after cell {args.until}; nothing is outside; Ctrl-D ends")
            await Shell(worker, args.until).converse()
    return verdict


def _print(args: argparse.Namespace, verdict: Verdict) -> None:
    print(json.dumps(verdict.json()) if args.json else visible(verdict.line()), flush=True)


def _status(answers: Collection[Answer | None]) -> int:
    if Answer.DIFFERS in answers:
        return _DIFFERS
    if None in answers:
        return _USAGE
    return _INCOMPLETE if Answer.INCOMPLETE in answers else _IDENTICAL
