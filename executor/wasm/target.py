"""
What compiled code may expect of a processor: a named baseline, not whatever this machine has.

The names are those of the x86-64 psABI's micro-architecture levels. A session recorded on one
machine is replayed by the same machine code on another of the same level, and an image can be
built once for many machines. The best level that the processor has is taken; measured against
code for the very processor, it costs nothing (BUILD.md).
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from executor.kernel.errors import InternalError

TRIPLE: Final = "x86_64-unknown-linux-gnu"


@dataclass(frozen=True, slots=True)
class Target:
    """
    A level: its name, Cranelift's flags, and what /proc/cpuinfo calls the same features.
    """

    name: str
    flags: tuple[str, ...]
    cpuinfo: frozenset[str]


_V2_FLAGS: Final = ("cmpxchg16b", "popcnt", "sse3", "sse41", "sse42", "ssse3")
_V2_CPUINFO: Final = frozenset({"cx16", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"})
_V2: Final = Target("x86-64-v2", _V2_FLAGS, _V2_CPUINFO)
_V3: Final = Target(
    "x86-64-v3",
    (*_V2_FLAGS, "avx", "avx2", "bmi1", "bmi2", "fma", "lzcnt"),
    _V2_CPUINFO | {"avx", "avx2", "bmi1", "bmi2", "fma", "abm"},
)
TARGETS: Final = (_V3, _V2)


def fitting(features: frozenset[str]) -> Target | None:
    """
    The best level for a processor with these features, as /proc/cpuinfo names them; or None.
    """
    return next((target for target in TARGETS if target.cpuinfo <= features), None)


@functools.cache
def this_target() -> Target:
    """
    The level of this machine. Raises InternalError where it has not even the lower one.
    """
    target = fitting(processor_features())
    if target is None:
        raise InternalError(
            "this processor has not the features of x86-64-v2 (SSE4.2, POPCNT, CX16), which "
            "compiled code needs; run the server on a newer one, or give the virtual machine a "
            "newer processor model"
        )
    return target


def processor_features() -> frozenset[str]:
    """
    What the kernel names of the first processor: proc(5), /proc/cpuinfo.
    """
    for line in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return frozenset(value.split())
    return frozenset()
