"""
What glibc's malloc keeps of memory that was freed: for a process through which large pieces pass.

Unless told otherwise it gives a large piece back to the kernel as soon as it is free, or as the end
of the heap grows long, and asks for the next one anew. The kernel then clears 256 pages for each
MiB, at a fault each: on a virtual machine ten times what copying the MiB costs. Source: mallopt(3).
"""

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
# Looked up now: it is asked for by processes that can open nothing any more.
_MALLOPT: Final = getattr(ctypes.CDLL(None), "mallopt", None)


def keep(largest: int, free: int) -> None:
    """
    Have pieces of up to `largest` bytes come from the heap, and up to `free` bytes (below 2**31)
    at the end of each of its arenas stay there when they are free. Where malloc is not glibc's it
    may do as it likes.
    """
    if _MALLOPT is not None:
        _MALLOPT(_M_MMAP_THRESHOLD, largest)
        _MALLOPT(_M_TRIM_THRESHOLD, free)
