"""
`codecage approvals`: what waits for an approval, and deciding about it.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from agent_client.approvals import Approval, ApprovalOver, Approvals
from agent_client.errors import InvalidRequest, PathNotFound
from agent_client.terminal import visible

ADDRESS_VARIABLE = "CODECAGE_APPROVALS"
_OK, _NOT_THERE = 0, 1
_LEAST_OF_ID = 8
_EXAMPLE = """\
example:
  codecage approvals list --address unix:/run/codecage-approvals/sock
  codecage approvals approve 3f2a9c01 --reason "asked for in the meeting"

The socket is that of `codecage serve --approvals`, or $CODECAGE_APPROVALS. An id may be cut to
its first eight characters.

exit codes: 0 shown or decided, 1 nothing of this id waits (any more), 2 usage, 3 no server answers,
or this account is none of its approvers.
"""


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """
    Add the command and its own commands to the command line.
    """
    about = "see and decide what waits for an approval"
    parser = subparsers.add_parser(
        "approvals",
        help=about,
        description=about,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, text, run in (
        ("list", "what waits now, a line each", _list),
        ("watch", "the same, and then what comes and what is over", _watch),
        ("show", "all of one: who asks, and exactly what would be done", _show),
        ("approve", "let it be done, once", _approve),
        ("deny", "refuse it; the agent is told the reason", _deny),
    ):
        command = commands.add_parser(name, help=text, description=text)
        if run in {_show, _approve, _deny}:
            command.add_argument("id", metavar="ID", help="which one, as `list` has it")
        if run in {_approve, _deny}:
            command.add_argument(
                "--reason", default="", metavar="TEXT", help="for the record, up to 300 characters"
            )
        command.add_argument(
            "--address",
            metavar="unix:PATH",
            default=None,
            help=f"the approvers' socket (default: ${ADDRESS_VARIABLE})",
        )
        command.add_argument("--json", action="store_true", help="one line of JSON for each")
        command.set_defaults(run=run)


def _list(args: argparse.Namespace) -> int:
    with _connected(args) as approvals:
        for asked in approvals.list():
            _print(asked, args)
    return _OK


def _watch(args: argparse.Namespace) -> int:
    with _connected(args) as approvals:
        for news in approvals.watch():
            _print(news, args)
            sys.stdout.flush()
    return _OK


def _show(args: argparse.Namespace) -> int:
    def show(_: Approvals, asked: Approval) -> None:
        print(json.dumps(_fields(asked)) if args.json else "\n".join(_lines(asked)))

    return _with_one(args, show)


def _approve(args: argparse.Namespace) -> int:
    def approve(approvals: Approvals, asked: Approval) -> None:
        approvals.approve(asked, args.reason)
        _tell(args, "approved", asked)

    return _with_one(args, approve)


def _deny(args: argparse.Namespace) -> int:
    def deny(approvals: Approvals, asked: Approval) -> None:
        approvals.deny(asked, args.reason)
        _tell(args, "denied", asked)

    return _with_one(args, deny)


def _with_one(args: argparse.Namespace, act: Callable[[Approvals, Approval], None]) -> int:
    with _connected(args) as approvals:
        try:
            act(approvals, _found(approvals, args.id))
        except PathNotFound as error:
            print(f"codecage approvals: {visible(str(error))}", file=sys.stderr)
            return _NOT_THERE
    return _OK


def _tell(args: argparse.Namespace, word: str, asked: Approval) -> None:
    if args.json:
        print(json.dumps({"decided": word} | _fields(asked)))
    else:
        print(f"{word}: {_one_line(asked.what)}")


def _connected(args: argparse.Namespace) -> Approvals:
    address = args.address or os.environ.get(ADDRESS_VARIABLE)
    if not address:
        raise InvalidRequest(
            f"which socket? give --address unix:PATH, or set {ADDRESS_VARIABLE}; it is that of "
            "`codecage serve --approvals`"
        )
    return Approvals(address)


def _found(approvals: Approvals, identity: str) -> Approval:
    """
    What waits under an id, or the beginning of one. Raises PathNotFound.
    """
    if len(identity) < _LEAST_OF_ID:
        raise InvalidRequest(f"an id has {_LEAST_OF_ID} characters at least: {identity!r}")
    found = [one for one in approvals.list() if one.id.startswith(identity)]
    if len(found) != 1:
        raise PathNotFound(f"nothing waits under {identity!r} (any more); see `approvals list`")
    return found[0]


def _print(news: Approval | ApprovalOver, args: argparse.Namespace) -> None:
    if args.json:
        print(json.dumps(_fields(news)))
    elif isinstance(news, Approval):
        left = max(0, int((news.expires_at - datetime.now(UTC)).total_seconds()))
        who = f"session {news.session[:8]} under {news.policy}"
        print(
            f"{news.id[:_LEAST_OF_ID]}  {left:>5} s left  {_one_line(who)}  {_one_line(news.what)}"
        )
    else:
        by = f" by {visible(news.by)}" if news.by else ""
        print(f"{news.id[:_LEAST_OF_ID]}  {news.ending.value}{by}")


def _lines(asked: Approval) -> list[str]:
    labels = ", ".join(f"{key}={value}" for key, value in sorted(asked.labels.items()))
    by = f"cell {asked.cell}" if asked.cell else "its client"
    pairs = [
        ("id", asked.id),
        ("digest", asked.digest),
        ("session", f"{asked.session}, {by}"),
        ("labels", labels or "none"),
        ("policy", f"{asked.policy}, digest {asked.policy_digest}"),
        ("rule", asked.rule),
        ("asked", f"{asked.asked_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("expires", f"{asked.expires_at:%Y-%m-%d %H:%M:%S} UTC"),
    ]
    lines = [f"{name:8} {_one_line(text)}" for name, text in pairs]
    return [*lines, *(_call_lines(asked) if asked.tool else _commit_lines(asked))]


def _call_lines(asked: Approval) -> list[str]:
    lines = [f"call     {_one_line(asked.tool)}"]
    for one in asked.arguments:
        note = "  (the tool's own default)" if one.is_default else ""
        lines.append(f"  {_one_line(one.name)} = {_one_line(one.text)}{note}")
    return lines


def _commit_lines(asked: Approval) -> list[str]:
    lines = [f"commit   {_one_line(asked.mount)}, changes sha256 {asked.change_digest}"]
    for one in asked.changes:
        end = "/" if one.directory else f"  {one.size} bytes, sha256 {one.digest_after or '-'}"
        unseen = "" if one.directory or one.diff else "  (content not shown)"
        lines.append(f"  {one.kind.value} {_one_line(one.path)}{end}{unseen}")
    if asked.more_changes:
        lines.append(f"  and {asked.more_changes} more, which are not shown")
    # Only at what ends a line for `diff`: at others a line could end and go on as another.
    rows = [row for one in asked.changes for row in one.diff.removesuffix("\n").split("\n") if row]
    return [*lines, *(f"    {visible(row)}" for row in rows)]


def _one_line(text: str) -> str:
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def _fields(news: Approval | ApprovalOver) -> dict[str, Any]:
    if isinstance(news, ApprovalOver):
        return {"id": news.id, "ending": news.ending.value, "by": news.by or None}
    call = {
        "tool": news.tool,
        "arguments": [
            {"name": one.name, "text": one.text, "is_default": one.is_default}
            for one in news.arguments
        ],
    }
    commit = {
        "mount": news.mount,
        "digest": news.change_digest,
        "changes": [
            {
                "path": one.path,
                "kind": one.kind.value,
                "directory": one.directory,
                "digest_before": one.digest_before,
                "digest_after": one.digest_after,
                "size": one.size,
                "diff": one.diff,
            }
            for one in news.changes
        ],
        "more_changes": news.more_changes,
    }
    return {
        "id": news.id,
        "digest": news.digest,
        "session": news.session,
        "labels": dict(news.labels),
        "policy": news.policy,
        "policy_digest": news.policy_digest,
        "rule": news.rule,
        "cell": news.cell or None,
        "asked_at": news.asked_at.isoformat(),
        "expires_at": news.expires_at.isoformat(),
        "call": call if news.tool else None,
        "commit": None if news.tool else commit,
    }
