"""
Calls across the wasm boundary: values keep their types, and no exception crosses it.

A small real module imports one function and calls it; what goes wrong in the host function must
end this guest and nothing else.
"""

import sys

import pytest
import wasmtime

from executor.kernel.errors import InternalError
from executor.wasm import engine
from executor.wasm.calls import Exports, Faults, GuestTrapped, host_function
from executor.wasm.process import Exited

TYPES = {
    "i": wasmtime.ValType.i32(),
    "I": wasmtime.ValType.i64(),
    "d": wasmtime.ValType.f64(),
    "r": wasmtime.ValType.externref(),
}
WORDS = {"i": "i32", "I": "i64", "d": "f64", "r": "externref"}


class Caller:
    """
    A guest that passes its i32 arguments, or constants, to one import and gives back the result.
    """

    def __init__(self, signature, handler, body):
        parameters, _, result = signature.partition(">")
        self.faults = Faults()
        self.engine = engine.new_engine()
        self.store = engine.new_store(self.engine, 2**20)
        kind = wasmtime.FuncType([TYPES[c] for c in parameters], [TYPES[c] for c in result])
        self.made = host_function(self.store, kind, signature, handler, self.faults)
        words = " ".join(f"(param {WORDS[c]})" for c in parameters)
        words += "".join(f" (result {WORDS[c]})" for c in result)
        text = f'(module (import "e" "f" (func $f {words})) {body})'
        module = wasmtime.Module(self.engine, text)
        instance = wasmtime.Instance(self.store, module, [self.made.extern])
        self.exports = Exports(self.store, instance, self.faults)

    def __call__(self, name="go", *arguments):
        return self.exports.function(name)(*arguments)


def caller(handler):
    """
    A guest that passes one integer on, and one function that does not call the host.
    """
    return Caller(
        "i>i",
        handler,
        '(func (export "go") (param i32) (result i32) (call $f (local.get 0)))'
        '(func (export "quiet") (result i32) (i32.const 7))'
        '(func (export "trap") (unreachable))'
        '(func $deep (export "deep") (call $deep))',
    )


class StrRaises(Exception):
    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


class InitRaises(BaseException):
    pass


HOSTILE = [
    KeyboardInterrupt(),
    SystemExit(0),
    MemoryError(),
    RecursionError("deep"),
    GeneratorExit(),
    StopIteration(5),
    OSError(5, "input/output error"),
    StrRaises(),
    InitRaises(),
    InternalError("never"),
    Exited(3, "it ended itself"),
]


def raising(error):
    def handler(_value):
        raise error

    return handler


@pytest.fixture
def no_strays(monkeypatch):
    """
    What ctypes prints when a callback raises goes through this hook: nothing may.
    """
    strays = []
    monkeypatch.setattr(sys, "unraisablehook", strays.append)
    yield
    assert strays == []


def test_the_hook_would_see_an_exception_that_crosses(monkeypatch):
    """
    The positive control: a plain ctypes callback that raises is reported, and answers anything.
    """
    import ctypes

    strays = []
    monkeypatch.setattr(sys, "unraisablehook", strays.append)
    plain = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(raising(ValueError("crossed")))
    plain(1)
    assert [str(stray.exc_value) for stray in strays] == ["crossed"]


@pytest.mark.parametrize("error", HOSTILE, ids=lambda error: type(error).__name__)
def test_w16_whatever_a_host_function_raises_ends_this_guest_alone(no_strays, error):
    ended, lives = caller(raising(error)), caller(lambda value: value + 1)
    with pytest.raises(type(error)) as caught:
        ended("go", 1)
    assert caught.value is error
    assert lives("go", 1) == 2


def test_a_guest_that_has_ended_never_reaches_the_host_again(no_strays):
    calls = []

    def handler(value):
        calls.append(value)
        raise MemoryError

    ended = caller(handler)
    for _ in range(3):
        with pytest.raises(MemoryError):
            ended("go", 1)
    assert calls == [1]


def test_a_host_function_that_never_finished_ends_the_guest_at_the_next_call(no_strays):
    """
    If memory runs out so badly that not even the trap can be made, the next call finds it out.
    """
    half = caller(lambda value: value)
    half.faults.unfinished = True
    with pytest.raises(InternalError):
        half("go", 1)


def test_a_trap_of_the_guests_own_says_its_cause(no_strays):
    guest = caller(lambda value: value)
    with pytest.raises(GuestTrapped, match="^wasm `unreachable` instruction executed$"):
        guest("trap")


def test_a_stack_that_is_used_up_is_a_trap_not_a_crash(no_strays):
    guest = caller(lambda value: value)
    with pytest.raises(GuestTrapped, match="^call stack exhausted$"):
        guest("deep")


@pytest.mark.parametrize("value", [0, 1, 2**31 - 1, 2**31, 2**32 - 1])
def test_a_handler_sees_32_bits_unsigned(no_strays, value):
    seen = []
    guest = caller(lambda given: seen.append(given) or 0)
    guest("go", value)
    assert seen == [value]


@pytest.mark.parametrize("value", [0, 1, -1, -(2**31), 2**31, 2**32 - 1])
def test_a_result_that_fits_comes_back(no_strays, value):
    assert caller(lambda _: value)("go", 0) == value % 2**32


@pytest.mark.parametrize("value", [2**32, -(2**31) - 1, 2**64, None, 1.5, "1", b"\0"])
def test_a_result_that_does_not_fit_ends_the_guest_instead_of_being_cut(no_strays, value):
    with pytest.raises(InternalError):
        caller(lambda _: value)("go", 0)


def test_every_kind_of_value_passes_unchanged(no_strays):
    seen = []
    guest = Caller(
        "iIdri>I",
        lambda *given: seen.append(given) or -5,
        '(func (export "go") (result i32) (i32.wrap_i64 (call $f (i32.const -1) (i64.const -2)'
        " (f64.const 1.5) (ref.null extern) (i32.const 4))))",
    )
    assert guest() == -5 % 2**32
    assert seen == [(2**32 - 1, 2**64 - 2, 1.5, 0, 4)]


@pytest.mark.parametrize(("value", "fits"), [(2**64 - 1, True), (-(2**63), True), (2**64, False)])
def test_64_bit_results_have_their_own_bounds(no_strays, value, fits):
    body = '(func (export "go") (result i32) (i32.wrap_i64 (call $f)))'
    guest = Caller(">I", lambda: value, body)
    if fits:
        assert guest() == value % 2**32
    else:
        with pytest.raises(InternalError):
            guest()


def test_doubles_and_references_and_nothing_come_back(no_strays):
    double = Caller(">d", lambda: 2.5, '(func (export "go") (result i32) '
                    "(i32.trunc_f64_s (f64.mul (call $f) (f64.const 2))))")  # fmt: skip
    assert double() == 5
    null = Caller(">r", lambda: 99, '(func (export "go") (result i32) (ref.is_null (call $f)))')
    assert null() == 1
    nothing = Caller(">", lambda: 99, '(func (export "go") (result i32) (call $f) (i32.const 3))')
    assert nothing() == 3


def test_a_double_that_is_missing_ends_the_guest(no_strays):
    body = '(func (export "go") (result i32) (i32.trunc_f64_s (call $f)))'
    with pytest.raises(InternalError):
        Caller(">d", lambda: None, body)()


@pytest.mark.parametrize("name", ["nothing", "f"])
def test_an_export_that_is_not_there_is_an_internal_error(name):
    guest = caller(lambda value: value)
    with pytest.raises(InternalError):
        guest.exports.function(name)
    for look in (guest.exports.address, guest.exports.memory, guest.exports.table):
        with pytest.raises(InternalError):
            look("go")


def test_w17_two_guests_with_different_errors_never_get_each_others(no_strays):
    """
    W17: errors belong to a guest, not to the process.
    """
    first, second = ValueError("first"), KeyError("second")
    for _ in range(50):
        one, other = caller(raising(first)), caller(raising(second))
        with pytest.raises(KeyError):
            other("go", 0)
        with pytest.raises(ValueError, match="first"):
            one("go", 0)
