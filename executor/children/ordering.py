"""
The box that a policy orders: what of the host it shows, what it may use, what holds it.

A mount is shown as it is where the kernel alone keeps the whole rule: read-only, nothing denied
beneath, no other file system mounted beneath, and everybody may read there. It is one decision
then, recorded when the session begins; what is opened beneath is not. Every other mount of a host
directory is served: each open is asked of the gate. A source is named with the object that the
server's own account found there, so that a box, which root may make, shows nothing else.
"""

import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from executor.facts import WORK
from executor.kernel.errors import SourceUnavailable
from executor.kernel.orders import BoxOrder, ScratchTree, ShownTree
from executor.linux import mounts
from executor.linux.errors import MechanismError
from executor.process.network import ports_of
from executor.process.plan import HOME, LEAST_BYTES, LEAST_FILES, MOST_SECONDS
from policy.lint import hides_below
from policy.ratchets import watches
from policy.types import Access, FileGrant, Policy

# What a worker holds besides the guest's open files: its channel, two pipes, a wake-up.
_OWN_FILES: Final = 16
# A box holds a session for all its cells; each cell's time is watched by the server.
_SPARE_SECONDS: Final = 60
_TASKS: Final = 64
_ALL_MAY_LIST: Final = stat.S_IROTH | stat.S_IXOTH


def order_of(policy: Policy) -> BoxOrder:
    """
    The order of a box for sessions under the policy. It looks at the granted directories.

    Raises SourceUnavailable where one cannot be looked at.
    """
    limits, process = policy.limits, policy.process
    hosts = [grant for grant in policy.filesystem if grant.source is not None]
    shown = tuple(_shown(grant) for grant in hosts if is_shown(policy, grant))
    mounts = {tree.mount for tree in shown}
    served = (grant.mount for grant in hosts if grant.mount not in mounts)
    scratch = tuple(_scratch(policy))
    seconds = math.ceil(limits.cpu_time) * limits.cells + _SPARE_SECONDS
    return BoxOrder(
        shown=shown,
        served=tuple(served),
        scratch=scratch,
        directory=_directory(scratch),
        tmp_bytes=max(limits.scratch, LEAST_BYTES),
        tmp_files=max(limits.files, LEAST_FILES),
        memory=limits.memory,
        cpu_seconds=min(seconds, MOST_SECONDS),
        cpu_percent=round(limits.cpus * 100),
        open_files=limits.open_files + _OWN_FILES,
        tasks=_TASKS,
        minimum=policy.isolation.minimum.value,
        ports=ports_of(policy),
        names=bool(policy.network),
        fork=process is not None and process.fork,
        programs=() if process is None else process.programs,
        new_code=process is not None and process.new_code,
        watched=True,
    )


def is_shown(policy: Policy, grant: FileGrant) -> bool:
    """
    Whether the kernel alone keeps the grant's rule. Raises SourceUnavailable.

    Root gives each box a user of its own, who has what everybody has: what others may not list
    is served instead, with the rights of the server's account. So is a tree with mounts beneath:
    a grant is one tree of one file system, and what is mounted there is no part of it.
    """
    if grant.source is None or grant.access is not Access.READ or grant.deny:
        return False
    if any(hides_below(deny, grant.mount) for deny in policy.deny) or watches(policy, grant.mount):
        return False
    if _found(grant).st_mode & _ALL_MAY_LIST != _ALL_MAY_LIST:
        return False
    return not _has_mounts(grant)


def _has_mounts(grant: FileGrant) -> bool:
    place = Path(os.path.realpath(grant.source or ""))
    try:
        return any(place in Path(one.place).parents for one in mounts.mounted())
    except MechanismError as error:
        raise SourceUnavailable(
            grant.mount, grant.rule.name, grant.source or "", f"{error}"
        ) from error


def _shown(grant: FileGrant) -> ShownTree:
    # Links on the way are the administrator's and are followed, as for every granted directory; a
    # box follows none.
    found = _found(grant)
    source = os.path.realpath(grant.source or "")
    return ShownTree(source, grant.mount, found.st_dev, found.st_ino)


def _found(grant: FileGrant) -> os.stat_result:
    try:
        return Path(grant.source or "").stat()
    except OSError as error:
        raise SourceUnavailable(
            grant.mount, grant.rule.name, grant.source or "", error.strerror or "no such directory"
        ) from error


def _scratch(policy: Policy) -> Iterator[ScratchTree]:
    limits = policy.limits
    for grant in policy.filesystem:
        if grant.source is None:
            yield _tree(grant.mount, grant.quota, grant.max_files)
    if all(grant.mount != WORK for grant in policy.filesystem):
        # The working directory is there under every policy.
        yield _tree(WORK, limits.scratch, limits.files)


def _tree(mount: str, size: int, files: int) -> ScratchTree:
    return ScratchTree(mount, max(size, LEAST_BYTES), max(files, LEAST_FILES))


def _directory(scratch: tuple[ScratchTree, ...]) -> str:
    mounts = [tree.mount for tree in scratch]
    return WORK if WORK in mounts else (*mounts, HOME)[0]
