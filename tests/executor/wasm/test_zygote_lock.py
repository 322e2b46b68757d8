"""
The zygote's lock, attacked for real: each act runs in a process of its own, free and locked.

Free it must succeed, or the test proves nothing. Green does not prove that a call which the list
of barred ones does not name is harmless; Landlock stands behind it for files and signals.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from zygote_acts import ACTS, LOCKED, PRELUDE, SIGNALS

from executor.children import zygote as serving
from executor.linux.filters import Allow, Refuse
from executor.wasm import jail, zygote_lock

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder():
    """
    A directory that everybody may write, with a few files; pytest's own are for its user alone.
    """
    with tempfile.TemporaryDirectory(prefix="codecage-test-") as name:
        made = Path(name)
        made.chmod(0o777)
        for file in ("shared", "labelled"):
            (made / file).write_text("content")
            (made / file).chmod(0o666)
        (made / "empty").mkdir()
        os.setxattr(made / "labelled", "user.x", b"1")
        yield made


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def zygote(script: str, folder: Path, port: int = 0) -> tuple[str, int]:
    """
    What a zygote prints that does `script`, and how it ends: 0, a status, or minus a signal.
    """
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script, str(folder), str(port)],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert not done.stderr, done.stderr
    return done.stdout.strip(), done.returncode


def attempt(act: str, folder: Path, port: int, *, locked: bool) -> str:
    lock = "zygote_lock.lock()\n" if locked else ""
    said, status = zygote(f"{lock}print(said(lambda: {ACTS[act]}))", folder, port)
    return "SIGSYS" if status == -31 else said


# Some hosts' security modules keep users from new namespaces.
FREE = {key: {"done", "", "EPERM"} for key in ("leave_its_namespaces", "fork_into_namespaces")}


@pytest.mark.parametrize("act", sorted(ACTS))
def test_an_act_succeeds_without_the_lock(act, folder, port):
    assert attempt(act, folder, port, locked=False) in FREE.get(act, {"done", ""})


@pytest.mark.parametrize("act", sorted(ACTS))
def test_the_lock_refuses_it(act, folder, port):
    assert attempt(act, folder, port, locked=True) == LOCKED[act]


# What a zygote does after its lock, each to its end.
WORK = {
    "fork_and_wait": "pid = os.fork()\nif not pid: os._exit(7)\nprint(os.waitpid(pid, 0)[1] >> 8)",
    "hand_a_process_over": """
pid = os.fork()
if not pid: os._exit(0)
pidfd = os.pidfd_open(pid)
socket.send_fds(ours, [b"pid"], [pidfd])
data, received, _, _ = socket.recv_fds(theirs, 8, 1)
print(data, len(received))
""",
    "make_a_callback": """
made = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda x: x + 1)
print(ctypes.cast(made, ctypes.c_void_p).value is not None and made(41))
""",
    "map_code_of_a_sealed_copy": """
fcntl.fcntl(program, 1033, 0xF)
path = f"/proc/self/fd/{program}"
mapped = mmap.mmap(os.open(path, os.O_RDONLY), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
print(mapped[:4])
""",
    "wait_for_its_socket": """
theirs.send(b"?")
poll = select.poll()
poll.register(ours, select.POLLIN)
print(poll.poll() == [(ours.fileno(), select.POLLIN)], ours.recv(1))
""",
    "make_what_wakes_a_worker": """
one, other = socket.socketpair()
one.send(b"!")
print(other.recv(1))
""",
    "make_a_pipe_for_signals": "print(len(os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)))",
    "start_a_thread": "t = threading.Thread(target=int)\nt.start()\nt.join()\nprint(t.is_alive())",
    "use_its_descriptors": """
copy = os.dup(ours.fileno())
os.set_inheritable(copy, True)
ours.setblocking(False)
print(os.isatty(copy), os.get_blocking(copy), fcntl.fcntl(program, 1034))
""",
    "take_memory_for_a_guest": "print(call('mmap', 0, 2**32, 3, 0x4022, -1, 0) > 0)",
    "look_at_its_own_memory": "print('[stack]' in Path('/proc/self/maps').read_text())",
    "read_what_it_is": "print('Seccomp:\\t2' in Path('/proc/self/status').read_text())",
}
DONE = {
    "fork_and_wait": "7",
    "hand_a_process_over": "b'pid' 1",
    "make_a_callback": "42",
    "map_code_of_a_sealed_copy": "b'\\x7fELF'",
    "wait_for_its_socket": "True b'?'",
    "make_what_wakes_a_worker": "b'!'",
    "make_a_pipe_for_signals": "2",
    "start_a_thread": "False",
    "use_its_descriptors": "False False 0",
    "take_memory_for_a_guest": "True",
    "look_at_its_own_memory": "True",
    "read_what_it_is": "True",
}


@pytest.mark.parametrize("work", sorted(WORK))
def test_a_zygote_does_its_work_under_the_lock(work, folder):
    assert zygote(f"zygote_lock.lock()\n{WORK[work]}", folder) == (DONE[work], 0)


# A worker as `executor.children.worker` makes it: every step of the jail, the watchdog, the final filter.
WORKER = """
def worker():
    parent = os.getpid()
    pid = score.fork()
    if pid:
        ours.close()
        return pid
    code = 70
    try:
        locked = jail.lock_down(held, parent, frozenset({ours.fileno()}))
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        jail.forbid_threads()
        ours.send(locked.level.name.encode())
        ours.recv(1)
        code = 0
    except MechanismError as error:
        ours.send(str(error).encode())
    finally:
        os._exit(code)

def look(pid):
    said = theirs.recv(256)
    status = dict(
        line.split(":\\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    oom = Path(f"/proc/{pid}/oom_score_adj").read_text().strip()
    theirs.send(b"!")
    return said, status["Seccomp_filters"], oom, os.waitpid(pid, 0)[1]
"""
HOLD = "held = jail.hold(jail.Confinement(2**32 + 2**26))\n"


def test_a_worker_of_a_locked_zygote_locks_itself_wholly(folder):
    assert zygote(f"{WORKER}zygote_lock.lock()\n{HOLD}print(look(worker()))", folder) == (
        "(b'W2', '3', '1000', 0)",
        0,
    )


def test_so_does_one_of_a_zygote_that_is_not(folder):
    assert zygote(f"{WORKER}{HOLD}print(look(worker()))", folder) == ("(b'W2', '2', '1000', 0)", 0)


def test_a_worker_that_was_not_born_with_its_score_ends(folder):
    plain = WORKER.replace("score.fork()", "os.fork()")
    assert zygote(
        f"{plain}zygote_lock.lock()\n{HOLD}print(os.waitpid(worker(), 0)[1] >> 8, theirs.recv(256)[:35])",
        folder,
    ) == ("70 b'oom_score_adj: being 1000 answered '", 0)


# What another process of its user could do to a zygote, and with it to all its workers.
BESIDE = {
    "open_its_memory": "os.open(f'/proc/{pid}/mem', os.O_RDWR)",
    "list_its_descriptors": "os.listdir(f'/proc/{pid}/fd')",
    "read_its_environment": "Path(f'/proc/{pid}/environ').read_bytes()",
    "make_it_the_first_to_be_ended": "Path(f'/proc/{pid}/oom_score_adj').write_text('1000')",
    "trace_it": "call('ptrace', 0x4206, pid, 0, 0)",
}
BESIDE_LOCKED = dict.fromkeys(BESIDE, "EACCES") | {"trace_it": "EPERM"}


@pytest.mark.parametrize("act", sorted(BESIDE))
@pytest.mark.parametrize("locked", [False, True])
def test_a_process_of_the_same_user_reaches_only_a_zygote_that_is_not_locked(act, locked, folder):
    lock = "zygote_lock.lock()\n" if locked else ""
    said = zygote(f"ask = beside_it(lambda pid: {BESIDE[act]})\n{lock}print(ask())", folder)
    assert said == (BESIDE_LOCKED[act] if locked else "done", 0)


def test_a_worker_is_dumpable_at_no_time(folder):
    """
    It is born as its zygote is, and a filter of the test's ends who asks for more.
    """
    said = (
        f"zygote_lock.lock()\nkill_who_becomes_dumpable()\n{HOLD}"
        "print(call('prctl', 3), look(worker()))"
    )
    assert zygote(f"{WORKER}{REFUSE}{said}", folder) == ("0 (b'W2', '4', '1000', 0)", 0)


def test_who_becomes_dumpable_would_have_been_seen(folder):
    said = "zygote_lock.lock()\nkill_who_becomes_dumpable()\ncall('prctl', 4, 1)"
    assert zygote(f"{REFUSE}{said}", folder) == ("", -signal.SIGSYS)


def test_nobody_opens_the_memory_of_a_running_zygote_or_of_its_worker(request):
    """
    From outside, as a plain process of their user, and of itself to show that the act works.
    """
    running = request.getfixturevalue("zygote")
    waiting = running.spawn()
    done = subprocess.run(
        [sys.executable, "-c", SPY, str(running.pid), str(waiting.pid)],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    waiting.close()
    assert done.stdout.split() == ["EACCES", "EACCES", "done"]


SPY = """
import errno, os, sys
from executor.linux.libc import call
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
call("prctl", 4, 1)
own = os.getpid()
pid = os.fork()
for number in () if pid else (*sys.argv[1:], own):
    try:
        os.close(os.open(f"/proc/{number}/mem", os.O_RDWR))
        print("done")
    except OSError as error:
        print(errno.errorcode[error.errno])
if pid:
    os.waitpid(pid, 0)
"""


def test_abort_still_ends_a_zygote(folder):
    assert zygote("zygote_lock.lock()\nos.abort()", folder)[1] == -signal.SIGABRT


def test_a_zygote_is_bounded_and_its_workers_fit(folder):
    said, status = zygote(
        "before = executor.linux.rlimits.data_in_use()\nzygote_lock.lock()\n"
        "for name in ('CORE', 'FSIZE', 'MEMLOCK', 'MSGQUEUE'):\n"
        "    print(resource.getrlimit(getattr(resource, f'RLIMIT_{name}')))\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_DATA)\n"
        "print(soft == hard, abs(hard - before - zygote_lock.DATA_GROWTH) < 2**24)",
        folder,
    )
    assert (said.splitlines(), status) == ([*4 * ["(0, 0)"], "True True"], 0)
    of_a_guest = 2**32 + 2**26
    assert of_a_guest + serving._DATA_GROWTH < zygote_lock.DATA_GROWTH


def test_no_row_of_the_zygote_bars_what_a_worker_needs():
    """
    Of the calls that a worker's filter names, the zygote's bars none outright.
    """
    needed = {row.name for row in jail.WORKER_FILTER.rows if isinstance(row, Allow)}
    refused = {row.name for row in zygote_lock.ZYGOTE_FILTER.rows if isinstance(row, Refuse)}
    assert needed & refused == set()


BROKEN = {
    "threads": "threading.Thread(target=signal.pause, daemon=True).start(); zygote_lock.lock()",
    "Landlock": "refuse('landlock_create_ruleset', errno.ENOSYS); zygote_lock.lock()",
    "Landlock: opening / got an answer": "refuse('landlock_restrict_self', 0); zygote_lock.lock()",
    "seccomp: a connection got EBADF": "refuse('seccomp', 0); zygote_lock.lock()",
    "rlimits: ": "refuse('prlimit64', errno.EPERM); zygote_lock.lock()",
    "dumpable: set": "refuse('prctl', 0, option=4); zygote_lock.lock()",
    "dumpable: setting": "refuse('prctl', errno.EPERM, option=4); zygote_lock.lock()",
    "Landlock: restricting": "refuse('landlock_restrict_self', errno.E2BIG); zygote_lock.lock()",
    "seccomp: loading": "refuse('seccomp', errno.EINVAL); zygote_lock.lock()",
}
REFUSE = """
def refuse(name, number, option=None):
    why, action = "the test says so", Action(Verdict.ERRNO, number)
    others = OneOf(0, tuple(value for value in range(100) if value != option))
    row = Refuse(name, why, action) if option is None else Allow(name, why, (others,), action)
    bring(row)

def kill_who_becomes_dumpable():
    others = OneOf(0, tuple(value for value in range(100) if value != 4))
    rows = (Allow("prctl", "any other", (others,)), Allow("prctl", "no", (OneOf(1, (0,)),)))
    bring(*rows[:1], replace(rows[1], otherwise=Action(Verdict.KILL_PROCESS)))

def bring(*rows):
    seccomp.install(compile_filter(Filter("break", rows, ALLOW), os.getpid()), tsync=True)
"""


@pytest.mark.parametrize("mechanism", sorted(BROKEN))
def test_a_lock_that_does_not_hold_is_an_error(mechanism, folder):
    said, status = zygote(
        f"{REFUSE}try:\n    {BROKEN[mechanism]}\n"
        "except MechanismError as error:\n    print(error)\n"
        "sys.stdout.flush()\nos._exit(3)",
        folder,
    )
    assert status == 3
    assert said.startswith(mechanism)


def test_without_landlock_the_filter_alone_has_to_be_asked_for(folder):
    signals = "".join(f"said(lambda: {act})," for act in SIGNALS.values())
    script = f"""{REFUSE}
refuse("landlock_create_ruleset", errno.EOPNOTSUPP)
try:
    zygote_lock.lock()
except MechanismError as error:
    print(type(error).__name__)
print(zygote_lock.lock(jail.Level.W1), said(socket.socket), said(lambda: open(at("mine")).close()))
print({{{signals}}})
"""
    said, status = zygote(script, folder)
    assert said == (
        "MechanismMissing\nLocked(level=<Level.W1: 'seccomp'>, landlock_abi=0) EPERM done\n"
        "{'EPERM'}"
    )
    assert status == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be root")
def test_root_is_not_locked_but_refused():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from executor.wasm import zygote_lock\n"
            "try:\n    zygote_lock.lock()\n"
            "except Exception as error:\n    print(type(error).__name__, error)",
        ],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (
        "MechanismFailed identity: a zygote that is still root was to be locked; "
        "give it a user before\n"
    )
