"""
System calls that a box has no use for. "Reached" means that the kernel's implementation answered.

Arguments are such that nothing happens where a call is reached; those that could still disturb a
machine are not made without a box.
"""

import errno

from attacks import Attack, Control, only

from executor.linux.libc import call

REFUSALS = {errno.EPERM, errno.ENOSYS}


def made(name, *arguments):
    def act(_host):
        try:
            call(name, *arguments)
        except OSError as error:
            if error.errno in REFUSALS:
                raise
            return f"!reached: {errno.errorcode[error.errno]}"
        return "!reached"

    return act


# Number in the design's table, call, arguments, what the control does.
_BAD = -1
REACHES, ASSUMED, NEVER = Control
_ROWS = (
    (83, "userfaultfd", (0,), REACHES),
    (84, "bpf", (0, 0, 0), REACHES),
    (85, "perf_event_open", (0, 0, 0, 0, 0), REACHES),
    (86, "keyctl", (0, _BAD, 0), REACHES),
    (87, "add_key", (0, 0, 0, 0, 0), REACHES),
    (87, "request_key", (0, 0, 0, 0), REACHES),
    (89, "seccomp", (0, 1, 0), REACHES),
    (90, "memfd_secret", (0,), NEVER),
    (90, "memfd_create", (0, 0), REACHES),
    (91, "kcmp", (1, 1, 9, 0, 0), NEVER),
    (92, "landlock_create_ruleset", (0, 0, 1), REACHES),
    (93, "process_madvise", (_BAD, 0, 0, 0, 0), REACHES),
    (94, "pidfd_open", (1, 0), REACHES),
    (94, "pidfd_send_signal", (_BAD, 0, 0, 0), REACHES),
    (95, "name_to_handle_at", (_BAD, 0, 0, 0, 0), REACHES),
    (96, "fanotify_init", (0, 0), REACHES),
    (97, "quotactl", (0, 0, 0, 0), REACHES),
    (98, "swapon", (0, 0), ASSUMED),
    (98, "swapoff", (0,), ASSUMED),
    (99, "reboot", (0, 0, 0, 0), ASSUMED),
    (100, "kexec_load", (0, 0, 0, 1 << 20), ASSUMED),
    (101, "init_module", (0, 0, 0), ASSUMED),
    (101, "finit_module", (_BAD, 0, 0), ASSUMED),
    (101, "delete_module", (0, 0), ASSUMED),
    (102, "acct", (1,), ASSUMED),
    (103, "settimeofday", (1, 0), ASSUMED),
    (103, "clock_settime", (99, 0), ASSUMED),
    (104, "syslog", (10, 0, 0), REACHES),
    (105, "iopl", (9,), NEVER),
    (105, "ioperm", (0, 1 << 30, 1), NEVER),
    (106, "modify_ldt", (0, 0, 0), REACHES),
    (107, "lookup_dcookie", (0, 0, 0), NEVER),
    (108, "move_pages", (0, 0, 0, 0, 0, 0), REACHES),
    (109, "migrate_pages", (0, 0, 0, 0), REACHES),
    (110, "vmsplice", (_BAD, 0, 0, 0), REACHES),
    (110, "splice", (_BAD, 0, _BAD, 0, 0, 1), REACHES),
    (110, "tee", (_BAD, _BAD, 1, 0), REACHES),
    (111, "ioprio_set", (1, 0, 0), REACHES),
    (112, "setdomainname", (1, 1), ASSUMED),
    (112, "sethostname", (1, 1), ASSUMED),
    (113, "adjtimex", (1,), ASSUMED),
    (114, "ptrace", (16, 0, 0, 0), REACHES),
    (115, "get_kernel_syms", (0,), NEVER),
    (116, "uselib", (0,), NEVER),
    (117, "remap_file_pages", (0, 0, 1, 0, 0), REACHES),
    (120, "lsm_list_modules", (0, 0, 0), REACHES),
    (121, "shmget", (0, 0, 0), REACHES),
    (121, "shmat", (_BAD, 0, 0), REACHES),
    (122, "semget", (0, 0, 0), REACHES),
    (123, "msgget", (1, 0), REACHES),
    (124, "mq_open", (0, 0, 0, 0), REACHES),
    (125, "io_setup", (0, 0), REACHES),
    (126, "vhangup", (), ASSUMED),
    (131, "arch_prctl", (0x1012, 0), NEVER),
    (155, "mlock", (0, 0), REACHES),
    (155, "mlockall", (0,), REACHES),
    (155, "mlock2", (0, 0, 9), REACHES),
    (203, "timer_create", (99, 0, 0), REACHES),
    (203, "signalfd4", (_BAD, 0, 8, 0), REACHES),
    (203, "get_mempolicy", (0, 0, 0, 0, 0), REACHES),
    (203, "set_mempolicy", (0, 0, 0), REACHES),
    (203, "pkey_alloc", (1, 0), REACHES),
    (203, "membarrier", (99, 0, 0), REACHES),
    (203, "cachestat", (_BAD, 0, 0, 0), REACHES),
    (203, "sync", (), ASSUMED),
    (203, "setpgid", (0, _BAD), REACHES),
    (203, "setsid", (), ASSUMED),
    (203, "capget", (0, 0), REACHES),
)
_ABSENT = (
    (88, "io_uring_setup", (0, 0), REACHES),
    (88, "io_uring_enter", (_BAD, 0, 0, 0, 0), REACHES),
    (88, "io_uring_register", (_BAD, 0, 0, 0), REACHES),
    (118, "statmount", (0, 0, 0, 0), REACHES),
    (119, "listmount", (0, 0, 0, 0), REACHES),
)
ATTACKS = {
    f"sys_{name}": Attack(number, made(name, *arguments), only(answer), control)
    for rows, answer in ((_ROWS, "EPERM"), (_ABSENT, "ENOSYS"))
    for number, name, arguments, control in rows
}
