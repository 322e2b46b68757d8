"""
The one function besides WASI's: frames that a guest knocks with, and what comes of them.
"""

import pytest

from executor.wasm import wasi_imports
from executor.wasm.abi import Errno, GuestFault
from tests.executor.wasm.tiny_kernel import PAGE, Gate
from tests.executor.wasm.wasi_world import WasiKernel


def knock(wasi, frame):
    return wasi.call("call", frame, 0x7000, 0x7004)


def test_an_answer_is_kept_and_nothing_is_given_back(wasi):
    wasi.tiny.guest.write(0x7000, b"\xff" * 8)
    assert knock(wasi, b"={}") == 0
    assert wasi.door.answer == b"{}"
    assert wasi.tiny.guest.read(0x7000, 8) == bytes(8)


def test_an_answer_that_is_too_long_counts_as_empty(wasi):
    assert knock(wasi, b"=" + b"x" * 63) == 0
    assert wasi.door.answer == b"x" * 63
    assert knock(wasi, b"=" + b"x" * 64) == 0
    assert wasi.door.answer == b""


@pytest.mark.parametrize("frame", [b"", b"x", b"\0={}", b"?", b"@example.com\x00443"])
def test_a_frame_of_no_kind_is_refused(wasi, frame):
    """
    A check is one that only a guest that is starting may ask for.
    """
    assert knock(wasi, frame) == wasi_imports.HOST_FAULT
    assert wasi.door.answer is None


def test_a_check_is_made_while_the_guest_starts(wasi):
    checks = []
    wasi.door.on_check = lambda: checks.append(True)
    assert knock(wasi, b"?") == 0
    assert checks == [True]


def test_attempts_go_to_the_gate_and_its_reason_is_kept():
    def refuse(_request):
        raise GuestFault(Errno.EACCES, "not here")

    gate = Gate(refuse)
    wasi = WasiKernel(gate)
    assert knock(wasi, b"!ls -l") == 0
    assert knock(wasi, b"!\xff") == 0
    assert [one.run for one in gate.asked] == ["ls -l", "\\xff"]
    assert wasi.process.denial is not None
    assert wasi.process.denial.reason == "not here"


def test_a_frame_outside_memory_is_refused(wasi):
    for frame, length, out in ((PAGE, 1, 0), (0, 2**32 - 1, 0), (0, 1, PAGE - 3)):
        assert wasi.call("call", frame, length, out, 0x7004) == wasi_imports.HOST_FAULT
