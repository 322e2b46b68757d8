"""
The steps of a box with namespaces that concern its files: an empty root, and what stands in it.

Each step does one thing and fails loudly. `steps.py` says in which order, and why.
"""

import os
from dataclasses import replace

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
    site.root = mounts.memory_file_system(
        _ROOT_BYTES, _ROOT_FILES, 0o755, Attribute.NO_SET_ID | Attribute.NO_DEVICES
    )
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


def _without_connections(handled: Handled) -> Handled:
    # Where they end, and that a port without a listener refuses them, the network namespace says.
    network = NetworkAccess(int(handled.network) & ~NetworkAccess.CONNECT_TCP)
    return replace(handled, network=network)


def grant_reach(site: Site) -> None:
    """
    Have Landlock refuse all but what the plan shows and gives.
    """
    handled = landlock.handled_by(site.landlock_abi)
    granted = (
        ("/", Reach.LIST),
        ("/etc", Reach.READ),
        *((view.mount, Reach.READ) for view in site.plan.mounts),
        *((own.mount, Reach.CHANGE) for own in site.plan.own_places),
        *((path, Reach.RUN) for path in site.executables.paths),
        *((device, Reach.UPDATE) for device in WRITABLE_DEVICES),
        *((device, Reach.READ) for device in READABLE_DEVICES),
    )
    rules = [landlock.beneath(path, reach, handled) for path, reach in granted]
    # Not looked at: nobody answers yet. It is a directory, for its root was mounted as one.
    change = FileAccess(int(Reach.CHANGE.value) & int(handled.files))
    rules += [PathRule(place, change) for place in site.plan.served]
    landlock.restrict(
        rules, handled=_without_connections(handled) if site.plan.network else handled
    )
