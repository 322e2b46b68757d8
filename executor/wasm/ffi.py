"""
Calls between ctypes and the guest's own functions: the four imports of Emscripten's libffi.

`import ctypes` reaches nothing outside the guest: a foreign function is another function of the
guest's table, and a pointer is a guest address. What the host does here is what compiled code
cannot do for itself: call a function whose type is known only at run time.

`call` goes to the engine unchecked, which is memory-unsafe for a function of another type than
the arguments given. So the function's real type is read from the engine first, every time, and
the call is made with exactly the values of that type. What C forgives is forgiven, because
programs rely on it: `printf(b"hello")` has no variadic array, `Py_IncRef(x)` is called as if it
returned an int (`fits` has the list). Any other difference is what it is inside wasm, a trap,
which ends the session; and so are a null or missing entry of the table, and a description that
does not hold together (`ffi_call` returns nothing, so there is no error to give back).

Closures are those of `closures.py`; nothing is compiled in a session. A closure has two names:
its address, by which libffi's caller keeps it, and an index of the table, which is reserved when
it is allocated and filled when it is prepared, because only then its signature is known. Before
and after, the entry is null, and calling it is a trap.
"""

from collections import deque
from collections.abc import Callable
from ctypes import c_uint64
from dataclasses import dataclass
from typing import Final

import wasmtime
from wasmtime import _bindings as capi

from executor.wasm import closures
from executor.wasm.abi import Errno, GuestFault
from executor.wasm.arguments import Arguments, lay_out, store_result
from executor.wasm.calls import Exports, Faults, GuestTrapped, enter
from executor.wasm.cif import BY_ADDRESS, BY_RESULT, Interface, Kind, NoInterface, read_interface
from executor.wasm.function_table import FunctionTable
from executor.wasm.memory import GuestMemory

# ffi.h
FFI_OK: Final = 0
FFI_BAD_TYPEDEF: Final = 1
# Closures that exist at once, prepared or not: entries of the table that are kept for them.
CLOSURES_MAX: Final = 1024
# Foreign calls inside one another: each takes Python frames and a part of the host's stack, which
# the guest cannot see, so a callback that recurses without end would not end as it should there.
DEPTH_MAX: Final = 64
# What libffi's caller may ask for one closure; ctypes asks for 16 bytes.
_SIZE_MAX: Final = 4096
# A raw value is two words.
_WORDS: Final = 2
# Types of parameters and results, and a result that is wanted beside one that there is.
_NUMBERS_ONLY: Final = frozenset("iIfd")
_RESULTS: Final = frozenset({*((one, one) for one in _NUMBERS_ONLY), ("i", "I")})


@dataclass(slots=True)
class _Closure:
    """
    A closure that was allocated; `slot` is its place among its template's once it is prepared.
    """

    index: int
    template: int = -1
    slot: int = -1


class ForeignCalls:
    """
    The handlers of libffi's imports, for one guest.
    """

    def __init__(
        self,
        store: wasmtime.Store,
        exports: Exports,
        memory: GuestMemory,
        table: wasmtime.Table,
        adapter: Exports,
        faults: Faults,
        too_deep: Callable[[], None] | None = None,
    ) -> None:
        """
        `adapter` is the instance of `closures.adapter_module`; `too_deep` has the guest's
        interpreter raise an error as soon as it goes on. Grows the table.

        Raises wasmtime.WasmtimeError where the store's limit leaves no room for that.
        """
        self._store: Final = store
        self._memory: Final = memory
        self._table: Final = FunctionTable(store, table)
        self._adapter: Final = adapter
        self._faults: Final = faults
        self._too_deep: Final = too_deep
        self._allocate: Final = exports.function("malloc")
        self._release: Final = exports.function("free")
        self._stack: Final = exports.function("emscripten_stack_get_current")
        self._restore_stack: Final = exports.function("_emscripten_stack_restore")
        first = self._table.grow(CLOSURES_MAX)
        # Handed out in turn, so that an index is null for long after its closure was freed.
        self._indexes: Final = deque(range(first, first + CLOSURES_MAX))
        self._slots: Final = [deque(range(one.slots)) for one in closures.TEMPLATES]
        self._closures: Final[dict[int, _Closure]] = {}

    @property
    def is_untouched(self) -> bool:
        """
        Whether all closures wait in the order in which they began: none was ever made.
        """
        waiting = (self._indexes, *self._slots)
        return not self._closures and all(list(one) == sorted(one) for one in waiting)

    # ---- calls --------------------------------------------------------------------------------

    def call(self, cif: int, function: int, result: int, values: int) -> None:
        """
        Call the table's `function` as the `ffi_cif` says, with the arguments that the array
        `values` points to, and store what it returns at `result` (ffi_call of libffi).

        Deeper than DEPTH_MAX nothing is called: the result is 0, and the interpreter raises an
        error next. Raises GuestTrapped before anything is changed where the pointers, the
        description and the function do not fit together, or nobody can raise that error; and
        what ended the guest inside the call.
        """
        try:
            interface = read_interface(self._memory, cif)
            if self._faults.depth > DEPTH_MAX:
                self._refuse_depth(interface, result)
                return
            found, signature = self._callable(function, interface.signature)
            arguments = lay_out(self._memory, interface, values, result, self._stack())
        except GuestFault as fault:
            raise GuestTrapped("out of bounds memory access in a foreign call") from fault
        except NoInterface as refused:
            raise GuestTrapped(f"a foreign call asked for what does not exist: {refused}") from None
        word = self._enter(found, signature, arguments)
        store_result(self._memory, interface.result, result, word)

    def _callable(self, index: int, asked: str) -> tuple[capi.wasmtime_func_t, str]:
        """
        The function at `index`, which can be called as `asked` ("iId>i"), and its signature.

        Raises GuestTrapped with the engine's words for the same mistake in `call_indirect`.
        """
        try:
            found = self._table.at(index)
        except IndexError:
            raise GuestTrapped("undefined element: out of bounds table access") from None
        if found is None:
            raise GuestTrapped("uninitialized element")
        signature = self._table.signature(found)
        if not fits(asked, signature):
            raise GuestTrapped(f"indirect call type mismatch: {asked} asked of {signature}")
        return found, signature

    def _refuse_depth(self, interface: Interface, result: int) -> None:
        told = f"foreign calls nested deeper than {DEPTH_MAX}"
        if self._too_deep is None:
            raise GuestTrapped(told)
        store_result(self._memory, interface.result, result, 0)
        self._too_deep()

    def _enter(self, function: capi.wasmtime_func_t, signature: str, arguments: Arguments) -> int:
        """
        Call, with the part of the arguments that goes on the stack there; returns the result as
        a word, 0 where the function has none.
        """
        parameters, _, result = signature.partition(">")
        raw = (c_uint64 * (_WORDS * max(1, len(parameters))))()
        for index, word in zip(range(len(parameters)), arguments.words, strict=False):
            raw[_WORDS * index] = word
        for address, data in arguments.stored:
            self._memory.write(address, data)
        if arguments.stored:
            self._restore_stack(arguments.stack)
        enter(self._table.context, function, raw, self._faults)
        # An exception that passes here restores the stack where it is caught.
        if arguments.stored:
            self._restore_stack(arguments.old_stack)
        return raw[0] if result else 0

    # ---- closures -----------------------------------------------------------------------------

    def closure_alloc(self, size: int, code: int) -> int:
        """
        Reserve a closure of `size` bytes, store its index of the table at `code`, and return its
        address (ffi_closure_alloc).

        Raises GuestFault: ENOMEM when all are taken or the guest has no memory, EINVAL for a
        size that no closure has, EFAULT for a pointer outside memory.
        """
        self._memory.span(code, 4)
        if size > _SIZE_MAX:
            raise GuestFault(Errno.EINVAL, f"a closure of {size} bytes; {_SIZE_MAX} are allowed")
        if not self._indexes:
            raise GuestFault(
                Errno.ENOMEM,
                f"there are {CLOSURES_MAX} callbacks already: drop some before making another",
            )
        total = closures.PREFIX + max(size, closures.CLOSURE_SIZE)
        block = self._allocate(total)
        closure = block + closures.PREFIX
        if not block or closure in self._closures:
            raise GuestFault(Errno.ENOMEM)
        self._memory.window(block, total)[:] = bytes(total)
        index = self._indexes.popleft()
        self._closures[closure] = _Closure(index)
        self._memory.put_u32(closure + closures.INDEX, index)
        self._memory.put_u32(code, index)
        return closure

    def closure_free(self, closure: int) -> None:
        """
        Give a closure back; an address that is none changes nothing (ffi_closure_free).
        """
        known = self._closures.pop(closure, None)
        if known is None:
            return
        self._empty(known)
        self._indexes.append(known.index)
        self._release(closure - closures.PREFIX)

    def closure_prepare(
        self, closure: int, cif: int, function: int, user_data: int, code: int
    ) -> int:
        """
        Make the closure call `function(cif, result, arguments, user_data)` when it is called as
        the `ffi_cif` says (ffi_prep_closure_loc). Returns FFI_OK.

        Raises GuestFault, after which the closure is as it was: ENOSYS for a signature that no
        template has, ENOMEM when all slots of it are taken, EINVAL for what is no closure,
        EFAULT for a pointer outside memory.
        """
        known = self._closures.get(closure)
        if known is None or known.index != code:
            raise GuestFault(Errno.EINVAL, "this is no closure that was allocated")
        interface = self._interface(cif)
        template = _template(interface)
        if not self._slots[template]:
            count = closures.TEMPLATES[template].slots
            raise GuestFault(
                Errno.ENOMEM,
                f"there are {count} callbacks of this type ({interface.signature}) already, which "
                "is all there can be: drop some before making another",
            )
        start = closure + closures.FLAGS
        self._memory.span(start, closures.CLOSURE_SIZE - closures.FLAGS)
        self._empty(known)
        known.template, known.slot = template, self._slots[template].popleft()
        self._memory.put_u32(start, _flags(interface))
        self._memory.put_u32(closure + closures.CIF, cif)
        self._memory.put_u32(closure + closures.FUN, function)
        self._memory.put_u32(closure + closures.USER_DATA, user_data)
        self._fill(known, closure)
        return FFI_OK

    def _interface(self, cif: int) -> Interface:
        try:
            return read_interface(self._memory, cif)
        except NoInterface as refused:
            raise GuestFault(Errno.EINVAL, f"no callback can be made: {refused}") from None

    def _fill(self, known: _Closure, closure: int) -> None:
        name = closures.global_name(known.template, known.slot)
        self._adapter.global_(name).set_value(self._store, wasmtime.Val.i32(closure))
        function = closures.function_name(known.template, known.slot)
        self._table.put(known.index, self._adapter.raw_function(function))

    def _empty(self, known: _Closure) -> None:
        """
        Make the closure's entry null and give its slot back, if it has one.
        """
        if known.slot >= 0:
            self._table.put(known.index, None)
            self._slots[known.template].append(known.slot)
            known.template = known.slot = -1


def fits(asked: str, real: str) -> bool:
    """
    Whether a function of signature `real` can be called as `asked`.

    Parameters that both have are the same. As in C, those that are missing are 0 here, and those
    that are too many are not seen; a result that is not there is 0, one that is not wanted is
    dropped, and of a wide one the low half may be taken.
    """
    given, _, wanted = asked.partition(">")
    taken, _, returned = real.partition(">")
    # A reference is never made up, and the raw values have room for one result.
    if not set(taken + returned) <= _NUMBERS_ONLY or len(returned) > 1:
        return False
    alike = all(one == other for one, other in zip(given, taken, strict=False))
    return alike and (not wanted or not returned or (wanted, returned) in _RESULTS)


_NUMBERS: Final = {one.signature: number for number, one in enumerate(closures.TEMPLATES)}


def _template(interface: Interface) -> int:
    """
    The template for callbacks of this interface. Raises GuestFault(ENOSYS) where there is none.
    """
    kinds = {one.kind for one in interface.arguments}
    number = _NUMBERS.get(interface.signature)
    if number is None or interface.variadic or kinds & {Kind.VOID, Kind.LONGDOUBLE}:
        raise GuestFault(
            Errno.ENOSYS,
            f"callbacks of type {interface.signature} are not in this image's fixed set: "
            "use fewer parameters, or integers and pointers",
        )
    return number


def _flags(interface: Interface) -> int:
    """
    The closure's word that says which parameters are addresses of structs or of the result.
    """
    by_result = interface.result.kind in BY_RESULT
    flags = closures.BY_RESULT if by_result else 0
    for index, one in enumerate(interface.arguments, start=int(by_result)):
        if one.kind in BY_ADDRESS:
            flags |= 1 << index
    return flags
