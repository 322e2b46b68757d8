"""
Attacks over sockets and other ways between processes.
"""

import ctypes
import encodings.idna  # noqa: F401 - looked up by socket, and not to be found in a box
import os
import socket

from attacks import Attack, Control, only

from executor.linux.libc import call

NO_FAMILY = only("EAFNOSUPPORT")
NEVER, ASSUMED = Control.NEVER, Control.ASSUMED


def tcp(host):
    with socket.create_connection(("127.0.0.1", host.port), timeout=5):
        return "!connected"


def udp(_host):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.sendto(b"x", ("127.0.0.1", 9))
    return "!sent"


def made(family, kind, protocol=0):
    with socket.socket(family, kind, protocol):
        return "!made"


def listen(_host):
    with socket.socket() as made_here:
        made_here.bind(("127.0.0.1", 0))
        made_here.listen()
    return "!listens"


def unix(address):
    with socket.socket(socket.AF_UNIX) as made_here:
        made_here.connect(address)
    return "!connected"


def unix_path_in_work(_host):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("own.sock")
        server.listen()
    return "!listens"


def datagram(host):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made_here:
        made_here.sendto(b"x", host.datagram)
    return "!sent"


def datagram_by_pair(host):
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        one.sendto(b"x", host.datagram)
    return "!sent to a named socket"


def stream_with_address(host):
    one, other = socket.socketpair()
    with one, other:
        one.sendto(b"x", host.stream)
    return "!sent"


def sendmsg_with_address(host):
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, other:
        one.sendmsg([b"x"], [], 0, host.datagram)
        # The kernel ignores the address: what was sent must have come to the other end.
        return "EISCONN" if other.recv(9) == b"x" else "!sent elsewhere"


def reconnect(host):
    one, other = socket.socketpair()
    with one, other:
        one.connect(host.stream)
    return "!connected"


def bind_pair(_host):
    one, other = socket.socketpair()
    with one, other:
        one.bind("\0codecage-attack")
    return "!has a name"


def filtered(_host):
    one, other = socket.socketpair()
    with one, other:
        one.setsockopt(socket.SOL_SOCKET, 27, 1)
    return "!detached"


def all_families(_host):
    passed = []
    for family in range(46):
        for kind in (1, 2, 3, 5):
            try:
                os.close(call("socket", family, kind, 0))
            except OSError as error:
                if error.errno == 97:
                    continue
            passed.append(family)
    return f"!{sorted(set(passed))}" if passed else "none"


def system_v_memory(_host):
    made_here = call("shmget", 0, 4096, 0o1600)
    call("shmctl", made_here, 0, 0)
    return "!made"


def queue(_host):
    name = ctypes.create_string_buffer(b"codecage-attack")
    os.close(call("mq_open", ctypes.addressof(name), os.O_CREAT | os.O_RDWR, 0o600, 0))
    call("mq_unlink", ctypes.addressof(name))
    return "!made"


ATTACKS = {
    "net_tcp_host_loopback": Attack(133, tcp, NO_FAMILY),
    "net_tcp_external": Attack(134, lambda _: made(2, 1), NO_FAMILY),
    "net_udp": Attack(135, udp, NO_FAMILY),
    "net_raw": Attack(136, lambda _: made(2, 3, 1), NO_FAMILY),
    "net_packet": Attack(137, lambda _: made(17, 3), NO_FAMILY),
    "net_netlink": Attack(138, lambda _: made(16, 3), NO_FAMILY),
    "net_alg": Attack(139, lambda _: made(38, 5), NO_FAMILY, NEVER),
    "net_vsock": Attack(140, lambda _: made(40, 1), NO_FAMILY, NEVER),
    "net_bind_listen": Attack(141, listen, NO_FAMILY),
    "net_all_families": Attack(217, all_families, only("none")),
    "ipc_unix_abstract": Attack(142, lambda h: unix(f"\0{h.abstract}"), NO_FAMILY),
    "ipc_unix_path": Attack(143, lambda h: unix(h.stream), NO_FAMILY),
    "ipc_unix_path_in_work": Attack(144, unix_path_in_work, NO_FAMILY),
    "ipc_unix_dgram_sendto": Attack(145, datagram, NO_FAMILY),
    "ipc_unix_dgram_pair": Attack(146, datagram_by_pair, only("EPERM")),
    "ipc_unix_stream_address": Attack(216, stream_with_address, only("EPERM"), NEVER),
    "ipc_unix_sendmsg_address": Attack(216, sendmsg_with_address, only("EISCONN"), NEVER),
    "ipc_unix_stream_reconnect": Attack(147, reconnect, only("EPERM"), NEVER),
    "ipc_unix_bind_pair": Attack(147, bind_pair, only("EPERM")),
    "net_setsockopt": Attack(218, filtered, only("EPERM"), NEVER),
    "ipc_sysv_shm": Attack(149, system_v_memory, only("EPERM")),
    "ipc_posix_mq": Attack(150, queue, only("EPERM")),
}
