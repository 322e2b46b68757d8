"""
The zygote's lock, attacked for real: each act runs in a process of its own, free and locked.

Free it must succeed, or the test proves nothing. Green does not prove that a call which the list
of barred ones does not name is harmless; Landlock stands behind it for files and signals.
"""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from executor.linux.filters import Allow, Refuse
from executor.wasm import jail, zygote_lock

ROOT = Path(__file__).resolve().parents[3]

# A zygote in small: its imports, a process of the same user beside it, root given up, the lock.
# What it prints is "done", or the errno's name; the status is that of `done_by` a fork.
PRELUDE = """
import array, codecs, ctypes, errno, fcntl, mmap, os, resource, select, signal, socket, struct, sys
import threading, time
from pathlib import Path
import executor.linux.programs
from executor.linux import landlock, prctl, seccomp
from executor.linux.errors import MechanismError
from executor.linux.filters import ALLOW, Action, Filter, Refuse, Verdict, compile_filter
from executor.linux.libc import call
from executor.wasm import jail, zygote_lock

for name in ("ascii", "latin-1"):
    codecs.lookup(name)
folder, port = sys.argv[1], int(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
idle = socket.socket()
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

def give_up_root():
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        prctl.set_dumpable()

beside, here = socket.socketpair()
victim = os.fork()
if victim == 0:
    for other in (here, ours, theirs):
        other.close()
    give_up_root()
    beside.send(b"+")
    beside.recv(1)
    os._exit(0)
beside.close()
here.recv(1)
give_up_root()
opened = os.open(folder + "/mine", os.O_RDWR | os.O_CREAT, 0o600)
held = os.open(folder, os.O_PATH)
program = os.memfd_create("program", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
os.write(program, Path("/bin/true").read_bytes())
KEPT = []

def text(data):
    KEPT.append(ctypes.create_string_buffer(data))
    return ctypes.addressof(KEPT[-1])

def at(name):
    return (folder + "/" + name).encode()

def ended(pid):
    if os.waitpid(pid, 0)[1]:
        raise OSError(errno.ECHILD, "it did not end well")

def said(act):
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
"""

NETWORK = {
    "make_a_socket": "socket.socket()",
    "make_a_unix_socket": "socket.socket(socket.AF_UNIX)",
    "make_a_netlink_socket": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)",
    "make_a_pair_of_sockets": "socket.socketpair()",
    "connect_a_socket_that_it_has": "idle.connect(('127.0.0.1', port))",
    "bind_a_socket_that_it_has": "idle.bind(('127.0.0.1', 0))",
    "listen_on_a_socket_that_it_has": "idle.listen()",
}
SIGNALS = {
    "signal_another_process": "os.kill(victim, 0)",
    "signal_a_thread_of_another": "call('tkill', victim, 0)",
    "signal_by_descriptor": "signal.pidfd_send_signal(os.pidfd_open(victim), 0)",
    "queue_a_signal": "call('rt_sigqueueinfo', victim, 0, text(struct.pack('3i', 0, 0, -1) + bytes(116)))",
}
FILES = {
    "create_a_file_the_old_way": "call('creat', text(at('new')), 0o600)",
    "make_a_directory": "os.mkdir(at('made'))",
    "make_a_fifo": "os.mkfifo(at('fifo'))",
    "rename_a_file": "os.rename(at('mine'), at('other'))",
    "link_a_file": "os.link(at('mine'), at('other'))",
    "link_by_name": "os.symlink(at('mine'), at('other'))",
    "remove_a_file": "os.unlink(at('mine'))",
    "remove_a_directory": "os.rmdir(at('empty'))",
    "cut_a_file": "os.truncate(at('mine'), 0)",
    "change_rights": "os.chmod(at('mine'), 0o777)",
    "change_rights_of_an_open_file": "os.fchmod(opened, 0o777)",
    "change_owner": "os.chown(at('mine'), -1, -1)",
    "change_times": "os.utime(at('mine'))",
    "change_times_of_an_open_file": "os.utime(opened)",
    "label_a_file": "os.setxattr(at('mine'), 'user.x', b'1')",
    "take_a_label_away": "os.removexattr(at('labelled'), 'user.x')",
}
# What the list of calls lets pass, and Landlock refuses by object.
OBJECTS = {
    "create_a_file": "open(at('new'), 'w').close()",
    "open_a_file_for_writing": "open(at('mine'), 'r+').close()",
    "append_to_a_file": "open(at('shared'), 'a').close()",
    "read_a_file": "open(at('mine')).close()",
    "read_the_list_of_users": "open('/etc/passwd').close()",
    "list_a_directory": "os.listdir(folder)",
    "list_a_directory_that_it_holds": "os.listdir(os.open('.', os.O_RDONLY, dir_fd=held))",
    "make_a_nameless_file": "os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600)",
}
KILLED = {
    "start_a_program": "os.execv('/bin/true', ['true'])",
    "start_a_program_from_memory": "call('execveat', program, text(b''), 0, 0, 0x1000)",
    "spawn_a_program": "ended(os.posix_spawn('/bin/true', ['true'], {}))",
    "trace_another_process": "call('ptrace', 0x4206, victim, 0, 0)",
    "read_memory_of_another": "call('process_vm_readv', victim, 0, 0, 0, 0, 0)",
    "take_a_descriptor_of_another": "call('pidfd_getfd', os.pidfd_open(victim), 2, 0)",
    "leave_its_namespaces": "call('unshare', 0x1000_0000)",
    "fork_into_namespaces": "call('clone', 0x1000_0000 | signal.SIGCHLD) or os._exit(0)",
    "limit_another_process": "resource.prlimit(victim, resource.RLIMIT_CORE)",
    "be_nicer_than_others": "os.setpriority(os.PRIO_PROCESS, victim, 1)",
    "pin_another_process": "os.sched_setaffinity(victim, os.sched_getaffinity(0))",
    "share_memory": "call('shmget', 0, 4096, 0o600)",
    "make_a_queue": "call('mq_open', text(b'codecage'), os.O_RDONLY | os.O_CREAT, 0o600, 0)",
    "use_keys": "call('keyctl', 0, -3, 0)",
    "become_itself": "os.setresuid(-1, -1, -1)",
    "change_its_personality": "call('personality', 0)",
}
HIDDEN = {
    "open_with_hidden_flags": (
        "call('openat2', -100, text(at('mine')), text(struct.pack('3Q', 2, 0, 0)), 24)"
    ),
    "call_without_being_seen": "call('io_uring_setup', 1, text(bytes(120)))",
    "clone_with_hidden_flags": (
        "call('clone3', text(struct.pack('11Q', 0, 0, 0, 0, 17, *[0] * 6)), 88) or os._exit(0)"
    ),
}
ACTS = NETWORK | SIGNALS | FILES | OBJECTS | KILLED | HIDDEN
LOCKED = {
    **dict.fromkeys(NETWORK | SIGNALS | FILES, "EPERM"),
    **dict.fromkeys(OBJECTS, "EACCES"),
    **dict.fromkeys(KILLED, "SIGSYS"),
    "spawn_a_program": "ECHILD",  # the child is killed, before it is another program
    **dict.fromkeys(HIDDEN, "ENOSYS"),
}


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
        timeout=30,
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
    "make_a_pipe_for_signals": "print(len(os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)))",
    "start_a_thread": "t = threading.Thread(target=int)\nt.start()\nt.join()\nprint(t.is_alive())",
    "read_what_it_is": "print('Seccomp:\\t2' in Path('/proc/self/status').read_text())",
}
DONE = {
    "fork_and_wait": "7",
    "hand_a_process_over": "b'pid' 1",
    "make_a_callback": "42",
    "map_code_of_a_sealed_copy": "b'\\x7fELF'",
    "wait_for_its_socket": "True b'?'",
    "make_a_pipe_for_signals": "2",
    "start_a_thread": "False",
    "read_what_it_is": "True",
}


@pytest.mark.parametrize("work", sorted(WORK))
def test_a_zygote_does_its_work_under_the_lock(work, folder):
    assert zygote(f"zygote_lock.lock()\n{WORK[work]}", folder) == (DONE[work], 0)


# A worker as `executor.worker` makes it: every step of the jail, the watchdog, the final filter.
WORKER = """
def worker():
    parent = os.getpid()
    pid = os.fork()
    if pid:
        ours.close()
        return pid
    code = 70
    try:
        session = jail.Confinement(
            parent=parent, kept=frozenset({ours.fileno()}), data_growth=2**26
        )
        held = jail.lock_down(session)
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        jail.forbid_threads()
        ours.send(held.level.name.encode())
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

jail.prepare()
"""


def test_a_worker_of_a_locked_zygote_locks_itself_wholly(folder):
    assert zygote(f"{WORKER}zygote_lock.lock()\nprint(look(worker()))", folder) == (
        "(b'W2', '3', '1000', 0)",
        0,
    )


def test_so_does_one_of_a_zygote_that_is_not(folder):
    assert zygote(f"{WORKER}print(look(worker()))", folder) == ("(b'W2', '2', '1000', 0)", 0)


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
    "Landlock: entered": "refuse('landlock_restrict_self', 0); zygote_lock.lock()",
    "seccomp: loaded": "refuse('seccomp', 0); zygote_lock.lock()",
    "Landlock: restricting": "refuse('landlock_restrict_self', errno.E2BIG); zygote_lock.lock()",
    "seccomp: loading": "refuse('seccomp', errno.EINVAL); zygote_lock.lock()",
}
REFUSE = """
def refuse(name, number):
    rows = (Refuse(name, "the test says so", Action(Verdict.ERRNO, number)),)
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
    script = f"""{REFUSE}
refuse("landlock_create_ruleset", errno.EOPNOTSUPP)
try:
    zygote_lock.lock()
except MechanismError as error:
    print(type(error).__name__)
print(zygote_lock.lock(jail.Level.W1), said(socket.socket), said(lambda: open(at("mine")).close()))
"""
    said, status = zygote(script, folder)
    assert said == (
        "MechanismMissing\nLocked(level=<Level.W1: 'seccomp'>, landlock_abi=0) EPERM done"
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
