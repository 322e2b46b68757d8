"""
The tools of a build, attacked from inside: each act is done by a program that `run` starts.

Every act is done twice, unconfined and confined. Unconfined it must succeed, or the test proves
nothing. Green does not prove that a tool with network cannot send what it may read.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from executor.images.errors import PlatformUnsupportedError, ToolFailedError
from executor.images.process import (
    Access,
    Network,
    ToolLimits,
    network_environment,
    plain_environment,
    python_access,
    python_path,
    run,
)

ROOT = Path(__file__).parents[3]
NODE = shutil.which("node")

# Prints "done", or the name of the errno with which the kernel refused.
PRELUDE = """
import ctypes, errno, os, signal, socket, subprocess, sys
world = dict(zip(("outside", "secret", "port", "victim", "socket"), sys.argv[1:]))
libc = ctypes.CDLL(None, use_errno=True)

def call(function, *arguments):
    if function(*arguments) == -1:
        raise OSError(ctypes.get_errno(), "call")

def said(act):
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

def act():
"""
TO_WORLD = ("outside", "secret", "port", "victim", "socket")

FILES = {
    "write_a_new_file_outside": "open(world['outside'] + '/new', 'w').close()",
    "write_over_a_file_outside": "open(world['secret'], 'r+').close()",
    "cut_a_file_outside": "os.truncate(world['secret'], 0)",
    "remove_a_file_outside": "os.unlink(world['secret'])",
    "rename_a_file_outside": "os.rename(world['secret'], world['secret'] + '.moved')",
    "make_a_directory_outside": "os.mkdir(world['outside'] + '/made')",
    "link_to_a_file_outside": "os.link(world['secret'], 'linked')",
    "put_its_own_file_outside": "open('own', 'w').close(); os.rename('own', world['outside']+'/own')",
    "make_a_fifo": "os.mkfifo('fifo')",
}
FILE_ERRORS = dict.fromkeys(FILES, "EACCES") | {
    "link_to_a_file_outside": "EXDEV",
    "make_a_fifo": "EPERM",
    "cut_a_file_outside": "EPERM",
}
READS = {
    "read_a_secret": "open(world['secret']).close()",
    "read_the_users_list": "open('/etc/passwd').close()",
    "list_a_directory_outside": "os.listdir(world['outside'])",
    "read_the_environment_of_another_process": (
        "open(f\"/proc/{world['victim']}/environ\", 'rb').read()"
    ),
}
ATTRIBUTES = {
    "open_a_file_for_everybody": "os.chmod(world['secret'], 0o777)",
    "give_its_own_file_away": "open('own', 'w').close(); os.chmod('own', 0o777)",
    "touch_a_file_outside": "os.utime(world['secret'])",
}
CONNECTIONS = {
    "connect_to_a_server": "socket.create_connection(('127.0.0.1', int(world['port']))).close()",
    "look_a_name_up": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()",
    "make_a_pair_of_sockets": "socket.socketpair()",
}
SOCKETS = {
    "connect_to_a_unix_socket": "socket.socket(socket.AF_UNIX).connect(world['socket'])",
    "be_a_server": "socket.create_server(('127.0.0.1', 0)).close()",
    "open_a_netlink_socket_of_audit": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9)",
    "open_a_socket_to_the_hypervisor": "socket.socket(40, socket.SOCK_STREAM)",
}
PROGRAMS = {
    "run_a_shell": "os.execv('/bin/sh', ['/bin/sh', '-c', 'echo done'])",
    "run_its_own_program": (
        "open('own', 'wb').write(open('/bin/echo', 'rb').read()); "
        "libc.chmod(b'own', 0o755); os.execv('own', ['own', 'done'])"
    ),
}
CHILDREN = {
    "start_a_child": "os.fork() or os._exit(0)",
    "start_a_shell": "subprocess.run(['/bin/sh', '-c', 'true'], check=True)",
}
OTHERS = {
    "signal_another_process": "os.kill(int(world['victim']), 0)",
    "look_for_another_process_by_signals": "call(libc.sigqueue, int(world['victim']), 0, None)",
}
KERNEL = {
    "trace_another_process": "call(libc.ptrace, 0x4206, int(world['victim']), 0, 0)",
    "limit_another_process": (
        "import resource; resource.prlimit(int(world['victim']), resource.RLIMIT_CORE)"
    ),
    "be_nicer_than_others": "os.setpriority(os.PRIO_PROCESS, int(world['victim']), 1)",
    "make_namespaces": "call(libc.unshare, 0x10000000)",
    "mount": "call(libc.mount, b'none', b'/nonexistent', b'tmpfs', 0, None)",
    "use_keys": "call(libc.syscall, 250, 0, -3, 0)",
    "share_memory": "call(libc.shmget, 0, 4096, 0o600)",
    "load_bpf": "call(libc.syscall, 321, 0, b'\\0' * 128, 128)",
}
# What kernels say by themselves: to arguments that mean nothing, to users other than root, under
# a security module of the host, or where they lack the thing.
UNCONFINED = {
    "mount": {"ENOENT", "EPERM"},
    "load_bpf": {"EINVAL", "EPERM", "done"},
    "trace_another_process": {"done", "EPERM"},
    "make_namespaces": {"done", "EPERM"},
    "open_a_socket_to_the_hypervisor": {"done", "EAFNOSUPPORT"},
}
ACTS = FILES | READS | ATTRIBUTES | CONNECTIONS | SOCKETS | PROGRAMS | CHILDREN | OTHERS | KERNEL

OFFLINE = {
    **FILE_ERRORS,
    **dict.fromkeys(READS, "EACCES"),
    **dict.fromkeys(ATTRIBUTES, "EPERM"),
    **dict.fromkeys(CONNECTIONS | SOCKETS, "EPERM"),
    **dict.fromkeys(PROGRAMS, "EACCES"),
    **dict.fromkeys(CHILDREN, "EPERM"),
    **dict.fromkeys(OTHERS | KERNEL, "EPERM"),
}
ONLINE = {
    **FILE_ERRORS,
    **dict.fromkeys(READS, "done"),
    "read_the_environment_of_another_process": "EACCES",
    **dict.fromkeys(CONNECTIONS, "done"),
    **dict.fromkeys(SOCKETS, "EPERM"),
    **dict.fromkeys(PROGRAMS, "EACCES"),
    "start_a_child": "done",
    "start_a_shell": "EACCES",
    **dict.fromkeys(OTHERS | KERNEL, "EPERM"),
}


@pytest.fixture
def world(tmp_path):
    """
    What an act aims at: a directory with a secret, a server, a unix socket, another process.
    """
    outside = tmp_path / "home"
    outside.mkdir()
    secret = outside / "id_ed25519"
    secret.write_text("secret")
    victim = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    )
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        # Not below tmp_path: the path of a unix socket has 107 bytes at most.
        tempfile.TemporaryDirectory(prefix="cc-") as short,
        socket.socket(socket.AF_UNIX) as agent,
        victim,
    ):
        agent.bind(f"{short}/agent")
        agent.listen()
        yield [
            str(outside),
            str(secret),
            str(server.getsockname()[1]),
            str(victim.pid),
            f"{short}/agent",
        ]
        victim.stdin.close()


def attempt(act: str, world: list[str], tmp_path: Path, access: Access | None) -> str:
    own = tmp_path / "own"
    own.mkdir()
    return run(
        [sys.executable, "-I", "-c", f"{PRELUDE}    {ACTS[act]}\nprint(said(act))", *world],
        directory=own,
        environment=plain_environment(own),
        limits=ToolLimits(),
        tick=lambda: None,
        access=access,
    ).strip()


def with_network() -> Access:
    return Access(Network.OUTWARD)


@pytest.mark.parametrize("act", sorted(ACTS))
def test_without_confinement_a_tool_does_what_its_user_can(act, world, tmp_path):
    assert attempt(act, world, tmp_path, None) in UNCONFINED.get(act, {"done"})


@pytest.mark.parametrize("act", sorted(OFFLINE))
def test_a_tool_without_network_is_refused(act, world, tmp_path):
    assert attempt(act, world, tmp_path, python_access()) == OFFLINE[act]


@pytest.mark.parametrize("act", sorted(ONLINE))
def test_a_tool_with_network_reads_connects_and_does_nothing_more(act, world, tmp_path):
    assert attempt(act, world, tmp_path, with_network()) == ONLINE[act]


def tool(source: str, own: Path, access: Access | None, *arguments: str) -> str:
    return run(
        [sys.executable, "-I", "-c", source, *arguments],
        directory=own,
        environment=plain_environment(own),
        limits=ToolLimits(),
        tick=lambda: None,
        access=access,
    )


KINDS = {"without": python_access, "with": with_network}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_tool_works_in_its_own_directory(kind, tmp_path):
    source = """
import os
os.makedirs("a/b")
open("a/file", "w").write("text")
os.rename("a/file", "a/b/moved")
os.symlink("moved", "a/b/link")
print(open("a/b/link").read(), os.listdir("a"), open(os.devnull, "w").write("x"))
os.unlink("a/b/link")
os.unlink("a/b/moved")
os.removedirs("a/b")
"""
    assert tool(source, tmp_path, KINDS[kind]()) == "text ['b'] 1\n"


def test_a_further_directory_can_be_granted_and_the_one_beside_it_is_not(tmp_path):
    own, granted, beside = (tmp_path / name for name in ("own", "granted", "beside"))
    for path in (own, granted, beside):
        path.mkdir()
    source = "import sys; open(sys.argv[1] + '/made', 'w').close()"
    tool(source, own, python_access([granted]), str(granted))
    assert (granted / "made").exists()
    with pytest.raises(ToolFailedError, match="Permission denied"):
        tool(source, own, python_access([granted]), str(beside))


def test_what_is_granted_for_reading_is_not_written(tmp_path):
    own, granted = tmp_path / "own", tmp_path / "granted"
    own.mkdir()
    granted.mkdir()
    (granted / "file").write_text("text")
    access = Access(
        Network.NONE, reads=(*python_access().reads, granted), lists=python_access().lists
    )
    source = "import sys; print(open(sys.argv[1] + '/file', sys.argv[2]).read())"
    assert tool(source, own, access, str(granted), "r") == "text\n"
    with pytest.raises(ToolFailedError, match="Permission denied"):
        tool(source, own, access, str(granted), "r+")


def test_a_program_beside_its_own_is_executed_only_when_named(tmp_path):
    source = "import subprocess; print(subprocess.run(['/bin/echo', 'hello']).returncode)"
    named = Access(Network.OUTWARD, runs=(Path("/bin/echo"),))
    assert tool(source, tmp_path, named) == "hello\n0\n"
    with pytest.raises(ToolFailedError, match="Permission denied"):
        tool(source, tmp_path, with_network())


def test_threads_are_no_processes(tmp_path):
    source = (
        "import threading; t = threading.Thread(target=print, args=('in a thread',)); "
        "t.start(); t.join()"
    )
    assert tool(source, tmp_path, python_access()) == "in a thread\n"


def test_a_tool_may_end_itself_by_a_signal(tmp_path):
    with pytest.raises(ToolFailedError, match="signal 6"):
        tool("import os; os.abort()", tmp_path, python_access())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to lose")
def test_a_tool_of_root_keeps_one_capability(tmp_path):
    source = (
        "print(*[line.split()[1] for line in open('/proc/self/status')"
        " if line[:6] in {'CapInh', 'CapPrm', 'CapEff', 'CapAmb'}])"
    )
    read_search = f"{1 << 2:016x}"
    none = f"{0:016x}"
    held = tool(source, tmp_path, with_network())
    assert held == f"{none} {read_search} {read_search} {none}\n"
    assert tool(source, tmp_path, None).split()[2] != read_search


@pytest.mark.skipif(NODE is None, reason="this machine has no node of its own")
def test_node_runs_without_network(tmp_path):
    script = tmp_path / "script.js"
    script.write_text(
        "const fs = require('fs'), crypto = require('crypto');"
        "fs.writeFileSync('out', crypto.randomBytes(3));"
        "try { fs.readFileSync('/etc/passwd') } catch (error) { console.log(error.code) }"
        "require('net').connect(9, '127.0.0.1').on('error', error => console.log(error.code));"
    )
    said = run(
        [str(NODE), str(script)],
        directory=tmp_path,
        environment=plain_environment(tmp_path),
        limits=ToolLimits(),
        tick=lambda: None,
        access=Access(Network.NONE),
    )
    assert said == "EACCES\nEPERM\n"
    assert (tmp_path / "out").stat().st_size == 3


def test_webassembly_is_compiled_without_network(tmp_path):
    (tmp_path / "empty.wasm").write_bytes(b"\0asm\x01\0\0\0")
    environment = plain_environment(tmp_path) | {"PYTHONPATH": python_path()}
    run(
        [
            # -S: nothing but the path tells it where packages are.
            *(sys.executable, "-P", "-S", "-m", "executor.images.compile"),
            *(str(tmp_path / "empty.wasm"), str(tmp_path / "empty.cwasm")),
        ],
        directory=tmp_path,
        environment=environment,
        limits=ToolLimits(),
        tick=lambda: None,
        access=python_access(),
    )
    assert (tmp_path / "empty.cwasm").read_bytes().startswith(b"\x7fELF")


def test_pip_starts_with_network(tmp_path):
    said = run(
        [sys.executable, "-P", "-m", "pip", "--version"],
        directory=tmp_path,
        environment=network_environment(tmp_path),
        limits=ToolLimits(),
        tick=lambda: None,
        access=with_network(),
    )
    assert said.startswith("pip ")


# A build on a kernel that answers otherwise: the filter is real, and ends with its process.
BUILDER = """
import errno, os, sys
from pathlib import Path
from executor.images.errors import ImageError
from executor.images.process import Access, Network, ToolLimits, plain_environment, run
from executor.linux import seccomp
from executor.linux.filters import ALLOW, Action, Filter, Refuse, Verdict, compile_filter

call, number, own = sys.argv[1], getattr(errno, sys.argv[2], 0), Path(sys.argv[3])
rows = (Refuse(call, "the test says so", Action(Verdict.ERRNO, number)),)
seccomp.install(compile_filter(Filter("break", rows, ALLOW), os.getpid()), tsync=True)
try:
    print(run(
        ["/bin/cat", "/etc/hostname" if len(sys.argv) < 5 else sys.argv[4]],
        directory=own, environment=plain_environment(own), limits=ToolLimits(),
        tick=lambda: None, access=Access(Network.NONE),
    ), end="")
except ImageError as error:
    print(type(error).__name__, error)
"""


def built(own: Path, call: str, number: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", BUILDER, call, number, str(own), *arguments],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_kernel_without_landlock_builds_nothing_unless_told_to(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("read\n")
    own = tmp_path / "own"
    own.mkdir()
    absent = ("landlock_create_ruleset", "ENOSYS", str(secret))
    refused = built(own, *absent)
    assert refused.startswith("PlatformUnsupportedError /bin/cat reads data from the network")
    assert "CODECAGE_BUILD_ISOLATION=W1" in refused
    assert built(own, *absent, CODECAGE_BUILD_ISOLATION="W2") == refused
    assert built(own, *absent, CODECAGE_BUILD_ISOLATION="W1") == "read\n"


def test_a_kernel_with_landlock_uses_it_whatever_is_demanded(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("read\n")
    own = tmp_path / "own"
    own.mkdir()
    said = built(own, "reboot", "EPERM", str(secret), CODECAGE_BUILD_ISOLATION="W1")
    assert "Permission denied" in said


@pytest.mark.parametrize("word", ["", "W3", "none", "w1"])
def test_a_demand_that_is_none_of_the_levels_is_refused(word, tmp_path):
    said = built(tmp_path, "landlock_create_ruleset", "ENOSYS", CODECAGE_BUILD_ISOLATION=word)
    assert said == (
        f"ImageError CODECAGE_BUILD_ISOLATION is {word!r}; it is W1 or W2, or not set for W2.\n"
    )


@pytest.mark.parametrize(
    ("call", "number", "said"),
    [
        ("landlock_restrict_self", "E2BIG", "Landlock: restricting this thread answered E2BIG"),
        ("landlock_add_rule", "ENOMEM", "Landlock: adding PathRule("),
        ("seccomp", "EINVAL", "seccomp: loading a filter answered EINVAL"),
        ("capset", "EPERM", "capabilities: keeping "),
    ],
)
def test_a_tool_that_cannot_be_confined_is_not_started(call, number, said, tmp_path):
    answer = built(tmp_path, call, number)
    assert answer.startswith("ToolFailedError /bin/cat ended with status 1.")
    assert f"it was not started, because it could not be confined: {said}" in answer


def test_a_program_that_is_not_there_is_refused_before_it_is_started(tmp_path):
    with pytest.raises(PlatformUnsupportedError, match="nonexistent-program cannot be confined"):
        run(
            ["/nonexistent-program"],
            directory=tmp_path,
            environment=plain_environment(tmp_path),
            limits=ToolLimits(),
            tick=lambda: None,
            access=Access(Network.NONE),
        )
