"""
The cage around the wasm worker: what its process may still do when guest code has taken it over.

A worker computes, grows its memory, waits for time and signals, talks over one socket, and uses
the regular files and the streams that the broker sends over it. The rows below are that sentence,
call by call; a row that no test needs fails the build. Everything else is taken away by ordered
steps: each holds or raises, and whoever sees an exception ends the process. There is no weaker way
on.

They are two tables. `HELD` is what fork(2) gives a child as its parent has it: the zygote takes
these steps once (`hold`), when no guest runs in it any more. `OWN` is what each worker does for
itself (`lock_down`), before its first frame: what fork(2) resets, what would keep the zygote from
its work, and what is to be no sibling's. Each step that a worker does not take is a dozen pages
that it need not copy; tests look from outside at children of a process that has taken the steps,
and of one that has left one out.

The order matters. What needs /proc, /dev or rights comes first; changing the user resets
dumpable and the parent-death signal, so those follow it; Landlock needs no_new_privs; seccomp,
which forbids all of these, is last. It is done while there is one thread, because neither
mechanism reaches threads that exist already. The watchdog thread starts afterwards, and
`forbid_threads` then closes that door too.

Rejected: answering refused calls with SIGSYS throughout. Python probes (for files, terminals,
processors) and takes EPERM as an answer; only calls that no bug of ours could make kill.
Rejected: fstat by name. glibc may spell it newfstatat, whose path a filter cannot see; Landlock
does not hide stat. `descriptors.require_regular_file` makes the plain call instead.
"""

# The module under `signal`, whose functions make an enumeration of each number: pages that every
# worker would have to itself.
import _signal  # type: ignore[import-not-found]
import fcntl
import functools
import os
import signal
import socket
from dataclasses import dataclass
from enum import Enum

from executor.kernel.spawn import INTERRUPT_SIGNAL, LIMIT_SIGNAL
from executor.linux import descriptors, landlock, oom, rlimits, sealing, seccomp
from executor.linux.errors import MechanismFailed, asking
from executor.linux.filters import (
    ALLOW,
    ENOSYS,
    EPERM,
    KILL_PROCESS,
    Allow,
    Filter,
    OneOf,
    Prepared,
    Refuse,
    equals,
    only_bits,
)
from executor.linux.filters import prepare as prepare_filter
from executor.linux.lock_rows import (
    CLOCKS_AND_ENTROPY,
    ENDING,
    MEMORY,
    PROT_READ_WRITE,
    no_way_out,
)
from executor.linux.lock_steps import (
    BOUNDING_SET,
    CANARY,
    CAPABILITIES,
    NO_NEW_CODE,
    NO_NEW_PRIVILEGES,
    NO_WAY_AROUND,
    NOT_DUMPABLE,
    Step,
    die_with,
    leave_directory,
    require_landlock,
)
from executor.linux.rlimits import Limit

# <asm-generic/mman-common.h>, as far as Python does not name it.
_MADV_NEEDED = (4,)  # DONTNEED
# VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, PARENT_SETTID, CHILD_CLEARTID of
# <linux/sched.h>: what glibc's pthread_create asks for, and nothing else is.
_CLONE_OF_PTHREAD_CREATE = 0x3D_0F00
# Private WAIT, WAKE and WAIT_BITSET (also against the real-time clock), and the shared one of
# pthread_join. The priority-inheriting and requeueing kinds have a long record of kernel bugs.
_FUTEX_OF_GLIBC = (0x80, 0x81, 0x89, 0x189, 0x109)

WATCHDOG_SIGNALS = frozenset({signal.SIGALRM, INTERRUPT_SIGNAL, LIMIT_SIGNAL})
# wasmtime turns the guest's faults into traps with these; Python must not take them away.
ENGINE_SIGNALS = frozenset({signal.SIGSEGV, signal.SIGILL, signal.SIGFPE, signal.SIGBUS})
# A zygote hears of its children, ignores a terminal, and may have a file for its log.
_OF_A_ZYGOTE = (int(signal.SIGCHLD), int(signal.SIGINT), int(signal.SIGXFSZ))
_LEFT = {*ENGINE_SIGNALS, *_OF_A_ZYGOTE, signal.SIGKILL, signal.SIGSTOP}
_RESET = tuple(map(int, signal.valid_signals() - _LEFT))
_DEFAULT, _IGNORE = int(signal.SIG_DFL), int(signal.SIG_IGN)
_SETMASK, _PIPE = int(signal.SIG_SETMASK), int(signal.SIGPIPE)

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
        Allow("fcntl", "that a passed file is read-only", (equals(1, fcntl.F_GETFL),)),
        Allow("close", "passed files that the guest has closed"),
        Allow("write", "fatal errors to standard error, which is /dev/null", (OneOf(0, (1, 2)),)),
        # Memory. Nothing executable is ever made: all code was compiled in the zygote.
        *MEMORY,
        Allow(
            "mprotect",
            "growing wasm memory inside its reservation",
            (only_bits(2, PROT_READ_WRITE),),
            otherwise=KILL_PROCESS,
        ),
        Allow("madvise", "malloc and thread stacks give pages back", (OneOf(2, _MADV_NEEDED),)),
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
        *CLOCKS_AND_ENTROPY,
        Allow("clock_nanosleep", "the guest sleeps", (OneOf(0, (0, 1)),)),
        Allow("getrusage", "what the worker reports of itself", (equals(0, 0),)),
        # Ending.
        *ENDING,
        Allow("exit", "the end of a thread"),
        Allow(
            "seccomp",
            "the final filter; filters only ever take away",
            (equals(0, seccomp.SET_MODE_FILTER), equals(1, seccomp.FLAG_TSYNC)),
        ),
        *no_way_out("worker"),
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
    What the workers of one zygote are to be confined to.

    `data_growth` is the bytes (0 or more) of private writable memory that a worker may add to what
    it was forked with: the session's memory that is not there yet, plus 64 MiB; `run_as` is needed
    when they are held as uid 0; `descriptors` is one past the highest descriptor.
    """

    data_growth: int
    run_as: Identity | None = None
    minimum: Level = Level.W2
    descriptors: int = 320


@dataclass(frozen=True, slots=True)
class Lockdown:
    """
    What holds when a worker is locked. `landlock_abi` is 0 at level W1.

    A report for the log: the server reads /proc/PID/status itself.
    """

    level: Level
    landlock_abi: int
    identity: Identity


@dataclass(frozen=True, slots=True)
class Held:
    """
    That a process has taken the steps `HELD`, and what it has ready for the locks of its children:
    the filter, the ruleset of Landlock and /dev/null as descriptors (-1: without Landlock).
    """

    lockdown: Lockdown
    first: Prepared
    ruleset: int
    null: int


@dataclass(frozen=True, slots=True)
class _Plan:
    confinement: Confinement
    identity: Identity


@dataclass(frozen=True, slots=True)
class _Worker:
    held: Held
    parent: int
    kept: frozenset[int]


def hold(confinement: Confinement) -> Held:
    """
    Take the steps `HELD`, irrevocably, for this process and for all children that it will fork.

    To be called single-threaded, by a zygote when no guest runs in it any more. Raises
    MechanismMissing naming what the host lacks, MechanismFailed naming what did not hold; the
    process is then half locked, and its only way is out.
    """
    plan, abi = _plan(confinement)
    held = Held(
        Lockdown(Level.W2 if abi else Level.W1, abi, plan.identity),
        _first(),
        landlock.ruleset() if abi else -1,
        descriptors.open_null(),
    )
    # No worker has to compile this one either.
    _last()
    for step in HELD:
        step.act(plan)
    return held


def lock_down(held: Held, parent: int, kept: frozenset[int]) -> Lockdown:
    """
    Confine this process, irrevocably, by the steps `OWN`; those of `HELD` it was forked with.

    To be called in the forked worker, single-threaded, before anything of a session is read.
    `held` is what process `parent` holds (or, without a zygote, this one itself), `kept` are the
    descriptors that stay open: the socket, and the pair that wakes the main thread. Raises as
    `hold` does.
    """
    worker = _Worker(held, parent, kept)
    for step in OWN:
        step.act(worker)
    return held.lockdown


def forbid_threads() -> None:
    """
    Forbid further threads and further filters, in every thread: `WORKER_FINAL_FILTER`.

    To be called once, after `lock_down`, when the watchdog thread runs. Raises MechanismFailed
    when it was called before, or a thread could not be brought along.
    """
    seccomp.load(_last().for_process(os.getpid()), tsync=True)


# Not one function of a table: to look for it, each row would be hashed, and with that written to,
# in every worker.
@functools.cache
def _first() -> Prepared:
    return prepare_filter(WORKER_FILTER)


@functools.cache
def _last() -> Prepared:
    return prepare_filter(WORKER_FINAL_FILTER)


def _plan(confinement: Confinement) -> tuple[_Plan, int]:
    """
    Everything that can be refused before anything is done; with the ABI of Landlock.
    """
    seccomp.require_machine()
    abi = (
        require_landlock("level W2 needs it") if confinement.minimum is Level.W2 else landlock.abi()
    )
    if confinement.data_growth < 0:
        raise MechanismFailed(
            rlimits.MECHANISM, f"data growth {confinement.data_growth}; ask for 0 bytes or more"
        )
    return _Plan(confinement, _identity(confinement)), abi


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


def _signals(_plan: _Plan) -> None:
    with asking("signals", "resetting handlers", "hold in the thread that forks"):
        _signal.pthread_sigmask(_SETMASK, WATCHDOG_SIGNALS)
        for number in _RESET:
            _signal.signal(number, _DEFAULT)
        # A broker that is gone is an error to handle, not a death without a word.
        _signal.signal(_PIPE, _IGNORE)


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


def _own_signals(_worker: _Worker) -> None:
    with asking("signals", "resetting the zygote's", "lock in the thread that was forked"):
        for number in _OF_A_ZYGOTE:
            _signal.signal(number, _DEFAULT)


def _own_session(_worker: _Worker) -> None:
    if os.getsid(0) != os.getpid():
        with asking("session", "setsid", "fork the worker, do not exec it as a group leader"):
            os.setsid()


def _landlock(worker: _Worker) -> None:
    if worker.held.lockdown.landlock_abi:
        landlock.enforce(worker.held.ruleset)


# A child has by fork(2) what these steps leave. Limits and rights cannot be had back; handlers, the
# directory and being dumpable could, but nothing of ours does, and whoever has taken a zygote over
# has the code that its workers lock themselves with.
HELD: tuple[Step[_Plan], ...] = (
    *NO_WAY_AROUND,
    NO_NEW_CODE,
    Step("signals", "no handler of the zygote runs here; the watchdog's are waited for", _signals),
    Step(
        "working directory",
        "no directory of the host is held",
        lambda _: leave_directory("worker"),
    ),
    Step("limits", "needs /proc; hard, so that they stay", _limits),
    BOUNDING_SET,
    Step(
        "user",
        "guest code never runs as uid 0",
        lambda plan: sealing.become(plan.identity.uid, plan.identity.gid),
    ),
    CAPABILITIES,
    NOT_DUMPABLE,
    NO_NEW_PRIVILEGES,
)

OWN: tuple[Step[_Worker], ...] = (
    Step(
        "oom score",
        "needs /proc; the worker goes before its zygote",
        lambda _: oom.require_highest(),
    ),
    Step("session", "no terminal, and no signals for its process group", _own_session),
    Step("handlers", "a zygote ignores or handles some for itself", _own_signals),
    Step(
        "parent",
        "fork(2) and a change of user clear the parent-death signal",
        lambda worker: die_with(worker.parent, "fork a new worker"),
    ),
    Step(
        "landlock",
        "no path, port, abstract socket or signal outside; a domain of its own",
        _landlock,
    ),
    Step(
        "descriptors",
        "nothing of the zygote or of a sibling stays open, nor the ruleset",
        lambda worker: descriptors.keep_only(worker.kept, worker.held.null),
    ),
    Step(
        "seccomp",
        "forbids all of the above, so it is last",
        lambda worker: seccomp.load(worker.held.first.for_process(os.getpid()), tsync=True),
    ),
    CANARY,
)
