"""
Filters that bar named calls and let every other known call pass.

A worker's filter names what passes, because we know all that it does. A program that is not
ours (node, pip), or a process whose workers have yet to lock themselves, does more than we can
name, so here the rows say what is barred, and why. Calls of kernels that are newer than
`syscalls.NUMBERS` are unknown and therefore barred too: they answer ENOSYS, which every libc
takes as an older kernel.

This is the weaker shape of the two: a call that nobody thought of passes. It is only used
together with Landlock, which refuses by object and needs no list of calls.
"""

import errno

from executor.linux.filters import (
    ENOSYS,
    Action,
    Allow,
    Filter,
    MaskedEquals,
    Refuse,
    Row,
    Verdict,
    equals,
)
from executor.linux.syscalls import NUMBERS

EACCES = Action(Verdict.ERRNO, errno.EACCES)

# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET of <linux/sched.h>.
_NEW_NAMESPACES = 0x7E02_0000
_READ_PERSONALITY = 0xFFFF_FFFF

_HOST = (
    (
        "the kernel itself",
        (
            "bpf kexec_load kexec_file_load init_module finit_module delete_module perf_event_open"
            " userfaultfd modify_ldt iopl ioperm reboot lookup_dcookie syslog acct quotactl"
            " quotactl_fd settimeofday clock_settime clock_adjtime adjtimex sethostname"
            " setdomainname swapon swapoff vhangup nfsservctl uselib"
        ),
    ),
    (
        "the view of the host",
        (
            "mount umount2 pivot_root chroot open_tree open_tree_attr move_mount fsopen fsconfig"
            " fsmount fspick mount_setattr unshare setns name_to_handle_at open_by_handle_at"
            " fanotify_init fanotify_mark"
        ),
    ),
    (
        "other processes",
        (
            "ptrace process_vm_readv process_vm_writev pidfd_getfd process_madvise process_mrelease"
            " kcmp migrate_pages move_pages setpriority ioprio_set sched_setaffinity sched_setattr"
            " sched_setparam sched_setscheduler"
        ),
    ),
    ("keys", "add_key keyctl request_key"),
    (
        "memory and queues that other processes can open",
        (
            "shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl"
            " mq_open mq_unlink"
        ),
    ),
    (
        "another identity",
        "setuid setgid setreuid setregid setresuid setresgid setgroups setfsuid setfsgid",
    ),
)

NAME_CHANGES = (
    "creat mkdir mkdirat mknod mknodat rename renameat renameat2 link linkat symlink symlinkat"
    " unlink unlinkat rmdir truncate"
)
# Landlock knows no right for these (landlock(7), "Current limitations").
ATTRIBUTE_CHANGES = (
    "chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat"
    " utimensat setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr"
    " removexattrat file_setattr"
)


def barred(names: str, reason: str, action: Action) -> tuple[Row, ...]:
    """
    A row for each of `names` (separated by spaces), all for one `reason`.
    """
    return tuple(Refuse(name, reason, action) for name in names.split())


def reaching_host(action: Action, needed: str = "") -> tuple[Row, ...]:
    """
    A row for each call that reaches the rest of the host, but for `needed` (separated by spaces).
    """
    return tuple(
        row
        for reason, names in _HOST
        for row in barred(names, f"reaches {reason}", action)
        if row.name not in needed.split()
    )


def host_rows(action: Action) -> tuple[Row, ...]:
    """
    What neither a tool nor a zygote has a use for: `action` on the ways to the rest of the host.

    io_uring makes calls that no filter sees, and what asks for clone3 or openat2 hides its flags
    behind a pointer: those three answer ENOSYS, on which libc and node fall back.
    """
    return (
        *reaching_host(action),
        *barred("io_uring_setup io_uring_enter io_uring_register", "acts unseen", ENOSYS),
        *barred("clone3 openat2", "its flags are behind a pointer", ENOSYS),
        Allow(
            "personality",
            "reading it, by libc and by a worker's lock",
            (equals(0, _READ_PERSONALITY),),
            otherwise=action,
        ),
        Allow("prlimit64", "a process's own limits", (equals(0, 0),), otherwise=action),
    )


def forks(action: Action) -> tuple[Row, ...]:
    """
    The row of clone for a process that forks, but never into other namespaces.
    """
    return (
        Allow(
            "clone",
            "children and threads, in the same namespaces",
            (MaskedEquals(0, _NEW_NAMESPACES, 0),),
            otherwise=action,
        ),
    )


def all_but(name: str, rows: tuple[Row, ...]) -> Filter:
    """
    The filter `name` of `rows`, where every other call of `syscalls.NUMBERS` passes.

    Raises ValueError as `Filter` does.
    """
    named = {row.name for row in rows}
    passing = (Allow(call, "nothing is known against it") for call in NUMBERS if call not in named)
    return Filter(name, (*rows, *passing), ENOSYS)
