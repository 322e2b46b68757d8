"""
What a process asks of the guest's code: libraries beside its main module, and its libc.
`NoNativeCode`, `NoForeignCalls` and `NoLibc` where there is none.
"""

from typing import Protocol

from executor.wasm.abi import Errno, GuestFault


class NativeCode(Protocol):
    """
    Libraries by libc's handle, which is an address in guest memory.
    """

    trampoline: int

    def open(self, handle: int) -> int:
        """
        Load the library named by the handle: 1, or 0.
        """

    def symbol(self, handle: int, name: int) -> int:
        """
        The address of a symbol, or 0.
        """


class NoNativeCode:
    """
    A guest that can load nothing: every question is answered with 0.
    """

    trampoline = 0

    def open(self, handle: int) -> int:  # noqa: ARG002 - the protocol's
        """
        Nothing is loaded.
        """
        return 0

    def symbol(self, handle: int, name: int) -> int:  # noqa: ARG002
        """
        Nothing is found.
        """
        return 0


class Foreign(Protocol):
    """
    The calls of Emscripten's libffi with their C arguments; what fails is GuestFault, or ends
    the guest.
    """

    def call(self, cif: int, function: int, result: int, values: int, /) -> None:
        """
        Call a function of the guest's table: ffi_call.
        """

    def closure_alloc(self, size: int, code: int, /) -> int:
        """
        Reserve a closure and an entry of the table for it: ffi_closure_alloc.
        """

    def closure_free(self, closure: int, /) -> None:
        """
        Give a closure back: ffi_closure_free.
        """

    def closure_prepare(
        self, closure: int, cif: int, function: int, user_data: int, code: int, /
    ) -> int:
        """
        Make the closure callable: ffi_prep_closure_loc.
        """


class NoForeignCalls:
    """
    A guest whose image has no closures: none is made, and nothing is called.
    """

    def call(self, *_arguments: int) -> None:
        """
        ENOSYS: nothing is called. (Without closures `import ctypes` fails before it calls.)
        """
        raise GuestFault(Errno.ENOSYS)

    def closure_alloc(self, *_arguments: int) -> int:
        """
        ENOSYS.
        """
        raise GuestFault(Errno.ENOSYS)

    def closure_free(self, *_arguments: int) -> None:
        """
        Nothing was reserved.
        """

    def closure_prepare(self, *_arguments: int) -> int:
        """
        ENOSYS.
        """
        raise GuestFault(Errno.ENOSYS)


class Libc(Protocol):
    """
    What a host function that stands for one of libc's needs of the guest's own libc.
    """

    def allocate(self, size: int, /) -> int:
        """
        The address of `size` bytes that the guest's free takes back: malloc(3); 0 for none.
        """

    def set_errno(self, errno: Errno, /) -> None:
        """
        Set the guest's errno(3).
        """


class NoLibc:
    """
    A guest none of whose libc's functions is the host's.
    """

    def allocate(self, _size: int, /) -> int:
        """
        No memory.
        """
        return 0

    def set_errno(self, _errno: Errno, /) -> None:
        """
        Nobody reads it.
        """
