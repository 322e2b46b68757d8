"""
Cases of a policy in a YAML file, each a request with the answer that it must have, and which of the
policy's rules they ask.

    version: 1
    policy: analyst.yaml          # beside this file; absent: named on the command line
    cases:
      - {request: "read /data/x.csv", expect: allowed, rule: "filesystem[0]"}
      - {request: "write /data/x.csv", expect: denied}
"""

import posixpath
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from policy.decide import compile_policy
from policy.document import Document, read_document
from policy.errors import PolicyError, Problem, RequestTextError
from policy.policy_file import read_policy_file
from policy.request_text import parse_request
from policy.requests import Request
from policy.types import Policy
from policy.validation import Sections, checked, problem_at
from policy.values import Section, at_most, count_in, one_of, refuse, said, some

_MAX_CASES = 2000


def _file(value: str) -> str:
    if "/" in value or not value.endswith(".yaml"):
        hint = "write analyst.yaml, or leave this out and name the file with --policy"
        refuse(f"{said(value)} is no policy beside this file", hint)
    return value


class CaseSection(Section):
    """
    One entry of `cases`.
    """

    request: str
    expect: Annotated[Literal["allowed", "denied"], one_of("allowed", "denied")]
    rule: str | None = None


class CasesSection(Section):
    """
    The whole file.
    """

    version: Annotated[int, count_in(1, 1)]
    policy: Annotated[str, AfterValidator(_file)] = ""
    cases: Annotated[list[CaseSection], at_most(_MAX_CASES), BeforeValidator(some)] = Field()


_SECTIONS: Sections = {"": CasesSection, "cases": CaseSection}


@dataclass(frozen=True, slots=True)
class Case:
    """
    A request and its answer; `rule` is the name that the answer must have, or "" for any;
    `place` is where the case stands, for whoever has to say that it failed.
    """

    text: str
    request: Request
    allowed: bool
    rule: str
    place: Problem


@dataclass(frozen=True, slots=True)
class Cases:
    """
    The cases of a file; `policy` is the path of the policy that it names, or "".
    """

    policy: str
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What came of the cases: the places of those that failed, and the rules that no case asked.
    """

    passed: int
    failures: tuple[Problem, ...]
    rules: tuple[str, ...]
    unasked: tuple[str, ...]


def load_cases(path: str) -> Cases:
    """
    The cases in a file, which is opened with the care of a policy. Raises PolicyError with every
    problem.
    """
    document = read_document(read_policy_file(path), posixpath.basename(path))
    model, problems = checked(document, CasesSection, _SECTIONS)
    cases: list[Case] = []
    for index, section in enumerate(model.cases if model else []):
        try:
            cases.append(_case(document, index, section))
        except RequestTextError as error:
            problems.append(problem_at(document, ("cases", index, "request"), str(error), ""))
    if model is None or problems:
        raise PolicyError(tuple(problems))
    named = posixpath.join(posixpath.dirname(path), model.policy) if model.policy else ""
    return Cases(named, tuple(cases))


def _case(document: Document, index: int, section: CaseSection) -> Case:
    request = parse_request(section.request)
    place = problem_at(document, ("cases", index), "", "")
    return Case(section.request, request, section.expect == "allowed", section.rule or "", place)


def run_cases(policy: Policy, cases: Cases) -> Outcome:
    """
    Ask the policy each case's request, as the gate would.
    """
    decider = compile_policy(policy)
    failures: list[Problem] = []
    asked: set[str] = set()
    for case in cases.cases:
        decision = decider.decide(case.request)
        asked.add(decision.rule.name)
        if decision.allowed != case.allowed or case.rule not in {"", decision.rule.name}:
            failures.append(_failure(case, decision.allowed, str(decision.rule), decision.reason))
    rules = tuple(rules_of(policy))
    unasked = tuple(rule for rule in rules if rule not in asked)
    passed = len(cases.cases) - len(failures)
    return Outcome(passed, tuple(failures), rules, unasked)


def _failure(case: Case, allowed: bool, rule: str, reason: str) -> Problem:
    place = case.place
    wanted = "allowed" if case.allowed else "denied"
    if case.rule:
        wanted += f" by {case.rule}"
    message = f"`{case.text}` is {'allowed' if allowed else 'denied'} by {rule}, not {wanted}"
    return Problem(place.file, place.line, place.column, message, reason, place.text)


def rules_of(policy: Policy) -> list[str]:
    """
    The names of the rules that answers can come from: grants, their denies and HTTP rules,
    programs, tools with the bounds of their arguments, and the entries of `deny`.
    """
    names = [one.rule.name for one in policy.deny]
    if policy.process:
        names += [rule.name for rule in policy.process.places().values()]
        names += ["process.fork"] if policy.process.fork else []
    for grant in policy.filesystem:
        names += [grant.rule.name, *(one.name for one in grant.deny_rules)]
    for place in policy.network:
        names += [place.rule.name, *(one.rule.name for one in place.http)]
    for tool in policy.tools:
        names += [tool.rule.name, *(one.rule.name for one in tool.bounds)]
    return list(dict.fromkeys(names))
