"""
Calls across the wasm boundary, through the unchecked half of wasmtime's C API.

The checked half costs 10 us a call, this one 0.5 (BUILD.md has the figures), and only at that
price is "every system call is a check" affordable. What the checked half would have done is
done here: values are masked to their types in both directions, and no Python exception crosses
the boundary. A host function that fails ends the guest by a trap and leaves the reason in
`Faults`. (ctypes would print the exception and hand over whatever the stack holds as the result,
which wasmtime would take for a trap's address: so the trap is made before it is needed.)

The prototypes are our own (`library["name"]` makes a fresh function object): wasmtime-py's
types cost twice the time. They follow `wasmtime/val.h`, `func.h` and `instance.h` of release 50.
"""

import ctypes
import struct
from collections.abc import Callable
from ctypes import c_bool, c_char_p, c_size_t, c_uint64, c_void_p
from dataclasses import dataclass, field
from typing import Any, Final

import wasmtime
from wasmtime import _bindings as capi

from executor.kernel.errors import InternalError

Handler = Callable[..., int | float | None]

# One raw value is 16 bytes, so value i starts at word 2*i of an array of 64-bit words.
_WORDS = 2
_MASK = {"i": 0xFFFFFFFF, "I": 0xFFFFFFFFFFFFFFFF}
_RawArguments = ctypes.POINTER(c_uint64)
_LIBRARY: Final[ctypes.CDLL] = vars(capi)["dll"]
_Callback = ctypes.CFUNCTYPE(c_void_p, c_void_p, c_void_p, _RawArguments, c_size_t)


# The kinds of an extern, from `wasmtime/extern.h`.
_FUNC, _GLOBAL, _TABLE, _MEMORY, _, _TAG = range(6)


def _prototype(name: str, result: Any, *arguments: Any) -> Any:
    function = _LIBRARY[name]
    function.restype = result
    function.argtypes = arguments
    return function


_func_new = _prototype(
    "wasmtime_func_new_unchecked",
    None, c_void_p, c_void_p, _Callback, c_void_p, c_void_p, c_void_p,
)  # fmt: skip
_func_call = _prototype(
    "wasmtime_func_call_unchecked",
    c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p,
)  # fmt: skip
_trap_new = _prototype("wasmtime_trap_new", c_void_p, c_char_p, c_size_t)
_has_exception = _prototype("wasmtime_context_has_exception", c_bool, c_void_p)
_export_get = _prototype(
    "wasmtime_instance_export_get",
    c_bool, c_void_p, c_void_p, c_char_p, c_size_t, c_void_p,
)  # fmt: skip


class GuestTrapped(Exception):
    """
    The guest ended by a trap; the text is wasmtime's. The store must not be entered again.
    """


class GuestThrew(Exception):
    """
    An exception of the guest's own (C++'s, or longjmp's) on its way through a host function.

    Nothing has ended. A host function lets this pass; the trap that it carries goes back to the
    engine, which unwinds to whoever catches the exception.
    """

    def __init__(self, trap: int) -> None:
        super().__init__("an exception of the guest passes through a host function")
        self.trap = trap


def _new_trap() -> int:
    text = b"the host ended this guest"
    return int(_trap_new(text, len(text)))


@dataclass(slots=True)
class Faults:
    """
    Why the guest must end: set by a host function, read where the guest was entered.

    `unfinished` is true while a host function runs. If it is still true when the next one
    starts, an exception got past every handler (memory ran out inside one, say), and the
    guest is ended then. A host function that calls the guest is not running while the guest
    does: `depth` counts the calls into the guest that are under way, one inside the other.
    """

    reason: BaseException | None = None
    unfinished: bool = False
    depth: int = 0
    # The address of a trap that unwinds the guest; wasmtime takes ownership. Made in advance,
    # because the reason to use it may be that there is no memory left.
    trap: int = field(default_factory=_new_trap)


@dataclass(frozen=True, slots=True)
class HostFunction:
    """
    A host function in a store, and the callback that must live as long as the store does.
    """

    extern: wasmtime.Func
    keep: Any = field(repr=False)


def host_function(
    store: wasmtime.Store, kind: wasmtime.FuncType, signature: str, handler: Handler, faults: Faults
) -> HostFunction:
    """
    Make `handler` callable by the guest as a function of `signature` ("iIi>i").

    `i` and `I` are 32 and 64-bit integers, given to the handler unsigned; `d` is a double, `r`
    a reference, which the handler sees as 0 and returns as null. The handler returns an
    integer that fits its result type read as signed or unsigned; one that does not fit ends
    the guest, because the alternative is a silently truncated size.
    """
    parameters, _, result = signature.partition(">")
    callback = _Callback(_bridge(parameters, result, handler, faults))
    function = capi.wasmtime_func_t()
    _func_new(
        ctypes.cast(store._context(), c_void_p),  # noqa: SLF001 - the C API's context
        ctypes.cast(kind.ptr(), c_void_p),
        callback,
        None,
        None,
        ctypes.byref(function),
    )
    return HostFunction(wasmtime.Func._from_raw(function), callback)  # noqa: SLF001


def _bridge(
    parameters: str, result: str, handler: Handler, faults: Faults
) -> Callable[[int, int, Any, int], int | None]:
    """
    The function that wasmtime calls: read the arguments, call, write the result, trap on error.
    """
    read = _reader(parameters)
    write = _writer(result)

    def called(_environment: int, _caller: int, raw: Any, _count: int) -> int | None:
        try:
            if faults.unfinished or faults.reason is not None:
                raise InternalError("a host function did not finish, or the guest has ended")
            faults.unfinished = True
            write(raw, handler(*read(raw)))
            faults.unfinished = False
        except GuestThrew as thrown:
            faults.unfinished = False
            return thrown.trap
        except BaseException as reason:  # noqa: BLE001 - nothing may cross the C boundary
            if faults.reason is None:
                faults.reason = reason
            trap, faults.trap = faults.trap, 0
            return trap or _new_trap()
        return None

    return called


def _reader(parameters: str) -> Callable[[Any], tuple[int | float, ...]]:
    """
    A function that reads the arguments; the common shapes are written out, they are hot.
    """
    mask = _MASK["i"]
    shapes: dict[str, Callable[[Any], tuple[int | float, ...]]] = {
        "": lambda _raw: (),
        "i": lambda raw: (raw[0] & mask,),
        "ii": lambda raw: (raw[0] & mask, raw[2] & mask),
        "iii": lambda raw: (raw[0] & mask, raw[2] & mask, raw[4] & mask),
        "iiii": lambda raw: (raw[0] & mask, raw[2] & mask, raw[4] & mask, raw[6] & mask),
    }
    if parameters in shapes:
        return shapes[parameters]
    plan = tuple((index * _WORDS, kind) for index, kind in enumerate(parameters))
    return lambda raw: tuple(_value(raw[word], kind) for word, kind in plan)


def _value(word: int, kind: str) -> int | float:
    if kind == "d":
        return float(struct.unpack("<d", struct.pack("<Q", word))[0])
    return word & _MASK[kind] if kind in _MASK else 0


def _writer(result: str) -> Callable[[Any, int | float | None], None]:
    if result == "":
        return lambda _raw, _value: None
    if result == "d":
        return _write_double
    if result == "r":
        return _write_null
    low, high = (-(2**31), 2**32) if result == "i" else (-(2**63), 2**64)
    mask = _MASK[result]

    def write(raw: Any, value: float | None) -> None:
        if not isinstance(value, int) or not low <= value < high:
            raise InternalError(f"a host function returned {value!r} for a {result}")
        raw[0] = value & mask

    return write


def _write_double(raw: Any, value: float | None) -> None:
    if value is None:
        raise InternalError("a host function returned nothing for a double")
    raw[0] = struct.unpack("<Q", struct.pack("<d", value))[0]


def _write_null(raw: Any, _value: float | None) -> None:
    raw[0] = 0


class Exports:
    """
    An instance's exports, each looked up by name when it is wanted.

    `Instance.exports` of wasmtime-py builds all 8,560 of the main module at once, which takes
    2.5 seconds.
    """

    def __init__(self, store: wasmtime.Store, instance: wasmtime.Instance, faults: Faults) -> None:
        self._store: Final = store
        self._context: Final = ctypes.cast(store._context(), c_void_p)  # noqa: SLF001
        self._instance: Final = instance._instance  # noqa: SLF001
        self._faults: Final = faults
        self._data_base = 0

    def move_data(self, base: int) -> None:
        """
        Say where the module's data lie: exported addresses of a relocatable one count from there.
        """
        self._data_base = base

    def function(self, name: str) -> "GuestFunction":
        """
        The exported function `name`. Raises InternalError where there is none.
        """
        return GuestFunction(self._context, self.raw_function(name), name, self._faults)

    def raw_function(self, name: str) -> capi.wasmtime_func_t:
        """
        The exported function `name` as the C API's own value, for a table or another instance.
        """
        function: capi.wasmtime_func_t = self._get(name, _FUNC).func
        return function

    def address(self, name: str) -> int:
        """
        The guest address of the exported data symbol `name`.
        """
        value = int(self.global_(name).value(self._store))
        return value + self._data_base & _MASK["i"]

    def global_(self, name: str) -> wasmtime.Global:
        """
        The exported global `name` itself.
        """
        return wasmtime.Global._from_raw(self._get(name, _GLOBAL).global_)  # noqa: SLF001

    def tag(self, name: str) -> wasmtime.Tag:
        """
        The exported exception tag `name`.
        """
        return wasmtime.Tag._from_raw(self._get(name, _TAG).tag)  # noqa: SLF001

    def symbol(self, name: str) -> wasmtime.Func | int | None:
        """
        What `name` is to a linker: a function, the address of data, or None where it is neither.
        """
        item = self._find(name)
        if item is not None and item.kind == _FUNC:
            return wasmtime.Func._from_raw(item.of.func)  # noqa: SLF001
        if item is not None and item.kind == _GLOBAL:
            return self.address(name)
        return None

    def memory(self, name: str) -> wasmtime.Memory:
        """
        The exported linear memory `name`.
        """
        exported = self._get(name, _MEMORY).memory
        return wasmtime.Memory._from_raw(exported)  # noqa: SLF001

    def table(self, name: str) -> wasmtime.Table:
        """
        The exported table `name`.
        """
        exported = self._get(name, _TABLE).table
        return wasmtime.Table._from_raw(exported)  # noqa: SLF001

    def _get(self, name: str, kind: int) -> Any:
        item = self._find(name)
        if item is None or item.kind != kind:
            raise InternalError(f"the guest exports no {name} of the kind that is needed")
        return item.of

    def _find(self, name: str) -> Any:
        item: Any = capi.wasmtime_extern_t()
        encoded = name.encode("utf-8", "surrogateescape")
        found = _export_get(
            self._context,
            ctypes.byref(self._instance),
            encoded,
            len(encoded),
            ctypes.byref(item),
        )
        return item if found else None


class GuestFunction:
    """
    A function of the guest: takes and returns integers, raises what ended the guest.
    """

    __slots__ = ("_context", "_faults", "_function", "name")

    def __init__(
        self, context: c_void_p, function: capi.wasmtime_func_t, name: str, faults: Faults
    ) -> None:
        self._context = context
        self._function = function
        self._faults = faults
        self.name = name

    def __call__(self, *arguments: int) -> int:
        """
        Call with 32-bit integers and return the 32-bit result, unsigned (0 where there is none).

        May be called by a host function that the guest has called: it then runs inside it.
        Raises the reason a host function left in `Faults`, or GuestTrapped.
        """
        raw = (c_uint64 * (_WORDS * max(1, len(arguments))))()
        for index, argument in enumerate(arguments):
            raw[index * _WORDS] = argument & _MASK["i"]
        enter(self._context, self._function, raw, self._faults)
        return int(raw[0]) & _MASK["i"]


def enter(
    context: c_void_p, function: capi.wasmtime_func_t, raw: "ctypes.Array[c_uint64]", faults: Faults
) -> None:
    """
    Call a guest function with raw values, two words each, where its results then are.

    The caller is certain of the function's type: the engine does not look. May be called by a
    host function that the guest has called, and the guest then runs inside it. Raises the
    reason a host function left in `faults`, GuestTrapped, or, inside a host function only,
    GuestThrew; InternalError if an earlier host function never finished.
    """
    if faults.unfinished != (faults.depth > 0):
        raise InternalError("a host function did not finish, so the guest is not entered again")
    trap = c_void_p()
    # The host function that this call is made from, if any, waits: it did not fail.
    waiting, faults.unfinished = faults.unfinished, False
    faults.depth += 1
    error = _func_call(context, ctypes.byref(function), raw, len(raw) // _WORDS, ctypes.byref(trap))
    faults.depth -= 1
    if trap.value and waiting and faults.reason is None and _has_exception(context):
        faults.unfinished = True
        raise GuestThrew(trap.value)
    if trap.value or error:
        raise _ended(trap.value or 0, faults)
    if faults.unfinished:
        faults.reason = InternalError("a host function did not finish")
        raise faults.reason
    faults.unfinished = waiting


def _ended(trap: int, faults: Faults) -> BaseException:
    faults.unfinished = False
    if faults.reason is None:
        faults.reason = GuestTrapped(_trap_text(trap) if trap else "it could not be called")
    elif not faults.trap:
        # The functions around this one are unwound with the same trap.
        faults.trap = trap
    return faults.reason


def _trap_text(trap: int) -> str:
    """
    The cause, which is wasmtime's last line; the backtrace before it names guest addresses.
    """
    pointer = ctypes.cast(trap, ctypes.POINTER(capi.wasm_trap_t))
    told = str(wasmtime.Trap._from_ptr(pointer)).strip().splitlines()  # noqa: SLF001
    return told[-1].strip().removeprefix("wasm trap: ") if told else "for no reason given"
