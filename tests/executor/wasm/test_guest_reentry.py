"""
A host function that calls the guest: what passes through it, and what ends everything.

A small real module imports one function, whose handler calls back into the module.
"""

import pytest
import wasmtime

from executor.kernel.errors import InternalError
from executor.wasm import engine
from executor.wasm.calls import Exports, Faults, GuestTrapped, host_function
from executor.wasm.process import Exited

_TEXT = """(module
  (import "e" "f" (func $f (param i32) (result i32)))
  (tag $t (param i32))
  (func (export "go") (param i32) (result i32) (call $f (local.get 0)))
  (func (export "catch") (param i32) (result i32)
    (block $caught (result i32)
      (try_table (catch $t $caught) (return (call $f (local.get 0)))) (unreachable)))
  (func (export "throw") (param i32) (result i32) (throw $t (local.get 0)))
  (func (export "double") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
  (func (export "trap") (param i32) (result i32) (unreachable)))"""


class Nested:
    """
    `act` is what the host function does with its argument; it has this object.
    """

    def __init__(self, act):
        self.faults = Faults()
        self.engine = engine.new_engine()
        self.store = engine.new_store(self.engine, 2**20)
        kind = wasmtime.FuncType([wasmtime.ValType.i32()], [wasmtime.ValType.i32()])
        self.made = host_function(
            self.store, kind, "i>i", lambda value: act(self, value), self.faults
        )
        module = wasmtime.Module(self.engine, _TEXT)
        instance = wasmtime.Instance(self.store, module, [self.made.extern])
        self.exports = Exports(self.store, instance, self.faults)

    def __call__(self, name, value):
        return self.exports.function(name)(value)


def count_down(guest, value):
    return guest("go", value - 1) + 1 if value else 100


def test_the_guest_runs_inside_a_host_function_and_so_on():
    guest = Nested(count_down)
    assert guest("go", 30) == 130
    assert (guest.faults.depth, guest.faults.unfinished, guest.faults.reason) == (0, False, None)


def test_a_host_function_goes_on_after_the_guest_returned():
    guest = Nested(lambda guest, value: guest("double", value) + guest("double", value + 1))
    assert guest("go", 10) == 42


def test_an_exception_of_the_guest_passes_through_the_host_to_who_catches_it():
    guest = Nested(lambda guest, value: guest("throw", value + 1))
    assert [guest("catch", 41) for _ in range(3)] == [42, 42, 42]
    assert (guest.faults.depth, guest.faults.unfinished, guest.faults.reason) == (0, False, None)


def test_an_exception_passes_through_many_host_functions():
    def act(guest, value):
        return guest("go", value - 1) if value > 1 else guest("throw", 42)

    assert Nested(act)("catch", 20) == 42


def test_an_exception_is_caught_by_the_innermost_who_can():
    def act(guest, value):
        return guest("catch", 0) + 1 if value else guest("throw", 41)

    assert Nested(act)("catch", 5) == 42


def test_an_exception_that_nobody_catches_ends_the_guest():
    guest = Nested(lambda guest, value: guest("throw", value))
    for _ in range(2):
        with pytest.raises(GuestTrapped, match="^thrown Wasm exception$"):
            guest("go", 1)


@pytest.mark.parametrize("error", [Exited(3, "it ended itself"), MemoryError(), InternalError("x")])
def test_what_ends_the_guest_inside_ends_it_outside_and_is_not_caught(error):
    def act(guest, value):
        if value:
            return guest("catch", value - 1)
        raise error

    guest = Nested(act)
    with pytest.raises(type(error)) as caught:
        guest("catch", 10)
    assert caught.value is error
    assert guest.faults.reason is error


def test_a_trap_inside_is_not_caught_as_an_exception():
    guest = Nested(lambda guest, value: guest("trap", value))
    with pytest.raises(GuestTrapped, match="unreachable"):
        guest("catch", 1)


@pytest.mark.parametrize(("depth", "unfinished"), [(0, True), (1, False), (2, False)])
def test_a_guest_whose_host_functions_do_not_add_up_is_not_entered(depth, unfinished):
    """
    Fewer or more host functions run than calls into the guest wait: one was cut off.
    """
    guest = Nested(count_down)
    guest.faults.depth, guest.faults.unfinished = depth, unfinished
    with pytest.raises(InternalError):
        guest("double", 1)
