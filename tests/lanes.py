"""
All tests, in two lanes: `make test`. Each group is a pytest of its own, so no test of one shares a
process or a fixture with a test of another.

The lanes take the groups in the order of the table. One begins with building the images, of which
all but the first group need some: a build is mostly one processor's work, and the first group's
goes on beside it.

Tests count processes and descriptors of their own and nothing of the machine's, which other
servers may be busy on as well; those that measure the machine itself, or look at every process on
it, run alone when the lanes are done. `pytest` alone still runs everything one after the other.

What fails beside the other lane is run again alone, three times, and has to pass each time: a
second that the other lane took is no fault, and one that needs luck is. The last lines tell of it.
A test that hangs ends its pytest (`faulthandler_timeout` in pyproject.toml), and all of its group
is run again.

Rejected: pytest-xdist, whose workers take single tests in an order that differs from run to run,
and each starts the servers and zygotes that the tests of a folder share.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LANES = 2
_TURNS = 3
_FAILED, _NOT_RUN = pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED
# A file is of the group with the longest of these names; so a new one always has a group.
GROUPS = (
    ("tests/policy", "tests/executor/audit"),  # needs no image but `core`
    ("tests/e2e",),
    ("tests/executor/process",),
    ("tests/executor/wasm",),
    ("tests/e2e/test_conformance.py",),
    ("tests/e2e/test_recorded_runs.py",),
    ("tests/security", "tests/executor/network", "tests/executor/kernel"),
    ("tests/executor/images", "tests/test_wheel.py", "tests/test_docs.py"),
    ("tests",),
)
# What would see the other lane at work.
ALONE = (
    "tests/executor/linux/test_cgroups.py",  # what a group had of the processors
    "tests/executor/linux/test_oom.py",  # whom the kernel ends when memory is short
    "tests/executor/process/test_attacks_wide.py",  # looks through all processes for a user's
    "tests/executor/process/test_box_share.py",  # measures shares of the processors
)
# What all groups but the first need.
IMAGES = ("make", "images")


@dataclass(frozen=True, slots=True)
class Group:
    """
    Test files that one pytest runs, in order.
    """

    name: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """
    How a group ended; `said` is the last line that pytest wrote, `again` whether a part of it was
    run once more.
    """

    group: Group
    code: int
    said: str
    again: bool = False


def groups() -> tuple[list[Group], Group]:
    """
    The groups of the lanes, in the order of the table, and the one that runs alone.
    """
    held: dict[str, list[str]] = {", ".join(names): [] for names in GROUPS}
    for file in files():
        if file not in ALONE:
            held[_group_of(file)].append(file)
    made = [Group(name, tuple(found)) for name, found in held.items() if found]
    return made, Group("alone", ALONE)


def files() -> list[str]:
    """
    Every file of tests, in the order in which pytest finds them.
    """
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py"))


def _group_of(file: str) -> str:
    fitting = [
        (len(name), ", ".join(names))
        for names in GROUPS
        for name in names
        if file == name or file.startswith(f"{name}/")
    ]
    return max(fitting)[1]


def run(group: Group, options: Sequence[str]) -> Done:
    """
    Run a group's tests, and print all that pytest wrote when it has ended.
    """
    command = [sys.executable, "-m", "pytest", "-q", *options, *group.files]
    return _run(group, f"{len(group.files)} files", command)


def build_images() -> Done:
    """
    Build the images that tests need, and print what was said when they are there.
    """
    return _run(Group("images", ()), "built where they are not there", IMAGES)


def _run(group: Group, what: str, command: Sequence[str]) -> Done:
    print(f"==== {group.name}: {what}, begun ====", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        ran = subprocess.run(
            command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=False
        )
        output.seek(0)
        text = output.read()
    seconds = time.monotonic() - began
    print(f"==== {group.name}: {seconds:.0f} s ====\n{text}", flush=True)
    return Done(group, ran.returncode, text.rstrip().rpartition("\n")[2])


def run_all(options: Sequence[str]) -> Iterator[Done]:
    """
    Run every group, two at a time, then alone what failed there, and those that run alone. Where
    the images cannot be built only the first group runs.
    """
    in_lanes, alone = groups()
    first = in_lanes[0]
    with tempfile.TemporaryDirectory(prefix="codecage-test-") as place, ExitStack() as stack:
        caches = {one.name: f"{place}/{number}" for number, one in enumerate(in_lanes)}
        lanes = stack.enter_context(ThreadPoolExecutor(LANES))
        images = lanes.submit(build_images)

        def run_in_a_lane(one: Group) -> Done:
            if one is not first and images.result().code:
                return Done(one, _NOT_RUN, "not run: the images could not be built")
            return run(one, [*options, *_cached(caches[one.name])])

        done = [*lanes.map(run_in_a_lane, in_lanes)]
        if images.result().code:
            yield images.result()
        for one in done:
            yield one if one.code != _FAILED else _again(one, options, caches[one.group.name])
    if not images.result().code:
        yield run(alone, options)


def _again(failed: Done, options: Sequence[str], cache: str) -> Done:
    """
    What failed in a lane, with the machine to itself, until it fails again or has passed often.
    """
    group = Group(f"{failed.group.name}, what failed, alone", failed.group.files)
    for turn in range(_TURNS):
        # What passes is remembered no longer as what failed: each turn has a copy of what was.
        kept = f"{cache}-{turn}"
        if Path(cache).exists():  # written when pytest ends by itself
            shutil.copytree(cache, kept)
        done = run(group, [*options, *_cached(kept), "--last-failed"])
        if done.code:
            break
    return replace(done, group=failed.group, said=f"{failed.said}; alone: {done.said}", again=True)


def _cached(place: str) -> list[str]:
    return ["-o", f"cache_dir={place}"]


def _word(done: Done) -> str:
    if done.code:
        return "FAILED"
    return "flaky" if done.again else "ok"


def main(options: Sequence[str]) -> int:
    """
    Run everything with these options of pytest; 1 where a test failed.
    """
    began = time.monotonic()
    done = list(run_all(options))
    for one in done:
        print(f"{_word(one):<6} {one.group.name}: {one.said}")
    print(f"{time.monotonic() - began:.0f} s in all")
    return int(any(one.code for one in done))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
