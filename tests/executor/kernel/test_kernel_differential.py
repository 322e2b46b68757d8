"""
Our walk against the kernel's own resolution, on random trees full of links.

The kernel is asked twice: RESOLVE_BENEATH on the granted directory, which refuses whatever leaves
it, and RESOLVE_IN_ROOT on a directory that holds the granted one under the mount's name, so that
absolute targets mean what they mean to the guest. Documented differences, all of them refusals of
ours: `..` above the mount's root and what an absolute target reaches by way of it are ENOENT,
where the kernel answers EXDEV (beneath) or stays at the root (in root).
"""

import ctypes
import errno
import os
import random
from pathlib import Path

import pytest
from host_world import grant_of

from executor.kernel.errors import GuestError
from executor.kernel.paths import HostTrees
from policy.decide import compile_policy
from policy.requests import FileAction
from policy.types import Policy

NO_MAGICLINKS, BENEATH, IN_ROOT = 0x02, 0x08, 0x10
NAMES = ("a", "b", "c", "d")
PATHS_A_TREE = 250
TREES = 24


class OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


LIBC = ctypes.CDLL(None, use_errno=True)


def kernel_resolves(root, path, resolve, *, follow):
    """
    The kernel's answer: device and inode, or an errno.
    """
    flags = os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    how = OpenHow(flags, 0, resolve | NO_MAGICLINKS)
    asked = (437, root, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    while (number := LIBC.syscall(*asked)) < 0:
        # Somebody on this machine has renamed something meanwhile: openat2(2), EAGAIN.
        if ctypes.get_errno() != errno.EAGAIN:
            return ctypes.get_errno()
    try:
        status = os.fstat(number)
    finally:
        os.close(number)
    return status.st_dev, status.st_ino


def we_resolve(trees, decides, path, *, follow):
    try:
        with trees.locate(path, follow=follow, decides=decides, action=FileAction.STAT) as place:
            if place.status is None:
                return errno.ENOENT
            return place.status.st_dev, place.status.st_ino
    except GuestError as error:
        return error.errno


def random_target(dice, *, absolute):
    names = [dice.choice((*NAMES, *NAMES, "..", "..", ".", "")) for _ in range(dice.randint(1, 6))]
    text = "/".join(names).lstrip("/") or "."
    if absolute and dice.random() < 0.4:
        return dice.choice(("/data/", "/data/", "/data//./", "/", "/outside/")) + text
    return text


def grow(dice, directory, depth, *, absolute):
    for name in NAMES:
        path, fate = directory / name, dice.random()
        if fate < 0.40 and depth < 4:
            path.mkdir()
            grow(dice, path, depth + 1, absolute=absolute)
        elif fate < 0.50:
            path.write_text(name)
        elif fate < 0.90:
            path.symlink_to(random_target(dice, absolute=absolute))


def inodes_below(root):
    found = {(root.stat().st_dev, root.stat().st_ino)}
    for directory, names, files in os.walk(root):
        for name in (*names, *files):
            status = (Path(directory) / name).lstat()
            found.add((status.st_dev, status.st_ino))
    return found


@pytest.mark.parametrize("absolute", [False, True], ids=["relative links", "absolute links"])
@pytest.mark.parametrize("seed", range(TREES))
def test_the_walk_agrees_with_the_kernel_and_never_leaves_the_root(tmp_path, seed, absolute):
    dice = random.Random(f"{seed} {absolute}")
    granted = tmp_path / "data"
    granted.mkdir()
    (tmp_path / "outside").mkdir()
    for name in NAMES:
        (tmp_path / "outside" / name).write_text("canary")
        (tmp_path / name).write_text("canary")
    grow(dice, granted, 0, absolute=absolute)
    inside = inodes_below(granted)
    grant = grant_of(granted)
    decides = compile_policy(Policy("test", "", "test.yaml", filesystem=(grant,)))
    above, root = (os.open(path, os.O_PATH | os.O_CLOEXEC) for path in (tmp_path, granted))
    resolved = refused = 0
    try:
        with HostTrees((grant,)) as trees:
            for _ in range(PATHS_A_TREE):
                relative = "/".join(dice.choice(NAMES) for _ in range(dice.randint(1, 6)))
                follow = dice.random() < 0.7
                ours = we_resolve(trees, decides, f"/data/{relative}", follow=follow)
                beneath = kernel_resolves(root, relative, BENEATH, follow=follow)
                in_root = kernel_resolves(above, f"data/{relative}", IN_ROOT, follow=follow)
                if isinstance(ours, tuple):
                    assert ours in inside
                    assert ours == in_root
                    resolved += 1
                else:
                    refused += 1
                if isinstance(beneath, tuple):
                    assert ours == beneath
                elif not absolute:
                    # EXDEV is the kernel's word for climbing out; to the guest that is absent.
                    assert ours == (errno.ENOENT if beneath == errno.EXDEV else beneath)
                if isinstance(in_root, int):
                    assert isinstance(ours, int)
    finally:
        os.close(above)
        os.close(root)
    assert resolved > 0
    assert refused > 0


def test_there_are_ten_thousand_paths():
    assert 2 * TREES * PATHS_A_TREE >= 10_000
