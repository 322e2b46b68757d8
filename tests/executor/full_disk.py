"""
A disk that takes no more, as far as one process can make it so.
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_longer_than(size: int) -> Iterator[None]:
    """
    No file of this process becomes longer than so many bytes: a write takes a part, and the next
    one is refused (EFBIG, setrlimit(2)).
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
