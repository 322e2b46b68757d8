"""
The supervisor's lock, attacked for real: every act runs in a forked, locked process.

Green does not prove that the kernel has no bug behind the calls that are allowed.
"""

import pytest
from supervisor_range import start

from executor.linux.filters import Allow
from executor.process.supervisor_lock import SUPERVISOR_FILTER


@pytest.fixture(scope="module")
def shooting():
    started = start()
    yield started
    started.close()


REFUSED = [
    *("stat_host_path", "access_host_path", "readlink_proc_exe", "chdir_host_path", "inotify"),
    *("memfd_create", "pipe", "socketpair", "epoll_create", "signalfd", "timer_create"),
    *("kill_own_group", "kill_parent", "kill_everybody", "pidfd_of_parent", "prctl_dumpable"),
    *("prctl_ptracer", "read_rlimit", "set_priority", "ioctl_tiocsti", "landlock_again"),
    *("getppid", "uname", "shmget", "mq_open", "setuid_own", "umask", "mlock"),
    *("supervisor_pwrite", "supervisor_write", "duplicate_the_socket", "number_of_the_future"),
    *("broker_listen", "broker_accept", "broker_take_a_signal_for_input"),
]
KILLED = [
    *("open_host_path", "open_old_spelling", "openat2_host_path", "open_by_o_path"),
    *("fork", "vfork_by_clone", "exec_program", "unshare_user", "mount", "chroot", "setns"),
    *("io_uring", "bpf", "userfaultfd", "keyctl", "personality", "open_by_handle"),
    *("make_executable_memory", "turn_memory_executable", "map_shared_memory", "i386_entry"),
    *("x32_number", "send_descriptor", "supervisor_socket", "supervisor_bind"),
]
ATTACKS = {**dict.fromkeys(REFUSED, "EPERM"), **dict.fromkeys(KILLED, "SIGSYS")}


@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_an_attack_reaches_its_target_only_without_the_lock(shooting, attack):
    free = shooting.run(attack, caged=False)
    caged = shooting.run(attack, caged=True)
    assert free.reached
    assert caged.reached, f"the scenario did not run: {caged}"
    assert caged.short == ATTACKS[attack]
    assert free.short != caged.short


def test_a_session_is_served_under_the_lock_from_its_first_request_to_its_end(shooting):
    outcome = shooting.run("supervisor_serve", caged=True)
    assert (outcome.short, outcome.value) == ("done", [80, 144, 32, "bytes"])


def test_a_guests_sockets_are_made_and_connected_under_the_lock(shooting):
    outcome = shooting.run("supervisor_sockets", caged=True)
    assert (outcome.short, outcome.value) == ("done", ["10.1.2.3:443", "hello"])


# For each row, work that is killed when that row alone is missing.
NEEDED_BY = {
    **dict.fromkeys(
        ("read", "writev", "preadv2", "recvmsg", "sendto", "ioctl", "epoll_wait", "epoll_ctl"),
        "supervisor_serve",
    ),
    **dict.fromkeys(("fstat", "fcntl", "getsockname", "close"), "supervisor_serve"),
    "pread64": "supervisor_sockets",
    **dict.fromkeys(("mmap", "munmap", "mremap", "brk"), "broker_memory"),
    "poll": "broker_poll",
    "futex": "broker_do_once",
    "clock_gettime": "broker_clocks_and_entropy",
    "getrandom": "broker_clocks_and_entropy",
    "getpid": "broker_name_itself",
    **dict.fromkeys(("gettid", "rt_sigprocmask", "tgkill"), "broker_abort"),
    "exit_group": "broker_poll",
}


def test_every_allowed_call_names_the_work_that_needs_it():
    rows = {row.name for row in SUPERVISOR_FILTER.rows if isinstance(row, Allow)}
    assert sorted(rows) == sorted(NEEDED_BY)


@pytest.mark.parametrize("row", sorted(NEEDED_BY))
def test_without_its_row_the_work_that_needs_it_is_killed(shooting, row):
    outcome = shooting.run(NEEDED_BY[row], caged=True, remove=row)
    assert outcome.signal == "SIGSYS"


def test_a_lock_that_does_not_hold_is_no_lock(shooting):
    outcome = shooting.run("thread_before_the_lock", caged=True)
    assert outcome.error is not None
    assert outcome.error.startswith("MechanismFailed: threads: tasks [")
    held = shooting.run("broker_hold_a_file", caged=True)
    assert held.error is not None
    assert held.error.startswith("MechanismFailed: descriptors: ")
