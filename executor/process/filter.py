"""
Which system calls native Python in a box may make, and why each of them.

The rows allow by name, in families with one reason each; where a call is only safe with some
arguments, the row has conditions. What the table does not allow answers `REFUSED`; calls
of future kernels answer ENOSYS, which every libc takes as an older kernel. A foreign ABI (i386,
x32) is killed by the compiler's first instructions.

What a filter cannot see is a path. The mount namespace and Landlock hold those, so calls that
name files pass here; those that act on metadata which neither of the two covers across sessions
(inotify, leases, page-cache queries on shared files) do not.

What a grant adds is in `filter_grants.py`; without namespaces some of this goes (`_BARE`). A box
that is watched has the same table with notifications in the place of REFUSED.

Rejected: libseccomp's groups ("@system-service"): they grow with the library, here a new call is
a decision. Rejected: killing on refusal. Libraries probe, and take EPERM for an answer.
"""

import errno
import mmap
import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace

from executor.linux.filters import (
    ENOSYS,
    EPERM,
    NOTIFY,
    Action,
    Allow,
    Condition,
    Filter,
    MaskedEquals,
    OneOf,
    OwnPid,
    Refuse,
    Row,
    Verdict,
    equals,
)
from executor.linux.syscalls import NUMBERS
from executor.process import filter_grants
from executor.process.filter_grants import GET_SOCKET, NO_FAMILY

# In a box that is watched, this becomes a notification to a supervisor, which answers the same.
REFUSED = EPERM
NO_TERMINAL = Action(Verdict.ERRNO, errno.ENOTTY)

_ALL = 2**64 - 1
# What glibc's pthread_create asks of clone: VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS,
# PARENT_SETTID, CHILD_CLEARTID (<linux/sched.h>).
_CLONE_OF_PTHREAD_CREATE = 0x3D_0F00
_SET_ID_BITS = 0o6000
_MAP_HUGETLB = 0x4_0000
_SOCKET_FLAGS = socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
# <asm-generic/ioctls.h>: TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX.
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
# <linux/fcntl.h>: DUPFD, GETFD, SETFD, GETFL, SETFL, GETLK, SETLK, SETLKW, the three OFD locks,
# DUPFD_CLOEXEC, GETPIPE_SZ. No SETOWN, SETSIG, SETLEASE, NOTIFY, SETPIPE_SZ, ADD_SEALS.
_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)
# <linux/prctl.h>: GET_DUMPABLE, SET_NAME, GET_NAME, CAPBSET_READ, GET_NO_NEW_PRIVS, SET_VMA.
_PRCTL = (3, 15, 16, 23, 39, 0x5356_4D41)
# <asm-generic/mman-common.h>: NORMAL to DONTNEED, FREE, the two about huge pages, the two about
# dumps, POPULATE. Not COLD, PAGEOUT, MERGEABLE: they tell of pages shared with other sessions.
_MADVISE = (0, 1, 2, 3, 4, 8, 14, 15, 16, 17, 22, 23)
# <asm-generic/fadvise.h>: NORMAL, RANDOM, SEQUENTIAL, WILLNEED, NOREUSE. Not DONTNEED, which takes
# pages of files that are shown out of everybody's memory: who finds them there again learns that
# another session has read them. Nothing is done, as the kernel may choose as well.
_ADVICE = (0, 1, 2, 3, 5)
_NOTHING_DONE = Action(Verdict.ERRNO, 0)
# <linux/fs.h>: HIPRI, DSYNC, SYNC, APPEND. Not NOWAIT, which tells whether somebody has read it.
_RWF = 0x17
_NO_SUCH_FLAG = Action(Verdict.ERRNO, errno.EOPNOTSUPP)
# WAIT, WAKE, WAIT_BITSET, WAKE_BITSET, REQUEUE, CMP_REQUEUE, WAKE_OP; private (0x80), against
# the real-time clock (0x100). The priority-inheriting ones have a long record of kernel bugs.
_FUTEX = tuple(
    sorted(
        {
            operation | private | clock
            for operation in (0, 1, 3, 4, 5, 9, 10)
            for private in (0, 0x80)
            for clock in ((0, 0x100) if operation == 9 else (0,))
        }
    )
)
_OWN_CLOCKS = (0, 1, 2, 3, 4, 5, 6, 7, 11)
_READ_PERSONALITY = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Variant:
    """
    What a box is granted, as far as its filter knows: each adds rows, `bare` takes some away.

    `network`: sockets that end in the box's own network namespace, or with `bare` are made and
    connected by who hears of it, which a box that is not `watched` cannot have. `children`:
    processes of its own. `programs`: execve. `new_code`: memory that was written may be run.
    `watched`: refusals are notified. `bare`: there are no namespaces.
    """

    network: bool = False
    children: bool = False
    programs: bool = False
    new_code: bool = False
    watched: bool = False
    bare: bool = False


_FREE = (
    ("content of open files", "read write readv writev pread64 pwrite64 preadv pwritev"),
    ("position and size of open files", "lseek ftruncate fallocate"),
    ("copies between open files, by shutil", "sendfile copy_file_range"),
    ("keeping what was written", "fsync fdatasync msync"),
    ("descriptors", "close close_range dup dup2 dup3"),
    ("locks among a session's own files, by sqlite", "flock"),
    ("looking at files", "stat fstat lstat newfstatat statx statfs fstatfs"),
    ("looking at files", "access faccessat faccessat2 readlink readlinkat"),
    ("looking at files, by shutil and tar", "getxattr lgetxattr fgetxattr"),
    ("looking at files, by shutil and tar", "listxattr llistxattr flistxattr"),
    ("directories", "getdents64 getcwd chdir fchdir rmdir"),
    ("names", "rename renameat renameat2 link linkat symlink symlinkat unlink unlinkat"),
    ("size and times of files", "truncate utime utimes futimesat utimensat"),
    ("rights of files that will be made", "umask"),
    ("memory", "munmap mremap brk"),
    ("waiting for descriptors", "poll ppoll select pselect6"),
    ("waiting for descriptors, by asyncio", "epoll_create epoll_create1 epoll_ctl"),
    ("waiting for descriptors, by asyncio", "epoll_wait epoll_pwait epoll_pwait2"),
    ("waking threads", "pipe pipe2 eventfd2"),
    ("the channel and socket pairs", "recvfrom recvmsg sendmsg shutdown"),
    ("the channel and socket pairs, as Python looks at them", "getsockname getpeername"),
    ("signals of its own", "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending sigaltstack"),
    ("signals of its own", "rt_sigtimedwait rt_sigsuspend pause"),
    ("timers of its own", "alarm setitimer getitimer"),
    ("time", "time gettimeofday clock_getres nanosleep"),
    ("time, after a stop", "restart_syscall"),
    ("threads", "set_robust_list rseq gettid sched_yield exit exit_group"),
    ("children, of which there may be none", "wait4 waitid"),
    ("who it is", "getpid getppid getuid geteuid getgid getegid getgroups getresuid getresgid"),
    ("who it is", "getpgrp getpgid getsid"),
    ("what it used and may use", "getrusage times getrlimit"),
    ("what machine this is", "uname sysinfo getcpu sched_getaffinity"),
    ("how it is scheduled", "getpriority sched_getparam sched_getscheduler"),
    ("how it is scheduled", "sched_get_priority_max sched_get_priority_min"),
)


def _argued() -> tuple[Row, ...]:
    return (
        *_without_set_id(),
        Allow("ioctl", "asked of every file: is it a terminal", (OneOf(1, _IOCTL),), NO_TERMINAL),
        Allow("fcntl", "flags, copies and locks of descriptors", (OneOf(1, _FCNTL),)),
        Allow("prctl", "names of threads and of memory", (OneOf(0, _PRCTL),)),
        Allow("prctl", "no core dump and no look from outside", (equals(0, 4), equals(1, 0))),
        *(
            Allow(
                name,
                "content of open files, as os.preadv calls it",
                (_clear(5, _ALL & ~_RWF),),
                _NO_SUCH_FLAG,
            )
            for name in ("preadv2", "pwritev2")
        ),
        Allow("fadvise64", "how a file will be read", (OneOf(3, _ADVICE),), _NOTHING_DONE),
        *_NO_NEW_CODE,
        Allow("madvise", "malloc and thread stacks", (OneOf(2, _MADVISE),)),
        Allow("futex", "locks", (OneOf(1, _FUTEX),)),
        Allow("clone", "threads", (equals(0, _CLONE_OF_PTHREAD_CREATE),)),
        Allow("clock_gettime", "clocks, and its own CPU time", (OneOf(0, _OWN_CLOCKS),)),
        Allow("clock_nanosleep", "sleeping", (OneOf(0, (0, 1)),)),
        Allow("getrandom", "entropy", (_clear(2, _ALL & ~7),)),
        Allow("prlimit64", "its own limits, which it can only lower", (equals(0, 0),)),
        Allow("kill", "a signal to itself", (OwnPid(0),)),
        Allow("tgkill", "abort, and signals to its threads", (OwnPid(0),)),
        Allow("personality", "reading it, by libc", (equals(0, _READ_PERSONALITY),)),
        GET_SOCKET,
        Allow("sendto", "the channel and socket pairs", (equals(4, 0), equals(5, 0))),
        # A datagram socket of a pair could be sent to any named socket.
        *(
            Allow(
                "socketpair",
                "wake-ups of asyncio",
                (equals(0, socket.AF_UNIX), MaskedEquals(1, _ALL & ~_SOCKET_FLAGS, kind)),
            )
            for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)
        ),
    )


# As PR_SET_MDWE answers (Linux 6.3), which says the same where the kernel has it: what is code was
# mapped as code, from a file that nobody here could write, and is never written.
_CODE_AND_DATA = Action(Verdict.ERRNO, errno.EACCES)
_NO_HUGE_PAGES = MaskedEquals(3, _MAP_HUGETLB, 0)
_NO_NEW_CODE: tuple[Row, ...] = (
    Allow(
        "mmap",
        "memory and files that are not code, without huge pages",
        (MaskedEquals(2, mmap.PROT_EXEC, 0), _NO_HUGE_PAGES),
        _CODE_AND_DATA,
    ),
    Allow(
        "mmap",
        "code of libraries, which is not written",
        (MaskedEquals(2, mmap.PROT_WRITE, 0), _NO_HUGE_PAGES),
        _CODE_AND_DATA,
    ),
    Allow("mprotect", "data", (MaskedEquals(2, mmap.PROT_EXEC, 0),), _CODE_AND_DATA),
)


def _without_set_id() -> tuple[Row, ...]:
    places = {"open": 2, "openat": 3, "creat": 1, "mkdir": 1, "mkdirat": 2}
    rights = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2}
    return tuple(
        Allow(name, "files of its own, never with a set-id bit", (_clear(at, _SET_ID_BITS),))
        for name, at in (places | rights).items()
    )


def _clear(index: int, bits: int) -> Condition:
    return MaskedEquals(index, bits, 0)


_POINTER = "what it asks for is behind a pointer; libc asks in an older way"
_REFUSED_OTHERWISE: tuple[Row, ...] = (
    Refuse("socket", "no network in this box, and no unix sockets of the host", NO_FAMILY),
    Refuse("clone3", _POINTER, ENOSYS),
    Refuse("openat2", _POINTER, ENOSYS),
    Refuse("statmount", "mounts of the host's making", ENOSYS),
    Refuse("listmount", "mounts of the host's making", ENOSYS),
    Refuse("io_uring_setup", "acts unseen by any filter", ENOSYS),
    Refuse("io_uring_enter", "acts unseen by any filter", ENOSYS),
    Refuse("io_uring_register", "acts unseen by any filter", ENOSYS),
)


# Without a mount namespace the host's files are there by name, and Landlock knows nothing of these;
# without one of pids so are its processes. What only tells (stat, readlink, statfs) stays.
_BARE_FILES = "chmod fchmod fchmodat fchmodat2 utime utimes futimesat utimensat flock truncate"
_BARE_ATTRIBUTES = "getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr"
_BARE_PROCESSES = "getpgid getsid sched_getaffinity sched_getparam sched_getscheduler"
NO_ATTRIBUTES = Action(Verdict.ERRNO, errno.EOPNOTSUPP)


def _bare(rows: Iterable[Row]) -> tuple[Row, ...]:
    files, attributes = _BARE_FILES.split(), _BARE_ATTRIBUTES.split()
    processes = _BARE_PROCESSES.split()
    narrowed = {*files, *attributes, *processes, "getpriority"}
    return (
        *(row for row in rows if row.name not in narrowed),
        *(Refuse(name, "files of the host that it may only read", REFUSED) for name in files),
        # What shutil takes for "there are none".
        *(Refuse(name, "attributes of the host's files", NO_ATTRIBUTES) for name in attributes),
        *(
            Allow(name, "how it is scheduled, and nobody else", (condition,))
            for name in processes
            for condition in (equals(0, 0), OwnPid(0))
        ),
        Allow("getpriority", "its own, and nobody else's", (equals(0, 0), equals(1, 0))),
    )


def _granted(rows: tuple[Row, ...], variant: Variant) -> tuple[Row, ...]:
    """
    The rows with those of the grants in the place of what they had before for the same calls.
    """
    network = filter_grants.WITHOUT_NAMESPACE if variant.bare else filter_grants.NETWORK
    added = (
        *(network if variant.network else ()),
        *(filter_grants.CHILDREN if variant.children else ()),
        *(filter_grants.PROGRAMS if variant.programs else ()),
        *(filter_grants.NEW_CODE if variant.new_code else ()),
    )
    widened = {row.name for row in added}
    return (*(row for row in rows if row.name not in widened), *added)


def _rows(variant: Variant) -> tuple[Row, ...]:
    free = tuple(Allow(name, reason) for reason, names in _FREE for name in names.split())
    said = _granted((*free, *_argued(), *_REFUSED_OTHERWISE), variant)
    said = _bare(said) if variant.bare else said
    named = {row.name for row in said}
    rest = (
        Refuse(name, "nothing in a box needs it", REFUSED) for name in NUMBERS if name not in named
    )
    return (*said, *rest)


def _decided(row: Row, *, watched: bool) -> Row:
    # The table's default is for numbers without a name; arguments that do not fit are refused.
    if isinstance(row, Allow) and row.arguments and row.otherwise is None:
        row = replace(row, otherwise=REFUSED)
    if not watched:
        return row
    if isinstance(row, Refuse) and row.action == REFUSED:
        return replace(row, action=NOTIFY)
    if isinstance(row, Allow) and row.otherwise == REFUSED:
        return replace(row, otherwise=NOTIFY)
    return row


def box_filter(variant: Variant) -> Filter:
    """
    The table for boxes that are granted `variant`.
    """
    rows = (_decided(row, watched=variant.watched) for row in _rows(variant))
    return Filter("box", tuple(rows), ENOSYS)
