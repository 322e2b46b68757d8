"""
What a worker has from its zygote and does not do again: each step of `jail.HELD`, looked at in a
child that has done nothing itself.

Each is looked at a second time in a child of a process that has left the step out, or the first
look proves nothing. Green does not prove that a zygote keeps what it could undo: handlers, its
directory, being dumpable.
"""

import os
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from zygote_acts import GIVE_UP_ROOT

from executor.linux.libc import call
from executor.wasm import jail

ROOT = Path(__file__).resolve().parents[3]
NOBODY = 65534
_GET_MDWE = 66

# A zygote in small: `before` makes it such that the steps `left_out` matter.
SCRIPT = """
import ctypes, mmap, os, signal, sys, threading
from executor.linux.errors import MechanismError
from executor.linux.libc import call
from executor.wasm import jail

left_out, before = sys.argv[1:]

def becomes_code():
    # Whether memory that was written can be executed then.
    page = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE)
    page[:1] = b"x"
    try:
        call("mprotect", ctypes.addressof(ctypes.c_char.from_buffer(page)), mmap.PAGESIZE, 5)
    except OSError:
        return False
    return True

exec(before)
jail.HELD = tuple(step for step in jail.HELD if step.name not in left_out.split(","))
identity = jail.Identity(65534, 65534) if os.geteuid() == 0 else None
try:
    jail.hold(jail.Confinement(2**30, identity))
except MechanismError as error:
    print(error.mechanism, flush=True)
    os._exit(0)
pid = os.fork()
if pid == 0:
    print("child", os.getpid(), becomes_code(), flush=True)
    sys.stdin.read(1)
    os._exit(0)
os.waitpid(pid, 0)
os._exit(0)
"""


class Child:
    """
    A child as proc(5) shows it to others, and what it said of itself.
    """

    def __init__(self, pid: int, said: str = "") -> None:
        self._proc = Path(f"/proc/{pid}")
        self.makes_code = said == "True"

    def status(self, *names: str) -> list[str]:
        lines = (self._proc / "status").read_text().splitlines()
        found = dict(line.split(":", 1) for line in lines)
        return [" ".join(found[name].split()) for name in names]

    def signals(self, name: str) -> set[int]:
        """
        Without 32 and 33, which are the C library's own and cannot be set by any program.
        """
        (mask,) = self.status(name)
        return {number for number in range(1, 65) if int(mask, 16) >> number - 1 & 1} - {32, 33}

    def limits(self) -> list[str]:
        """
        Soft and hard limits on core, files, locked memory, queues and descriptors.
        """
        names = ("core file size", "file size", "locked memory", "msgqueue size", "open files")
        lines = (self._proc / "limits").read_text().splitlines()
        found = [next(line for line in lines if line.startswith(f"Max {name}")) for name in names]
        return [
            " ".join(line.removeprefix(f"Max {name}").split()[:2])
            for line, name in zip(found, names, strict=True)
        ]

    def data_is_limited(self) -> bool:
        lines = (self._proc / "limits").read_text().splitlines()
        return "unlimited" not in next(line for line in lines if line.startswith("Max data size"))

    def is_dumpable(self) -> bool:
        """
        Or else all that proc(5) has of it is root's.
        """
        return (self._proc / "environ").stat().st_uid != 0

    def has_open_code(self) -> bool:
        lines = (self._proc / "maps").read_text().splitlines()
        return any(line.split()[1][1:3] == "wx" for line in lines)

    def directory(self) -> str:
        return str((self._proc / "cwd").readlink())

    def personality(self) -> int:
        return int((self._proc / "personality").read_text(), 16)


@contextmanager
def child(left_out: str, before: str):
    """
    A child of a process that has held all but the steps `left_out`; or the mechanism that failed.
    """
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, left_out, f"{GIVE_UP_ROOT}{before}"],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        kind, *rest = process.stdout.readline().split()
        yield Child(int(rest[0]), rest[1]) if kind == "child" else kind
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait() == 0


SIGNALS = """
signal.pthread_sigmask(signal.SIG_SETMASK, ())
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
signal.signal(signal.SIGUSR2, lambda *_: None)
"""
THREAD = "threading.Thread(target=threading.Event().wait, daemon=True).start()"
CODE = "open_code = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE, 7)"
WATCHED = {int(number) for number in jail.WATCHDOG_SIGNALS}
LIMITED = [*4 * ["0 0"], "320 320"]
# For each step: what makes it matter, how its effect is seen, with it and without it. What only
# looks at the process refuses one that is otherwise; a child is what its parent was, but for threads.
SEEN = {
    "one thread": (THREAD, lambda seen: seen.status("Threads"), "threads", ["1"]),
    "personality": ("call('personality', 0x400000)", Child.personality, "personality", 0x400000),
    "code": (CODE, Child.has_open_code, False, True),
    "no new code": ("", lambda seen: seen.makes_code, False, True),
    "signals": (
        SIGNALS,
        lambda seen: (
            seen.signals("SigIgn") & {10, 13},
            seen.signals("SigCgt") & {12},
            seen.signals("SigBlk"),
        ),
        ({13}, set(), WATCHED),
        ({10, 13}, {12}, set()),
    ),
    "working directory": ("os.chdir('/proc')", Child.directory, "/", "/proc"),
    "limits": (
        "",
        lambda seen: (seen.limits() == LIMITED, seen.data_is_limited()),
        (True, True),
        (False, False),
    ),
    "bounding set": ("", lambda seen: int(*seen.status("CapBnd"), 16) == 0, True, False),
    "user": (
        "",
        lambda seen: seen.status("Uid", "Gid") == 2 * [" ".join(4 * [str(NOBODY)])],
        True,
        False,
    ),
    # Rights that a change of user would leave (prctl(2), PR_SET_KEEPCAPS).
    "capabilities": (
        "call('prctl', 8, 1)",
        lambda seen: {int(caps, 16) for caps in seen.status("CapInh", "CapPrm", "CapEff")} == {0},
        True,
        False,
    ),
    "not dumpable": ("give_up_root()", Child.is_dumpable, False, True),
    "no new privileges": ("", lambda seen: seen.status("NoNewPrivs"), ["1"], ["0"]),
}
# Steps that do nothing for a normal user, and what only root sees of a process of another user.
OF_ROOT = {"code", "personality", "working directory", "bounding set", "user", "capabilities"}

# With that personality all memory is code, which these two would not have.
LEFT_OUT = {"personality": "personality,code,no new code"}


def test_every_step_that_is_held_is_looked_at():
    assert list(SEEN) == [step.name for step in jail.HELD]


def _knows_of_new_code() -> bool:
    try:
        call("prctl", _GET_MDWE)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("step", SEEN)
@pytest.mark.parametrize("held", [True, False])
def test_a_child_has_what_its_parent_holds_and_nothing_else(step, held):
    if step in OF_ROOT and os.geteuid() != 0:
        pytest.skip("only root sees it, or has it to lose")
    if step == "no new code" and not _knows_of_new_code():
        pytest.skip("a kernel before 6.3")
    before, look, with_step, without = SEEN[step]
    with child("" if held else LEFT_OUT.get(step, step), before) as seen:
        found = look(seen) if isinstance(seen, Child) else seen
    assert found == (with_step if held else without)


RULESET = """
import errno, os
from executor.linux import landlock
from executor.wasm import jail

def opened():
    try:
        os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY))
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

identity = jail.Identity(65534, 65534) if os.geteuid() == 0 else None
held = jail.hold(jail.Confinement(2**30, identity))
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        before = opened()
        landlock.enforce(held.ruleset)
        print(before, opened(), flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
print(opened(), flush=True)
os._exit(0)
"""


def test_each_child_goes_into_a_domain_of_its_own_by_one_ruleset():
    done = subprocess.run(
        [sys.executable, "-c", RULESET],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.splitlines() == ["done EACCES", "done EACCES", "done"]


@pytest.mark.image
def test_a_worker_of_a_zygote_that_serves_has_it_all(zygote):
    with closing(zygote.spawn()) as waiting:
        seen = Child(waiting.pid)
        rights = ["CapInh", "CapPrm", "CapEff", "CapAmb"]
        if os.geteuid() == 0:
            assert seen.status("Uid", "Gid") == 2 * [" ".join(4 * [str(NOBODY)])]
            assert (seen.has_open_code(), seen.directory(), seen.personality()) == (False, "/", 0)
            rights.append("CapBnd")
        assert {int(mask, 16) for mask in seen.status(*rights)} == {0}
        assert seen.status("NoNewPrivs") == ["1"]
        assert (seen.limits(), seen.data_is_limited(), seen.is_dumpable()) == (LIMITED, True, False)
        assert (seen.signals("SigIgn"), seen.signals("SigBlk")) == ({13}, WATCHED)
        # The engine's own, of which it has those that its platform knows.
        assert seen.signals("SigCgt") <= {int(number) for number in jail.ENGINE_SIGNALS}


@pytest.mark.image
def test_the_zygote_itself_hears_of_its_children_and_outlives_a_terminal_and_a_full_log(zygote):
    """
    What its workers take back, in a step of their own.
    """
    with closing(zygote.spawn()):
        seen = Child(zygote.pid)
        assert (seen.signals("SigIgn") & {2, 25}, seen.signals("SigCgt") & {17}) == ({2, 25}, {17})
