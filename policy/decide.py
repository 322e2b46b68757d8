"""
The one place where a policy answers. Pure and total: every request gets a decision, nothing is
read or remembered, and what no rule allows is denied.

What a policy says of paths is in `decide_files.py`, of connections in `decide_network.py`, of
programs in `decide_process.py`, of tools in `decide_tools.py`. Each makes tables when the policy is
compiled, so that an answer costs some looks into dictionaries, whatever the number of rules;
answers that allow are made then, too, and say what is granted and not what was asked.

What `decide` cannot know is what a directory holds on the host: whether renaming it would bring a
denied name out into the open. `Decider.may_hide` says when that has to be looked at.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

from policy.decide_files import FileTable, file_table
from policy.decide_network import AnyNetworkRequest, NetworkTable, network_table
from policy.decide_process import ProcessTable, process_table
from policy.decide_tools import ToolTable, tool_table
from policy.decide_transactions import decide_commit
from policy.errors import shown
from policy.guidance import advised
from policy.paths import MAX_PATH
from policy.relaxing import relaxes
from policy.requests import (
    CommitRequest,
    FileRequest,
    ImageRequest,
    ProcessRequest,
    Request,
    ToolRequest,
)
from policy.types import Decision, Policy

__all__ = ["MAX_IMAGE", "MAX_PATH", "Decider", "compile_policy", "decide"]

MAX_IMAGE = 64
"""Longest name of an image in characters."""


def decide(policy: Policy, request: Request) -> Decision:
    """
    What `policy` says to `request`. Keep a `compile_policy(policy)` where many are asked.
    """
    return _compiled(policy).decide(request)


def compile_policy(policy: Policy) -> "Decider":
    """
    The tables of `policy`, made once for a session's life.
    """
    return Decider(
        policy,
        file_table(policy),
        network_table(policy),
        process_table(policy),
        tool_table(policy),
        None if policy.lenient is None else compile_policy(policy.lenient),
    )


_compiled = lru_cache(maxsize=64)(compile_policy)


@dataclass(frozen=True, slots=True)
class Decider:
    """
    A policy with its tables. Only `compile_policy` makes one; it is immutable and thread-safe.
    """

    policy: Policy
    _files: FileTable
    _network: NetworkTable
    _processes: ProcessTable
    _tools: ToolTable
    _lenient: "Decider | None" = None

    def decide(self, request: Request) -> Decision:
        """
        The policy's answer to one request; a path that is not normalised is denied, and so is a
        host that is not one.
        """
        decision = self._strictly(request)
        if decision.allowed or self._lenient is None or not relaxes(request):
            return decision
        return _leniently(request, decision, self._lenient)

    def _strictly(self, request: Request) -> Decision:
        # Files and the network first: they are asked about most.
        if isinstance(request, FileRequest):
            return self._files.decide(request)
        if isinstance(request, AnyNetworkRequest):
            return self._network.decide(request)
        if isinstance(request, ImageRequest):
            return self._image(request)
        if isinstance(request, ProcessRequest):
            return self._processes.decide(request)
        if isinstance(request, ToolRequest):
            return self._tools.decide(request)
        if isinstance(request, CommitRequest):
            return decide_commit(self.policy, request)
        return advised(self.policy, request)

    def may_hide(self, path: str) -> bool:
        """
        Whether a denied or guarded name is, or could be, `path` or something beneath it.

        Where this is true, a directory must be looked through before it is renamed, linked or
        removed as a whole. True also for what no grant covers and for what is not normalised.
        """
        return self._files.may_hide(path)

    def _image(self, request: ImageRequest) -> Decision:
        """
        The reason names the others whatever `disclose` says: clients may list them anyway, and
        no guest is told.
        """
        rule, asked = self.policy.rule("image"), shown(request.image, MAX_IMAGE)
        if request.image in self.policy.images:
            return Decision(True, rule, f"the image {asked} is granted")
        return Decision(
            False,
            rule,
            f"the image {asked} is not granted: this policy has {', '.join(self.policy.images)}",
            remedy=f"{asked} in the list `image` would allow it",
        )


def _leniently(request: Request, denied: Decision, lenient: Decider) -> Decision:
    """
    What audit mode says to what the policy itself denies.
    """
    answer = lenient.decide(request)
    if not answer.allowed:
        return denied
    reason = f"audit mode lets it pass; this policy denies it: {denied.reason}"
    return replace(answer, reason=reason, remedy=denied.remedy, would_deny=denied.rule)
