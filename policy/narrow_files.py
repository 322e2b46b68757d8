"""
The file grants that two policies have in common.

At each mount that one of the two names, the grant that speaks for it in the one meets the one that
does so in the other. Both must lead to the same directory there: the same path for two directories
would be a right to a third thing.
"""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, replace

from policy.errors import PolicyError, Problem, shown
from policy.gates import GateRule, joined_gates
from policy.globs import GlobSet
from policy.narrow_tools import met_approval
from policy.paths import is_within
from policy.types import Access, CommitBy, FileGrant, Policy, Rule
from policy.units import show_size


def narrowed_files(policy: Policy, ceiling: Policy) -> tuple[FileGrant, ...]:
    """
    What both grant. Raises PolicyError where that has no form, with a problem for each place.
    """
    meetings = list(_meetings(policy, ceiling))
    problems = [_other_source(one, ceiling) for one in meetings if not one.is_of_one_source()]
    problems += [_elsewhere(one, gate) for one in meetings for gate in one.moved_gates()]
    if problems:
        raise PolicyError(tuple(problems))
    met = [(one, one.grant()) for one in meetings]
    problems = [*_counted_twice(met, ceiling)]
    if problems:
        raise PolicyError(tuple(problems))
    return tuple(grant for _, grant in met)


@dataclass(frozen=True, slots=True)
class _Meeting:
    """
    A mount, and the grants of both policies that speak for it.
    """

    mount: str
    own: FileGrant
    other: FileGrant

    def is_of_one_source(self) -> bool:
        return source_at(self.own, self.mount) == source_at(self.other, self.mount)

    def grant(self) -> FileGrant:
        """
        The right that both give; it stands where the stricter of the two does.
        """
        stricter = self.other if self.own.access.loosens(self.other.access) else self.own
        denies = (*_denies_at(self.own, self.mount), *_denies_at(self.other, self.mount))
        kept = dict(reversed(denies))
        met = replace(
            stricter,
            mount=self.mount,
            source=source_at(self.own, self.mount),
            deny=tuple(reversed(kept)),
            deny_rules=tuple(reversed(kept.values())),
            quota=min(self.own.quota, self.other.quota),
            max_files=min(self.own.max_files, self.other.max_files),
        )
        return self._committed(met) if met.access is Access.TRANSACTION else met

    def moved_gates(self) -> Iterator[GateRule]:
        """
        Those whose mount is another than this one: their paths would mean something else here.
        """
        for grant in (self.own, self.other):
            if grant.mount != self.mount:
                yield from grant.gates

    def _committed(self, met: FileGrant) -> FileGrant:
        """
        What is committed as both let it be: by the guest only where no transaction of the two
        refuses that, past the gates of both, and with an approval where either wants one.
        """
        by = {self.own.commit_by, self.other.commit_by}
        approval, expires = met_approval(self.own, self.other)
        return replace(
            met,
            commit_by=CommitBy.CLIENT if CommitBy.CLIENT in by else CommitBy.GUEST,
            gates=joined_gates(self.own.gates, self.other.gates),
            approval=approval,
            approval_expires=expires,
        )


def _meetings(policy: Policy, ceiling: Policy) -> Iterator[_Meeting]:
    mounts = dict.fromkeys(one.mount for one in (*policy.filesystem, *ceiling.filesystem))
    for mount in mounts:
        own, other = speaker(policy, mount), speaker(ceiling, mount)
        if own is not None and other is not None:
            yield _Meeting(mount, own, other)


def speaker(policy: Policy, path: str) -> FileGrant | None:
    """
    The grant that speaks for a path: the one with the longest mount that holds it.
    """
    covering = [one for one in policy.filesystem if is_within(path, one.mount)]
    return max(covering, key=lambda one: len(one.mount), default=None)


def source_at(grant: FileGrant, mount: str) -> str | None:
    """
    What of the host stands at a mount in a grant; None for memory of the session.
    """
    if grant.source is None:
        return None
    return posixpath.normpath(grant.source + mount.removeprefix(grant.mount))


def denied_below(grant: FileGrant, mount: str) -> frozenset[str]:
    """
    The globs of a grant as they are seen from a mount in it.
    """
    return frozenset(glob for glob, _ in _denies_at(grant, mount))


def _denies_at(grant: FileGrant, mount: str) -> Iterator[tuple[str, Rule]]:
    """
    The globs of a grant as they are seen from a mount in it.
    """
    below = mount.removeprefix(grant.mount).lstrip("/")
    for index, glob in enumerate(grant.deny):
        rule = grant.deny_rules[index] if index < len(grant.deny_rules) else grant.rule
        for rest in seen_from(glob, below.split("/") if below else []):
            yield rest, rule


def seen_from(glob: str, components: list[str]) -> list[str]:
    """
    What a glob says below a directory: several globs where `**` may end at different places.
    """
    rests = {tuple(glob.split("/"))}
    for component in components:
        rests = {after for rest in rests for after in _after(rest, component)}
        if () in rests:
            return ["**"]
    return ["/".join(rest) for rest in sorted(rests)]


def _after(rest: tuple[str, ...], component: str) -> Iterator[tuple[str, ...]]:
    """
    What is left of a glob's components once a component of the path has been taken.
    """
    first, others = rest[0], rest[1:]
    if first == "**":
        yield rest
        if others:
            yield from _after(others, component)
        else:
            yield ()
    elif GlobSet((first,)).match(component) is not None:
        yield others


def _other_source(meeting: _Meeting, ceiling: Policy) -> Problem:
    own, other = (source_at(one, meeting.mount) for one in (meeting.own, meeting.other))
    message = (
        f"{shown(meeting.mount)} is {_said(own)} here and {_said(other)} in {ceiling.name}: "
        "what both allow there cannot be said"
    )
    hint = "mount what the ceiling mounts there, or use a mount that it does not have"
    return _problem(meeting.own.rule, message, hint)


def _elsewhere(meeting: _Meeting, gate: GateRule) -> Problem:
    message = (
        f"the gate {gate.name} judges another directory than {shown(meeting.mount)}: its paths "
        "would mean something else there"
    )
    return _problem(meeting.own.rule, message, "mount the same directory in both files")


def _said(source: str | None) -> str:
    return "memory of the session" if source is None else shown(source)


def _counted_twice(met: list[tuple[_Meeting, FileGrant]], ceiling: Policy) -> Iterator[Problem]:
    """
    Where one grant meets several of the other policy, what is added below each is counted by
    itself; all together it must not be more than the one allowed.
    """
    for origin in dict.fromkeys(grant for one, _ in met for grant in (one.own, one.other)):
        parts = [grant for one, grant in met if origin in (one.own, one.other)]
        quota, files = sum(one.quota for one in parts), sum(one.max_files for one in parts)
        if len(parts) > 1 and (quota > origin.quota or files > origin.max_files):
            own = next(one.own for one, _ in met if origin in (one.own, one.other))
            yield _problem(
                own.rule,
                f"{shown(origin.mount)} may grow by {show_size(origin.quota)} and "
                f"{origin.max_files} files, and {len(parts)} mounts of {ceiling.name} and of this "
                f"file share it: they could grow by {show_size(quota)} and {files}",
                "lower `quota` and `max_files` of the mounts, so that their sum is no more",
            )


def _problem(rule: Rule, message: str, hint: str) -> Problem:
    return Problem.of(rule, f"{rule.name}: {message}", hint)
