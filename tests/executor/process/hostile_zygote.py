"""
A native zygote whose image has a package that turns against the host when it is imported.

Arguments: `locked` or `unlocked`; an empty directory for the package; a directory of the host that
it tries to write in; the port of a listener; the path of a unix socket, which is an abstract name
as well; the number of a process. It prints one line of JSON: what each attack came to. Its attacks
are harmless where they succeed.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from executor.linux import mounts, unshare
from executor.linux.namespaces import Namespace
from executor.process import jail, slots, zygote_lock
from executor.process.native_image import NativeImage
from executor.process.zygote import take_in

PACKAGE = """
import ctypes, errno, os, socket, struct

directory, port, path, pid = TARGETS
libc = ctypes.CDLL(None, use_errno=True)


def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")


def connect(family, address):
    with socket.socket(family) as one:
        one.connect(address)


def send(address):
    with socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0] as one:
        one.sendto(b"x", address)


def write(name):
    with open(name, "w") as file:
        file.write("x")


def again(name):
    with open(name) as file:
        content = file.read()
    with open(name, "w") as file:
        file.write(content)


def remount():
    # mount_setattr(2): that nothing is read-only any more.
    call(442, -100, b"/", 0x8000, struct.pack("=4Q", 0, 1, 0, 0), 32)
    write(f"{directory}/again")


def other():
    os.setresuid(-1, 4321, -1)
    os.setresuid(-1, 0, -1)


def root():
    # In a child, for nothing is found by its name then.
    child = os.fork()
    if child == 0:
        try:
            os.chroot(directory)
        except OSError as error:
            os._exit(error.errno)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        raise OSError(os.waitstatus_to_exitcode(status), "")


def device():
    found = os.stat(directory).st_dev
    os.close(os.open(disk(os.major(found), os.minor(found)), os.O_RDWR))


def disk(major, minor):
    for name in os.listdir("/dev"):
        there = os.lstat(f"/dev/{name}")
        if there.st_rdev == os.makedev(major, minor):
            return f"/dev/{name}"
    return "/dev/mem"


ATTACKS = {
    "write a file of the host": lambda: write(f"{directory}/written"),
    "change rights of a file of the host": lambda: os.chmod(f"{directory}/there", 0o4755),
    "remove a file of the host": lambda: os.unlink(f"{directory}/there"),
    "write through the root of another process": lambda: write(f"/proc/{pid}/root{directory}/w"),
    "undo what makes it read-only": remount,
    "set the kernel": lambda: again("/proc/sys/kernel/core_pattern"),
    "open the disk": device,
    "connect to the network": lambda: connect(socket.AF_INET, ("127.0.0.1", port)),
    "connect to a socket of the host": lambda: connect(socket.AF_UNIX, path),
    "connect to an abstract socket": lambda: connect(socket.AF_UNIX, f"\\0{path}"),
    "trace a process": lambda: call(101, 0x4206, pid, 0, 0),
    "read the memory of a process": lambda: os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY)),
    "be another user": other,
    "enter the namespace of a process": lambda: call(308, os.open(f"/proc/{pid}/ns/net", 0), 0),
    "name the host": lambda: socket.sethostname(socket.gethostname()),
    "make a device": lambda: os.mknod(f"{directory}/device", 0o20600, os.makedev(1, 3)),
    "call unseen": lambda: call(425, 1, ctypes.create_string_buffer(120)),
    "talk to the machine below": lambda: socket.socket(socket.AF_VSOCK).close(),
    "have packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
    "change the root": root,
}

said = {}
for name, act in ATTACKS.items():
    try:
        act()
    except OSError as error:
        said[name] = errno.errorcode.get(error.errno, str(error))
    else:
        said[name] = "it succeeded"
"""


def main(arguments: Sequence[str]) -> None:
    """
    Import it, locked or not.
    """
    how, site, *targets = arguments
    directory, port, path, pid = targets
    facts = (directory, int(port), path, int(pid))
    Path(site, "hostile.py").write_text(PACKAGE.replace("TARGETS", repr(facts)))
    if how == "locked":
        own = slots.claim()
        locked = zygote_lock.lock(own)
        print(locked.hold.value, file=sys.stderr)
        jail.prepare()
    elif os.geteuid() == 0:
        # What an attack undoes is not the host's.
        unshare.leave(Namespace.MOUNT)
        mounts.isolate()
    take_in(NativeImage("hostile", "key", (site,), ("hostile",)), "a test")
    os.write(1, json.dumps(sys.modules["hostile"].said).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
