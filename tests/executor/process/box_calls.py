"""
Every system call of the table, made in a box with arguments that mean nothing.

What passes the filter is answered by the kernel (a bad descriptor, a bad address); what does not
is answered by the filter. So the table is seen at work, and not only read.
"""

import errno

from executor.linux.filters import Allow
from executor.linux.libc import call
from executor.process.filter import Variant, box_filter

BOX_FILTER = box_filter(Variant())

# These would end or stop the process that asks, or put its registers elsewhere.
NOT_ASKED = frozenset({"exit", "exit_group", "pause", "rt_sigreturn", "restart_syscall", "umask"})
# EACCES is how memory that would become code is refused.
REFUSALS = frozenset(
    {errno.EPERM, errno.ENOSYS, errno.EAFNOSUPPORT, errno.EACCES, errno.EOPNOTSUPP}
)
# Since Linux 6.14 no filter is asked about this one; it ends who calls it from anywhere but the
# trampoline of a probe.
UNFILTERED = frozenset({"uretprobe"})
# Calls that a kernel may be too old for; then it says so itself.
YOUNG = frozenset({"epoll_pwait2", "fchmodat2"})


def _is_refused(name):
    try:
        call(name, -1, -1, -1, -1, -1, -1)
    except OSError as error:
        return error.errno in REFUSALS
    return False


def ask_for_what_is_allowed(_host):
    rows = [row for row in BOX_FILTER.rows if isinstance(row, Allow) and not row.arguments]
    asked = [row.name for row in rows if row.name not in NOT_ASKED | YOUNG]
    refused = [name for name in asked if _is_refused(name)]
    return f"asked {len(asked)}, refused {refused}"


def ask_for_what_is_refused(_host):
    refusing = (row.name for row in BOX_FILTER.rows if not isinstance(row, Allow))
    asked = [name for name in refusing if name not in UNFILTERED]
    passed = [name for name in asked if not _is_refused(name)]
    return f"asked {len(asked)}, passed {passed}"


def ask_with_arguments_that_do_not_fit(_host):
    rows = {row.name for row in BOX_FILTER.rows if isinstance(row, Allow) and row.arguments}
    # A terminal's question is answered with an errno of its own, and advice that is not taken with
    # none; memory with all bits is tested elsewhere, for here a wrong answer would leave a mapping.
    asked = sorted(rows - {"ioctl", "fadvise64", "mmap"})
    passed = [name for name in asked if not _is_refused(name)]
    return f"asked {len(asked)}, passed {passed}"


CALLS = {
    function.__name__: function
    for function in (
        ask_for_what_is_allowed,
        ask_for_what_is_refused,
        ask_with_arguments_that_do_not_fit,
    )
}
