"""
Rows that filters of our own processes share: of those that a stranger's bytes may take over.

A worker of the wasm cage, the network broker and the supervisor need the same few calls for
memory, time and their end, and none of them needs a known way out. What else each may do says a
table of its own.
"""

import os
import signal
from typing import Final

from executor.linux.barring import barred
from executor.linux.filters import (
    KILL_PROCESS,
    Allow,
    MaskedEquals,
    OneOf,
    OwnPid,
    Row,
    equals,
    only_bits,
)

# <asm-generic/mman-common.h>, as far as Python does not name them.
PROT_READ_WRITE: Final = 0x1 | 0x2
_MAP_FIXED: Final = 0x10
_MAP_NORESERVE: Final = 0x4000
_MAP_STACK: Final = 0x2_0000
_MAP_PRIVATE_ANONYMOUS: Final = 0x02 | 0x20
_MREMAP_MAYMOVE: Final = 1
_OWN_CLOCKS: Final = (0, 1, 2, 3)  # REALTIME, MONOTONIC, PROCESS_CPUTIME_ID, THREAD_CPUTIME_ID
# Both bits must be set, a few others may be, and any further one is refused.
_PRIVATE_AND_OF_NO_FILE: Final = MaskedEquals(
    3, 2**64 - 1 & ~(_MAP_FIXED | _MAP_NORESERVE | _MAP_STACK), _MAP_PRIVATE_ANONYMOUS
)

# Nothing executable is ever made.
MEMORY: Final[tuple[Row, ...]] = (
    Allow(
        "mmap",
        "memory of Python, of its libraries and of a thread: private, of no file",
        (only_bits(2, PROT_READ_WRITE), _PRIVATE_AND_OF_NO_FILE),
        otherwise=KILL_PROCESS,
    ),
    Allow("munmap", "giving memory back"),
    Allow("mremap", "realloc of large blocks", (only_bits(3, _MREMAP_MAYMOVE),)),
    Allow("brk", "malloc's heap"),
)

CLOCKS_AND_ENTROPY: Final[tuple[Row, ...]] = (
    Allow(
        "clock_gettime",
        "own CPU time, and clocks where there is no vDSO",
        (OneOf(0, _OWN_CLOCKS),),
    ),
    Allow("getrandom", "hashing, keys, and a guest's entropy", (only_bits(2, os.GRND_NONBLOCK),)),
)

ENDING: Final[tuple[Row, ...]] = (
    Allow("getpid", "abort looks up whom to signal; OpenSSL asks whether it was forked"),
    Allow("tgkill", "abort, and no signal to anyone else", (OwnPid(0), equals(2, signal.SIGABRT))),
    Allow("exit_group", "the end"),
)

_WAYS_OUT: Final = (
    # another program
    "execve execveat"
    # other processes
    " ptrace process_vm_readv process_vm_writev pidfd_getfd process_madvise kcmp"
    # the kernel itself
    " bpf kexec_load kexec_file_load init_module finit_module delete_module perf_event_open"
    " userfaultfd io_uring_setup io_uring_enter io_uring_register modify_ldt iopl ioperm reboot"
    # the view of the host
    " mount umount2 pivot_root chroot open_tree open_tree_attr move_mount fsopen fsconfig fsmount"
    " fspick mount_setattr unshare setns open_by_handle_at swapon swapoff"
    # keys, and memory that turns into code
    " add_key keyctl request_key personality pkey_mprotect remap_file_pages shmat uselib"
)


def no_way_out(who: str, more: str = "") -> tuple[Row, ...]:
    """
    Rows by which an attempt at a known way out ends `who`, and so does one at any of `more`, the
    names of calls, separated by spaces.
    """
    reason = f"a {who} has no use for it, and it is a known way out: an attempt ends it"
    return barred(f"{_WAYS_OUT} {more}", reason, KILL_PROCESS)
