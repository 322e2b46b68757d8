"""
Waiting for something that another process does and nobody tells.
"""

import os
import time
from collections.abc import Callable

PATIENCE = 20.0


def until(holds: Callable[[], object]) -> None:
    """
    Wait until it holds. What never does fails: a test that hangs says nothing.
    """
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it did not come to hold"
        os.sched_yield()
