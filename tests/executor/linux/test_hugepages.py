"""
Large pages, as the kernel tells of them, in processes of their own.

A kernel may have none to spare at any time: green there says that memory is as it was, and no more.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from executor.linux.hugepages import SIZE, _anonymous, collapse, in_passing

ROOT = Path(__file__).resolve().parents[3]
MAPS = b"""\
00400000-0041f000 r--p 00000000 fe:00 260811                     /usr/bin/python3.11
00946000-00a85000 rw-p 00545000 fe:00 260811                     /usr/bin/python3.11
00a85000-00aca000 rw-p 00000000 00:00 0
02e52000-03970000 rw-p 00000000 00:00 0                          [heap]
7ff8d8a00000-7ff8d8da5000 rw-p 00000000 00:01 77                 /memfd:rw-p 0 (deleted)
7ff8d8da5000-7ff8da800000 rw-p 00000000 00:00 0
7ff8da800000-7ff8db800000 ---p 00000000 00:00 0
7ffae329a000-7ffae3600000 r-xp 00000000 00:00 0
7ffae3600000-7ffae3800000 rw-s 00000000 00:01 9                  /dev/zero (deleted)
7ffc01000000-7ffc01800000 rw-p 00000000 00:00 0                  [stack]
7ffc019f0000-7ffc019f2000 r-xp 00000000 00:00 0                  [vdso]
"""
# Eight times the size, of which the first byte of each page says which it is.
PROGRAM = """
import mmap, os
from executor.linux import hugepages
{before}
def numbers():
    return [int.from_bytes(memory[at:at + 4], "little") for at in range(0, len(memory), page)]
page, size = 4096, 8 * hugepages.SIZE
memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for number, at in enumerate(range(0, size, page)):
    memory[at:at + 4] = number.to_bytes(4, "little")
made = sum(hugepages.collapse())
same = numbers() == [*range(size // page)]
if os.fork() == 0:
    memory[page:page + 4] = bytes(4)
    os._exit(numbers() != [0, 0, *range(2, size // page)])
child = os.waitstatus_to_exitcode(os.wait()[1])
print(same and numbers() == [*range(size // page)], child, made)
"""


def run(before: str = "") -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM.format(before=before)],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_only_private_memory_of_no_file_counts_and_not_the_stack():
    assert [*_anonymous(MAPS)] == [
        (0x00A8_5000, 0x00AC_A000),
        (0x02E5_2000, 0x0397_0000),
        (0x7FF8_D8DA_5000, 0x7FF8_DA80_0000),
    ]
    assert SIZE == 2 * 2**20


def test_the_kernel_is_asked_for_each_whole_large_page(monkeypatch):
    asked = []
    monkeypatch.setattr("executor.linux.proc.read", lambda _path: MAPS)
    monkeypatch.setattr("executor.linux.hugepages.call", lambda *call: asked.append(call))
    assert all(collapse())
    advice = 25  # MADV_COLLAPSE
    whole = [
        *range(0x0300_0000, 0x0380_0000, SIZE),
        *range(0x7FF8_D8E0_0000, 0x7FF8_DA80_0000, SIZE),
    ]
    assert asked == [("madvise", address, SIZE, advice) for address in whole]


def test_memory_is_the_same_in_large_pages_and_a_child_has_its_own():
    assert run()[:2] == ["True", "0"]


def test_a_zygote_s_first_children_have_none_made_behind_them(monkeypatch):
    monkeypatch.setattr("executor.linux.hugepages.collapse", lambda: iter([True, True]))
    steps = in_passing()
    assert [next(steps) for _ in range(9)] == [*[False] * 4, True, True, *[False] * 3]


REFUSING = """
import errno
from executor.linux import seccomp
from executor.linux.filters import (
    ALLOW, Action, Allow, Filter, OneOf, Verdict, compile_filter)
refused = Action(Verdict.ERRNO, errno.{number})
rows = (Allow("madvise", "x", (OneOf(2, (4,)),), otherwise=refused),)
seccomp.install(compile_filter(Filter("probe", rows, ALLOW), os.getpid()), tsync=True)
"""


@pytest.mark.parametrize("number", ["EINVAL", "ENOMEM", "EAGAIN"])
def test_a_kernel_that_refuses_changes_nothing(number):
    assert run(REFUSING.format(number=number)) == ["True", "0", "0"]


def test_without_proc_there_is_nothing_to_do(monkeypatch):
    def refuse(path):
        raise FileNotFoundError(2, "No such file or directory", path)

    monkeypatch.setattr("executor.linux.proc.read", refuse)
    assert [*collapse()] == []
