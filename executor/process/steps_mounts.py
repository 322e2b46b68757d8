"""
The steps of a box with namespaces that concern its files: an empty root, and what stands in it.

Each step does one thing and fails loudly. `steps.py` says in which order, and why.
"""

import os
import stat
from dataclasses import dataclass, replace
from functools import cache

from executor.linux import landlock, mounts
from executor.linux.errors import asking
from executor.linux.landlock import FileAccess, Handled, NetworkAccess, PathRule, Reach
from executor.linux.mounts import Attribute
from executor.process import scenery
from executor.process.conversation import SERVED
from executor.process.plan import GUEST_ID, SHARED_MEMORY, TEMPORARY
from executor.process.site import Site

WRITABLE_DEVICES = ("/dev/null", "/dev/zero", "/dev/full")
READABLE_DEVICES = ("/dev/random", "/dev/urandom")
UMASK = 0o022

_SHOWN = Attribute.READ_ONLY | Attribute.NO_SET_ID | Attribute.NO_DEVICES
_ROOT = Attribute.NO_SET_ID | Attribute.NO_DEVICES
_OWN = Attribute.NO_SET_ID | Attribute.NO_DEVICES | Attribute.NO_EXECUTION
_DEVICE = Attribute.READ_ONLY | Attribute.NO_SET_ID | Attribute.NO_EXECUTION
_ROOT_BYTES = 1 << 20
_ROOT_FILES = 4096
_STICKY = frozenset({TEMPORARY, SHARED_MEMORY})
# Every Linux has it, and nothing is looked up below it once all trees are open.
_BUILDING_PLACE = "/proc"


def part_mounts(_site: Site) -> None:
    """
    Have no mount in common with the host from here on.
    """
    mounts.isolate()


def open_trees(site: Site) -> None:
    """
    Open what will be shown, and the ends that answer for what is served, with the maker's rights.
    """
    for view in site.plan.mounts:
        tree = mounts.copy_tree(view.source)
        scenery.require_object(tree, view)
        mounts.restrict(tree, _SHOWN)
        site.trees.append((view.mount, tree))
        if not stat.S_ISDIR(os.fstat(tree).st_mode):
            site.files.add(view.mount)
    for path in (*WRITABLE_DEVICES, *READABLE_DEVICES):
        device = mounts.copy_tree(path)
        scenery.require_device(device, path)
        mounts.restrict(device, _DEVICE)
        site.devices.append((path, device))
    site.answering = [mounts.fuse_device() for _ in site.plan.served]


def make_root(site: Site) -> None:
    """
    Make an empty root, in memory, where nobody looks.
    """
    site.root = mounts.memory_file_system(_ROOT_BYTES, _ROOT_FILES, 0o755, _ROOT)
    mounts.attach(site.root, None, _BUILDING_PLACE)


def make_own_places(site: Site) -> None:
    """
    Mount what the guest may write; outer places first, for they may nest.
    """
    for own in sorted(site.plan.own_places, key=lambda place: place.mount):
        mode = 0o1777 if own.mount in _STICKY else 0o755
        tree = mounts.memory_file_system(own.bytes, own.files, mode, _OWN)
        scenery.directory_for(site.root, own.mount)
        mounts.attach(tree, site.root, own.mount.lstrip("/"))
        os.close(tree)


def attach_trees(site: Site) -> None:
    """
    Mount the plan's views and the five devices.
    """
    for place, tree in (*site.trees, *site.devices):
        scenery.place_for(site.root, place, tree)
        mounts.attach(tree, site.root, place.lstrip("/"))
        os.close(tree)


def attach_served(site: Site) -> None:
    """
    Mount what others answer for, and hand the answering ends to the maker.

    From here on nothing of ours looks into these: it would stand still until somebody answers.
    """
    for place, device in zip(site.plan.served, site.answering, strict=True):
        tree = mounts.fuse_file_system(device, GUEST_ID, _OWN)
        scenery.directory_for(site.root, place)
        mounts.attach(tree, site.root, place.lstrip("/"))
        os.close(tree)
    if site.answering:
        site.inside.hand(SERVED, tuple(site.answering))


def write_files(site: Site) -> None:
    """
    Write the files by which programs know users and hosts, and the plan's links.
    """
    scenery.write_system_files(site.root, site.plan)
    for link in site.plan.links:
        scenery.link(site.root, link.mount, link.target)


def enter_root(site: Site) -> None:
    """
    Let go of the host's files; the root is not written any more.
    """
    mounts.enter(site.root)
    mounts.restrict_alone(site.root, Attribute.READ_ONLY)
    os.close(site.root)
    start = site.plan.directory
    with asking("working directory", f"chdir {start}", "see that it was mounted"):
        os.chdir(start)
    os.umask(UMASK)


@dataclass(frozen=True, slots=True)
class Grants:
    """
    What Landlock refuses, and the rights of a box's rules as far as it refuses them otherwise.
    """

    handled: Handled
    unconnected: Handled
    listed: FileAccess
    read: FileAccess
    read_file: FileAccess
    updated_file: FileAccess
    changed: FileAccess

    def shown(self, is_file: bool) -> FileAccess:
        """
        Of a view.
        """
        return self.read_file if is_file else self.read


@cache
def grants(abi: int) -> Grants:
    """
    Those of Landlock's version `abi`; worked out once, before there are boxes.
    """
    handled = landlock.handled_by(abi)

    def of(reach: Reach, path: str = "/") -> FileAccess:
        return landlock.beneath(path, reach, handled).access

    return Grants(
        handled,
        _without_connections(handled),
        listed=of(Reach.LIST),
        read=of(Reach.READ),
        read_file=of(Reach.READ, READABLE_DEVICES[0]),
        updated_file=of(Reach.UPDATE, WRITABLE_DEVICES[0]),
        changed=of(Reach.CHANGE),
    )


def _without_connections(handled: Handled) -> Handled:
    # Where they end, and that a port without a listener refuses them, the network namespace says.
    network = NetworkAccess(int(handled.network) & ~NetworkAccess.CONNECT_TCP)
    return replace(handled, network=network)


def grant_reach(site: Site) -> None:
    """
    Have Landlock refuse all but what the plan shows and gives.
    """
    known = grants(site.landlock_abi)
    # Nothing here is looked up: these are the places where the mounts were put a moment ago, and
    # Landlock follows no link. (What is served must not be: nobody answers yet.)
    rules = [
        PathRule("/", known.listed),
        PathRule("/etc", known.read),
        *(PathRule(place, known.changed) for place in site.plan.served),
        *(PathRule(own.mount, known.changed) for own in site.plan.own_places),
        *(PathRule(place, known.shown(place in site.files)) for place, _ in site.trees),
        *(PathRule(device, known.updated_file) for device in WRITABLE_DEVICES),
        *(PathRule(device, known.read_file) for device in READABLE_DEVICES),
        *(landlock.beneath(path, Reach.RUN, known.handled) for path in site.executables.paths),
    ]
    landlock.restrict(rules, handled=known.unconnected if site.plan.network else known.handled)
