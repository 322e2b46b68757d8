"""
Ways to look at what others do, found by trying: through pages of files that all are shown, through
the sockets and the crash of a box, through what lies in a tree besides files.
"""

import mmap
import os
import socket
import struct

from attack_tree import place
from attacks import Attack, Control, only

from executor.linux.libc import call

_GET_DUMPABLE, _SET_DUMPABLE = 3, 4
_SO_PEERPIDFD = 77
_PROGRAM = "/usr/bin/env"


def peer(_host):
    """
    A descriptor of the process that made a pair: for a box's channel that is the server.
    """
    one, other = socket.socketpair()
    with one, other:
        number = struct.unpack("i", one.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD, 4))[0]
        os.close(number)
    return "!a descriptor of a process"


def dumped(_host):
    """
    Whether a crash of this process would be given to the host's program for core dumps.
    """
    return f"!{call('prctl', _GET_DUMPABLE)}" if call("prctl", _GET_DUMPABLE) else "not dumped"


def be_dumped(_host):
    call("prctl", _SET_DUMPABLE, 1, 0, 0, 0)
    return dumped(_host)


def cached(_host):
    """
    Whether somebody has read the first page of a program.

    This is what an attack can ask. It begins to read what is not there: preadv2(2).
    """
    with open(_PROGRAM, "rb") as file:
        try:
            got = os.preadv(file.fileno(), [bytearray(mmap.PAGESIZE)], 0, os.RWF_NOWAIT)
        except BlockingIOError:
            got = 0
    return f"!{got > 0}"


def take_out(host):
    """
    Take a file out of the memory that all share, to find there later whether somebody has read it.
    """
    with open(f"{place(host)}/file", "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return "asked"


def reconnect(host):
    """
    Connect one of a pair, which is no socket of the internet, to a socket of the host.
    """
    one, other = socket.socketpair()
    other.close()
    with one:
        one.shutdown(socket.SHUT_RDWR)
        one.connect(f"{place(host)}/socket")
    return "!connected"


def write_fifo(host):
    number = os.open(f"{place(host)}/fifo", os.O_WRONLY | os.O_NONBLOCK)
    os.write(number, b"x")
    os.close(number)
    return "!written to"


ATTACKS = {
    "look_peer": Attack(66, peer, only("EPERM")),
    "look_dump": Attack(219, dumped, only("not dumped")),
    "look_be_dumped": Attack(219, be_dumped, only("EPERM")),
    "look_cached": Attack(203, cached, only("ENOTSUP")),
    "look_take_out": Attack(203, take_out, only("asked"), Control.NEVER),
    "look_reconnect": Attack(216, reconnect, only("EISCONN"), Control.NEVER, {"ports": [443]}),
    "look_fifo": Attack(207, write_fifo, only("EACCES")),
}
