"""
The filter of a box, against what libseccomp makes of the same rows.
"""

import struct
from itertools import product

import pytest
from bpf_machine import X86_64, evaluate, samples
from filter_tables import NAMES, NUMBERS_JUDGED, PID, PROGRAMS, TABLES

from executor.linux.bpf import encode
from executor.linux.filters import ALLOW, Allow, MaskedEquals, OneOf, OwnPid
from executor.linux.syscalls import NUMBERS


class Judge:
    """
    A machine for what libseccomp writes: a few more instructions than ours.
    """

    def __init__(self, code):
        self._code = list(struct.iter_unpack("=HBBI", code))

    def evaluate(self, number, arguments):
        data = struct.pack("=IIQ6Q", number, X86_64, 0, *arguments)
        accumulator, memory, at = 0, [0] * 16, 0
        while True:
            code, yes, no, k = self._code[at]
            at += 1
            # The most frequent first: its programs ask for one number after another.
            if code == 0x15:
                at += yes if accumulator == k else no
            elif code == 0x20:
                (accumulator,) = struct.unpack_from("=I", data, k)
            elif code == 0x25:
                at += yes if accumulator > k else no
            elif code == 0x35:
                at += yes if accumulator >= k else no
            elif code == 0x45:
                at += yes if accumulator & k else no
            elif code == 0x54:
                accumulator &= k
            elif code == 0x05:
                at += k
            elif code == 0x02:
                memory[k] = accumulator
            elif code == 0x60:
                accumulator = memory[k]
            else:
                assert code == 0x06
                return k


def _theirs(seccomp, table):
    """
    The allowing half of the table as libseccomp compiles it, and the names that it knows.
    """
    made = seccomp.SyscallFilter(defaction=seccomp.ERRNO(1))
    known = set()
    for row in table.rows:
        number = seccomp.resolve_syscall(seccomp.Arch.X86_64, row.name)
        if not isinstance(row, Allow) or number < 0:
            continue
        known.add(NUMBERS[row.name])
        for choice in product(*(_alternatives(seccomp, c) for c in row.arguments)):
            made.add_rule(seccomp.ALLOW, number, *choice)
    return made, known


def _alternatives(seccomp, condition):
    match condition:
        case MaskedEquals(index, mask, value):
            return [seccomp.Arg(index, seccomp.MASKED_EQ, mask, value)]
        case OneOf(index, values):
            return [seccomp.Arg(index, seccomp.EQ, value) for value in values]
        case OwnPid(index):
            return [seccomp.Arg(index, seccomp.EQ, PID)]


@pytest.mark.parametrize("variant", sorted(TABLES))
def test_libseccomp_lets_the_same_calls_pass(variant, tmp_path):
    seccomp = pytest.importorskip("pyseccomp", exc_type=(ImportError, RuntimeError))
    table, program = TABLES[variant], PROGRAMS[variant]
    made, known = _theirs(seccomp, table)
    path = tmp_path / "filter.bpf"
    with path.open("wb") as file:
        made.export_bpf(file)
    judge = Judge(path.read_bytes())
    compared = 0
    for number in NUMBERS_JUDGED:
        if number in NAMES and number not in known:
            continue
        for arguments in samples(table, PID, number):
            ours = evaluate(program, number, X86_64, arguments) == ALLOW.encoded
            theirs = judge.evaluate(number, arguments) == ALLOW.encoded
            assert ours == theirs, (NAMES.get(number), arguments)
            compared += 1
    assert compared > 5000
    assert len(encode(program)) < path.stat().st_size * 2
