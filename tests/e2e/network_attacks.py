"""
Ways out of a box into the host's network, each of which reaches somebody where nothing holds it.

Run as a program it is the control: `network_attacks.py NAME PORT DATAGRAMS GRANTED NAMED`, and "reached" or
an errno's name is printed. In a box its text is run as a cell. What is reached are the host's own
listeners: TCP at `PORT`, UDP at `DATAGRAMS`, a unix socket at `NAMED`; TCP at `GRANTED` may be.
"""

import contextlib
import ctypes
import errno
import os
import random
import socket
import struct
import sys
import threading
import time

LIBC = ctypes.CDLL(None, use_errno=True)
CONNECT, LISTEN, SENDMMSG, IO_URING_SETUP = 42, 50, 307, 425
FAST_OPEN_CONNECT, MPTCP = 30, 262


def call(number, *arguments):
    result = LIBC.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result


def packed(port, host="127.0.0.1"):
    """A struct sockaddr_in."""
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, socket.inet_aton(host))


def at(memory):
    return ctypes.addressof(memory)


def by_python(port, **_):
    socket.create_connection(("127.0.0.1", port), timeout=20).close()


def by_system_call(port, **_):
    address = ctypes.create_string_buffer(packed(port))
    with socket.socket() as made:
        call(CONNECT, made.fileno(), at(address), 16)


def mapped_into_six(port, **_):
    with socket.socket(socket.AF_INET6) as made:
        made.connect(("::ffff:127.0.0.1", port))


def by_descriptor_of_a_copy(port, **_):
    with socket.socket() as made, made.dup() as copy:
        copy.connect(("127.0.0.1", port))


def by_sendto(port, **_):
    with socket.socket() as made:
        made.sendto(b"x", socket.MSG_FASTOPEN, ("127.0.0.1", port))


def by_sendmsg(port, **_):
    with socket.socket() as made:
        made.sendmsg([b"x"], [], socket.MSG_FASTOPEN, ("127.0.0.1", port))


def by_sendmmsg(port, **_):
    text, address = ctypes.create_string_buffer(b"x"), ctypes.create_string_buffer(packed(port))
    vector = ctypes.create_string_buffer(struct.pack("=2Q", at(text), 1))
    message = struct.pack("=QI4xQQQQQI4x", at(address), 16, at(vector), 1, 0, 0, 0, 0)
    messages = ctypes.create_string_buffer(message)
    with socket.socket() as made:
        call(SENDMMSG, made.fileno(), at(messages), 1, int(socket.MSG_FASTOPEN))


def by_fast_open_of_connect(port, **_):
    with socket.socket() as made:
        made.setsockopt(socket.IPPROTO_TCP, FAST_OPEN_CONNECT, 1)
        made.connect(("127.0.0.1", port))
        made.send(b"x")


def by_mptcp(port, **_):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP) as made:
        made.connect(("127.0.0.1", port))


def parted_and_connected_anew(port, **_):
    """Connected where it may be, parted by AF_UNSPEC, connected elsewhere."""
    with socket.socket() as made:
        made.connect(PLACES["granted"])
        nowhere = ctypes.create_string_buffer(16)
        call(CONNECT, made.fileno(), at(nowhere), 16)
        made.connect(("127.0.0.1", port))


def a_second_time(port, **_):
    with socket.socket() as made:
        made.connect(PLACES["granted"])
        made.connect(("127.0.0.1", port))


def datagram(datagrams, **_):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.sendto(b"x", ("127.0.0.1", datagrams))


def named(named, **_):
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(named)


def changed_while_it_is_judged(port, **_):
    """
    A thread writes the granted address and the other in turn, while connect(2) reads it. Who was
    reached the other side says.
    """
    wanted, other = (
        packed(PLACES["granted"][1], socket.gethostbyname(PLACES["granted"][0])),
        packed(port),
    )
    address, over = ctypes.create_string_buffer(wanted, 16), threading.Event()

    def write():
        # By chance, for Python's threads change places at a few places of a loop only.
        while not over.is_set():
            ctypes.memmove(address, random.choice((wanted, other)), 16)

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(60):
            time.sleep(0.001)  # the thread's turn: outside, connect(2) gives it none
            with socket.socket() as made, contextlib.suppress(OSError):
                call(CONNECT, made.fileno(), at(address), 16)
    finally:
        over.set()
        writer.join()
        sys.setswitchinterval(usual)


def listens(**_):
    with socket.socket() as made:
        call(LISTEN, made.fileno(), 1)


def bound(**_):
    with socket.socket() as made:
        made.bind(("0.0.0.0", 0))


def raw(**_):
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()


def netlink(**_):
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()


def packets(**_):
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()


def ring(**_):
    os.close(call(IO_URING_SETUP, 1, at(ctypes.create_string_buffer(120))))


def interfaces(**_):
    with socket.socket() as made:
        room = ctypes.create_string_buffer(struct.pack("=16s24x", b"lo"), 40)
        call(16, made.fileno(), 0x8915, at(room))  # ioctl, SIOCGIFADDR


def marked(**_):
    with socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, 25, b"lo\0")  # SO_BINDTODEVICE


def lingering(**_):
    with socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 1))


ATTACKS = {
    one.__name__: one
    for one in (
        *(by_python, by_system_call, mapped_into_six, by_descriptor_of_a_copy, by_sendto),
        *(by_sendmsg, by_sendmmsg, by_fast_open_of_connect, by_mptcp, a_second_time),
        *(parted_and_connected_anew, datagram, named, changed_while_it_is_judged),
        *(listens, bound, raw, netlink, packets, ring, interfaces, marked, lingering),
    )
}
PLACES = {"granted": ("127.0.0.1", 0)}


def attempt_attack(name, granted, **places):
    """What came of it: "reached", or the errno that refused it."""
    PLACES["granted"] = granted
    try:
        ATTACKS[name](**places)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "reached"


if __name__ == "__main__" and sys.argv[1:]:
    _port, _datagrams, _granted = map(int, sys.argv[2:5])
    _places = {"port": _port, "datagrams": _datagrams, "named": sys.argv[5]}
    print(attempt_attack(sys.argv[1], ("127.0.0.1", _granted), **_places))
