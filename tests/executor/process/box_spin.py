"""
Threads that compute and never wait, and what the kernel says that they had.
"""

import os
import threading
import time
import zlib

from executor.linux import cgroups
from executor.linux.errors import MechanismError

THREADS, SECONDS = 16, 1.0
_CHUNK = bytes(1 << 20)


def is_shared():
    """
    Whether this process may give groups a share of this host's processors.
    """
    try:
        return os.geteuid() == 0 and "cpu" in cgroups.own()
    except MechanismError:
        return False


def spin(_host):
    """
    How many processors the threads of this process had, on average of a second or more.

    By its own clock of CPU time, so what others of this machine take is not in it: they make it
    less, never more. Checksums of large blocks are made without Python's lock.
    """
    started, used = time.monotonic(), time.process_time()
    over = threading.Event()
    workers = [threading.Thread(target=_work, args=(over,), daemon=True) for _ in range(THREADS)]
    for worker in workers:
        worker.start()
    over.wait(SECONDS)
    over.set()
    for worker in workers:
        worker.join()
    return f"{(time.process_time() - used) / (time.monotonic() - started):.3f}"


def _work(over):
    while not over.is_set():
        zlib.crc32(_CHUNK)


SPINS = {"spin": spin}
