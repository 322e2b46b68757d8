"""
What stands in a box's root besides mounts: directories, mount points, a few generated files.

The root is an empty tmpfs that nobody else sees, so paths below its descriptor are followed
without care for links; the links of a plan are made last.
"""

import os
import stat

from executor.linux.errors import MechanismFailed, asking
from executor.process.plan import GUEST_ID, HOME, MECHANISM, BoxPlan, View

# Source: Linux `Documentation/admin-guide/devices.txt`, major number 1.
_MEMORY_DEVICES = 1
MINORS = {"/dev/null": 3, "/dev/zero": 5, "/dev/full": 7, "/dev/random": 8, "/dev/urandom": 9}
_MEND = "see that mounts of the plan do not collide"
_SYSTEM_FILES = {
    "etc/passwd": f"agent:x:{GUEST_ID}:{GUEST_ID}:agent:{HOME}:/bin/false\n",
    "etc/group": f"agent:x:{GUEST_ID}:\n",
}
_ALONE = {
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "etc/resolv.conf": "",
}
# Every name is asked about where it is decided, localhost as well: a policy may grant it.
_ASKING = {
    "etc/hosts": "",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/resolv.conf": "nameserver 127.0.0.1\noptions timeout:5 attempts:1\n",
}


def place_for(root: int, place: str, tree: int) -> None:
    """
    Make what the mount `tree` will cover at `place`: a directory for one, else an empty file.

    Raises MechanismFailed for a tree that is a symbolic link, socket, FIFO or block device.
    """
    mode = os.fstat(tree).st_mode
    if stat.S_ISDIR(mode):
        directory_for(root, place)
    elif stat.S_ISREG(mode) or stat.S_ISCHR(mode):
        directory_for(root, place.rpartition("/")[0])
        write(root, place.lstrip("/"), "")
    else:
        raise MechanismFailed(
            MECHANISM, f"{place} would show {stat.filemode(mode)}; name a directory or a file"
        )


def require_object(tree: int, view: View) -> None:
    """
    See that the mount `tree` shows what `view` means, if it says which object that is.

    Raises MechanismFailed for another one: the path has been given to something else since.
    """
    if view.object is None:
        return
    found = os.fstat(tree)
    if (found.st_dev, found.st_ino) != view.object:
        raise MechanismFailed(
            MECHANISM, f"{view.source} is not what it was when it was granted; load the policy anew"
        )


def require_device(device: int, place: str) -> None:
    """
    See that the mount `device` is the character device that Linux has at `place`.

    Raises MechanismFailed for anything else: some containers fill /dev with what they like.
    """
    found = os.fstat(device)
    wanted = os.makedev(_MEMORY_DEVICES, MINORS[place])
    if not stat.S_ISCHR(found.st_mode) or found.st_rdev != wanted:
        raise MechanismFailed(
            MECHANISM, f"{place} is {stat.filemode(found.st_mode)} and not the kernel's; mend /dev"
        )


def directory_for(root: int, place: str) -> None:
    """
    Make the directory `place` and those above it, where they are not there yet.
    """
    with asking(MECHANISM, "making {}", _MEND, place):
        path = ""
        for part in place.split("/"):
            path = f"{path}/{part}" if path else part
            if path and not _is_there(root, path):
                os.mkdir(path, 0o755, dir_fd=root)


def write(root: int, path: str, text: str) -> None:
    """
    Make the file `path` (relative) with `text`, readable by everybody.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with asking(MECHANISM, "writing /{}", _MEND, path):
        file = os.open(path, flags, 0o444, dir_fd=root)
        try:
            os.write(file, text.encode())
        finally:
            os.close(file)


def write_system_files(root: int, plan: BoxPlan) -> None:
    """
    Write the files by which programs know users and hosts.
    """
    directory_for(root, "/etc")
    for path, text in (_SYSTEM_FILES | (_ASKING if plan.names else _ALONE)).items():
        write(root, path, text)


def link(root: int, place: str, target: str) -> None:
    """
    Make the symbolic link `place` that says `target`.
    """
    directory_for(root, place.rpartition("/")[0])
    with asking(MECHANISM, "linking {}", _MEND, place):
        os.symlink(target, place.lstrip("/"), dir_fd=root)


def _is_there(root: int, path: str) -> bool:
    try:
        os.stat(path, dir_fd=root, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
