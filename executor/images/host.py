"""
What this machine is: whether it can run an image, and which features compiled code may use.
"""

import os
import platform
import sys
from functools import cache
from pathlib import Path

from executor.images.errors import PlatformUnsupportedError

# What Cranelift looks for on x86-64, in the spelling of /proc/cpuinfo. Code compiled where one
# is present will not load where it is absent, so they are part of an image's key. The other
# flags are left out: a new kernel names more of them, and no image needs rebuilding for that.
_CODE_FLAGS = (
    "abm",
    "avx",
    "avx2",
    "avx512_bitalg",
    "avx512_vbmi2",
    "avx512bw",
    "avx512cd",
    "avx512dq",
    "avx512f",
    "avx512vbmi",
    "avx512vl",
    "bmi1",
    "bmi2",
    "cx16",
    "fma",
    "pni",
    "popcnt",
    "sse4_1",
    "sse4_2",
    "ssse3",
)


def platform_problem() -> str | None:
    """
    Say why compiled images cannot be made or run here, or None where they can.

    Needed: Linux, x86-64, a 64-bit Python linked with glibc (the wheels of wasmtime that the
    package pins exist for more, but only this one is tested).
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


@cache
def code_features() -> tuple[str, ...]:
    """
    The processor's features that compiled code may use, sorted; see proc(5), /proc/cpuinfo.

    Empty where the kernel names none: such an image is then compiled for, and found on,
    machines that name none.
    """
    for line in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return tuple(sorted(set(value.split()) & set(_CODE_FLAGS)))
    return ()
