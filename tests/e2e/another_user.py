"""
Commands for root to run as an ordinary user, or where every user may read Python.

Python may lie where only root may look; an overlay in a mount namespace of its own shows it to all.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from executor.images.cache import default_cache
from executor.images.catalog import find

USER = 65533
# Whether everybody may read Python as it is.
OPEN = all(place.stat().st_mode & 0o001 for place in Path(os.__file__).resolve().parents)
_READABLE = """
set -e
mount -t tmpfs none /mnt
mkdir /mnt/upper /mnt/work
mount -t overlay overlay -o lowerdir=/root,upperdir=/mnt/upper,workdir=/mnt/work /root
chmod 755 /root
exec "$@"
"""
# What a command is put behind: Python can be read by all, and, of the second, by this user.
READABLE = () if OPEN else ("unshare", "--mount", "sh", "-c", _READABLE, "sh")
AS_USER = (*READABLE, "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")


def overlaid(*command: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*AS_USER, *command],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **more,
    )


def cache_of_core(place: Path) -> None:
    """
    A cache that belongs to the user, with the one image that every server needs.
    """
    image = find("core")
    assert image is not None
    for name in ("images", "inputs", "staging"):
        (place / name).mkdir(mode=0o700)
    shutil.copytree(image.path, place / "images" / image.path.name, symlinks=True)
    shutil.copy(default_cache().index, place / "index.json")
    for path in (place, *place.rglob("*")):
        os.chown(path, USER, USER, follow_symlinks=False)
