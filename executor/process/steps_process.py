"""
The steps of every box that concern the process alone, wherever its files and namespaces are.

Each step does one thing and fails loudly. `steps.py` says in which order, and why.
"""

# The module under `signal`, whose functions make an enumeration of each number: a hundred pages
# that every box would have to itself.
import _signal  # type: ignore[import-not-found]
import _thread
import os
import random
import select
import signal

from executor.linux import descriptors, oom, prctl, rlimits, seccomp
from executor.linux.errors import MechanismFailed, asking
from executor.linux.libc import call
from executor.linux.rlimits import Limit
from executor.process import canaries, init
from executor.process.conversation import LISTENER
from executor.process.plan import Level, NewCode
from executor.process.site import Site

_PR_SET_SECUREBITS = 28
# NOROOT, NO_SETUID_FIXUP, NO_CAP_AMBIENT_RAISE and the lock of each; the lock of KEEP_CAPS.
_NO_WAY_BACK = 0b1110_1111
_PER_LINUX = 0
_READ_PERSONALITY = 0xFFFF_FFFF
_PENDING_SIGNALS = 64
_RESETTABLE = tuple(
    int(number) for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
)
_IGNORED = (int(signal.SIGPIPE), int(signal.SIGXFSZ))
_DEFAULT, _IGNORE = int(signal.SIG_DFL), int(signal.SIG_IGN)
_SETMASK = int(signal.SIG_SETMASK)
_STACK = 8 << 20


def reset_signals(_site: Site) -> None:
    """
    Have the default action for every signal, and block none.
    """
    with asking("signals", "resetting handlers", "make the box in the thread that was cloned"):
        for number in _RESETTABLE:
            _signal.signal(number, _DEFAULT)
        # As Python has them: what is written too far or to nobody is an error, not the end.
        for number in _IGNORED:
            _signal.signal(number, _IGNORE)
        _signal.pthread_sigmask(_SETMASK, ())


def join_group(site: Site) -> None:
    """
    Be in the box's control group, where there is one: clone3(2) has seen to version 2.
    """
    if site.way_in is not None:
        site.way_in.enter()


def note_facts(site: Site) -> None:
    """
    Note what the limits start from; later there is no /proc.
    """
    site.data_in_use = rlimits.data_in_use()


def be_plain_linux(_site: Site) -> None:
    """
    Have no personality: it could make pages executable and addresses known.
    """
    with asking("personality", "setting it to that of Linux", "allow personality(2)"):
        call("personality", _PER_LINUX)
        found = call("personality", _READ_PERSONALITY)
    if found != _PER_LINUX:
        raise MechanismFailed("personality", f"set to 0, and it reads {found:#x}; do not run here")


def be_first_to_be_killed(_site: Site) -> None:
    """
    Have the highest score when memory runs out.
    """
    oom.require_highest()


def visible_to_parent(_site: Site) -> None:
    """
    A change of user has hidden this process from its maker, which has to look at it.
    """
    prctl.set_dumpable()


def die_with_parent(site: Site) -> None:
    """
    End when the maker ends.
    """
    prctl.set_parent_death_signal(signal.SIGKILL)
    # Only now: a parent that ended before the signal was set would never be missed.
    waiting = select.poll()
    waiting.register(site.inside.channel, 0)
    if waiting.poll(0):
        raise MechanismFailed("parent-death signal", "the parent has ended; make a new box")


def have_own_session(_site: Site) -> None:
    """
    Have no terminal, and no process group with anybody.
    """
    with asking("session", "setsid", "make the box in a new process"):
        os.setsid()


def keep_descriptors(site: Site) -> None:
    """
    Close all descriptors but those of the plan and the channel to the maker.
    """
    descriptors.keep_only(site.plan.kept | site.inside.descriptors)


def limit_resources(site: Site) -> None:
    """
    Set the limits, hard.
    """
    plan = site.plan
    # A thread's stack is as large as the limit was when this program was executed, for which the
    # one below comes too late: of a server with large stacks, few threads would have room here.
    _thread.stack_size(_STACK)
    rlimits.lower(
        {
            Limit.CORE: 0,
            Limit.LOCKED_MEMORY: 0,
            Limit.MESSAGE_QUEUES: 0,
            Limit.FILE_SIZE: plan.largest_file,
            Limit.DESCRIPTORS: plan.open_files,
            Limit.STACK: _STACK,
            Limit.DATA: site.data_in_use + plan.memory,
            Limit.CPU: plan.cpu_seconds,
            Limit.PENDING_SIGNALS: _PENDING_SIGNALS,
        }
    )
    # Counted within the box's own user namespace (Linux 5.14), so boxes do not starve each other;
    # without one only a user of its own has nothing else to count.
    if site.level is not Level.P2 or plan.identity is not None:
        rlimits.lower({Limit.PROCESSES: plan.processes})


def lose_rights(_site: Site) -> None:
    """
    Give up all capabilities and every way back to them.
    """
    prctl.drop_bounding_set()
    lock_securebits()
    prctl.drop_capabilities()


def lock_securebits() -> None:
    """
    Have no user number bring rights, for good. Needs the right to set capabilities.
    """
    with asking("securebits", "locking them", "allow prctl to give up rights"):
        call("prctl", _PR_SET_SECUREBITS, _NO_WAY_BACK)


def gain_nothing(_site: Site) -> None:
    """
    Give up every gain of rights by execve.
    """
    prctl.set_no_new_privs()


def make_no_code(site: Site) -> None:
    """
    Give up making memory executable, unless the plan allows new code.

    The filter says the same of mmap and mprotect, and a canary asks; the kernel has this of its own
    since Linux 6.3, and knows of every other way too.
    """
    if site.plan.new_code is NewCode.ALLOWED:
        return
    prctl.deny_new_code("allow prctl, or allow new code in the policy")


def have_environment(site: Site) -> None:
    """
    Have the plan's environment alone, and chance of its own.
    """
    wanted = dict(site.plan.environment)
    # The zygote of an image has just that already, and what is not written stays shared with it.
    if os.environ.copy() != wanted:
        os.environ.clear()
        os.environ.update(wanted)
    random.seed()


def confine(site: Site) -> None:
    """
    Load the filter; in a box that is watched its listener goes to the maker, who answers from now.
    """
    program = site.program.for_process(os.getpid())
    if site.plan.watched:
        site.inside.hand(LISTENER, (seccomp.install_watched(program),))
    else:
        seccomp.install(program, tsync=True)


def leave_first_process(site: Site) -> None:
    """
    Where there may be children, go on in one: the first process is there to wait for them.
    """
    if site.plan.children:
        init.stay_behind()


def ask_canaries(site: Site) -> None:
    """
    See that each layer refuses.
    """
    canaries.ask(site.plan, site.level)
