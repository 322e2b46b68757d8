"""
Loading and calling native code: the image's own, linked by `linker`, and nothing else.
"""

from executor.wasm.process import Process


def dlopen(process: Process, handle: int) -> int:
    """
    Load the library that a libc handle names: 1, or 0 with the reason for dlerror(3).
    """
    return process.native.open(handle)


def dlsym(process: Process, handle: int, name: int, _index: int) -> int:
    """
    The address of a symbol of a loaded library, or 0: dlsym(3).
    """
    return process.native.symbol(handle, name)


def trampoline(process: Process) -> int:
    """
    The table index of the function by which CPython learns how many parameters a function has.
    """
    return process.native.trampoline


def ffi_call(process: Process, cif: int, function: int, result: int, values: int) -> None:
    """
    Call a function of the guest's own table as libffi describes it: ffi_call.
    """
    process.foreign.call(cif, function, result, values)


def closure_alloc(process: Process, size: int, code: int) -> int:
    """
    A closure's address, its index of the table at `code`: ffi_closure_alloc.
    """
    return process.foreign.closure_alloc(size, code)


def closure_free(process: Process, closure: int) -> None:
    """
    Give a closure back: ffi_closure_free.
    """
    process.foreign.closure_free(closure)


def closure_prepare(
    process: Process, closure: int, cif: int, function: int, user_data: int, code: int
) -> int:
    """
    Make a closure callable, by a slot of the image's fixed set: ffi_prep_closure_loc.
    """
    return process.foreign.closure_prepare(closure, cif, function, user_data, code)
