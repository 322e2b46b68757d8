"""
Sockets of the WASI guest: preview 1 has calls for what is open, and none that opens or asks.

The guest's `_socket` gets the rest by reading links: `/dev/socket/WORD/ARGUMENT/...` is a call,
its errno is readlink's, and the target is the answer. Numbers are Linux's in decimal, texts and
bytes in hex. Whatever is asked so could be asked by a system call of the other guests, and means
the same.
"""

import binascii
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from executor.wasm.abi import Errno, GuestFault
from executor.wasm.process import Process
from executor.wasm.socket_abi import SHUT_RD, SHUT_RDWR, SHUT_WR, SO_ERROR, SOL_SOCKET
from executor.wasm.sockets import Socket
from executor.wasm.syscalls.network import pair
from executor.wasm.syscalls.wasi_abi import Receive, Shut

# How a path of this kind begins, below the preopened root.
ASKED: Final = "dev/socket/"
_DIGITS: Final = 10
_PORT_MAX: Final = 2**16 - 1
_HOW: Final = {Shut.RD: SHUT_RD, Shut.WR: SHUT_WR, Shut.RD | Shut.WR: SHUT_RDWR}


def answer(process: Process, path: str) -> bytes:
    """
    What the link at `path`, which begins with ASKED, says.

    Raises GuestFault: ENOENT for a word that is none, EINVAL for arguments that are none, and what
    the call itself is refused with.
    """
    word, *arguments = path.removeprefix(ASKED).split("/")
    act = _ACTS.get(word)
    if act is None:
        raise GuestFault(Errno.ENOENT)
    return act(process, _Arguments(arguments)).encode()


class _Arguments:
    """
    The arguments of one call, taken in their order.
    """

    def __init__(self, words: list[str]) -> None:
        self._words = words[::-1]

    def number(self) -> int:
        """
        A number that is not negative. Raises GuestFault(EINVAL).
        """
        word = self._next()
        if not (word.isascii() and word.isdigit() and len(word) <= _DIGITS):
            raise GuestFault(Errno.EINVAL)
        return int(word)

    def data(self) -> bytes:
        """
        Bytes. Raises GuestFault(EINVAL).
        """
        try:
            return binascii.unhexlify(self._next())
        except ValueError as error:
            raise GuestFault(Errno.EINVAL) from error

    def text(self) -> str:
        """
        A text; what is no ASCII is escaped, for the record.
        """
        return self.data().decode("ascii", "backslashreplace")

    def _next(self) -> str:
        if not self._words:
            raise GuestFault(Errno.EINVAL)
        return self._words.pop()


# ---- the calls --------------------------------------------------------------------------------


def _open(process: Process, given: _Arguments) -> str:
    """
    socket(2): family, type and protocol; the descriptor.
    """
    family, kind, protocol = given.number(), given.number(), given.number()
    process.descriptors.require_room()
    made = process.network.new_socket(family, kind, protocol)
    return str(process.descriptors.add(made))


def _pair(process: Process, given: _Arguments) -> str:
    """
    socketpair(2): family, type and protocol; the two descriptors.
    """
    one, other = pair(process, given.number(), given.number(), given.number())
    return f"{one}/{other}"


def _connect(process: Process, given: _Arguments) -> str:
    """
    connect(2): descriptor, address and port. The address of a name is asked for by that name.
    """
    file = _socket(process, given.number())
    address, port = given.text(), given.number()
    if port > _PORT_MAX:
        raise GuestFault(Errno.EINVAL, f"port {port}; ports are 0 to {_PORT_MAX}")
    file.connect(process.network.host_of(address), port)
    return ""


def _resolve(process: Process, given: _Arguments) -> str:
    """
    The address of a host.
    """
    return process.network.resolve(given.text())


def _name(process: Process, given: _Arguments) -> str:
    """
    The name that an address was made up for, or the address itself.
    """
    return process.network.host_of(given.text())


def _peer(process: Process, given: _Arguments) -> str:
    """
    getpeername(2): address and port.
    """
    file = _socket(process, given.number())
    if not file.is_connected:
        raise GuestFault(Errno.ENOTCONN)
    return f"{process.network.names.address_of(file.host) or file.host}/{file.port}"


def _get(process: Process, given: _Arguments) -> str:
    """
    getsockopt(2): descriptor, level and name. With an error in SO_ERROR goes its reason.
    """
    file = _socket(process, given.number())
    level, name = given.number(), given.number()
    if (level, name) != (SOL_SOCKET, SO_ERROR):
        return file.option(level, name).hex()
    fault = file.error()
    if fault is not None:
        process.deny(fault)
    return int(fault.errno if fault else 0).to_bytes(4, "little").hex()


def _set(process: Process, given: _Arguments) -> str:
    """
    setsockopt(2): descriptor, level, name and value.
    """
    file = _socket(process, given.number())
    level, name = given.number(), given.number()
    file.set_option(level, name, given.data())
    return ""


def _listen(process: Process, given: _Arguments) -> str:
    """
    Refuse what servers do: bind(2), listen(2), accept(2).
    """
    _socket(process, given.number())
    process.network.refuse("listen")
    return ""


_ACTS: Final[Mapping[str, Callable[[Process, _Arguments], str]]] = MappingProxyType(
    {
        "open": _open,
        "pair": _pair,
        "connect": _connect,
        "resolve": _resolve,
        "name": _name,
        "peer": _peer,
        "get": _get,
        "set": _set,
        "listen": _listen,
    }
)


def _socket(process: Process, descriptor: int) -> Socket:
    file = process.descriptors.get(descriptor)
    if not isinstance(file, Socket):
        raise GuestFault(Errno.ENOTSOCK)
    return file


# ---- what preview 1 has -----------------------------------------------------------------------


def sock_accept(process: Process, descriptor: int, _flags: int, _result: int) -> int:
    """
    Refuse: accept(2). No socket listens.
    """
    _socket(process, descriptor)
    process.network.refuse("listen")
    return 0


def sock_recv(
    process: Process, descriptor: int, data: int, count: int, flags: int, size: int, out: int
) -> int:
    """
    Receive, into one buffer after the other: recvmsg(2). A stream cuts nothing off.
    """
    file = _socket(process, descriptor)
    asked = Receive(_known(flags, sum(Receive)))
    memory = process.memory
    memory.span(size, 4)
    memory.span(out, 2)
    views = [memory.window(pointer, length) for pointer, length in memory.vectors(data, count)]
    memory.put_u32(size, _received(file, views, asked))
    memory.write(out, bytes(2))
    return 0


def _received(file: Socket, views: list[memoryview], asked: Receive) -> int:
    """
    Fill the views; nothing is waited for once something has come, but with WAITALL.
    """
    total = 0
    for view in views:
        filled = 0
        while filled < len(view):
            try:
                got = _receive_once(file, view[filled:], asked, begun=bool(total))
            except GuestFault:
                if total:
                    return total
                raise
            filled, total = filled + got, total + got
            short = filled < len(view) and Receive.WAITALL not in asked
            if not got or short or Receive.PEEK in asked:
                return total
    return total


def _receive_once(file: Socket, view: memoryview, asked: Receive, *, begun: bool) -> int:
    wait = Receive.WAITALL in asked or not begun
    return file.receive(view, peek=Receive.PEEK in asked, wait=wait)


def sock_send(
    process: Process, descriptor: int, data: int, count: int, flags: int, size: int
) -> int:
    """
    Send, 1 MiB at most in one call: sendmsg(2). There are no flags.
    """
    file = _socket(process, descriptor)
    _known(flags, 0)
    memory = process.memory
    memory.span(size, 4)
    pairs = memory.vectors(data, count)
    sent = b"".join([memory.read(pointer, length) for pointer, length in pairs])
    memory.put_u32(size, file.send(sent))
    return 0


def sock_shutdown(process: Process, descriptor: int, how: int) -> int:
    """
    Receive no more, send no more, or both: shutdown(2).
    """
    file = _socket(process, descriptor)
    wanted = Shut(_known(how, sum(Shut)))
    if not wanted:
        raise GuestFault(Errno.EINVAL)
    file.shutdown(_HOW[wanted])
    return 0


def _known(value: int, known: int) -> int:
    if value & ~known:
        raise GuestFault(Errno.EINVAL)
    return value
