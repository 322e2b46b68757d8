"""
`codecage policy`: check policy files, explain what they answer, and the tools of
`policy_tools.py`.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from executor.commands.policy_import import register_import
from executor.commands.policy_record import register_recorded
from executor.commands.policy_tools import register_tools
from executor.gating.programs import NoProgram, program_of
from policy.doubts import doubts
from policy.errors import PolicyError, Problem, RequestTextError, shown
from policy.explain import explain, parse_request, to_json
from policy.parse import load, load_directory
from policy.types import FileGrant, Policy

if TYPE_CHECKING:
    # argparse gives this type no public name.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_OK, _FAILED, _USAGE = 0, 1, 2
_CHECK_EXAMPLE = """\
example:
  codecage policy check analyst.yaml
  codecage policy check ./policies --json

exit codes: 0 every file is a policy, 1 one is not, 2 usage.
"""
_EXPLAIN_EXAMPLE = """\
example:
  codecage policy explain analyst.yaml "read /data/x.csv"
  codecage policy explain analyst.yaml "connect example.org:443"

exit codes: 0 it was explained, whatever the answer is; 1 the file is no policy, 2 usage.
"""


def register(subparsers: "Subparsers") -> None:
    """
    Add `policy` and its commands to the command line.
    """
    about = "check policy files, explain what they allow"
    parser = subparsers.add_parser("policy", help=about, description=about)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    checking = _add(commands, "check", "read policy files and show every problem", _check)
    checking.epilog = _CHECK_EXAMPLE
    checking.add_argument("files", nargs="+", metavar="FILE", help="a policy, or a directory")
    explaining = _add(commands, "explain", "show what a policy answers, and why", _explain)
    explaining.epilog = _EXPLAIN_EXAMPLE
    explaining.add_argument("file", metavar="FILE", help="a policy")
    explaining.add_argument("request", metavar="REQUEST", help='such as "read /data/x.csv"')
    register_tools(commands, _add)
    register_recorded(commands, _add)
    register_import(commands, _add)


def _add(
    commands: "Subparsers", name: str, about: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=about,
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)
    return parser


def _check(args: argparse.Namespace) -> int:
    policies: list[Policy] = []
    problems: list[Problem] = []
    for name in args.files:
        try:
            policies += _load(name)
        except PolicyError as error:
            problems += error.problems
    if args.json:
        print(json.dumps(_report(policies, problems), indent=2))
    else:
        _tell(policies, problems)
    return _FAILED if problems else _OK


def _load(name: str) -> list[Policy]:
    if Path(name).is_dir():
        return list(load_directory(name).values())
    return [load(name)]


def _report(policies: list[Policy], problems: list[Problem]) -> dict[str, object]:
    return {
        "policies": [
            {
                "name": one.name,
                "file": one.file,
                "image": one.image,
                "images": one.images,
                "digest": one.digest,
            }
            for one in policies
        ],
        "problems": [asdict(problem) for problem in problems],
        "doubts": [asdict(doubt) for one in policies for doubt in _doubts(one)],
    }


def _doubts(policy: Policy) -> Iterator[Problem]:
    """
    What may be a mistake, and what is not there on this machine: a server may run on another.
    """
    yield from doubts(policy)
    for grant in policy.filesystem:
        rule = grant.rule
        if grant.source is not None and not Path(grant.source).is_dir():
            message = f"{rule.name}: the source {shown(grant.source)} is no directory here"
            hint = "make it, or sessions under this policy cannot be created on this machine"
            yield Problem.of(rule, message, hint)
        yield from _unlike_programs(grant)


def _unlike_programs(grant: FileGrant) -> Iterator[Problem]:
    """
    Gates whose program is here another than the policy names, so that nothing would be committed.
    """
    for gate in grant.gates:
        if not gate.program:
            continue
        try:
            program_of(gate)
        except NoProgram as error:
            yield Problem.of(gate.rule, f"{gate.rule.name}: {error.why}", _MEANT)
        except OSError as error:
            why = f"{shown(gate.program)} cannot be read here: {error.strerror}"
            yield Problem.of(gate.rule, f"{gate.rule.name}: {why}", _MEANT)


_MEANT = "write the sha256 of the file that is meant; until then nothing is committed"


def _tell(policies: list[Policy], problems: list[Problem]) -> None:
    for policy in policies:
        print(f"{policy.file}: policy {policy.name}, digest {policy.digest}")
        for doubt in _doubts(policy):
            print(f"warning: {doubt}", file=sys.stderr)
    if problems:
        print(PolicyError(tuple(problems)), file=sys.stderr)


def _explain(args: argparse.Namespace) -> int:
    try:
        request = parse_request(args.request)
    except RequestTextError as error:
        print(f"codecage policy explain: {error}", file=sys.stderr)
        return _USAGE
    try:
        policy = load(args.file)
    except PolicyError as error:
        if args.json:
            print(json.dumps(_report([], list(error.problems)), indent=2))
        else:
            print(error, file=sys.stderr)
        return _FAILED
    print(to_json(policy, request) if args.json else explain(policy, request))
    return _OK
