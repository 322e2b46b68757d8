"""
Which paths a policy may name: in the guest (mounts) and on the host (sources).

Everything here looks at text alone. Whoever opens a source must ask `dangerous_source` again
with the path that the descriptor really has, because a symbolic link can lead anywhere.
"""

import os
import posixpath
import pwd
import unicodedata
from dataclasses import dataclass

SCRATCH = "scratch"
"""The source that means memory of the session instead of a directory of the host."""

Refusal = tuple[str, str]
"""What is wrong, and what is allowed instead."""


def mount_problem(path: str) -> Refusal | None:
    """
    Why `path` cannot be a mount of the guest, or None where it can.
    """
    if problem := _form_problem(path):
        return problem
    if not path.startswith("/"):
        return "a mount is an absolute path of the guest", "write /data or /work/out"
    if path == "/":
        return "the guest's root cannot be a mount", _MOUNT_HINT
    top = path.split("/")[1]
    if top in _RESERVED_TOPS:
        return f"/{top} belongs to the guest's system", _MOUNT_HINT
    if top == "home" and not is_within(path, "/home/agent"):
        return "only /home/agent and what is below may be mounted in /home", _MOUNT_HINT
    return None


_MOUNT_HINT = "mount at or below /data, /work, /mnt or /home/agent, or at a new name such as /sales"
_RESERVED_TOPS = frozenset(
    {
        *("bin", "lib", "lib32", "lib64", "libx32", "sbin", "usr"),
        *("boot", "dev", "etc", "lost+found", "proc", "root", "run", "sys", "tmp", "var"),
    }
)


def source_problem(path: str) -> Refusal | None:
    """
    Why `path` has not the form of a source, or None: `scratch`, `/absolute` or `./relative`.
    """
    if path == SCRATCH:
        return None
    if path.startswith("./"):
        return _form_problem(path[2:])
    if problem := _form_problem(path):
        return problem
    if not path.startswith("/"):
        return "it is not clear what it is relative to", "write scratch, /absolute or ./relative"
    return None


def program_problem(path: str) -> Refusal | None:
    """
    Why `path` has not the form of a program, or of a directory of programs, or None where it has.
    """
    if problem := _form_problem(path):
        return problem
    if not path.startswith("/"):
        return "a program is named by its absolute path", "write /usr/bin/git: no name is looked up"
    return None


def _form_problem(path: str) -> Refusal | None:
    if not path or len(path) > 1024:
        return "a path has 1 to 1024 characters", "write a shorter absolute path"
    if not all(char.isprintable() for char in path):
        return "a path has printable characters only, no NUL", "remove them"
    if path[0] == "~" or "$" in path:
        return "`~` and `$` are not expanded here", "write the path out"
    if path != "/" and not _EMPTY_OR_DOTS.isdisjoint(path.removeprefix("/").split("/")):
        return (
            "the path is not normalised",
            "remove `.`, `..`, doubled slashes and a slash at the end",
        )
    if _dots_and_slashes(unicodedata.normalize("NFKC", path)) != _dots_and_slashes(path):
        return "a character looks like a dot or a slash and is none", "use . and / themselves"
    return None


_EMPTY_OR_DOTS = frozenset({"", ".", ".."})


def _dots_and_slashes(path: str) -> str:
    return "".join(char for char in path if char in "./\\~")


def is_within(path: str, holder: str) -> bool:
    """
    Whether `path` is `holder` or lies beneath it, by components; both are normalised.
    """
    return holder in {path, "/"} or path.startswith(holder + "/")


def is_normalised(path: str) -> bool:
    """
    Whether `path`, of a request, is absolute, without `.`, `..` or empty components, and not too
    long.
    """
    if path[:1] != "/" or "//" in path or "\0" in path or len(path) > MAX_PATH:
        return False
    if "/." in path and not _DOTS.isdisjoint(path.split("/")):
        return False
    return path[-1] != "/" or path == "/"


MAX_PATH = 4096
"""Longest path of a request in characters; that of Linux (PATH_MAX, limits.h)."""
_DOTS = frozenset({".", ".."})


def dangerous_source(
    path: str, protected: tuple[str, ...] = (), *, writable: bool = False
) -> Refusal | None:
    """
    Why the host directory `path` (absolute, normalised) may never be granted, or None.

    `protected` are the server's own directories: policies, audit, runtime, caches. A grant that
    holds one, or lies in one, lets a session rewrite the rules or the record, or read them.
    Sources: hier(7), file-hierarchy(7).
    """
    if not path.startswith("/") or (path != "/" and _form_problem(path)):
        return f"{path!r} is not an absolute, normalised path", _NARROWER
    for place in _PLACES:
        if path == place.path:
            return f"{path} is {place.why}", _NARROWER
        if is_within(place.path, path):
            return f"{path} holds {place.path}: {place.why}", _NARROWER
        if is_within(path, place.path) and (place.beneath or (writable and place.written)):
            return f"{path} lies in {place.path}: {place.why}", _NARROWER
    if problem := _home_problem(path):
        return problem
    for own in protected:
        if is_within(own, path) or is_within(path, own):
            return (
                f"{path} overlaps {own}, which the server protects",
                "grant a directory apart from the server's policies, audit, runtime and caches",
            )
    return None


_NARROWER = "grant the directory with the data, and nothing above it"


@dataclass(frozen=True, slots=True)
class _Place:
    """
    A directory that no source may be or hold; nor lie in, where `beneath`, or where the grant
    is writable and `written`.
    """

    path: str
    why: str
    beneath: bool = False
    written: bool = False


_PLACES = (
    _Place("/etc", "the host's configuration and password hashes", beneath=True),
    _Place("/proc", "the memory and descriptors of the host's processes", beneath=True),
    _Place("/sys", "the host's kernel and devices", beneath=True),
    _Place("/dev", "the host's devices", beneath=True),
    _Place("/run", "the sockets of the host's services", beneath=True),
    _Place("/var/run", "the sockets of the host's services", beneath=True),
    _Place("/boot", "the host's kernel", beneath=True),
    _Place("/root", "the administrator's home"),
    _Place("/home", "the homes of the host's users"),
    _Place("/usr", "the host's programs", written=True),
    _Place("/bin", "the host's programs", written=True),
    _Place("/sbin", "the host's programs", written=True),
    _Place("/lib", "the host's libraries", written=True),
    _Place("/lib64", "the host's libraries", written=True),
    _Place("/var/lib", "the state of the host's services", written=True),
    _Place("/var/spool", "the host's scheduled jobs and mail", written=True),
)


def _home_problem(path: str) -> Refusal | None:
    """
    A home is refused as a whole, and so are its dot names: keys, credentials, start-up files.
    """
    for home in _homes_near(path):
        if is_within(home, path):
            return f"{path} is or holds a home directory", _NARROWER
        if is_within(path, home) and path[len(home) + 1 :].startswith("."):
            return f"{path} is among the dot files of a home directory", _NARROWER
    return None


def _homes_near(path: str) -> list[str]:
    homes = ["/root", *_own_home()]
    components = path.split("/")
    if components[1] == "home" and len(components) > 2:
        homes.append("/".join(components[:3]))
    return homes


def _own_home() -> list[str]:
    """
    The home of the user that the server runs as, from the account database, never from $HOME.
    """
    try:
        home = posixpath.normpath(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        return []
    return [home] if home.startswith("/") and home != "/" else []
