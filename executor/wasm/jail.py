"""
The cage around the wasm worker: what its process may still do when guest code has taken it over.

A worker computes, grows its memory, waits for time and signals, talks over one socket, and uses
the regular files and the streams that the broker sends over it. The rows below are that sentence,
call by call; a row that no test needs fails the build. `lock_down` takes everything else away,
once, in the forked process, before its first frame, as an ordered list of steps: each holds or
raises, and whoever sees an exception ends the process. There is no weaker way on.

The order matters. What needs /proc, /dev or rights comes first; changing the user resets
dumpable and the parent-death signal, so those follow it; Landlock needs no_new_privs; seccomp,
which forbids all of these, is last. It is done while there is one thread, because neither
mechanism reaches threads that exist already. The watchdog thread starts afterwards, and
`forbid_threads` then closes that door too.

The file is over 500 lines because the table of calls and the steps are one argument.

Rejected: answering refused calls with SIGSYS throughout. Python probes (for files, terminals,
processors) and takes EPERM as an answer; only calls that no bug of ours could make kill.
Rejected: fstat by name. glibc may spell it newfstatat, whose path a filter cannot see; Landlock
does not hide stat. `descriptors.require_regular_file` makes the plain call instead.
"""

import errno
import functools
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from executor.kernel.spawn import INTERRUPT_SIGNAL, LIMIT_SIGNAL
from executor.linux import descriptors, landlock, oom, prctl, rlimits, sealing, seccomp
from executor.linux.errors import MechanismFailed, MechanismMissing, asking
from executor.linux.filters import (
    ALLOW,
    ENOSYS,
    EPERM,
    KILL_PROCESS,
    Allow,
    Filter,
    MaskedEquals,
    OneOf,
    OwnPid,
    Prepared,
    Refuse,
    equals,
    only_bits,
)
from executor.linux.filters import prepare as prepare_filter
from executor.linux.libc import call
from executor.linux.rlimits import Limit

# <asm-generic/mman-common.h> and <linux/sched.h>, as far as Python does not name them.
_PROT_READ_WRITE = 0x1 | 0x2
_MAP_FIXED = 0x10
_MAP_NORESERVE = 0x4000
_MAP_STACK = 0x2_0000
_MAP_PRIVATE_ANONYMOUS = 0x02 | 0x20
_MREMAP_MAYMOVE = 1
_MADV_NEEDED = (4,)  # DONTNEED
# VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, PARENT_SETTID, CHILD_CLEARTID: what glibc's
# pthread_create asks for, and nothing else is.
_CLONE_OF_PTHREAD_CREATE = 0x3D_0F00
# Private WAIT, WAKE and WAIT_BITSET (also against the real-time clock), and the shared one of
# pthread_join. The priority-inheriting and requeueing kinds have a long record of kernel bugs.
_FUTEX_OF_GLIBC = (0x80, 0x81, 0x89, 0x189, 0x109)
_OWN_CLOCKS = (0, 1, 2, 3)  # REALTIME, MONOTONIC, PROCESS_CPUTIME_ID, THREAD_CPUTIME_ID
_F_GETFL = 3
_GRND_NONBLOCK = 1
# Both bits must be set, a few others may be, and any further one is refused.
_PRIVATE_AND_OF_NO_FILE = MaskedEquals(
    3, 2**64 - 1 & ~(_MAP_FIXED | _MAP_NORESERVE | _MAP_STACK), _MAP_PRIVATE_ANONYMOUS
)

WATCHDOG_SIGNALS = frozenset({signal.SIGALRM, INTERRUPT_SIGNAL, LIMIT_SIGNAL})
# wasmtime turns the guest's faults into traps with these; Python must not take them away.
ENGINE_SIGNALS = frozenset({signal.SIGSEGV, signal.SIGILL, signal.SIGFPE, signal.SIGBUS})

_NEVER = "a worker has no use for it, and it is a known way out: an attempt ends the session"
_NEVER_NAMES = (
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

WORKER_FILTER = Filter(
    "wasm worker",
    (
        # The socket to the broker. sendmsg is missing: it could pass descriptors, unseen.
        Allow("recvmsg", "frames of the broker, and descriptors with them"),
        Allow("recvfrom", "frames of the broker, without a sender's address", (equals(4, 0),)),
        Allow(
            "sendto",
            "frames to the broker, on the connected socket only",
            (only_bits(3, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT), equals(4, 0), equals(5, 0)),
        ),
        Allow("poll", "waiting for the socket, for connections and for the watchdog's wake-up"),
        # Streams that the broker has passed: recvfrom and sendto, which need no address.
        Allow("shutdown", "the guest will send no more on a connection"),
        # Files that the broker has passed: regular, read-only.
        Allow("read", "content of a passed file"),
        Allow("pread64", "content of a passed file, at an offset"),
        Allow("lseek", "position in a passed file"),
        Allow("fstat", "type and size of a passed file"),
        Allow("fcntl", "that a passed file is read-only", (equals(1, _F_GETFL),)),
        Allow("close", "passed files that the guest has closed"),
        Allow("write", "fatal errors to standard error, which is /dev/null", (OneOf(0, (1, 2)),)),
        # Memory. Nothing executable is ever made: all code was compiled in the zygote.
        Allow(
            "mmap",
            "memory of Python, of the engine and of the one thread: private, of no file",
            (only_bits(2, _PROT_READ_WRITE), _PRIVATE_AND_OF_NO_FILE),
            otherwise=KILL_PROCESS,
        ),
        Allow(
            "mprotect",
            "growing wasm memory inside its reservation",
            (only_bits(2, _PROT_READ_WRITE),),
            otherwise=KILL_PROCESS,
        ),
        Allow("munmap", "giving memory back"),
        Allow("mremap", "realloc of large blocks", (only_bits(3, _MREMAP_MAYMOVE),)),
        Allow("madvise", "malloc and thread stacks give pages back", (OneOf(2, _MADV_NEEDED),)),
        Allow("brk", "malloc's heap"),
        # Threads, signals, time.
        Allow("futex", "locks between the two threads", (OneOf(1, _FUTEX_OF_GLIBC),)),
        Allow("clone", "the watchdog thread", (equals(0, _CLONE_OF_PTHREAD_CREATE),)),
        Refuse("clone3", "its flags are behind a pointer; glibc then uses clone", ENOSYS),
        Allow("set_robust_list", "glibc, when a thread starts"),
        Allow("rseq", "glibc, when a thread starts"),
        Allow("gettid", "Python, when a thread starts"),
        Allow("rt_sigprocmask", "threads start with signals blocked; traps restore the mask"),
        Allow("rt_sigreturn", "the end of every signal handler"),
        Allow("sigaltstack", "the engine handles stack overflow on a stack of its own"),
        Allow(
            "rt_sigaction",
            "the engine gives back the signal of a fault that is not the guest's, which then ends"
            " the worker; refused, the same fault would come again without end",
            (OneOf(0, tuple(sorted(ENGINE_SIGNALS))),),
        ),
        Allow("rt_sigtimedwait", "the watchdog waits for the broker and for its timer"),
        Allow("setitimer", "the watchdog's timer", (equals(0, 0),)),
        Allow("restart_syscall", "the kernel continues a wait that a stop has interrupted"),
        Allow(
            "clock_gettime",
            "own CPU time, and clocks where there is no vDSO",
            (OneOf(0, _OWN_CLOCKS),),
        ),
        Allow("clock_nanosleep", "the guest sleeps", (OneOf(0, (0, 1)),)),
        Allow("getrandom", "entropy for the guest", (only_bits(2, _GRND_NONBLOCK),)),
        Allow("getrusage", "what the worker reports of itself", (equals(0, 0),)),
        # Ending.
        Allow("getpid", "abort looks up whom to signal"),
        Allow(
            "tgkill", "abort, and no signal to anyone else", (OwnPid(0), equals(2, signal.SIGABRT))
        ),
        Allow("exit", "the end of a thread"),
        Allow("exit_group", "the end of the worker"),
        Allow(
            "seccomp",
            "the final filter; filters only ever take away",
            (equals(0, seccomp.SET_MODE_FILTER), equals(1, seccomp.FLAG_TSYNC)),
        ),
        *(Refuse(name, _NEVER, KILL_PROCESS) for name in _NEVER_NAMES.split()),
    ),
    default=EPERM,
)

# The strictest of all loaded filters wins, so this one lets pass what it does not name: the
# first one still decides that.
WORKER_FINAL_FILTER = Filter(
    "wasm worker, final",
    (
        Refuse("clone", "the watchdog is the last thread", EPERM),
        Refuse("clone3", "the watchdog is the last thread", EPERM),
        Refuse("set_robust_list", "no thread starts any more", EPERM),
        Refuse("rseq", "no thread starts any more", EPERM),
        Refuse("seccomp", "this is the last filter", EPERM),
    ),
    default=ALLOW,
)


class Level(Enum):
    """
    How much stands around the wasm sandbox, as the log names it.
    """

    W1 = "seccomp"
    W2 = "seccomp and Landlock"


@dataclass(frozen=True, slots=True)
class Identity:
    """
    The user and group of a worker, both 1 or more.
    """

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Confinement:
    """
    What one worker is to be confined to.

    `parent` is the zygote's process id; `kept` the descriptors that stay open (the socket, and the
    pair that wakes the main thread);
    `data_growth` the bytes (0 or more) of private writable memory that it may add to what it
    was forked with: the session's memory that is not there yet, plus 64 MiB; `run_as` is needed
    when the worker starts as uid 0; `descriptors` is one past the highest descriptor.
    """

    parent: int
    kept: frozenset[int]
    data_growth: int
    run_as: Identity | None = None
    minimum: Level = Level.W2
    descriptors: int = 320


@dataclass(frozen=True, slots=True)
class Lockdown:
    """
    What holds now. `landlock_abi` is 0 at level W1.

    A report for the log: the server reads /proc/PID/status itself.
    """

    level: Level
    landlock_abi: int
    identity: Identity
    no_new_privs: bool
    seccomp: bool


@dataclass(frozen=True, slots=True)
class _Plan:
    confinement: Confinement
    identity: Identity
    landlock_abi: int
    program: bytes


@dataclass(frozen=True, slots=True)
class Step:
    """
    One thing that is taken away, and why at this place.
    """

    name: str
    reason: str
    act: Callable[[_Plan], None]


def lock_down(confinement: Confinement) -> Lockdown:
    """
    Confine this process, irrevocably, in the order of `STEPS`.

    To be called in the forked worker, single-threaded, before anything of a session is read.
    Raises MechanismMissing naming what the host lacks, MechanismFailed naming what did not
    hold; the process is then half locked, and its only way is out.
    """
    plan = _plan(confinement)
    for step in STEPS:
        step.act(plan)
    return Lockdown(
        level=Level.W2 if plan.landlock_abi else Level.W1,
        landlock_abi=plan.landlock_abi,
        identity=plan.identity,
        no_new_privs=True,
        seccomp=True,
    )


def forbid_threads() -> None:
    """
    Forbid further threads and further filters, in every thread: `WORKER_FINAL_FILTER`.

    To be called once, after `lock_down`, when the watchdog thread runs. Raises MechanismFailed
    when it was called before, or a thread could not be brought along.
    """
    seccomp.load(_prepared(WORKER_FINAL_FILTER).for_process(os.getpid()), tsync=True)


def prepare() -> None:
    """
    Compile the filters now, in the zygote, so that its workers need not.
    """
    for table in (WORKER_FILTER, WORKER_FINAL_FILTER):
        _prepared(table)


@functools.cache
def _prepared(table: Filter) -> Prepared:
    return prepare_filter(table)


def _plan(confinement: Confinement) -> _Plan:
    """
    Everything that can be refused before anything is done.
    """
    seccomp.require_machine()
    abi = landlock.abi()
    if not abi and confinement.minimum is Level.W2:
        raise MechanismMissing(
            landlock.MECHANISM,
            "this kernel does not offer it and level W2 needs it; enable it"
            " (CONFIG_SECURITY_LANDLOCK, lsm=landlock)",
        )
    if confinement.data_growth < 0:
        raise MechanismFailed(
            rlimits.MECHANISM, f"data growth {confinement.data_growth}; ask for 0 bytes or more"
        )
    return _Plan(confinement, _identity(confinement), abi, _program())


def _identity(confinement: Confinement) -> Identity:
    wanted, uid, gid = confinement.run_as, os.geteuid(), os.getegid()
    if uid == 0 and (wanted is None or wanted.uid < 1 or wanted.gid < 1):
        raise MechanismFailed(
            "identity", f"asked to run guest code as uid 0 ({wanted}); give `run_as` a user"
        )
    if uid != 0 and wanted not in {None, Identity(uid, gid)}:
        raise MechanismFailed(
            "identity", f"asked for {wanted} as uid {uid}; only uid 0 can change the user"
        )
    return wanted or Identity(uid, gid)


def _program() -> bytes:
    return _prepared(WORKER_FILTER).for_process(os.getpid())


def _one_thread(_plan: _Plan) -> None:
    sealing.require_one_thread()


def _data_is_not_code(_plan: _Plan) -> None:
    sealing.require_data_is_not_code()


def _seal_code(_plan: _Plan) -> None:
    sealing.seal_code()


def _own_session(_plan: _Plan) -> None:
    if os.getsid(0) != os.getpid():
        with asking("session", "setsid", "fork the worker, do not exec it as a group leader"):
            os.setsid()


def _signals(_plan: _Plan) -> None:
    with asking("signals", "resetting handlers", "lock in the thread that was forked"):
        signal.pthread_sigmask(signal.SIG_SETMASK, WATCHDOG_SIGNALS)
        for number in signal.valid_signals() - ENGINE_SIGNALS - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        # A broker that is gone is an error to handle, not a death without a word.
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def _descriptors(plan: _Plan) -> None:
    descriptors.keep_only(plan.confinement.kept)


def _working_directory(_plan: _Plan) -> None:
    with asking("working directory", "chdir /", "make / searchable for the worker"):
        os.chdir("/")


def _first_to_be_killed(_plan: _Plan) -> None:
    oom.require_highest()


def _limits(plan: _Plan) -> None:
    rlimits.apply(
        {
            Limit.CORE: 0,
            Limit.FILE_SIZE: 0,
            Limit.LOCKED_MEMORY: 0,
            Limit.MESSAGE_QUEUES: 0,
            Limit.DESCRIPTORS: plan.confinement.descriptors,
            Limit.DATA: rlimits.data_in_use() + plan.confinement.data_growth,
        }
    )


def _bounding_set(_plan: _Plan) -> None:
    prctl.drop_bounding_set()


def _change_user(plan: _Plan) -> None:
    sealing.become(plan.identity.uid, plan.identity.gid)


def _capabilities(_plan: _Plan) -> None:
    prctl.drop_capabilities()


def _not_dumpable(_plan: _Plan) -> None:
    prctl.set_not_dumpable()


def _die_with_parent(plan: _Plan) -> None:
    prctl.set_parent_death_signal(signal.SIGKILL)
    # Only now: a parent that ended before the signal was set would never be missed.
    if os.getppid() != plan.confinement.parent:
        raise MechanismFailed(
            "parent-death signal", f"parent {plan.confinement.parent} has ended; fork a new worker"
        )


def _no_new_privileges(_plan: _Plan) -> None:
    prctl.set_no_new_privs()


def _landlock(plan: _Plan) -> None:
    if plan.landlock_abi:
        landlock.restrict()


def _seccomp(plan: _Plan) -> None:
    seccomp.install(plan.program, tsync=True)


def _canary(_plan: _Plan) -> None:
    """
    Ask for something harmless that the filter must refuse: that it holds is not to be believed.
    """
    try:
        call("getppid")
    except OSError as error:
        if error.errno == errno.EPERM:
            return
    raise MechanismFailed(seccomp.MECHANISM, "loaded, and getppid still answers; do not run here")


STEPS = (
    Step("one thread", "neither Landlock nor seccomp reaches a thread that exists", _one_thread),
    Step("personality", "or every readable page would be executable", _data_is_not_code),
    Step("code", "the filter forbids new code, not writing to what is there", _seal_code),
    Step("session", "no terminal, and no signals for its process group", _own_session),
    Step("signals", "no handler of the zygote runs here", _signals),
    Step("descriptors", "nothing of the zygote or of a sibling stays open", _descriptors),
    Step("working directory", "no directory of the host is held", _working_directory),
    Step("oom score", "needs /proc; the worker goes before its zygote", _first_to_be_killed),
    Step("limits", "needs /proc; hard, so that they stay", _limits),
    Step("bounding set", "needs CAP_SETPCAP, which the next step loses", _bounding_set),
    Step("user", "guest code never runs as uid 0", _change_user),
    Step("capabilities", "those that a change of user leaves", _capabilities),
    Step("not dumpable", "a change of user resets it", _not_dumpable),
    Step("parent", "a change of user clears the parent-death signal", _die_with_parent),
    Step("no new privileges", "Landlock and seccomp need it", _no_new_privileges),
    Step("landlock", "no path, port, abstract socket or signal outside", _landlock),
    Step("seccomp", "forbids all of the above, so it is last", _seccomp),
    Step("canary", "a filter that does not refuse is none", _canary),
)
