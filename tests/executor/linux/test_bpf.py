import struct

import pytest
from bpf_machine import X86_64, evaluate

from executor.linux.bpf import Assembler, encode


def test_a_program_is_laid_out_as_the_kernels_struct_sock_filter():
    code = Assembler()
    allow, kill = code.leave(0x7FFF_0000), code.leave(0x8000_0000)
    code.load(4, code.if_equal(62, kill, allow))
    assert encode(code.finish()) == b"".join(
        struct.pack("=HBBI", *fields)
        for fields in (
            (0x20, 0, 0, 4),
            (0x15, 0, 1, 62),
            (0x06, 0, 0, 1 << 31),
            (6, 0, 0, 0x7FFF0000),
        )
    )


@pytest.mark.parametrize("between", [0, 1, 252, 253, 254, 255, 256, 257, 600])
@pytest.mark.parametrize("number", [6, 7, 8])
def test_both_targets_of_a_branch_are_reached_at_every_distance(between, number):
    code = Assembler()
    no = code.leave(1)
    yes = code.leave(2)
    for filler in range(between):
        code.leave(1000 + filler)
    code.load(0, code.if_equal(7, yes, no))
    assert evaluate(code.finish(), number, X86_64, (0,) * 6) == (2 if number == 7 else 1)


@pytest.mark.parametrize("between", [0, 254, 255, 256])
def test_a_load_runs_on_at_its_target_and_not_at_what_stands_between(between):
    code = Assembler()
    target = code.if_at_least(9, code.leave(2), code.leave(1))
    for filler in range(between):
        code.leave(1000 + filler)
    code.load(0, target)
    program = code.finish()
    assert [evaluate(program, n, X86_64, (0,) * 6) for n in (8, 9, 10)] == [1, 2, 2]


def test_a_program_of_the_kernels_greatest_length_is_finished():
    code = Assembler()
    for _ in range(4096):
        code.leave(0)
    assert len(code.finish()) == 4096


def test_a_longer_program_is_refused():
    code = Assembler()
    for _ in range(4097):
        code.leave(0)
    with pytest.raises(ValueError, match="4097 instructions; the kernel takes 4096"):
        code.finish()
