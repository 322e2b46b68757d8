"""
What a process asks of the code beside its main module; `NoNativeCode` where there is none.
"""

from typing import Protocol


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
