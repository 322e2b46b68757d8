"""
What may be a mistake in a policy that loads: told to its administrator, and never in the way.

Everything that is wrong for certain is an error, in `lint.py`. This module exists for what a policy
cannot know: an image may be one of the administrator's own, and its name then lies close to that of
a shipped one by right; and whether all customers of a hosting service are meant.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from policy.cages import cage_gaps, cage_of
from policy.errors import Problem
from policy.spelling import closest
from policy.suffixes import is_hosting
from policy.types import AuditLevel, CageKind, CommitBy, Mode, Policy
from policy.units import show_time

SHIPPED_IMAGES: Final = (
    *("core", "math", "web", "data", "pyodide-data", "python313"),
    *("native-core", "native-data", "native-books"),
)
"""The images that come with Codecage: `codecage image build NAME` makes those that are made."""


def doubts(policy: Policy) -> tuple[Problem, ...]:
    """
    What an administrator should look at once more, in the order of the file.
    """
    return (
        *_likely_misspelt(policy),
        *_not_in_every_cage(policy),
        *_anybodys(policy),
        *_powerful(policy),
        *_not_captured(policy),
        *_outlasting(policy),
    )


def _likely_misspelt(policy: Policy) -> Iterator[Problem]:
    rule = policy.rule("image")
    for image in policy.images:
        close = closest(image, SHIPPED_IMAGES, cutoff=0.7)
        if close and image not in SHIPPED_IMAGES:
            yield Problem.of(
                rule,
                f"image: `{image}` does not come with Codecage; did you mean `{close}`?",
                "nothing has to be done where it is an image of your own",
            )


def _not_in_every_cage(policy: Policy) -> Iterator[Problem]:
    """
    What would be refused when a session asks for an image of the one cage or the other.
    """
    for kind in (CageKind.WASM, CageKind.PROCESS):
        images = [image for image in policy.images if cage_of(image) is kind]
        for gap in cage_gaps(policy, kind) if images else ():
            hint = f"sessions of {', '.join(images)} are refused; {gap.hint}"
            yield replace(gap, hint=hint)


def _outlasting(policy: Policy) -> Iterator[Problem]:
    """
    Gates that may take longer than the cell whose commit they judge.
    """
    for grant in policy.filesystem:
        seconds = sum(gate.timeout for gate in grant.gates)
        if grant.commit_by is CommitBy.GUEST and seconds >= policy.limits.wall_time:
            message = (
                f"the gates of {grant.mount} may take {show_time(seconds)}, and a cell that "
                f"commits has {show_time(policy.limits.wall_time)} for all"
            )
            hint = "raise limits.wall_time, or lower the timeouts"
            yield Problem.of(grant.rule, f"{grant.rule.name}: {message}", hint)


def _powerful(policy: Policy) -> Iterator[Problem]:
    """
    Rights that few sessions need, and that give an attacker more to work with.
    """
    if policy.mode is Mode.AUDIT:
        message = "mode: audit lets pass what this policy denies and its ceilings allow"
        yield Problem.of(
            policy.rule("mode"), message, "write mode: enforce once it is known enough"
        )
    grant = policy.process
    if grant and grant.fork:
        message = "process.fork: a session may make processes"
        yield Problem.of(
            policy.rule("process.fork"), message, "leave it out unless a library forks"
        )
    if grant and grant.new_code:
        message = "process.new_code: a session may write machine code and run it"
        hint = "leave it out unless something compiles while it runs, as numba does"
        yield Problem.of(policy.rule("process.new_code"), message, hint)


def _not_captured(policy: Policy) -> Iterator[Problem]:
    """
    Sessions that the level of the record does nothing for.
    """
    native = [image for image in policy.images if cage_of(image) is CageKind.PROCESS]
    if policy.audit.level is AuditLevel.REPLAY and native:
        message = f"audit.level: nothing is captured of native code, so not with {native[0]}"
        yield Problem.of(
            policy.rule("audit.level"), message, "sessions say that their capture is incomplete"
        )


def _anybodys(policy: Policy) -> Iterator[Problem]:
    """
    Wildcards over names that any customer can have: what may be sent there may be sent to anybody.
    (Those that a registry gives out are an error.)
    """
    for grant in policy.network:
        base = grant.host.removeprefix("*.")
        if grant.host.startswith("*.") and is_hosting(base):
            yield Problem.of(
                grant.rule,
                f"network: anybody can have a name below {base}",
                "name the hosts that are meant; nothing has to be done where all of them are",
            )
