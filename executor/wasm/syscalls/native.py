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
