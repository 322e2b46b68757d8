"""
`codecage policy record` and `regress`: policies and what the audit record has of past sessions.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from executor.audit import read
from executor.audit.errors import AuditError
from executor.audit.record import Answer, Event, Record
from executor.audit.review.search import session_named
from policy.errors import PolicyError
from policy.parse import load, load_text
from policy.proposal import Proposal, propose
from policy.recorded import Recorded
from policy.regress import Change, Regression, regress
from policy.types import Policy

if TYPE_CHECKING:
    from executor.commands.policy_tools import Added, Subparsers

_OK, _FAILED, _UNREADABLE = 0, 1, 3
_RECORD_EXAMPLE = """\
example:
  codecage policy record --audit audit.sqlite3 --session 0f3a policies/learning.yaml

It prints a policy. FILE is the one that the session ran under, in audit mode.

exit codes: 0 the proposal allows all that the session did, 1 it does not, FILE is no policy or not
the session's, 2 usage, 3 the record cannot be read.
"""
_REGRESS_EXAMPLE = """\
example:
  codecage policy regress --audit audit.sqlite3 policies/analyst.yaml

Asked are the sessions under policies of the same name; --every-session asks all of them.

exit codes: 0 every answer is the same, 1 one is not or FILE is no policy, 2 usage, 3 the record
cannot be read.
"""


def register_recorded(commands: "Subparsers", add: "Added") -> None:
    """
    Add the commands, each made by `add`.
    """
    recording = add(commands, "record", "propose a policy from a session in audit mode", _record)
    recording.epilog = _RECORD_EXAMPLE
    recording.add_argument("file", metavar="FILE", help="the policy that the session ran under")
    recording.add_argument("--audit", type=Path, required=True, metavar="PATH", help=_AUDIT)
    recording.add_argument("--session", required=True, metavar="ID", help="or the start of it")
    about = "say what a policy would have decided in past sessions"
    regressing = add(commands, "regress", about, _regress)
    regressing.epilog = _REGRESS_EXAMPLE
    regressing.add_argument("file", metavar="FILE", help="a policy")
    regressing.add_argument("--audit", type=Path, required=True, metavar="PATH", help=_AUDIT)
    regressing.add_argument(
        "--every-session", action="store_true", help="also of sessions under other policies"
    )


_AUDIT = "the audit record"


def _record(args: argparse.Namespace) -> int:
    def proposed(policy: Policy) -> int:
        created = _session(args.audit, args.session)
        if (problem := _mismatch(policy, created)) is not None:
            return _said(args, problem)
        image = str(dict(created.detail)["image"])
        recorded = _decisions(args.audit, created.session)
        found = propose(policy, image, recorded, partial(load_text, args.file))
        return _tell_proposal(args, found)

    return _with_policy(args, proposed)


def _with_policy(args: argparse.Namespace, run: Callable[[Policy], int]) -> int:
    try:
        return run(load(args.file))
    except PolicyError as error:
        if args.json:
            print(json.dumps({"problems": [asdict(one) for one in error.problems]}, indent=2))
        else:
            print(error, file=sys.stderr)
        return _FAILED
    except (AuditError, OSError, LookupError) as error:
        print(f"codecage policy: {error.args[0] if error.args else error}", file=sys.stderr)
        return _UNREADABLE


def _session(audit: Path, start: str) -> Record:
    """
    The creation of the session whose identity is `start`, or begins with it. Raises LookupError
    where there is none, or more than one.
    """
    session = session_named(audit, start)
    if (created := read.creation(audit, session)) is None:
        raise LookupError(f"the record has no beginning of session {session}")
    return created


def _created(audit: Path) -> Iterator[Record]:
    return (one for one in _records(audit) if one.event is Event.SESSION_CREATE)


def _records(audit: Path, session: str | None = None) -> Iterator[Record]:
    after = 0
    while page := read.records(audit, session=session, after_sequence=after, limit=1000):
        yield from page
        after = page[-1].sequence


def _decisions(audit: Path, session: str | None) -> Iterator[Recorded]:
    for one in _records(audit, session):
        if one.event is not Event.DECISION or not isinstance(one.request, str):
            continue
        yield Recorded(
            session=one.session or "",
            text=one.request,
            allowed=one.answer is Answer.ALLOW,
            rule=str(one.rule),
            digest=one.policy_digest or "",
            would_deny=str(dict(one.detail).get("would_deny", "")),
        )


def _mismatch(policy: Policy, created: Record) -> str | None:
    if policy.lenient is None:
        return f"{policy.file} is not in audit mode: write `mode: audit`, and `within`"
    if created.policy_digest != policy.digest:
        return (
            f"the session ran under another policy, or another state of {policy.file}: its digest "
            f"is {created.policy_digest}, and the file's is {policy.digest}"
        )
    return None


def _said(args: argparse.Namespace, problem: str) -> int:
    if args.json:
        print(json.dumps({"problems": [{"message": problem}]}, indent=2))
    else:
        print(f"codecage policy record: {problem}", file=sys.stderr)
    return _FAILED


def _tell_proposal(args: argparse.Namespace, found: Proposal) -> int:
    if args.json:
        print(json.dumps(asdict(found), indent=2))
    else:
        print(found.text, end="")
        for one in found.missing:
            print(f"still denied: {one}", file=sys.stderr)
        if found.unasked:
            said = f"{found.unasked} requests of the record could not be asked again"
            print(said, file=sys.stderr)
    return _FAILED if found.missing or found.unasked else _OK


def _regress(args: argparse.Namespace) -> int:
    def regressed(policy: Policy) -> int:
        named = {
            one.session
            for one in _created(args.audit)
            if args.every_session or dict(one.detail).get("policy") == policy.name
        }
        recorded = (one for one in _decisions(args.audit, None) if one.session in named)
        return _tell_regression(args, policy, regress(policy, recorded))

    return _with_policy(args, regressed)


def _tell_regression(args: argparse.Namespace, policy: Policy, found: Regression) -> int:
    if args.json:
        told = {"policy": policy.name, "digest": policy.digest} | asdict(found)
        print(json.dumps(told, indent=2))
    else:
        for word, changes in (("denied", found.newly_denied), ("allowed", found.newly_allowed)):
            for one in changes:
                print(_changed(word, one))
        print(f"{found.asked} requests asked again, {found.unasked} could not be")
        for rule in found.unused:
            print(f"never used: {rule}")
    return _FAILED if found.newly_denied or found.newly_allowed else _OK


def _changed(word: str, one: Change) -> str:
    times = f" ({one.times} times)" if one.times > 1 else ""
    return f"newly {word}: {one.request}{times}, by {one.rule} ({one.place}), was {one.was}"
