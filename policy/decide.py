"""
The one place where a policy answers. Pure and total: every request gets a decision, nothing is
read or remembered, and what no rule allows is denied.

`deny` wins over every grant. Paths are compared component by component and the longest mount wins,
so that `/data-secret` is not below `/data` and the order of grants never matters. A denied name
looks absent, like everything that no grant covers; an act that a grant does not include is refused
openly, because the guest can see the object anyway. What a policy says of connections is in
`decide_network.py`.

What `decide` cannot know is what a directory holds on the host: whether renaming it would bring a
denied name out into the open. `Decider.may_hide` says when that has to be looked at.
"""

from dataclasses import dataclass
from functools import lru_cache

from policy.decide_network import NetworkTable, network_table
from policy.errors import shown
from policy.globs import GlobSet
from policy.guards import guard_of
from policy.requests import (
    FileAction,
    FileRequest,
    ImageRequest,
    ProcessRequest,
    Request,
)
from policy.types import Access, Decision, Deny, FileGrant, Policy, Rule

MAX_PATH = 4096
"""Longest path in characters; Linux takes no longer one either (PATH_MAX, limits.h)."""
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
    mounts = [_Mount(grant, GlobSet(grant.deny)) for grant in policy.filesystem]
    mounts.sort(key=lambda mount: len(mount.grant.mount), reverse=True)
    hidden = GlobSet(tuple(one.path[1:] for one in policy.deny))
    return Decider(policy, tuple(mounts), hidden, network_table(policy))


_compiled = lru_cache(maxsize=64)(compile_policy)


@dataclass(frozen=True, slots=True)
class _Mount:
    grant: FileGrant
    denied: GlobSet

    def relative(self, path: str) -> str | None:
        """
        `path` relative to the mount ("" for the mount itself), or None where it lies outside.
        """
        mount = self.grant.mount
        if path == mount:
            return ""
        return path[len(mount) + 1 :] if path.startswith(mount + "/") else None


@dataclass(frozen=True, slots=True)
class Decider:
    """
    A policy with its tables. Only `compile_policy` makes one; it is immutable and thread-safe.
    """

    policy: Policy
    _mounts: tuple[_Mount, ...]
    _hidden: GlobSet
    _network: NetworkTable

    def decide(self, request: Request) -> Decision:
        """
        The policy's answer to one request; a path that is not normalised is denied, and so is a
        host that is not one.
        """
        if isinstance(request, FileRequest):
            return self._file(request)
        if isinstance(request, ImageRequest):
            return self._image(request)
        if isinstance(request, ProcessRequest):
            return self._process(request)
        return self._network.decide(request)

    def may_hide(self, path: str) -> bool:
        """
        Whether a denied or guarded name is, or could be, `path` or something beneath it.

        Where this is true, a directory must be looked through before it is renamed, linked or
        removed as a whole. True also for what no grant covers and for what is not normalised.
        """
        mount, relative = self._mount_of(path)
        if mount is None or not _is_normalised(path) or self._mounted_at_or_below(path):
            return True
        if _is_guarded(mount.grant) or mount.denied.may_match_below(relative):
            return True
        return mount.grant.source is not None and self._hidden.may_match_below(path[1:])

    def _file(self, request: FileRequest) -> Decision:
        if not _is_normalised(request.path):
            return self._outside(request, "the path is not absolute and normalised")
        mount, relative = self._mount_of(request.path)
        if mount is None:
            return self._outside(request, "no grant covers the path")
        grant = mount.grant
        if (deny := self._deny_of(request.path, grant)) is not None:
            return self._hidden_name(request, grant, deny)
        index = mount.denied.match(relative)
        if index is not None:
            return self._denied_name(request, grant, index)
        if not request.action.changes:
            return Decision(True, grant.rule, f"{_asked(request)} is granted", grant=grant)
        return self._change(request, grant, relative)

    def _change(self, request: FileRequest, grant: FileGrant, relative: str) -> Decision:
        if grant.access is Access.READ:
            return self._refused(
                request,
                grant,
                grant.rule,
                f"{shown(grant.mount)} is granted for reading only",
                f"`access: read-write` in {grant.rule.name} would allow it",
            )
        if request.action in _UNSEATING and self._mounted_at_or_below(request.path):
            return self._refused(
                request,
                grant,
                grant.rule,
                "the path is a mount point or holds one",
                "nothing in a policy allows it: work below the mount",
            )
        if _is_guarded(grant) and (guard := guard_of(relative)):
            return self._refused(
                request,
                grant,
                Rule(f"guard[{guard.name}]", grant.rule.file),
                f"the name `{guard.name}` is guarded in directories of the host: {guard.why}",
                "nothing in this version lifts a guard: write it on the host, or use scratch",
            )
        return Decision(True, grant.rule, f"{_asked(request)} is granted", grant=grant)

    def _outside(self, request: FileRequest, why: str) -> Decision:
        remedy = f"a grant in `filesystem` whose mount holds {shown(request.path)} would allow it"
        return Decision(
            False,
            self.policy.rule("filesystem"),
            f"{_asked(request)} is not granted: {why}{self._offer(request)}",
            absent=True,
            remedy=remedy,
        )

    def _deny_of(self, path: str, grant: FileGrant) -> Deny | None:
        """
        The rule of `deny` that hides a path. Memory of the session is nobody else's: it begins
        empty, the gate is not asked about it, and there is nothing to hide.
        """
        index = self._hidden.match(path[1:]) if grant.source is not None else None
        return None if index is None else self.policy.deny[index]

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
            if not changes or grant.access is Access.READ_WRITE
        )
        verb = "write" if changes else "read"
        return (
            f"; you may {verb} below {', '.join(mounts)}" if mounts else f"; you may {verb} nowhere"
        )

    def _mount_of(self, path: str) -> tuple[_Mount | None, str]:
        for mount in self._mounts:
            relative = mount.relative(path)
            if relative is not None:
                return mount, relative
        return None, ""

    def _mounted_at_or_below(self, path: str) -> bool:
        beneath = path + "/"
        return any(
            mount.grant.mount == path or mount.grant.mount.startswith(beneath)
            for mount in self._mounts
        )

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

    def _process(self, request: ProcessRequest) -> Decision:
        return Decision(
            False,
            self.policy.rule("processes"),
            f"run {shown(request.program)} is not granted: starting programs is not granted",
            remedy="no policy of this version grants starting programs",
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


def _is_normalised(path: str) -> bool:
    if not path.startswith("/") or "\0" in path or len(path) > MAX_PATH:
        return False
    return path == "/" or not _FORBIDDEN_COMPONENTS.intersection(path[1:].split("/"))


_FORBIDDEN_COMPONENTS = frozenset({"", ".", ".."})


def _is_guarded(grant: FileGrant) -> bool:
    return grant.source is not None and grant.access is Access.READ_WRITE


def _deny_rule(grant: FileGrant, index: int) -> Rule:
    if index < len(grant.deny_rules):
        return grant.deny_rules[index]
    return Rule(f"{grant.rule.name}.deny[{index}]", grant.rule.file, grant.rule.line)
