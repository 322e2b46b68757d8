"""
`codecage policy show`, `diff`, `test` and `schema`: what a policy comes to, and what a change of
it changes.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from policy.cases import Outcome, load_cases, run_cases
from policy.compare import Comparison, compare
from policy.effective import effective
from policy.effective import to_json as effective_json
from policy.errors import PolicyError, Problem
from policy.json_schema import json_schema
from policy.parse import load

if TYPE_CHECKING:
    # argparse gives this type no public name.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001
    Added = Callable[
        [Subparsers, str, str, Callable[[argparse.Namespace], int]], argparse.ArgumentParser
    ]

_OK, _FAILED, _USAGE = 0, 1, 2
_SHOW_EXAMPLE = """\
example:
  codecage policy show --effective analyst.yaml

exit codes: 0 it was shown, 1 the file is no policy, 2 usage.
"""
_DIFF_EXAMPLE = """\
example:
  codecage policy diff deployed.yaml analyst.yaml

exit codes: 0 nothing became looser, 1 something did, or a file is no policy; 2 usage.
"""
_TEST_EXAMPLE = """\
example:
  codecage policy test cases.yaml
  codecage policy test cases.yaml --policy analyst.yaml --every-rule

exit codes: 0 every case has its answer, 1 one has not (or, with --every-rule, a rule has no
case), or a file cannot be read; 2 usage.
"""
_SCHEMA_EXAMPLE = """\
example:
  codecage policy schema > policy.schema.json

exit codes: 0 it was printed, 2 usage.
"""


def register_tools(commands: "Subparsers", add: "Added") -> None:
    """
    Add the commands, each made by `add`.
    """
    showing = add(commands, "show", "show all that a policy grants and limits", _show)
    showing.epilog = _SHOW_EXAMPLE
    showing.add_argument("file", metavar="FILE", help="a policy")
    showing.add_argument(
        "--effective",
        action="store_true",
        required=True,
        help="with every default, and as narrowed to its ceilings",
    )
    differing = add(commands, "diff", "say what became looser and what tighter", _diff)
    differing.epilog = _DIFF_EXAMPLE
    differing.add_argument("old", metavar="A", help="a policy")
    differing.add_argument("new", metavar="B", help="the policy that replaces it")
    testing = add(commands, "test", "ask a policy the cases of a file", _test)
    testing.epilog = _TEST_EXAMPLE
    testing.add_argument("cases", metavar="CASES", help="a YAML file of cases")
    testing.add_argument("--policy", metavar="FILE", help="instead of the policy that CASES names")
    testing.add_argument(
        "--every-rule", action="store_true", help="fail where a rule of the policy has no case"
    )
    printing = add(commands, "schema", "print the language as JSON Schema, for editors", _schema)
    printing.epilog = _SCHEMA_EXAMPLE


def _show(args: argparse.Namespace) -> int:
    try:
        policy = load(args.file)
    except PolicyError as error:
        return _refused(args, error)
    print(effective_json(policy) if args.json else effective(policy))
    return _OK


def _refused(args: argparse.Namespace, error: PolicyError) -> int:
    if args.json:
        print(json.dumps({"problems": _plain(error.problems)}, indent=2))
    else:
        print(error, file=sys.stderr)
    return _FAILED


def _plain(problems: tuple[Problem, ...]) -> list[dict[str, object]]:
    return [asdict(problem) for problem in problems]


def _diff(args: argparse.Namespace) -> int:
    try:
        old, new = load(args.old), load(args.new)
    except PolicyError as error:
        return _refused(args, error)
    found = compare(old, new)
    if args.json:
        digests = {"old": old.digest, "new": new.digest}
        print(json.dumps(digests | asdict(found), indent=2))
    else:
        _tell_comparison(found)
    return _FAILED if found.looser else _OK


def _tell_comparison(found: Comparison) -> None:
    for one in found.looser:
        print(f"looser:  now        {one.place}: {one.text}")
    for one in found.tighter:
        print(f"tighter: no longer  {one.place}: {one.text}")
    if not (found.looser or found.tighter):
        print("nothing became looser or tighter")


def _test(args: argparse.Namespace) -> int:
    try:
        cases = load_cases(args.cases)
        if not (args.policy or cases.policy):
            print(f"codecage policy test: {_NO_POLICY}", file=sys.stderr)
            return _USAGE
        policy = load(args.policy or cases.policy)
    except PolicyError as error:
        return _refused(args, error)
    outcome = run_cases(policy, cases)
    if args.json:
        told = asdict(outcome) | {"policy": policy.name, "digest": policy.digest}
        print(json.dumps(told, indent=2))
    else:
        _tell_outcome(outcome)
    failed = outcome.failures or (args.every_rule and outcome.unasked)
    return _FAILED if failed else _OK


_NO_POLICY = "no policy is named; write `policy: FILE.yaml` in the cases, or --policy FILE"


def _tell_outcome(outcome: Outcome) -> None:
    for failure in outcome.failures:
        print(failure, file=sys.stderr)
    asked = len(outcome.rules) - len(outcome.unasked)
    print(f"{outcome.passed} passed, {len(outcome.failures)} failed")
    print(f"rules with a case: {asked} of {len(outcome.rules)}")
    for rule in outcome.unasked:
        print(f"without a case: {rule}")


def _schema(args: argparse.Namespace) -> int:
    del args
    print(json_schema())
    return _OK
