"""
Landlock: this thread and its later children reach only what a rule names.

A ruleset refuses what it *handles* and no rule grants; an access that it does not handle stays
free. So everything that the running kernel knows is handled unless the caller says otherwise.
Not covered by any ABI here: stat, chmod, chown, utime and their kin, flock; a filter must
refuse those. Sources: landlock(7), Linux `Documentation/userspace-api/landlock.rst`.
"""

import errno
import os
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntFlag
from functools import cache

from executor.linux import prctl
from executor.linux.errors import MechanismFailed, MechanismMissing, asking
from executor.linux.libc import call

MECHANISM = "Landlock"

_ASK_VERSION = 1
_RULE_PATH_BENEATH = 1
_RULE_NET_PORT = 2
_MEND = "boot with CONFIG_SECURITY_LANDLOCK and `landlock` in lsm=, Linux 5.13 or later"


class FileAccess(IntFlag):
    """
    Rights below a path, with the kernel's bits.
    """

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15
    RESOLVE_UNIX = 1 << 16


# What the kernel takes in a rule on something that is not a directory.
_OF_A_FILE = (
    FileAccess.EXECUTE
    | FileAccess.WRITE_FILE
    | FileAccess.READ_FILE
    | FileAccess.TRUNCATE
    | FileAccess.IOCTL_DEV
    | FileAccess.RESOLVE_UNIX
)
_READING = FileAccess.READ_FILE | FileAccess.READ_DIR
_WRITING = FileAccess.WRITE_FILE | FileAccess.TRUNCATE


class Reach(Enum):
    """
    The sets of rights that confined programs are given; none makes a device, socket or FIFO.
    """

    LIST = FileAccess.READ_DIR
    READ = _READING
    RUN = _READING | FileAccess.EXECUTE
    # Files that exist, such as those of proc(5).
    UPDATE = _READING | _WRITING
    CHANGE = (
        _READING
        | _WRITING
        | FileAccess.MAKE_REG
        | FileAccess.MAKE_DIR
        | FileAccess.MAKE_SYM
        | FileAccess.REMOVE_FILE
        | FileAccess.REMOVE_DIR
        | FileAccess.REFER
    )


class NetworkAccess(IntFlag):
    """
    Rights on a port, with the kernel's bits.
    """

    BIND_TCP = 1 << 0
    CONNECT_TCP = 1 << 1


class Scope(IntFlag):
    """
    What may not leave the domain: abstract unix sockets to, and signals at, processes outside.
    """

    ABSTRACT_UNIX_SOCKET = 1 << 0
    SIGNAL = 1 << 1


_FILE_SINCE = (
    (1, FileAccess(2**13 - 1)),
    (2, FileAccess.REFER),
    (3, FileAccess.TRUNCATE),
    (5, FileAccess.IOCTL_DEV),
    (9, FileAccess.RESOLVE_UNIX),
)
_NETWORK_SINCE = ((4, NetworkAccess.BIND_TCP | NetworkAccess.CONNECT_TCP),)
_SCOPE_SINCE = ((6, Scope.ABSTRACT_UNIX_SOCKET | Scope.SIGNAL),)


@dataclass(frozen=True, slots=True)
class Handled:
    """
    What a ruleset refuses unless a rule grants it.
    """

    files: FileAccess
    network: NetworkAccess
    scopes: Scope


@dataclass(frozen=True, slots=True)
class PathRule:
    """
    Grant `access` below `path`, or on it when it is a file; symbolic links are not followed.
    """

    path: str
    access: FileAccess


@dataclass(frozen=True, slots=True)
class PortRule:
    """
    Grant `access` on the TCP port `port` (1 to 65535).
    """

    port: int
    access: NetworkAccess


Rule = PathRule | PortRule


def abi() -> int:
    """
    The Landlock ABI of the running kernel; 0 when it has none or it is switched off.
    """
    try:
        return call("landlock_create_ruleset", 0, 0, _ASK_VERSION)
    except OSError as error:
        # EPERM and EACCES: a container's filter hides the call, which is as good as absent.
        if error.errno in {errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES}:
            return 0
        raise MechanismFailed(MECHANISM, f"asking for its version: {error}; {_MEND}") from error


@cache
def handled_by(version: int) -> Handled:
    """
    Everything of this module that ABI `version` (1 or more, also one newer than we know) has.
    """
    return Handled(
        FileAccess(sum(bits for since, bits in _FILE_SINCE if since <= version)),
        NetworkAccess(sum(bits for since, bits in _NETWORK_SINCE if since <= version)),
        Scope(sum(bits for since, bits in _SCOPE_SINCE if since <= version)),
    )


def restrict(rules: Sequence[Rule] = (), *, handled: Handled | None = None) -> int:
    """
    Confine this thread to `rules`; with none, nothing that is handled remains. Irrevocable.

    `handled` is by default all that the kernel has. Sets no_new_privs. Returns the ABI.
    Raises MechanismMissing without Landlock, or when `handled` asks for what this ABI lacks;
    MechanismFailed when a rule grants what is not handled, names a path that cannot be opened,
    or the kernel refuses: this thread is then unchanged.
    """
    version = abi()
    made = ruleset(rules, handled=handled)
    try:
        prctl.set_no_new_privs()
        enforce(made)
    finally:
        os.close(made)
    return version


def ruleset(rules: Sequence[Rule] = (), *, handled: Handled | None = None) -> int:
    """
    The descriptor, close-on-exec, of a ruleset as `restrict` takes it, for later: `enforce`.

    Raises as `restrict` does.
    """
    version = abi()
    if not version:
        raise MechanismMissing(MECHANISM, f"this kernel does not offer it; {_MEND}")
    wanted = handled or handled_by(version)
    _check(rules, wanted, version)
    made = _create(wanted, version)
    try:
        for rule in rules:
            _add(made, rule)
    except BaseException:
        os.close(made)
        raise
    return made


def enforce(made: int) -> None:
    """
    Confine this thread to the ruleset of descriptor `made`, which stays open. Irrevocable.

    Needs no_new_privs. Raises MechanismFailed when the kernel refuses.
    """
    with asking(MECHANISM, "restricting this thread", _MEND):
        call("landlock_restrict_self", made, 0)


def beneath(path: str, reach: Reach, handled: Handled) -> PathRule:
    """
    The rule that grants `reach` on `path` and below, as far as `handled` refuses it otherwise.

    Links in `path` are followed here and now: resolve it when nobody can change it any more.
    Raises MechanismFailed when it cannot be found, or nothing of `reach` fits a file there.
    """
    mend = "name an existing path that this user can reach"
    with asking(MECHANISM, f"looking at {path} to grant {reach.name}", mend):
        real = os.path.realpath(path, strict=True)
        directory = stat.S_ISDIR(os.lstat(real).st_mode)
    fitting = reach.value if directory else reach.value & _OF_A_FILE
    granted = FileAccess(int(fitting) & int(handled.files))
    if not granted:
        raise MechanismFailed(
            MECHANISM, f"{reach.name} on {real} grants nothing there; {mend} that it fits"
        )
    return PathRule(real, granted)


# struct landlock_ruleset_attr of ABI 6: files, network, scopes; older kernels take a shorter one.
_RULESET = struct.Struct("=3Q")
# struct landlock_path_beneath_attr, which is packed, and struct landlock_net_port_attr.
_PATH_BENEATH = struct.Struct("=Qi")
_NET_PORT = struct.Struct("=QQ")


def _check(rules: Sequence[Rule], wanted: Handled, version: int) -> None:
    known = handled_by(version)
    # As plain numbers: the complement of an IntFlag leaves out the bits that it has no name for.
    beyond = (
        int(wanted.files) & ~int(known.files),
        int(wanted.network) & ~int(known.network),
        int(wanted.scopes) & ~int(known.scopes),
    )
    if any(beyond):
        raise MechanismMissing(
            MECHANISM, f"ABI {version} cannot handle {beyond}; use a newer kernel or ask for less"
        )
    for rule in rules:
        granted = wanted.files if isinstance(rule, PathRule) else wanted.network
        if not rule.access or int(rule.access) & ~int(granted):
            raise MechanismFailed(
                MECHANISM, f"{rule} grants {granted!r} at most; name an access that is handled"
            )


def _create(wanted: Handled, version: int) -> int:
    attributes = _RULESET.pack(wanted.files, wanted.network, wanted.scopes)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    with asking(MECHANISM, "creating a ruleset for ABI {}", _MEND, version):
        return call("landlock_create_ruleset", attributes, size, 0)


def _add(ruleset: int, rule: Rule) -> None:
    if isinstance(rule, PortRule):
        with asking(MECHANISM, "adding {}", "name a port from 1 to 65535", rule):
            _add_packed(ruleset, _RULE_NET_PORT, _NET_PORT.pack(rule.access, rule.port))
        return
    mend = "name an existing path and rights that fit its type"
    with asking(MECHANISM, "adding {}", mend, rule):
        parent = os.open(rule.path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _add_packed(ruleset, _RULE_PATH_BENEATH, _PATH_BENEATH.pack(rule.access, parent))
        finally:
            os.close(parent)


def _add_packed(ruleset: int, kind: int, rule: bytes) -> None:
    call("landlock_add_rule", ruleset, kind, rule, 0)
