"""
System calls on sockets: socket(2), connect(2), send(2), recv(2) and the rest of their family.

The guest has client sockets for TCP. Every other kind, and binding, listening and accepting, is
refused after the gate has been asked, so that the attempt is on record. What the guest's libc
answers by itself (setsockopt, and shutdown in one ABI) comes as ioctl(2), and socketpair(2), which
it does not have, as a link that is read.
"""

from typing import Final

from executor.wasm.abi import Errno, GuestFault, Open
from executor.wasm.memory import TRANSFER_MAX
from executor.wasm.pair import socket_pair
from executor.wasm.process import Process
from executor.wasm.socket_abi import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    FIONBIO,
    FIONREAD,
    IOCTL_SET_OPTION,
    IOCTL_SHUTDOWN,
    MSGHDR,
    SET_OPTION,
    SO_ERROR,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOL_SOCKET,
    Message,
)
from executor.wasm.sockets import Socket
from executor.wasm.syscalls.socket_address import Address, read_address, write_value

# Where a connection seems to come from: of the ranges that names get their addresses of.
_OWN: Final = {AF_INET: "198.19.255.254", AF_INET6: "2001:2::1"}
_NOWHERE: Final = {AF_INET: "0.0.0.0", AF_INET6: "::"}  # noqa: S104 - told, never bound
_FIRST_PORT: Final = 32_768
_DIGITS: Final = 10
# struct sockaddr of a socket without a name: the family alone.
_UNNAMED: Final = AF_UNIX.to_bytes(2, "little")
# What the value of an option may take.
_OPTION_MAX: Final = 512
_RECEIVING: Final = Message.PEEK | Message.DONTWAIT | Message.WAITALL | Message.CMSG_CLOEXEC
_SENDING: Final = Message.DONTWAIT | Message.NOSIGNAL


def socket(
    process: Process, domain: int, kind: int, protocol: int, _a: int, _b: int, _c: int
) -> int:
    """
    Make a socket: socket(2). Everything but TCP is refused, with the gate's reason.
    """
    process.descriptors.require_room()
    flags = kind & (SOCK_CLOEXEC | SOCK_NONBLOCK)
    made = process.network.new_socket(domain, kind & ~flags, protocol)
    if flags & SOCK_NONBLOCK:
        made.flags |= Open.NONBLOCK
    number = process.descriptors.add(made)
    process.descriptors.set_close_on_exec(number, on=bool(flags & SOCK_CLOEXEC))
    return number


# How the guest asks for a pair: with the family, the type and the protocol, in decimal.
PAIR: Final = "/dev/socket/pair/"


def asked_pair(process: Process, path: str) -> bytes:
    """
    What the link at `path`, which begins with PAIR, says: the two descriptors of a new pair.

    Raises GuestFault: EINVAL for a path that is none, and what `pair` is refused with.
    """
    words = path.removeprefix(PAIR).split("/")
    if len(words) != 3 or not all(one.isascii() and one.isdigit() for one in words):
        raise GuestFault(Errno.EINVAL)
    if max(map(len, words)) > _DIGITS:
        raise GuestFault(Errno.EINVAL)
    return "{}/{}".format(*pair(process, *map(int, words))).encode()


def pair(process: Process, domain: int, kind: int, protocol: int) -> tuple[int, int]:
    """
    Make two sockets that are connected to each other: socketpair(2). They leave the guest no more
    than a pipe does.
    """
    table = process.descriptors
    table.require_room(2)
    flags = kind & (SOCK_CLOEXEC | SOCK_NONBLOCK)
    ends = socket_pair(process.network, process.total, domain, kind & ~flags, protocol)
    if flags & SOCK_NONBLOCK:
        for end in ends:
            end.flags |= Open.NONBLOCK
    one, other = table.add(ends[0]), table.add(ends[1])
    for number in (one, other):
        table.set_close_on_exec(number, on=bool(flags & SOCK_CLOEXEC))
    return one, other


def connect(
    process: Process, descriptor: int, pointer: int, length: int, _a: int, _b: int, _c: int
) -> int:
    """
    Connect a socket: connect(2). The address of a name is asked for by that name.
    """
    file = _socket(process, descriptor)
    address = read_address(process.memory, pointer, length)
    if address.family != file.family:
        raise GuestFault(Errno.EAFNOSUPPORT)
    file.connect(process.network.host_of(address.text), address.port)
    return 0


def bind(process: Process, descriptor: int, _b: int, _c: int, _d: int, _e: int, _f: int) -> int:
    """
    Refuse: bind(2). A connection begins where the network's process begins it.
    """
    return _refuse_listening(process, descriptor)


def listen(process: Process, descriptor: int, _b: int, _c: int, _d: int, _e: int, _f: int) -> int:
    """
    Refuse: listen(2).
    """
    return _refuse_listening(process, descriptor)


def accept(process: Process, descriptor: int, _b: int, _c: int, _d: int, _e: int, _f: int) -> int:
    """
    Refuse: accept(2).
    """
    return _refuse_listening(process, descriptor)


def _refuse_listening(process: Process, descriptor: int) -> int:
    _socket(process, descriptor)
    process.network.refuse("listen")
    return 0


def _socket(process: Process, descriptor: int) -> Socket:
    file = process.descriptors.get(descriptor)
    if not isinstance(file, Socket):
        raise GuestFault(Errno.ENOTSOCK)
    return file


# ---- names and options ------------------------------------------------------------------------


def getsockname(
    process: Process, descriptor: int, pointer: int, length: int, _a: int, _b: int, _c: int
) -> int:
    """
    Where a connection comes from: getsockname(2). The address says nothing of the host's.
    """
    file = _socket(process, descriptor)
    if file.family == AF_UNIX:
        write_value(process.memory, pointer, length, _UNNAMED)
        return 0
    if file.is_connected:
        own = Address(file.family, _OWN[file.family], _FIRST_PORT + descriptor)
    else:
        own = Address(file.family, _NOWHERE[file.family], 0)
    write_value(process.memory, pointer, length, own.packed())
    return 0


def getpeername(
    process: Process, descriptor: int, pointer: int, length: int, _a: int, _b: int, _c: int
) -> int:
    """
    What a socket is connected to: getpeername(2), with the address that the guest gave.
    """
    file = _socket(process, descriptor)
    if not file.is_connected:
        raise GuestFault(Errno.ENOTCONN)
    if file.family == AF_UNIX:
        write_value(process.memory, pointer, length, _UNNAMED)
        return 0
    address = process.network.names.address_of(file.host) or file.host
    peer = Address(file.family, address, file.port)
    write_value(process.memory, pointer, length, peer.packed())
    return 0


def getsockopt(
    process: Process, descriptor: int, level: int, name: int, pointer: int, length: int, _a: int
) -> int:
    """
    An option's value: getsockopt(2). With an error in SO_ERROR goes its reason.
    """
    file = _socket(process, descriptor)
    memory = process.memory
    room = memory.u32(length)
    memory.span(pointer, min(room, _OPTION_MAX))
    if (level, name) == (SOL_SOCKET, SO_ERROR):
        fault = file.error()
        value = int(fault.errno if fault else 0).to_bytes(4, "little")
        if fault is not None:
            process.deny(fault)
    else:
        value = file.option(level, name)
    memory.write(pointer, value[:room])
    memory.put_u32(length, min(len(value), room))
    return 0


def socket_ioctl(process: Process, file: Socket, request: int, argument: int) -> int:
    """
    ioctl(2) on a socket; `argument` is a pointer.
    """
    memory = process.memory
    if request == FIONBIO:
        on = Open.NONBLOCK if memory.u32(argument) else Open(0)
        file.flags = file.flags & ~Open.NONBLOCK | on
    elif request == FIONREAD:
        memory.put_u32(argument, file.available())
    elif request == IOCTL_SET_OPTION:
        level, name, length = SET_OPTION.unpack(memory.read(argument, SET_OPTION.size))
        if length > _OPTION_MAX:
            raise GuestFault(Errno.EINVAL)
        file.set_option(level, name, memory.read(argument + SET_OPTION.size, length))
    elif request == IOCTL_SHUTDOWN:
        file.shutdown(memory.u32(argument))
    else:
        raise GuestFault(Errno.ENOTTY)
    return 0


def try_shutdown(process: Process, descriptor: int, how: int, result: int) -> int:
    """
    Shut down a connection: shutdown(2). The answer is "handled"; what it says goes to `result`.
    """
    process.memory.span(result, 4)
    code = 0
    try:
        _socket(process, descriptor).shutdown(how)
    except GuestFault as fault:
        process.deny(fault)
        code = -fault.errno
    process.memory.put_u32(result, code)
    return 1


# ---- transfer ---------------------------------------------------------------------------------


def sendto(
    process: Process, descriptor: int, pointer: int, length: int, flags: int, to: int, _size: int
) -> int:
    """
    Send, 1 MiB at most in one call: send(2). A socket that is connected takes no address.
    """
    file = _socket(process, descriptor)
    asked = _flags(flags, _SENDING)
    if to:
        raise GuestFault(Errno.EISCONN if file.is_connected else Errno.EOPNOTSUPP)
    process.memory.span(pointer, length)
    view = process.memory.window(pointer, min(length, TRANSFER_MAX))
    return file.send(view, wait=Message.DONTWAIT not in asked)


def sendmsg(
    process: Process, descriptor: int, message: int, flags: int, _a: int, _b: int, _c: int
) -> int:
    """
    Send from several buffers: sendmsg(2). No descriptor and nothing else goes along.
    """
    file = _socket(process, descriptor)
    asked = _flags(flags, _SENDING)
    memory = process.memory
    name, _, vectors, count, _, control, _ = MSGHDR.unpack(memory.read(message, MSGHDR.size))
    if control:
        raise GuestFault(Errno.EINVAL)
    if name:
        raise GuestFault(Errno.EISCONN if file.is_connected else Errno.EOPNOTSUPP)
    pairs = memory.vectors(vectors, count)
    data = b"".join([memory.read(pointer, length) for pointer, length in pairs])
    return file.send(data, wait=Message.DONTWAIT not in asked)


def recvfrom(
    process: Process, descriptor: int, pointer: int, length: int, flags: int, sender: int, size: int
) -> int:
    """
    Receive, 1 MiB at most in one call: recv(2). A stream tells no sender.
    """
    file = _socket(process, descriptor)
    asked = _flags(flags, _RECEIVING)
    memory = process.memory
    memory.span(pointer, length)
    if sender and size:
        memory.span(size, 4)
    count = _receive(file, [memory.window(pointer, min(length, TRANSFER_MAX))], asked)
    if sender and size:
        memory.put_u32(size, 0)
    return count


def recvmsg(
    process: Process, descriptor: int, message: int, flags: int, _a: int, _b: int, _c: int
) -> int:
    """
    Receive into several buffers: recvmsg(2). Nothing comes along.
    """
    file = _socket(process, descriptor)
    asked = _flags(flags, _RECEIVING)
    memory = process.memory
    name, _, vectors, count, control, _, _ = MSGHDR.unpack(memory.read(message, MSGHDR.size))
    pairs = memory.vectors(vectors, count)
    got = _receive(file, [memory.window(pointer, length) for pointer, length in pairs], asked)
    memory.write(message, MSGHDR.pack(name, 0, vectors, count, control, 0, 0))
    return got


def _receive(file: Socket, views: list[memoryview], flags: Message) -> int:
    """
    Fill the views in turn; with WAITALL until they are full, or the stream or the waiting ends.
    """
    peek, wait = Message.PEEK in flags, Message.DONTWAIT not in flags
    whole = Message.WAITALL in flags and not peek
    total = 0
    for view in views:
        filled = 0
        while filled < len(view):
            try:
                got = file.receive(view[filled:], peek=peek, wait=wait and (whole or not total))
            except GuestFault:
                if total:
                    return total
                raise
            filled += got
            total += got
            if not got or peek or (filled < len(view) and not whole):
                return total
    return total


def _flags(value: int, allowed: Message) -> Message:
    if value & ~allowed:
        raise GuestFault(Errno.EOPNOTSUPP)
    return Message(value)
