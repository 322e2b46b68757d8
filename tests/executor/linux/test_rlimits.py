import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from executor.linux import rlimits
from executor.linux.rlimits import Limit

ROOT = Path(__file__).resolve().parents[3]
PRELUDE = """
import ctypes, mmap, os, resource
from executor.linux import rlimits
from executor.linux.errors import MechanismError
from executor.linux.libc import call
from executor.linux.rlimits import Limit

def failing(limits):
    try:
        rlimits.apply(limits)
    except MechanismError as error:
        print(error)

def said(name, *arguments):
    try:
        return call(name, *arguments) >= 0
    except OSError as error:
        return error.strerror
"""


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + script],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("limit", list(Limit))
def test_a_limit_is_set_soft_and_hard(limit):
    value = {Limit.DATA: 2**30, Limit.DESCRIPTORS: 64, Limit.CPU: 600}.get(limit, 0)
    said = run(f"""
rlimits.apply({{Limit.{limit.name}: {value}}})
print(resource.getrlimit(Limit.{limit.name}))
""")
    assert said == f"({value}, {value})"


def test_a_limit_cannot_be_raised_again():
    said = run("""
rlimits.apply({Limit.DESCRIPTORS: 64})
failing({Limit.DESCRIPTORS: 65})
print(resource.getrlimit(Limit.DESCRIPTORS))
""")
    assert said.startswith("rlimits: DESCRIPTORS 65 is above the hard limit 64; ")
    assert said.endswith("(64, 64)")


def test_minus_one_never_means_no_limit():
    before = resource.getrlimit(resource.RLIMIT_CORE)
    said = run("failing({Limit.CORE: -1}); print(resource.getrlimit(Limit.CORE))")
    assert said.startswith("rlimits: CORE -1; limits are 0 or more")
    assert said.endswith(str(before))


def test_data_counts_what_becomes_writable_and_not_what_is_reserved():
    said = run("""
reserved = call("mmap", 0, 2**36, 0, 0x4022, -1, 0)
used = rlimits.data_in_use()
rlimits.apply({Limit.DATA: used + 2**24})
print(said("mmap", 0, 2**36, 0, 0x4022, -1, 0))
print(said("mprotect", reserved, 2**23, 3))
print(rlimits.data_in_use() - used >= 2**23)
print(said("mprotect", reserved + 2**30, 2**25, 3))
print(said("mmap", 0, 2**25, 3, 0x22, -1, 0))
print(said("mmap", 0, 2**25, 1, 0x22, -1, 0))
""")
    assert said.split("\n") == [
        "True",
        "True",
        "True",
        "Cannot allocate memory",
        "Cannot allocate memory",
        "True",
    ]


def test_the_data_in_use_is_counted_in_bytes():
    used = rlimits.data_in_use()
    assert 2**20 < used < 2**40
    assert used % 4096 == 0


def test_a_limit_is_lowered_and_one_that_is_lower_stays():
    said = run("""
rlimits.apply({Limit.DESCRIPTORS: 64})
rlimits.lower({Limit.DESCRIPTORS: 65, Limit.CORE: 0})
print(resource.getrlimit(Limit.DESCRIPTORS), resource.getrlimit(Limit.CORE))
rlimits.lower({Limit.DESCRIPTORS: 63})
print(resource.getrlimit(Limit.DESCRIPTORS))
""")
    assert said == "(64, 64) (0, 0)\n(63, 63)"


@pytest.mark.parametrize(
    ("before", "found"), [((64, 128), 100), ((64, 80), 80), ((110, 128), 110), ((100, 100), 100)]
)
def test_a_soft_limit_is_raised_as_far_as_the_hard_one_and_never_lowered(before, found):
    said = run(f"""
resource.setrlimit(resource.RLIMIT_NOFILE, {before})
rlimits.raise_soft(Limit.DESCRIPTORS, 100)
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
""")
    assert said == f"{found} {before[1]}"


def test_processor_time_is_bounded_inside_and_not_afterwards():
    said = run("""
before = resource.getrlimit(Limit.CPU)
with rlimits.within_seconds(60):
    soft, hard = resource.getrlimit(Limit.CPU)
    print(60 <= soft < 120, hard == before[1])
print(resource.getrlimit(Limit.CPU) == before)
""")
    assert said == "True True\nTrue"


def test_a_lower_bound_of_the_host_stays_inside():
    said = run("""
resource.setrlimit(resource.RLIMIT_CPU, (50, resource.RLIM_INFINITY))
with rlimits.within_seconds(60):
    print(resource.getrlimit(Limit.CPU)[0])
print(resource.getrlimit(Limit.CPU)[0])
""")
    assert said == "50\n50"


def test_who_computes_longer_is_ended():
    done = subprocess.run(
        [sys.executable, "-c", f"{PRELUDE}with rlimits.within_seconds(1):\n    while True: pass"],
        env={"PYTHONPATH": str(ROOT)},
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGXCPU
