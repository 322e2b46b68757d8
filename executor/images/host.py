"""
What this machine is: whether it can run an image.
"""

import os
import platform
import sys

from executor.images.errors import PlatformUnsupportedError
from executor.wasm.target import fitting, processor_features


def platform_problem() -> str | None:
    """
    Say why compiled images cannot be made or run here, or None where they can.

    Needed: Linux, x86-64 of level 2 or more, a 64-bit Python linked with glibc (the wheels of
    wasmtime that the package pins exist for more, but only this one is tested).
    """
    found = f"{sys.platform} {platform.machine() or 'unknown'}"
    if sys.platform != "linux":
        return _sentence(found, "the jail around the guest is made of Linux mechanisms")
    if platform.machine() != "x86_64":
        return _sentence(found, "compiled code is bound to its machine and tested on this one")
    if sys.maxsize < 2**32:
        return _sentence(f"{found}, 32-bit Python", "the guest's memory is 4 GiB of address space")
    if _glibc() is None:
        return _sentence(f"{found} without glibc", "wasmtime's wheel is linked with glibc")
    if fitting(processor_features()) is None:
        return _sentence(f"{found} before x86-64-v2", "compiled code uses SSE4.2 and POPCNT")
    return None


def require_platform() -> None:
    """
    Raise PlatformUnsupportedError where `platform_problem` finds one.
    """
    problem = platform_problem()
    if problem is not None:
        raise PlatformUnsupportedError(problem)


def _sentence(found: str, why: str) -> str:
    return (
        f"This machine is {found}; images need Linux x86_64 with glibc, because {why}. "
        "Run the server on such a machine or in such a virtual machine; the client runs anywhere."
    )


def _glibc() -> str | None:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, ValueError, OSError):
        return None
