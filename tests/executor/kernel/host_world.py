"""
A real tree in a temporary directory, granted at /data, with canaries outside that no act may reach.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from executor.kernel import hostfiles
from executor.kernel.errors import GuestError
from executor.kernel.hostfiles import Creation, Opening, Quota, open_for_writing
from executor.kernel.paths import HostTrees, Place
from executor.kernel.writehandle import WriteHandle
from policy.decide import Decider
from policy.requests import FileAction
from policy.types import Access, FileGrant, Rule

CANARY = "canary outside the grant"
CREATE = Opening(creation=Creation.IF_MISSING)
EXCLUSIVE = Opening(creation=Creation.EXCLUSIVE)
REPLACE = Opening(creation=Creation.IF_MISSING, truncate=True, read=True)
APPEND = Opening(creation=Creation.IF_MISSING, append=True)


@dataclass(frozen=True, slots=True)
class World:
    """
    `inside` is the granted directory, `outside` its sibling with the canary.
    """

    inside: Path
    outside: Path
    grant: FileGrant
    trees: HostTrees
    decides: Decider
    quota: Quota

    def locate(
        self,
        path: str,
        action: FileAction = FileAction.STAT,
        *also: FileAction,
        follow: bool = True,
    ) -> Place:
        return self.trees.locate(
            path, follow=follow, decides=self.decides, action=action, also=also
        )

    def errno_of(
        self,
        path: str,
        action: FileAction = FileAction.STAT,
        *,
        follow: bool = True,
    ) -> int:
        with pytest.raises(GuestError) as caught:
            self.locate(path, action, follow=follow).close()
        return caught.value.errno

    def open(self, path: str, opening: Opening) -> WriteHandle:
        with self.locate(path, *opening.actions, follow=opening.follow) as place:
            return open_for_writing(place, opening, self.quota)

    def canary(self) -> str:
        return (self.outside / "secret").read_text()


MakeWorld = Callable[..., World]


def grant_of(
    source: Path | None,
    *,
    mount: str = "/data",
    access: Access = Access.READ_WRITE,
    deny: tuple[str, ...] = (),
    quota: int = 1000,
    max_files: int = 10,
) -> FileGrant:
    text = None if source is None else str(source)
    rule = Rule("filesystem[0]", "test.yaml", 4, 5)
    return FileGrant(mount, text, access, deny, quota, max_files, rule)


def open_descriptors() -> list[str]:
    """
    The numbers that are open in this process; the one of the listing itself is always among them.
    """
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def refusal(act, *arguments):
    with pytest.raises(GuestError) as caught:
        act(*arguments)
    return caught.value.errno


def acting(world, action, path, act, *arguments):
    with world.locate(path, action, follow=False) as place:
        return act(place, *arguments)


def refused(world, action, path, act, *arguments):
    return refusal(acting, world, action, path, act, *arguments)


def listed(world, path="/data"):
    with world.locate(path, FileAction.LIST) as place:
        return hostfiles.list_directory(place, world.decides)


def quota_of(world, quota=2**20):
    return Quota(replace(world.grant, quota=quota))


def move(world, old, new, decides=None):
    with (
        world.locate(old, FileAction.RENAME, follow=False) as source,
        world.locate(new, FileAction.CREATE, follow=False) as destination,
    ):
        hostfiles.rename(source, destination, decides or world.decides)
