"""
What is done in boxes with grants: each returns "done", or what it got that it should not have.
"""

import array
import ctypes
import errno
import mmap
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from executor.linux.libc import call

DONE = "done"
PYTHON = "/usr/bin/python3"


def run(words, **options):
    return subprocess.run(words, check=False, **{"capture_output": True} | options)


def refused(act):
    """
    The errno's name with which `act` is refused.
    """
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "an answer"


# Children.


def fork_and_wait(_host):
    assert (os.getpid(), os.getppid()) == (2, 1)
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    return DONE


def orphans_are_reaped(_host):
    reading, writing = os.pipe()
    held, let_go = os.pipe()
    pid = os.fork()
    if pid == 0:
        orphan = os.fork()
        if orphan == 0:
            os.read(held, 1)
            os._exit(0)
        os.write(writing, str(orphan).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    orphan = int(os.read(reading, 8))
    os.write(let_go, b"x")
    # The one that waits for orphans ends on its own time; there is nothing to wait for here.
    for _ in range(100_000):
        if refused(lambda: os.kill(orphan, 0)) == "ESRCH":
            return DONE
        os.sched_yield()
    return "the orphan is left"


def signal_everybody(_host):
    # Only this box's are there to be reached, and the first process takes none.
    pid = os.fork()
    if pid == 0:
        signal.pause()
    os.kill(-1, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
    os.kill(1, signal.SIGKILL)
    os.kill(1, signal.SIGTERM)
    return DONE


def be_interrupted(_host):
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.write(3, b"ready ")
        while True:
            signal.pause()
    except KeyboardInterrupt:
        return DONE


def end_by_a_signal(_host):
    os.kill(os.getpid(), signal.SIGKILL)
    return "it lives"


def pool(_host):
    with multiprocessing.get_context("fork").Pool(2) as workers:
        assert workers.map(abs, [-1, -2, 3]) == [1, 2, 3]
    return DONE


def daemon(_host):
    """
    A process that leaves its session, its group and its parent.
    """
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in range(64):
                refused(lambda number=number: os.close(number))
            time.sleep(3600)
        os._exit(0)
    return DONE


def fork_bomb(_host):
    made = 0
    try:
        for _ in range(200):
            if os.fork() == 0:
                signal.pause()
            made += 1
    except OSError as error:
        return f"stopped at {made} by {errno.errorcode[error.errno or 0]}"
    return f"!made {made}"


def children_are_held(_host):
    """
    A child is confined as its parent: no namespaces, no sockets, no signals out, no files.
    """
    pid = os.fork()
    if pid == 0:
        answers = [
            refused(lambda: call("unshare", 0x1000_0000)),
            refused(lambda: call("clone", 0x1000_0000 | signal.SIGCHLD, 0, 0, 0, 0)),
            refused(lambda: call("clone3", 0, 88)),
            refused(socket.socket),
            refused(lambda: os.open("/dev/urandom", os.O_WRONLY)),
            refused(lambda: call("ptrace", 16, 1, 0, 0)),
            refused(lambda: call("setns", 3, 0)),
        ]
        wanted = ["EPERM", "EPERM", "ENOSYS", "EAFNOSUPPORT", "EACCES", "EPERM", "EPERM"]
        os._exit(0 if answers == wanted else 1)
    assert os.waitpid(pid, 0)[1] == 0
    return DONE


def fork_without_a_grant(_host):
    return refused(os.fork)


# Programs.


def shell(_host):
    found = run(["/bin/sh", "-c", "echo $((6 * 7)); exit 3"])
    assert (found.stdout, found.returncode) == (b"42\n", 3)
    return DONE


def shell_pipe(_host):
    text = "for i in 1 2 3; do echo $i; done | while read x; do echo $x$x; done & wait"
    found = run(["/bin/sh", "-c", text], start_new_session=True)
    assert found.stdout.split() == [b"11", b"22", b"33"], found
    return DONE


def shell_jobs(_host):
    found = run(["/bin/sh", "-mc", "kill -0 $$; (exit 4) & wait $!; echo $?"])
    assert found.stdout == b"4\n", found
    return DONE


def spawn(_host):
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 5"], {})
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    return DONE


def python(_host):
    text = "import json, threading; t = threading.Thread(target=print, args=['x']); t.start()"
    found = run([PYTHON, "-Ic", text])
    assert (found.stdout, found.stderr) == (b"x\n", b"")
    return DONE


def git(_host):
    git_with = ["/usr/bin/git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    Path("file").write_text("x")
    for words in (["init", "-q"], ["add", "file"], ["commit", "-qm", "first"]):
        done = run([*git_with, *words])
        assert done.returncode == 0, done.stderr
    found = run([*git_with, "log", "--format=%s"])
    assert found.stdout == b"first\n"
    return DONE


def another_program(_host):
    return refused(lambda: run(["/usr/bin/id"]))


def shell_runs_another(_host):
    found = run(["/bin/sh", "-c", "/usr/bin/id"])
    return f"{found.returncode} {b'denied' in found.stderr}"


def written_program(_host):
    said = []
    for place in (".", "/tmp", "/home/agent", "/dev/shm"):
        path = Path(place, "program").absolute()
        path.write_bytes(Path("/bin/sh").read_bytes())
        path.chmod(0o755)
        said.append(refused(lambda path=path: run([path, "-c", "exit 0"])))
        path.write_text("#!/bin/sh\nexit 0\n")
        said.append(refused(lambda path=path: run([path])))
    return " ".join(sorted(set(said)))


def written_program_by_loader(_host):
    path = Path("program").absolute()
    path.write_bytes(Path(PYTHON).read_bytes())
    path.chmod(0o755)
    found = run([LOADER, path, "-c", ""])
    return f"{found.returncode} {b'failed to map' in found.stderr}"


LOADER = "/lib64/ld-linux-x86-64.so.2"


def program_in_memory(_host):
    text, arguments = ctypes.create_string_buffer(b""), (ctypes.c_char_p * 2)(b"sh", None)
    address = ctypes.addressof(arguments)
    with Path("/bin/sh").open("rb") as file:
        at = refused(
            lambda: call("execveat", file.fileno(), ctypes.addressof(text), address, 0, 0x1000)
        )
    return f"{refused(lambda: os.memfd_create('x'))} {at}"


def no_gain(_host):
    """
    A program with the set-id bit gives nobody else's rights.
    """
    text = "import os; print(os.geteuid(), os.getresuid())"
    found = run([PYTHON, "-Ic", text])
    assert found.stdout == b"1000 (1000, 1000, 1000)\n"
    return DONE


def code_in_a_program(_host):
    """
    What may not become code in the guest may not in its programs either.
    """
    text = "import mmap; mmap.mmap(-1, 4096, prot=7)"
    found = run([PYTHON, "-Ic", text])
    return "refused" if b"PermissionError" in found.stderr else f"got {found}"


def programs_are_held(_host):
    text = (
        "import socket, os\n"
        "for act in (socket.socket, lambda: os.chroot('/'), lambda: os.open('/dev/urandom', 1)):\n"
        "    try:\n        act(); print('an answer')\n"
        "    except OSError as error: print(error.errno)\n"
    )
    found = run([PYTHON, "-Ic", text])
    assert found.stdout.split() == [b"97", b"1", b"13"], found
    return DONE


# Network.


def dial(address, port=443, family=socket.AF_INET):
    with socket.socket(family) as made:
        made.settimeout(10)
        made.connect((address, port))
        return made.recv(100).decode()


def connect_anywhere(_host):
    said = [dial(address) for address in ("198.18.0.7", "10.0.0.5", "169.254.169.254")]
    said.append(dial("2001:db8::1", family=socket.AF_INET6))
    names = ("::ffff:198.18.0.7", "::ffff:10.0.0.5", "::ffff:169.254.169.254", "2001:db8::1")
    assert said == [f"{name} 443" for name in names], said
    return DONE


def connect_to_the_host(host):
    return refused(lambda: dial("127.0.0.1", host.port))


def other_ports(_host):
    return refused(lambda: dial("198.18.0.7", 444))


def resolve(_host):
    found = socket.getaddrinfo("example.org", 443, type=socket.SOCK_STREAM)
    assert {address[4][0] for address in found} == {"198.18.0.9"}, found
    assert socket.gethostbyname("localhost") == "198.18.0.9"
    return DONE


def fetch(_host):
    with socket.create_connection(("example.org", 443), timeout=10) as made:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        assert made.recv(100) == b"::ffff:198.18.0.9 443"
    return DONE


def other_sockets(_host):
    """
    All families and kinds but TCP and UDP; binding, listening, other protocols on top.
    """
    kinds = [(f, k, 0) for f in range(46) for k in (1, 2, 3, 5) if (f, k) not in ALLOWED]
    kinds += [(2, 1, 262), (2, 1, 132), (2, 2, 136), (2, 3, 1), (10, 2, 0), (16, 3, 0)]
    said = {refused(lambda kind=kind: socket.socket(*kind).close()) for kind in kinds}
    assert said == {"EAFNOSUPPORT"}, said
    with socket.socket() as made:
        acts = {
            "bind": lambda: made.bind(("127.0.0.1", 0)),
            "listen": made.listen,
            "ulp": lambda: made.setsockopt(6, 31, b"tls"),
            "filter": lambda: made.setsockopt(1, 26, b"\0" * 16),
            "bpf": lambda: made.setsockopt(1, 50, 3),
            "transparent": lambda: made.setsockopt(0, 19, 1),
            "repair": lambda: made.setsockopt(6, 19, 1),
            "device": lambda: made.setsockopt(1, 25, b"lo\0"),
            "options": lambda: made.setsockopt(0, 4, b""),
        }
        said = {name: refused(act) for name, act in acts.items()}
    assert set(said.values()) == {"EPERM"}, said
    return DONE


ALLOWED = {(2, 1), (2, 2), (10, 1)}


def no_network(_host):
    return refused(socket.socket)


# Served mounts, and refusals that are told.


def read_served(_host):
    assert Path("/data/served/file").read_bytes() == b"served by another process"
    said = [
        refused(lambda: Path("/data/served/other").stat()),
        refused(lambda: Path("/data/served/file").write_text("x")),
        refused(lambda: Path("/data/served/new").write_text("x")),
    ]
    return " ".join(said)


def run_served(_host):
    with Path("/data/served/file").open("rb") as file:
        rights = mmap.PROT_READ | mmap.PROT_EXEC
        return refused(lambda: mmap.mmap(file.fileno(), 16, mmap.MAP_PRIVATE, rights))


def refused_calls(_host):
    acts = [
        lambda: call("mount", 0, 0, 0, 0, 0),
        lambda: call("unshare", 0x1000_0000),
        lambda: call("bpf", 0, 0, 0),
        lambda: os.kill(-1, 0),
        os.fork,
    ]
    return " ".join(refused(act) for act in acts)


def nested(_host):
    assert Path.cwd() == Path("/work")
    Path("own").write_text("x")
    Path("inner/deep/own").write_text("x")
    assert Path("shown/canary").read_text() == "tweet"
    return refused(lambda: Path("shown/canary").write_text("x"))


def start_elsewhere(_host):
    return str(Path.cwd())


def sizes(_host):
    said = []
    for place in ("/a", "/b"):
        found = os.statvfs(place)
        said.append(f"{found.f_blocks * found.f_frsize} {found.f_files}")
    return " ".join(said)


def private(_host):
    """
    Leave what is hard to remove: no rights for anybody, many levels, links to elsewhere.
    """
    places = {Path.cwd(), Path(os.environ["HOME"]), Path(os.environ["TMPDIR"])}
    assert len(places) == 3
    for place in places:
        assert list(place.iterdir()) == []
        assert place.stat().st_mode & 0o777 == 0o700
        os.chdir(place)
        Path("link").symlink_to("/usr")
        Path("file").write_text("x")
        for _ in range(300):
            Path("deep").mkdir()
            Path("deep/closed").mkdir(0)
            os.chdir("deep")
        os.chdir(place)
        Path("closed").mkdir(0)
    assert refused(lambda: Path("file").chmod(0o777)) == "EPERM"
    assert refused(lambda: os.utime("file")) == "EPERM"
    return DONE


def descriptors_pass(_host):
    # A descriptor that the guest sends itself comes back as it is: nothing here hangs on it.
    one, other = socket.socketpair()
    with one, other:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1]))]
        one.sendmsg([b"x"], ancillary)
        assert other.recvmsg(1, 100)[0] == b"x"
    return DONE


GRANTS = {
    act.__name__: act
    for act in list(globals().values())
    if callable(act)
    and getattr(act, "__module__", "") == __name__
    and act.__name__ not in {"dial", "run"}
}
assert sys
