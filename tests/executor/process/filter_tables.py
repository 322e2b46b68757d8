"""
The filters of boxes, compiled, for the tests that judge them.
"""

import errno

from executor.linux.filters import ALLOW, KILL_PROCESS, NOTIFY, compile_filter
from executor.linux.syscalls import NUMBERS
from executor.process.filter import Variant, box_filter

PID = 1
NUMBERS_JUDGED = range(601)
NAMES = {number: name for name, number in NUMBERS.items()}
VARIANTS = {
    "plain": Variant(),
    "network": Variant(network=True),
    "children": Variant(children=True),
    "programs": Variant(children=True, programs=True),
    "all": Variant(network=True, children=True, programs=True),
    "watched": Variant(network=True, children=True, programs=True, watched=True),
    "new code": Variant(new_code=True),
    "bare": Variant(bare=True),
    "bare, watched": Variant(bare=True, watched=True),
    "bare, network": Variant(bare=True, network=True),
}
TABLES = {name: box_filter(variant) for name, variant in VARIANTS.items()}
PROGRAMS = {name: compile_filter(table, PID) for name, table in TABLES.items()}
HIGH = 1 << 40
ONES = 2**64 - 1


def word(answer):
    if answer == ALLOW.encoded:
        return "allow"
    if answer == KILL_PROCESS.encoded:
        return "kill"
    if answer == NOTIFY.encoded:
        return "notify"
    # Without a number the kernel is not asked, and the caller told that all went well.
    number = answer & 0xFFFF
    return {0: "done", errno.EOPNOTSUPP: "EOPNOTSUPP"}.get(number) or errno.errorcode[number]
