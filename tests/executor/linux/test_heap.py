"""
What malloc keeps: counted by the pages that the kernel has to give, in a process of its own.
"""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import resource
from executor.linux import heap
heap.keep(2**21, 2**23)
def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def use():
    pieces = [bytes(bytearray(2**20)) for _ in range(3)]
use()
before = pages()
for _ in range(20):
    use()
print(pages() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="malloc is not glibc's")
def test_freed_memory_is_used_again_without_the_kernel():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
    )
    # Twenty times three MiB are 15,360 pages.
    assert int(done.stdout) < 2000
