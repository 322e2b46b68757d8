"""
What a policy answers about programs that a session wants to start.

A program is its absolute path, normalised; the one that is granted, or what lies below a directory
that is. A bare name is looked up nowhere: which file it means would be for the guest to say. The
one bare word that means something is `fork`, and who may fork may not yet start a program.
"""

from dataclasses import dataclass

from policy.errors import shown
from policy.paths import is_normalised
from policy.requests import FORK, ProcessRequest
from policy.types import CageKind, Decision, Policy, Rule

_OFFERED = 8
"""Programs that are listed at most: a reason has to fit where a guest reads its errors."""


@dataclass(frozen=True, slots=True)
class ProcessTable:
    """
    A policy's programs by path. Only `process_table` makes one.
    """

    policy: Policy
    _programs: dict[str, Rule]

    def decide(self, request: ProcessRequest) -> Decision:
        """
        The answer to one request. Total: what is no absolute, normalised path is denied.
        """
        program = request.program
        if program == FORK:
            return self._fork()
        if not self._programs:
            return self._denied(program, _NONE, self._remedy(program))
        if "/" not in program:
            why = "a program is named by its absolute path, and no name is looked up"
            return self._denied(program, why, "ask for the absolute path: `run /usr/bin/git`")
        if not is_normalised(program):
            return self._denied(program, "the path is not absolute and normalised", _NEVER)
        if rule := self._rule_of(program):
            return Decision(True, rule, f"run {shown(program)} is granted")
        return self._denied(program, "it is not among the granted programs", self._remedy(program))

    def _fork(self) -> Decision:
        rule, grant = self.policy.rule("process.fork"), self.policy.process
        if grant and grant.fork:
            return Decision(True, rule, "forking is granted")
        remedy = f"`fork: true` in `process`{self._where()} would allow it"
        reason = "forking is not granted: a session has one process, and threads"
        return Decision(False, rule, reason, remedy=remedy)

    def _rule_of(self, program: str) -> Rule | None:
        """
        The rule of the program, or of a directory above it.
        """
        while program:
            if rule := self._programs.get(program):
                return rule
            program = program.rpartition("/")[0]
        return None

    def _denied(self, program: str, why: str, remedy: str) -> Decision:
        grant = self.policy.process
        reason = f"run {shown(program)} is not granted: {why}{self._offer()}"
        return Decision(
            False, grant.rule if grant else self.policy.rule("process"), reason, remedy=remedy
        )

    def _offer(self) -> str:
        """
        What is granted instead, where the policy discloses it.
        """
        if not self.policy.disclose or not self._programs:
            return ""
        programs = sorted(map(shown, self._programs))
        more = len(programs) - _OFFERED
        rest = f" and {more} more" if more > 0 else ""
        return f"; you may run {', '.join(programs[:_OFFERED])}{rest}"

    def _remedy(self, program: str) -> str:
        if not is_normalised(program):
            return "no name is looked up: an absolute path in `process.programs` is what is granted"
        return f"{shown(program)} in `process.programs`{self._where()} would allow it"

    def _where(self) -> str:
        return " with a native image" if self.policy.cage is CageKind.WASM else ""


_NONE = "starting programs is not granted"
_NEVER = "nothing in a policy allows it"


def process_table(policy: Policy) -> ProcessTable:
    """
    The table of a policy's programs.
    """
    grant = policy.process
    return ProcessTable(policy, grant.places() if grant else {})
