"""
What a zygote that was taken over tries, and what a locked one is told; each act is one line.

They run in a process of their own, behind `PRELUDE`.
"""

# To be a user without rights.
GIVE_UP_ROOT = """
def give_up_root():
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        call("prctl", 4, 1)  # dumpable, as it is where no root was given up
"""

# A zygote in small: its imports, a process of the same user beside it, root given up, the lock.
# What it prints is "done", or the errno's name; the status is that of `done_by` a fork.
PRELUDE = (
    """
import array, codecs, ctypes, errno, fcntl, mmap, os, resource, select, signal, socket, struct, sys
import threading, time
from dataclasses import replace
from pathlib import Path
import executor.linux.programs
from executor.linux import landlock, oom, seccomp
from executor.linux.errors import MechanismError
from executor.linux.filters import (
    ALLOW, Action, Allow, Filter, OneOf, Refuse, Verdict, compile_filter,
)
from executor.linux.libc import call
from executor.wasm import jail, zygote_lock

for name in ("ascii", "latin-1"):
    codecs.lookup(name)
folder, port = sys.argv[1], int(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
idle = socket.socket()
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

"""
    + GIVE_UP_ROOT
    + """
score = oom.own()
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

def beside_it(act):
    # What a process of the same user is told that does `act` to this one, when it is asked.
    asking, asked = os.pipe()
    answered, answering = os.pipe()
    zygote, pid = os.getpid(), os.fork()
    if not pid:
        os.close(asked)
        os.read(asking, 1)
        os.write(answering, said(lambda: act(zygote)).encode())
        os._exit(0)
    def ask():
        os.close(asked)
        return os.read(answered, 99).decode()
    return ask

def said(act):
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
"""
)

NETWORK = {
    "make_a_socket": "socket.socket()",
    "make_a_unix_socket": "socket.socket(socket.AF_UNIX)",
    "make_a_netlink_socket": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)",
    "make_a_pair_of_datagram_sockets": "socket.socketpair(type=socket.SOCK_DGRAM)",
    "connect_a_socket_that_it_has": "idle.connect(('127.0.0.1', port))",
    "bind_a_socket_that_it_has": "idle.bind(('127.0.0.1', 0))",
    "listen_on_a_socket_that_it_has": "idle.listen()",
}
SIGNALS = {
    "signal_another_process": "os.kill(victim, 0)",
    "signal_a_thread_of_another": "call('tkill', victim, 0)",
    "signal_by_descriptor": "signal.pidfd_send_signal(os.pidfd_open(victim), 0)",
    "signal_one_thread_of_another": "call('tgkill', victim, victim, 0)",
    "abort_another": "call('tgkill', victim, victim, signal.SIGABRT)",
    "have_a_socket_signal_another": "fcntl.fcntl(ours, fcntl.F_SETOWN, victim)",
    "have_a_socket_signal_a_thread": "call('fcntl', ours.fileno(), 15, text(struct.pack('2i', 1, victim)))",
    "choose_the_signal_of_a_socket": "fcntl.fcntl(ours, 10, signal.SIGKILL)",
    "name_the_owner_of_a_socket": "fcntl.ioctl(ours, 0x8901, struct.pack('i', victim))",
    "name_the_group_of_a_socket": "fcntl.ioctl(ours, 0x8902, struct.pack('i', victim))",
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
# What the rules of /proc leave is reading.
PROC = {
    "change_its_score": "Path('/proc/self/oom_score_adj').write_text('1000')",
    "change_the_score_of_another": "Path(f'/proc/{victim}/oom_score_adj').write_text('1000')",
    "write_memory_of_another": "open(f'/proc/{victim}/mem', 'r+b').close()",
}
TAKEN = {
    "write_to_a_file_that_it_holds": ("os.write(opened, b'x')", "EFBIG"),
    "take_more_memory_than_guests_need": ("call('mmap', 0, 2**34, 3, 0x4022, -1, 0)", "ENOMEM"),
    "lock_memory": ("call('mlock', text(b'page'), 4)", "EPERM"),
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
ACTS = NETWORK | SIGNALS | FILES | OBJECTS | PROC | KILLED | HIDDEN
ACTS |= {name: act for name, (act, _) in TAKEN.items()}
LOCKED = {
    **dict.fromkeys(NETWORK | SIGNALS | FILES, "EPERM"),
    **dict.fromkeys(OBJECTS | PROC, "EACCES"),
    **{name: error for name, (_, error) in TAKEN.items()},
    **dict.fromkeys(KILLED, "SIGSYS"),
    "spawn_a_program": "ECHILD",  # the child is killed, before it is another program
    **dict.fromkeys(HIDDEN, "ENOSYS"),
}
