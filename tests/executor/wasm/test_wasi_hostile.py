"""
Every row of preview 1 keeps its word whatever integers it is given (W07, W18, W19, W20).

What green does not prove: that the answers are the right ones; the tests by topic do.
"""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.wasm.process import Exited
from tests.executor.wasm.test_guest_imports import argument_lists, failed, fits
from tests.executor.wasm.tiny_kernel import PAGE
from tests.executor.wasm.wasi_world import WASI_ROWS, WasiKernel

NUMBERS = {"i": st.integers(0, 2**32 - 1), "I": st.integers(0, 2**64 - 1)}


def check(kernel, row, arguments):
    """
    Whether the call ended the guest; else its answer fits, and an error changed no memory.
    """
    before = kernel.tiny.bytes()
    try:
        answer = kernel._bound[row.name](*arguments)
    except Exited as exited:
        assert 0 <= exited.code <= 255
        return True
    assert fits(row, answer), (arguments, answer)
    if failed(row, answer):
        assert kernel.tiny.bytes() == before, (arguments, answer)
    return False


@pytest.mark.parametrize("name", sorted(WASI_ROWS))
def test_w07_every_row_survives_hostile_integers(name):
    row, kernel = WASI_ROWS[name], WasiKernel()
    kernel.tiny.guest.write(0, random.Random(7).randbytes(PAGE))
    ended = [check(kernel, row, arguments) for arguments in argument_lists(row)]
    assert any(ended) == (name == "proc_exit")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_w07_a_sequence_of_random_calls_leaves_a_kernel_that_works(data):
    kernel = WasiKernel()
    for _ in range(data.draw(st.integers(1, 12))):
        row = WASI_ROWS[data.draw(st.sampled_from(sorted(WASI_ROWS)))]
        kinds = row.signature.partition(">")[0]
        small = st.integers(0, 8) | st.integers(0, PAGE)
        check(kernel, row, [data.draw(small | NUMBERS[kind]) for kind in kinds])
    assert kernel.open_path("lib/image.txt") >= 0
