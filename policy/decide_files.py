"""
What a policy answers about acts on paths.

`deny` wins over every grant. Paths are compared component by component and the longest mount wins,
so that `/data-secret` is not below `/data` and the order of grants never matters. A denied name
looks absent, like everything that no grant covers; an act that a grant does not include is refused
openly, because the guest can see the object anyway.

Everything that does not depend on the rest of the path is made once: for each mount the globs that
can concern it, and the answers that allow.
"""

from dataclasses import dataclass

from policy.errors import shown
from policy.glob_sieve import Sieve, sieve_of
from policy.globs import GlobSet, components_of
from policy.guards import guard_of
from policy.narrow_files import seen_from
from policy.paths import is_normalised
from policy.requests import FileAction, FileRequest
from policy.types import Decision, Deny, FileGrant, Policy, Rule


def file_table(policy: Policy) -> "FileTable":
    """
    The tables of a policy's file grants.
    """
    mounts = {f"{one.mount}/": _mount(one, policy.deny) for one in policy.filesystem}
    lengths = sorted({len(one) for one in mounts}, reverse=True)
    # A mount point and all directories above it: what may not be unseated.
    seats = {
        mount[:end] for mount in mounts for end, char in enumerate(mount) if char == "/" and end
    }
    return FileTable(policy, mounts, tuple(lengths), frozenset(seats))


@dataclass(frozen=True, slots=True)
class _Mount:
    """
    A grant, its globs, those of the policy that can hide something below it, and the answers to
    acts that it allows, apart for acts that look and that change. `sieve` is of all these globs, as
    they are seen from the mount; None where there are none.
    """

    grant: FileGrant
    length: int
    denied: GlobSet
    hidden: GlobSet
    denies: tuple[Deny, ...]
    sieve: Sieve | None
    guarded: bool
    looks: dict[FileAction, Decision]
    changes: dict[FileAction, Decision]


def _mount(grant: FileGrant, denies: tuple[Deny, ...]) -> _Mount:
    """
    Memory of the session is nobody else's: it begins empty, the gate is not asked about it, and
    there is nothing to hide or to guard.
    """
    below = grant.mount[1:]
    inside = below.split("/")
    near = tuple(
        one
        for one in denies
        if grant.source is not None and GlobSet((one.path[1:],)).may_match_below(below)
    )
    rests = (rest for one in near for rest in seen_from(one.path[1:], inside))
    globs = [components_of(glob) for glob in (*grant.deny, *rests)]
    writes = grant.access.writes
    return _Mount(
        grant=grant,
        length=len(grant.mount) + 1,
        denied=GlobSet(grant.deny),
        hidden=GlobSet(tuple(one.path[1:] for one in near)),
        denies=near,
        sieve=sieve_of(globs) if globs else None,
        guarded=grant.source is not None and writes,
        looks={one: _allowed(grant, one) for one in FileAction if not one.changes},
        changes={one: _allowed(grant, one) for one in FileAction if one.changes and writes},
    )


def _allowed(grant: FileGrant, action: FileAction) -> Decision:
    reason = f"{_DOING[action]} in {shown(grant.mount)} is granted"
    return Decision(True, grant.rule, reason, grant=grant)


@dataclass(frozen=True, slots=True)
class FileTable:
    """
    A policy's mounts by path. Only `file_table` makes one.
    """

    policy: Policy
    _mounts: dict[str, _Mount]
    _lengths: tuple[int, ...]
    _seats: frozenset[str]

    def decide(self, request: FileRequest) -> Decision:
        """
        The answer to one request; a path that is not normalised is denied.
        """
        path = request.path
        if not is_normalised(path):
            return self._outside(request, "the path is not absolute and normalised")
        mount = self._mount_of(path)
        if mount is None:
            return self._outside(request, "no grant covers the path")
        sieve = mount.sieve
        if sieve is not None and sieve.may_match(path[mount.length :]):
            denial = self._denial(request, mount)
            if denial is not None:
                return denial
        return mount.looks.get(request.action) or self._change(request, mount)

    def _denial(self, request: FileRequest, mount: _Mount) -> Decision | None:
        """
        The answer of the globs, where one matches: the policy's own speak before the grant's.
        """
        index = mount.hidden.match(request.path[1:])
        if index is not None:
            return self._hidden_name(request, mount.grant, mount.denies[index])
        index = mount.denied.match(request.path[mount.length :])
        return None if index is None else self._denied_name(request, mount.grant, index)

    def may_hide(self, path: str) -> bool:
        """
        Whether a denied or guarded name is, or could be, `path` or something beneath it.
        """
        mount = self._mount_of(path)
        if mount is None or not is_normalised(path) or path in self._seats:
            return True
        if mount.guarded or mount.denied.may_match_below(path[mount.length :]):
            return True
        return mount.hidden.may_match_below(path[1:])

    def _mount_of(self, path: str) -> _Mount | None:
        """
        The longest mount that holds a path: one look for each length that a mount has.
        """
        probe, mounts = f"{path}/", self._mounts
        for length in self._lengths:
            if (mount := mounts.get(probe[:length])) is not None:
                return mount
        return None

    def _change(self, request: FileRequest, mount: _Mount) -> Decision:
        grant, allowed = mount.grant, mount.changes.get(request.action)
        if allowed is None:
            return self._refused(
                request,
                grant,
                grant.rule,
                f"{shown(grant.mount)} is granted for reading only",
                f"`access: read-write` in {grant.rule.name} would allow it",
            )
        if request.path in self._seats and request.action in _UNSEATING:
            return self._refused(
                request,
                grant,
                grant.rule,
                "the path is a mount point or holds one",
                "nothing in a policy allows it: work below the mount",
            )
        if mount.guarded and (guard := guard_of(request.path[mount.length :])):
            return self._refused(
                request,
                grant,
                Rule(f"guard[{guard.name}]", grant.rule.file),
                f"the name `{guard.name}` is guarded in directories of the host: {guard.why}",
                "nothing in this version lifts a guard: write it on the host, or use scratch",
            )
        return allowed

    def _outside(self, request: FileRequest, why: str) -> Decision:
        remedy = f"a grant in `filesystem` whose mount holds {shown(request.path)} would allow it"
        return Decision(
            False,
            self.policy.rule("filesystem"),
            f"{_asked(request)} is not granted: {why}{self._offer(request)}",
            absent=True,
            remedy=remedy,
        )

    def _hidden_name(self, request: FileRequest, grant: FileGrant, deny: Deny) -> Decision:
        """
        The reason is the administrator's own; without one it says no more than that.
        """
        offer = self._offer(request)
        why = (
            deny.reason.removesuffix(".") if offer else deny.reason
        ) or "the policy denies the name"
        return Decision(
            False,
            deny.rule,
            f"{_asked(request)} is not granted: {why}{offer}",
            absent=True,
            grant=grant,
            remedy=f"removing `{deny.path}` ({deny.rule.name}) would leave it to the grants",
        )

    def _denied_name(self, request: FileRequest, grant: FileGrant, index: int) -> Decision:
        """
        The reason names no glob: it is told to the guest, which may know only that a name like
        this one is denied, whether or not it exists.
        """
        rule = _deny_rule(grant, index)
        return Decision(
            False,
            rule,
            f"{_asked(request)} is not granted: the name is denied below {shown(grant.mount)}"
            f"{self._offer(request)}",
            absent=True,
            grant=grant,
            remedy=f"removing `{grant.deny[index]}` ({rule.name}) would show the name",
        )

    def _refused(
        self, request: FileRequest, grant: FileGrant, rule: Rule, why: str, remedy: str
    ) -> Decision:
        reason = f"{_asked(request)} is not granted: {why}{self._offer(request)}"
        return Decision(False, rule, reason, grant=grant, remedy=remedy)

    def _offer(self, request: FileRequest) -> str:
        """
        What is granted instead, where the policy discloses it.
        """
        if not self.policy.disclose:
            return ""
        changes = request.action.changes
        mounts = sorted(
            shown(grant.mount)
            for grant in self.policy.filesystem
            if not changes or grant.access.writes
        )
        verb = "write" if changes else "read"
        return (
            f"; you may {verb} below {', '.join(mounts)}" if mounts else f"; you may {verb} nowhere"
        )


# A mount point cannot be taken away or replaced; its place in the tree is the policy's.
_UNSEATING = frozenset(
    {FileAction.CREATE, FileAction.REMOVE, FileAction.REMOVE_DIRECTORY, FileAction.RENAME}
)

_DOING = {
    FileAction.STAT: "looking at",
    FileAction.LIST: "listing",
    FileAction.READ: "reading",
    FileAction.WRITE: "writing",
    FileAction.CREATE: "creating",
    FileAction.TRUNCATE: "truncating",
    FileAction.REMOVE: "removing",
    FileAction.MAKE_DIRECTORY: "making the directory",
    FileAction.REMOVE_DIRECTORY: "removing the directory",
    FileAction.RENAME: "renaming",
    FileAction.SET_TIMES: "setting the times of",
}


def _asked(request: FileRequest) -> str:
    return f"{_DOING[request.action]} {shown(request.path)}"


def _deny_rule(grant: FileGrant, index: int) -> Rule:
    if index < len(grant.deny_rules):
        return grant.deny_rules[index]
    return Rule(f"{grant.rule.name}.deny[{index}]", grant.rule.file, grant.rule.line)
