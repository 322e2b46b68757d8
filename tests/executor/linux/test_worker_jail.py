"""
The wasm worker's jail, attacked for real: every act runs in a forked, locked process.

Green does not prove that the kernel has no bug behind the calls that are allowed, nor that a
glibc or Python other than the one that runs these tests needs no further call.
"""

import os
import resource

import pytest
from cage_range import GROWTH, NOBODY
from cage_work import ACTS
from test_worker_jail_steps import BROKEN, OTHERWISE_BROKEN

from executor.linux.filters import Allow
from executor.wasm import jail

ROOT = os.geteuid() == 0


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
    "fork",
    "vfork_by_clone",
    "clone_new_user",
    "socket_unix",
    "socket_inet",
    "socket_inet6_udp",
    "socket_netlink",
    "socket_vsock",
    "socketpair",
    "memfd_create",
    "pipe",
    "eventfd",
    "epoll_create",
    "signalfd",
    "timer_create",
    "kill_own_group",
    "prctl_dumpable",
    "prctl_read_nnp",
    "prctl_ptracer",
    "arch_prctl_cpuid",
    "read_rlimit",
    "set_priority",
    "set_affinity",
    "read_affinity",
    "sched_setscheduler",
    "ioctl_tiocsti",
    "landlock_again",
    "clock_of_another_process",
    "clock_of_another_high",
    "clock_settime",
    "getrusage_children",
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
    "kill_sibling",
    "kill_parent",
    "kill_everybody",
    "tgkill_sibling",
    "tgkill_sibling_high_bits",
    "tgkill_self_with_another_signal",
    "sigqueue_to_sibling",
    "pidfd_of_parent",
    "send_descriptor",
    "send_many",
    "send_to_an_address",
    "send_out_of_band",
    "write_to_the_socket",
    "reconnect_the_socket",
    "bind_the_socket",
    "name_the_peer_of_the_socket",
    "filter_the_socket",
    "duplicate_the_socket",
    "move_executable_memory",
    "raise_a_limit",
    "second_filter_without_tsync",
    "second_filter_with_a_listener",
    "chmod_passed_file",
    "chown_passed_file",
    "touch_passed_file",
    "label_passed_file",
    "read_labels_of_passed_file",
    "lock_passed_file",
    "lease_passed_file",
    "duplicate_passed_file",
    "reflag_passed_file",
    "reflag_by_high_bits",
    "statfs_passed_file",
    "advise_passed_file",
    "ioctl_passed_file",
    "readv_passed_file",
    "write_through_passed_file",
    "reopen_passed_file_by_proc",
    "open_below_a_directory",
    "futex_with_priority",
]
KILLED = [
    "exec_program",
    "exec_from_descriptor",
    "unshare_user",
    "unshare_high_bits",
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
    "ptrace_sibling",
    "read_memory_of_sibling",
    "write_memory_of_sibling",
    "steal_descriptor_of_parent",
    "make_executable_memory",
    "make_executable_by_high_bits",
    "turn_memory_executable",
    "turn_memory_executable_by_key",
    "map_shared_memory",
    "map_passed_file",
    "i386_entry",
    "x32_number",
    "number_with_high_bits",
]
ATTACKS = {
    **dict.fromkeys(REFUSED, "EPERM"),
    **dict.fromkeys(KILLED, "SIGSYS"),
    **dict.fromkeys((name for name in ACTS if name.startswith("never_")), "SIGSYS"),
    "clone3": "ENOSYS",
    "overwrite_a_callback": "SIGSEGV",
    "make_a_callback": "SIGSEGV",
    "grow_memory_past_the_limit": "ENOMEM",
    "map_past_the_limit": "ENOMEM",
}


@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_an_attack_reaches_its_target_only_without_the_lock(shooting, attack):
    free = shooting.run(attack, caged=False)
    caged = shooting.run(attack, caged=True)
    assert free.reached
    assert caged.reached, f"the scenario did not run: {caged}"
    assert caged.short == ATTACKS[attack]
    # Either the act succeeds, or the kernel itself (not a lock) says what is wrong with it.
    assert free.signal is None
    assert free.short != caged.short


WORK = {
    "frames": [5, 1, "fra", "me"],
    "received_file": ["file", 10_000, "0123", 4, "89"],
    "received_stream": ["stream", "hello", 0],
    "standard_error": 19,
    "grow_memory": 0,
    "allocate": [2**20, True],
    "give_pages_back": 0,
    "wasm": [42, 1, 2**26, -1, -1]
    + 2 * ["MEMORY_OUT_OF_BOUNDS", "INTEGER_DIVISION_BY_ZERO", "UNREACHABLE", "STACK_OVERFLOW"],
    "watchdog": [14],
    "one_more_thread": True,
    "thread_that_is_seen_to_end": [0, 0],
    "wait_for_a_lock": False,
    "callbacks_of_the_zygote": 42,
    "time_and_entropy": [True, True, 16, 4, [0, 0]],
}


@pytest.mark.parametrize("work", sorted(WORK))
def test_honest_work_is_done_under_the_lock(shooting, work):
    outcome = shooting.run(work, caged=True)
    assert (outcome.short, outcome.value) == ("done", WORK[work])


def test_abort_still_ends_the_worker(shooting):
    assert shooting.run("abort", caged=True).signal == "SIGABRT"


def test_abort_ends_a_worker_that_may_not_even_signal_itself(shooting):
    assert shooting.run("abort_without_a_signal", caged=True).signal == "SIGSEGV"


def test_a_fault_that_is_not_the_guests_ends_the_worker(shooting):
    """
    The engine's handler hands it on; were it kept from that, the fault would repeat for ever.
    """
    assert shooting.run("fault_beside_the_guest", caged=True).signal == "SIGSEGV"


def test_two_descriptors_at_once_are_not_accepted(shooting):
    outcome = shooting.run("two_received_files", caged=True)
    assert (
        outcome.error
        == "DescriptorRefused: descriptors: several came at once; send them one by one"
    )


def test_a_wait_survives_stop_and_continue(shooting):
    outcome = shooting.run("stopped_while_waiting", caged=True, attend="stop and continue")
    assert outcome.value == [1, "!"]


# For each row, work that is killed when that row alone is missing.
NEEDED_BY = {
    "recvmsg": "received_file",
    "recvfrom": "frames",
    "sendto": "frames",
    "shutdown": "received_stream",
    "poll": "frames",
    "read": "received_file",
    "pread64": "received_file",
    "lseek": "received_file",
    "fstat": "received_file",
    "fcntl": "received_file",
    "close": "received_file",
    "write": "standard_error",
    "mmap": "one_more_thread",
    "mprotect": "wasm",
    "munmap": "grow_memory",
    "mremap": "allocate",
    "madvise": "thread_that_is_seen_to_end",
    "brk": "allocate",
    "futex": "wait_for_a_lock",
    "clone": "one_more_thread",
    "set_robust_list": "one_more_thread",
    "rseq": "one_more_thread",
    "gettid": "one_more_thread",
    "rt_sigaction": "fault_beside_the_guest",
    "rt_sigprocmask": "one_more_thread",
    "rt_sigreturn": "wasm",
    "sigaltstack": "wasm",
    "rt_sigtimedwait": "watchdog",
    "setitimer": "watchdog",
    "restart_syscall": "stopped_while_waiting",
    "clock_gettime": "time_and_entropy",
    "clock_nanosleep": "time_and_entropy",
    "getrandom": "time_and_entropy",
    "getrusage": "time_and_entropy",
    "getpid": "abort",
    "tgkill": "abort",
    "exit": "thread_that_is_seen_to_end",
    "exit_group": "give_pages_back",
    "seccomp": "nothing",
}


def test_every_allowed_call_names_the_work_that_needs_it():
    rows = [row.name for row in jail.WORKER_FILTER.rows if isinstance(row, Allow)]
    assert sorted(rows) == sorted(NEEDED_BY)


@pytest.mark.parametrize("row", sorted(NEEDED_BY))
def test_without_its_row_the_work_that_needs_it_is_killed(shooting, row):
    options = {"attend": "stop and continue"} if row == "restart_syscall" else {}
    # `final` makes the worker load its second filter, which is what needs the row of seccomp.
    final = row == "seccomp"
    outcome = shooting.run(NEEDED_BY[row], caged=True, remove=row, final=final, **options)
    assert outcome.signal == "SIGSYS"


@pytest.mark.parametrize("attack", ["one_more_thread", "filter_after_the_final_filter"])
def test_the_final_filter_closes_the_doors_that_the_first_left_open(shooting, attack):
    before = shooting.run(attack, caged=True)
    after = shooting.run(attack, caged=True, final=True)
    assert (before.short, before.reached, after.reached) == ("done", True, True)
    assert after.short in {"EPERM", "RuntimeError: can't start new thread"}


@pytest.mark.parametrize("work", ["frames", "received_file", "received_stream", "wasm", "allocate"])
def test_honest_work_is_done_under_the_final_filter(shooting, work):
    outcome = shooting.run(work, caged=True, final=True)
    assert (outcome.short, outcome.value) == ("done", WORK[work])


def test_the_kernel_confirms_the_lock_in_every_thread_from_outside(shooting):
    seen = shooting.run("two_threads", caged=True, attend="look").value
    assert len(seen["tasks"]) == 2
    uid = NOBODY if ROOT else os.getuid()
    for task in seen["tasks"]:
        assert {key: task[key].strip() for key in ("Seccomp", "NoNewPrivs", "Seccomp_filters")} == {
            "Seccomp": "2",
            "NoNewPrivs": "1",
            "Seccomp_filters": "1",
        }
        assert task["Uid"].split() == [str(uid)] * 4
        for key in ("CapInh", "CapPrm", "CapEff", "CapAmb", *(("CapBnd",) if ROOT else ())):
            assert int(task[key], 16) == 0, key
        assert ROOT is False or task["Groups"].split() == []
        # SIGPIPE alone. Signals 32 and 33 are the C library's own, which no program can set:
        # they stay ignored where whoever started the tests ignores them.
        assert int(task["SigIgn"], 16) & ~(0b11 << 31) == 1 << 12
    assert (seen["session"], seen["oom"]) == (True, "1000")
    for limit in ("core file size", "file size", "locked memory", "msgqueue size"):
        line = next(x for x in seen["limits"].splitlines() if f"Max {limit}" in x)
        assert line.removeprefix(f"Max {limit}").split()[:2] == ["0", "0"], limit
    if ROOT:
        assert seen["cwd"] == "/"
        assert len(seen["open"]) == 4


def test_the_same_process_without_the_lock_is_open(shooting):
    seen = shooting.run("two_threads", caged=False, attend="look").value
    assert {task["Seccomp"] for task in seen["tasks"]} == {"0"}
    assert seen["session"] is False
    assert ROOT is False or len(seen["open"]) > 4


def test_a_worker_ends_with_its_zygote(shooting):
    assert shooting.run("orphan", caged=True).value == "ended"


def test_without_the_lock_it_lives_on(shooting):
    assert shooting.run("orphan", caged=False).value == "lives on"


def test_every_act_is_used():
    used = {*ATTACKS, *WORK, *NEEDED_BY.values(), *(act for act, _, _ in BROKEN.values())}
    used |= {act for act, _, _ in OTHERWISE_BROKEN}
    used |= {
        "abort",
        "abort_without_a_signal",
        "two_received_files",
        "two_threads",
        "filter_after_the_final_filter",
    }
    # Others' tests add acts of their own to the table, where they run in the same process.
    ours = {name for name in ACTS if not name.startswith(("broker_", "supervisor_"))}
    assert sorted(ours) == sorted(used)


def test_the_growth_of_the_range_fits_the_acts():
    assert 64 * 2**20 < GROWTH < 256 * 2**20
    assert resource.getrlimit(resource.RLIMIT_DATA)[1] == resource.RLIM_INFINITY
