"""
What a process may say about itself: no_new_privs, dumpable, parent-death signal, capabilities.

Each setter reads back what it set: a kernel, a container's filter or a security module that
answers 0 without acting must not pass for the real thing.
Sources: prctl(2), PR_SET_NO_NEW_PRIVS(2const), capabilities(7), capget(2).
"""

import ctypes
import errno

from executor.linux.errors import MechanismFailed, asking
from executor.linux.libc import call

_SET_PDEATHSIG = 1
_GET_PDEATHSIG = 2
_GET_DUMPABLE = 3
_SET_DUMPABLE = 4
_CAPBSET_READ = 23
_CAPBSET_DROP = 24
_SET_NO_NEW_PRIVS = 38
_GET_NO_NEW_PRIVS = 39
_CAP_AMBIENT = 47
_SET_MDWE = 65
_MDWE_REFUSE_EXEC_GAIN = 1
_CAP_AMBIENT_CLEAR_ALL = 4

_CAP_SETPCAP = 8
_CAPABILITY_VERSION_3 = 0x2008_0522
_LOW = 0xFFFF_FFFF
_MEND = "ask the host's administrator which security module or filter forbids it"


def set_no_new_privs() -> None:
    """
    Give up, for this thread and its children, every gain of rights by execve. Irrevocable.
    """
    _set("no_new_privs", _SET_NO_NEW_PRIVS, 1)
    _expect("no_new_privs", call("prctl", _GET_NO_NEW_PRIVS), 1)


def set_not_dumpable() -> None:
    """
    No core dump, and no look from processes of the same user (ptrace, /proc/PID/mem).

    A change of user or group resets it, so it comes after. A process still reads and lists its
    own /proc (maps, status, task, fd), but root owns what is there: it can write none of it.
    Source: proc_pid(5), ptrace(2) "Ptrace access mode checking".
    """
    _set("dumpable", _SET_DUMPABLE, 0)
    _expect("dumpable", call("prctl", _GET_DUMPABLE), 0)


def set_dumpable() -> None:
    """
    Let processes of the same user, and its parent, look at this one: what a zygote has forbidden
    for itself, or a change of user.
    """
    _set("dumpable", _SET_DUMPABLE, 1)
    _expect("dumpable", call("prctl", _GET_DUMPABLE), 1)


def set_parent_death_signal(number: int) -> None:
    """
    Have the kernel send signal `number` (1 to 64) when the thread that forked this process ends.

    A change of user or group clears it, so it comes after; and the parent may have ended
    before, so the caller checks its parent afterwards.
    """
    _set("parent-death signal", _SET_PDEATHSIG, number)
    said = ctypes.c_int(0)
    call("prctl", _GET_PDEATHSIG, ctypes.addressof(said))
    _expect("parent-death signal", said.value, number)


def deny_new_code(mend: str = _MEND) -> None:
    """
    Have no memory made executable that can be written, or could be; for children too. Irrevocable.

    Before Linux 6.3, which does not know of it, nothing is done. Raises MechanismFailed, with
    `mend`, where it is refused. Source: PR_SET_MDWE(2const).
    """
    try:
        call("prctl", _SET_MDWE, _MDWE_REFUSE_EXEC_GAIN)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise MechanismFailed(
                "memory-deny-write-execute",
                f"answered {errno.errorcode.get(error.errno or 0)}; {mend}",
            ) from error


def capabilities() -> tuple[int, int, int]:
    """
    The effective, permitted and inheritable capabilities that this thread has now, each a 64-bit
    mask by capability number.
    """
    sets = (_CapabilityWords * 2)()
    with asking("capabilities", "reading them", _MEND):
        call("capget", ctypes.addressof(_HEADER), ctypes.addressof(sets))
    low, high = sets
    return (
        low.effective | high.effective << 32,
        low.permitted | high.permitted << 32,
        low.inheritable | high.inheritable << 32,
    )


def drop_bounding_set() -> None:
    """
    Empty the bounding and the ambient set, if this thread may (CAP_SETPCAP); else only ambient.

    A thread without that capability has no use for its bounding set once no_new_privs is set.
    """
    with asking("capabilities", "clearing the ambient set", _MEND):
        call("prctl", _CAP_AMBIENT, _CAP_AMBIENT_CLEAR_ALL)
    if may_set_capabilities():
        with asking("capabilities", "emptying the bounding set", _MEND):
            for number in range(_known_capabilities()):
                call("prctl", _CAPBSET_DROP, number)


def may_set_capabilities() -> bool:
    """
    Whether this thread may change its bounding set and its securebits (CAP_SETPCAP).
    """
    effective, _, _ = capabilities()
    return bool(effective & 1 << _CAP_SETPCAP)


def drop_capabilities() -> None:
    """
    Empty the effective, permitted and inheritable sets of this thread. Irrevocable.
    """
    keep_capabilities(0)


def keep_capabilities(wanted: int) -> None:
    """
    Give up all capabilities of this thread but those of the mask `wanted` that it has permitted.

    None can be passed on by inheritance. Irrevocable. Raises MechanismFailed when more are left.
    Source: capset(2).
    """
    _, permitted, _ = capabilities()
    left = permitted & wanted
    low, high = left & _LOW, left >> 32
    sets = (_CapabilityWords * 2)(_CapabilityWords(low, low, 0), _CapabilityWords(high, high, 0))
    with asking("capabilities", f"keeping {left:#x} alone", _MEND):
        call("capset", ctypes.addressof(_HEADER), ctypes.addressof(sets))
    if capabilities() != (left, left, 0):
        raise MechanismFailed("capabilities", f"more than {left:#x} was left; do not run here")


class _CapabilityHeader(ctypes.Structure):
    """
    `struct __user_cap_header_struct`; pid 0 is the calling thread.
    """

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityWords(ctypes.Structure):
    """
    `struct __user_cap_data_struct`: 32 capabilities; the call takes two of them.
    """

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


_HEADER = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)


def _known_capabilities() -> int:
    for number in range(64):
        try:
            call("prctl", _CAPBSET_READ, number)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return number
    return 64


def _set(mechanism: str, option: int, value: int) -> None:
    with asking(mechanism, f"setting it to {value}", _MEND):
        call("prctl", option, value)


def _expect(mechanism: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise MechanismFailed(mechanism, f"set to {wanted}, and it reads {found}; {_MEND}")
