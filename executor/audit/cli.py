"""
`codecage audit`: its options, and the commands that verify; `review` has those that show.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from executor.audit import pruning, read, report, signing
from executor.audit.command import print_lines, runs
from executor.audit.differences import Differences
from executor.audit.place import default_path
from executor.audit.record import Head, Record
from executor.audit.review import commands as commands_of_review
from executor.audit.review.commands import verdict_of
from executor.audit.review.options import after_option
from executor.audit.verify import Proof, extends, prove
from executor.replay import options as replay
from executor.review import command as command_of_pages

if TYPE_CHECKING:
    from executor.audit.command import Subparsers


def register(subparsers: "Subparsers") -> None:
    """
    Add `audit` and its commands; each sets `run`, which takes the arguments and returns a status.
    """
    audit = subparsers.add_parser("audit", help="read and verify the audit record")
    commands = audit.add_subparsers(dest="audit_command", required=True, metavar="COMMAND")
    shared = _shared_options()
    page = _page_options()
    anchors = _anchor_options()

    commands_of_review.register(commands, shared, page, anchors, _diffs)

    check = commands.add_parser(
        "verify", parents=[shared, anchors], help="check that nothing was altered"
    )
    check.add_argument(
        "--since",
        type=_head,
        metavar="SEQ:HASH",
        help="only prove, fast, that what this head vouched for is still there, with more added",
    )
    runs(check, _verify)

    proof = commands.add_parser("prove", parents=[shared], help="prove that a record is there")
    proof.add_argument("sequence", type=int, metavar="SEQ", help="the record's number")
    proof.add_argument(
        "--head", type=_head, metavar="SEQ:HASH", help="the head to prove it under (default: last)"
    )
    runs(proof, _prove)
    signing.register(commands, shared)
    pruning.register(commands, shared, anchors)
    command_of_pages.register(commands, shared, anchors)
    replay.register(commands, shared)


def _diffs(audit: Path, session: str, decisions: Sequence[Record]) -> Mapping[int, Differences]:
    # With what opens captures, which no other of these commands needs.
    from executor.capture import diffs  # noqa: PLC0415

    return diffs.read(audit, session, decisions)


def _shared_options() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="one JSON object a line")
    shared.add_argument(
        "--audit",
        type=Path,
        default=default_path(),
        metavar="PATH",
        help="the audit store (default: %(default)s)",
    )
    return shared


def _page_options() -> argparse.ArgumentParser:
    page = argparse.ArgumentParser(add_help=False)
    after_option(page)
    page.add_argument(
        "--limit",
        type=int,
        default=1000,
        choices=range(1, read.MAX_ROWS + 1),
        metavar="N",
        help=f"at most so many rows, 1 to {read.MAX_ROWS} (default: %(default)s)",
    )
    return page


def _anchor_options() -> argparse.ArgumentParser:
    anchors = argparse.ArgumentParser(add_help=False)
    anchors.add_argument(
        "--head",
        type=_head,
        metavar="SEQ:HASH",
        help="a head that was kept outside; without one a cut tail cannot be seen",
    )
    anchors.add_argument(
        "--checkpoints",
        type=Path,
        metavar="FILE",
        help="signed heads, as `sign` writes them; with --key",
    )
    anchors.add_argument("--key", metavar="KEY", help="the verifier key that `key` has printed")
    return anchors


def _head(text: str) -> Head:
    try:
        return Head.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _verify(args: argparse.Namespace) -> int:
    if args.since is not None:
        return _print_proof(args, extends(args.audit, args.since))
    verdict = verdict_of(args)
    print_lines([report.verdict_json(verdict)] if args.json else report.verdict_lines(verdict))
    return 0 if verdict.whole else 1


def _prove(args: argparse.Namespace) -> int:
    return _print_proof(args, prove(args.audit, args.sequence, args.head))


def _print_proof(args: argparse.Namespace, proof: Proof) -> int:
    print_lines([report.proof_json(proof)] if args.json else report.proof_lines(proof))
    return 0
