"""
Reasons for refusals of files that the kernel gives by number alone: the gate's sentence, asked for
when an OSError is already there.

Runs beside the agent's code. Nothing is decided here; a guest that leaves this out is refused all
the same, and told less. Of files below the places that the server serves, the gate is asked what
it has said already. Of others, which the kernel has refused without asking anybody, it is asked
what the policy says, for the record too: of names outside all that the box shows, and of what
stands on something that is only shown for reading. What is missing in a mount is just missing.

Only Python's functions of files ask, as `os` and `open` have them. The import system has its own
(those of `posix`), so its probing of directories asks nobody.
"""

import builtins
import errno
import functools
import io
import os
import sys

# What a refusal of a served file can look like to the guest.
OF_FILES = frozenset(
    {errno.ENOENT, errno.EACCES, errno.EROFS, errno.EPERM, errno.EDQUOT, errno.EIO, errno.ENOSPC}
)
# What the kernel answers by itself to a name outside every mount, or to a change of what is shown.
OF_CHANGES = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
OF_NAMES = OF_CHANGES | {errno.ENOENT, errno.ENOTDIR}
TOLD = OF_FILES | OF_NAMES
# Those of os that name a file, and what the policy calls that: of the first name, of the second. A
# directory is looked at before it is listed, as in the other cage. "" is asked of nobody.
FILES = {
    "open": ("read", ""),
    "stat": ("stat", ""),
    "lstat": ("stat", ""),
    "chdir": ("stat", ""),
    "listdir": ("stat", ""),
    "scandir": ("stat", ""),
    "readlink": ("stat", ""),
    "chmod": ("stat", ""),
    "mkdir": ("mkdir", ""),
    "rmdir": ("rmdir", ""),
    "remove": ("remove", ""),
    "unlink": ("remove", ""),
    "truncate": ("write", ""),
    "utime": ("utime", ""),
    "rename": ("rename", "create"),
    "replace": ("rename", "create"),
    "link": ("read", "create"),
    "symlink": ("", "create"),
}
LOOKS = frozenset({"read", "stat"})
FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# What a box shows besides mounts of the policy; what Python itself has is added.
SCENERY = (
    "/usr", "/bin", "/sbin", "/lib", "/lib64", "/proc", "/dev", "/tmp", "/home/agent",
)  # fmt: skip
NAME_MAX = 4096
# What no policy grants there, in the words of the other cage.
NEVER = {
    "link": "hard links cannot be made in a granted directory",
    "symlink": "symbolic links cannot be made in a granted directory",
    "chmod": "permission bits of granted files cannot be changed",
}

_served = ()
_granted = ()
_shown = ()


def serve(places, mounts):
    """Have errors about files say why: of those below `places`, and of those outside `mounts`."""
    global _served, _granted, _shown
    own = (*sys.path, sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)
    own += (os.environ.get("HOME"), os.environ.get("TMPDIR"))
    _served = below(places)
    _granted = below(mounts)
    _shown = below((*SCENERY, *mounts, *filter(None, own)))
    builtins.open = io.open = _open
    for name, told in _told.items():
        setattr(os, name, told)


def below(places):
    return tuple(f"{place.rstrip('/')}/" for place in places if place.startswith("/"))


class Unbound(staticmethod):
    """A function that is no method where a class has it as an attribute, as those of C are not."""

    def __reduce__(self):
        return self.__name__


def telling(call, acts):
    """`call`, a function of a file's name, whose errors have the gate's sentence."""

    @functools.wraps(call)
    def told(*args, **options):
        try:
            return call(*args, **options)
        except OSError as error:
            explain(error, call, acts, args, options)
            raise

    return Unbound(told)


def explain(error, call, acts, args, options):
    """
    Give an error about a file the reason that the gate has for it. Where the kernel's number is not
    the policy's, the policy's is raised: both cages then have the same error.
    """
    if error.errno not in TOLD or error.strerror != os.strerror(error.errno):
        return  # somebody has said why already, as in a call within this one
    names = error.filename, error.filename2
    if names == (None, None):
        names = args[0] if args else options.get("path"), None  # os.utime does not say
    for name, act in zip(names, acts, strict=True):
        path = absolute(name, options)
        if path and path.startswith(_served):
            number, reason = door.denial(path.rstrip("/"))
            # Another number is of another question about the path: the kernel asks several.
            number = number if number == error.errno and reason else 0
        elif path and act:
            act = "write" if act == "read" and writes(call, args, options) else act
            number, reason = judged(path, act, error.errno)
        else:
            continue
        if number:
            say(error, number, reason)
            return
    if error.errno == errno.EPERM and (never := NEVER.get(call.__name__)) and _served:
        error.strerror = never


def judged(path, act, number):
    """What the policy says where the kernel has spoken for it: 0 where it has not."""
    if number in OF_NAMES and not path.startswith(_shown):
        return door.verdict(path.rstrip("/") or "/", act)
    if number in OF_CHANGES and act not in LOOKS and path.startswith(_granted):
        return door.verdict(path.rstrip("/"), act)
    return 0, ""


def absolute(name, options):
    """A name from the root, with a slash behind it; nothing where it cannot be known."""
    path = os.fsdecode(name) if isinstance(name, (str, bytes, os.PathLike)) else ""
    if not path.startswith("/") and (not path or any(one.endswith("dir_fd") for one in options)):
        return ""
    # Most are as they are to be, and what is missing is often asked for.
    if not path.startswith("/") or "/." in path or "//" in path:
        try:
            path = os.path.abspath(path)
        except OSError:
            return ""  # the working directory is gone
    # POSIX leaves open what two slashes at the beginning mean; Linux takes them for one.
    path = f"/{path.strip('/')}/" if path.strip("/") else "/"
    return path if len(path) <= NAME_MAX else ""


def writes(call, args, options):
    """Whether a call of `open`, or of `os.open`, is for writing."""
    if call is _opens:
        return bool(set("wax+") & set(str(args[1] if args[1:] else options.get("mode", "r"))))
    flags = args[1] if args[1:] else options.get("flags", 0)
    return call.__name__ == "open" and bool(flags & FOR_WRITING)


def say(error, number, reason):
    """Have `error` be the gate's: the same with a reason, or another in its place."""
    if number != error.errno:
        changed = OSError(number, reason, error.filename, None, error.filename2)
        raise changed.with_traceback(error.__traceback__) from None
    error.strerror = reason


_opens = builtins.open
_open = telling(_opens, ("read", ""))
_told = {name: telling(getattr(os, name), acts) for name, acts in FILES.items()}
for _name, _function in _told.items():
    # Found there by whoever pickles it.
    _function.__module__ = "os"
    for _able in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
        if getattr(os, _name) in _able:
            _able.add(_function)


door = None
