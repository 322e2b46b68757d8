"""
The broker's lock, attacked for real: every act runs in a forked, locked process.

Green does not prove that the kernel has no bug behind the calls that are allowed, nor that a
broker that has been taken over connects only where the server would let it: no filter sees that.
"""

import os

import pytest
from broker_range import BrokerRange

from executor.linux.filters import Allow
from executor.linux.service_lock import STEPS
from executor.network.lock import BROKER_FILTER

ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def shooting():
    started = BrokerRange()
    yield started
    started.close()


REFUSED = [
    "open_host_path",
    "open_old_spelling",
    "openat2_host_path",
    "open_by_o_path",
    "open_proc_mem",
    "stat_host_path",
    "fstat_by_name",
    "statx_host_path",
    "access_host_path",
    "readlink_proc_exe",
    "chdir_host_path",
    "read_working_directory",
    "statfs_host_path",
    "inotify",
    "truncate_nothing",
    "socketpair",
    "memfd_create",
    "pipe",
    "eventfd",
    "epoll_create",
    "signalfd",
    "timer_create",
    "kill_own_group",
    "kill_parent",
    "kill_everybody",
    "tgkill_self_with_another_signal",
    "pidfd_of_parent",
    "prctl_dumpable",
    "prctl_read_nnp",
    "prctl_ptracer",
    "arch_prctl_cpuid",
    "read_rlimit",
    "set_priority",
    "set_affinity",
    "sched_setscheduler",
    "ioctl_tiocsti",
    "landlock_again",
    "clock_of_another_process",
    "clock_settime",
    "getppid",
    "uname",
    "sysinfo",
    "shmget",
    "mq_open",
    "setuid_own",
    "setgroups_none",
    "umask",
    "mlock",
    "rt_sigaction_take_over",
    "number_of_the_future",
    "send_descriptor",
    "send_many",
    "send_out_of_band",
    "write_to_the_socket",
    "name_the_peer_of_the_socket",
    "duplicate_the_socket",
    "futex_with_priority",
    "broker_socket_unix",
    "broker_socket_blocking",
    "broker_socket_mptcp",
    "broker_socket_udplite",
    "broker_socket_raw",
    "broker_socket_packet",
    "broker_socket_netlink",
    "broker_listen",
    "broker_bind_a_stream",
    "broker_bind_datagrams",
    "broker_accept",
    "broker_send_to_an_address",
    "broker_set_another_option",
    "broker_spoof_a_source",
    "broker_take_a_signal_for_input",
    "broker_standard_output",
]
KILLED = [
    "fork",
    "vfork_by_clone",
    "clone_new_user",
    "exec_program",
    "unshare_user",
    "mount",
    "umount",
    "pivot_root",
    "chroot",
    "open_tree",
    "fsopen",
    "setns",
    "io_uring",
    "bpf",
    "userfaultfd",
    "perf_event_open",
    "keyctl",
    "add_key",
    "request_key",
    "kexec",
    "init_module",
    "modify_ldt",
    "reboot",
    "personality",
    "open_by_handle",
    "remap_file_pages",
    "make_executable_memory",
    "turn_memory_executable",
    "map_shared_memory",
    "i386_entry",
    "x32_number",
    "broker_mprotect",
]
ATTACKS = {**dict.fromkeys(REFUSED, "EPERM"), **dict.fromkeys(KILLED, "SIGSYS")}


@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_an_attack_reaches_its_target_only_without_the_lock(shooting, attack):
    free = shooting.run(attack, caged=False)
    caged = shooting.run(attack, caged=True)
    assert free.reached
    assert caged.reached, f"the scenario did not run: {caged}"
    assert caged.short == ATTACKS[attack]
    assert free.signal is None
    assert free.short != caged.short


WORK = {
    "broker_dial": "dialled",
    "broker_relay": "hello False",
    "broker_reset": "reset",
    "broker_receive_an_open": [7, 0.0],
    "broker_ask_for_a_route": True,
    "broker_tls": True,
    "broker_do_once": 0,
    "broker_memory": [2**20, True],
    "broker_clocks_and_entropy": [0, 0, 8],
    "broker_standard_error": 14,
    "broker_poll": 0,
    "broker_name_itself": True,
}


@pytest.mark.parametrize("work", sorted(WORK))
def test_honest_work_is_done_under_the_lock(shooting, work):
    outcome = shooting.run(work, caged=True)
    assert (outcome.short, outcome.value) == ("done", WORK[work])


def test_abort_still_ends_the_broker(shooting):
    assert shooting.run("broker_abort", caged=True).signal == "SIGABRT"


# For each row, work that is killed when that row alone is missing.
NEEDED_BY = {
    "socket": "broker_dial",
    "connect": "broker_dial",
    "setsockopt": "broker_dial",
    "getsockopt": "broker_dial",
    "shutdown": "broker_dial",
    "sendto": "broker_dial",
    "close": "broker_dial",
    "getsockname": "broker_receive_an_open",
    "recvmsg": "broker_receive_an_open",
    "ioctl": "broker_receive_an_open",
    "fstat": "broker_receive_an_open",
    "fcntl": "broker_receive_an_open",
    "recvfrom": "broker_relay",
    "epoll_wait": "broker_relay",
    "epoll_ctl": "broker_relay",
    "poll": "broker_relay",
    "write": "broker_standard_error",
    "mmap": "broker_memory",
    "munmap": "broker_memory",
    "mremap": "broker_memory",
    "brk": "broker_memory",
    "futex": "broker_do_once",
    "clock_gettime": "broker_clocks_and_entropy",
    "getrandom": "broker_clocks_and_entropy",
    "getpid": "broker_name_itself",
    "gettid": "broker_abort",
    "rt_sigprocmask": "broker_abort",
    "tgkill": "broker_abort",
    "exit_group": "broker_poll",
}


def test_every_allowed_call_names_the_work_that_needs_it():
    rows = {row.name for row in BROKER_FILTER.rows if isinstance(row, Allow)}
    assert sorted(rows) == sorted(NEEDED_BY)


@pytest.mark.parametrize("row", sorted(NEEDED_BY))
def test_without_its_row_the_work_that_needs_it_is_killed(shooting, row):
    outcome = shooting.run(NEEDED_BY[row], caged=True, remove=row)
    assert outcome.signal == "SIGSYS"


FAILED = "MechanismFailed: "
MISSING = "MechanismMissing: "
BROKEN = {
    "one thread": ("thread_before_the_lock", {}, FAILED + "threads: tasks ["),
    "personality": ("readable_is_executable", {}, FAILED + "personality: READ_IMPLIES_EXEC"),
    "code": ("code_that_is_shared", {}, FAILED + "memory: code at ['0x"),
    "descriptors": ("broker_hold_a_file", {}, FAILED + "descriptors: "),
    "working directory": ("nothing", {"refuse": "chdir", "errno": "EACCES"}, FAILED + "working"),
    "limits": ("nothing", {"refuse": "prlimit64", "errno": "EPERM"}, FAILED + "rlimits: "),
    "bounding set": (
        "nothing",
        {"refuse": "prctl", "option": 47, "errno": "EPERM"},
        FAILED + "capabilities: clearing",
    ),
    "user": ("nothing", {"refuse": "setresuid", "errno": "EPERM"}, FAILED + "identity: "),
    "capabilities": (
        "nothing",
        {"refuse": "capset", "errno": "EPERM"},
        FAILED + "capabilities: keeping",
    ),
    "not dumpable": (
        "nothing",
        {"refuse": "prctl", "option": 4, "errno": "EPERM"},
        FAILED + "dumpable: ",
    ),
    "parent": ("nothing", {"other_parent": True}, FAILED + "parent-death signal: parent "),
    "standard streams": (
        "nothing",
        {"refuse": "openat", "errno": "EACCES"},
        FAILED + "threads: listing",
    ),
    "no new privileges": (
        "nothing",
        {"refuse": "prctl", "option": 38, "errno": "EPERM"},
        FAILED + "no_new_privs: ",
    ),
    "landlock": (
        "nothing",
        {"refuse": "landlock_restrict_self", "errno": "E2BIG"},
        FAILED + "Landlock: restricting",
    ),
    "seccomp": ("nothing", {"refuse": "seccomp", "errno": "EINVAL"}, FAILED + "seccomp: loading"),
    "canary": ("nothing", {"refuse": "seccomp"}, FAILED + "seccomp: getppid got an answer"),
}
OTHERWISE_BROKEN = [
    ("broker_hold_a_directory", {}, FAILED + "descriptors: "),
    ("nothing", {"refuse": "mprotect", "errno": "EPERM"}, FAILED + "memory: sealing code"),
    (
        "nothing",
        {"refuse": "landlock_create_ruleset", "errno": "ENOSYS"},
        MISSING + "Landlock: this kernel does not offer it and the network broker needs it",
    ),
]


def test_every_step_has_a_failure_of_its_own():
    assert list(BROKEN) == [step.name for step in STEPS]
    assert all(step.reason for step in STEPS)


@pytest.mark.parametrize(("act", "options", "error"), [*BROKEN.values(), *OTHERWISE_BROKEN])
def test_a_step_that_does_not_hold_ends_the_lock_with_its_error(shooting, act, options, error):
    if options.get("refuse") == "setresuid" and not ROOT:
        pytest.skip("a normal user changes no identity")
    outcome = shooting.run(act, caged=True, **options)
    assert outcome.error is not None
    assert outcome.error.startswith(error)
    assert outcome.reached is False


@pytest.mark.skipif(not ROOT, reason="a normal user is already not root")
def test_root_is_never_kept(shooting):
    outcome = shooting.run("nothing", caged=True, stay_root=True)
    assert outcome.error == (
        "MechanismFailed: identity: asked to be 0:0; give a user that is not root"
    )
