"""
Names and addresses: getaddrinfo(3) and getnameinfo(3), which are the host's in Emscripten's libc.

No name server is asked: the gate says whether a name may be connected to, and the session's table
has an address for it. What getaddrinfo answers lies in two blocks of the guest's malloc, because
its freeaddrinfo frees the entry's address and the entry: the canonical name is in the latter.
"""

from dataclasses import dataclass
from typing import Final

from executor.wasm.abi import Errno, GuestFault
from executor.wasm.memory import GuestMemory
from executor.wasm.names import literal
from executor.wasm.process import Process
from executor.wasm.socket_abi import (
    ADDRINFO,
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    IPPROTO_TCP,
    IPPROTO_UDP,
    SOCK_DGRAM,
    SOCK_RAW,
    SOCK_STREAM,
    Eai,
    NameFlags,
    Resolve,
)
from executor.wasm.syscalls.socket_address import Address, read_address

_SERVICES: Final = {"http": 80, "https": 443, "ftp": 21, "ssh": 22, "smtp": 25, "domain": 53}
_PROTOCOLS: Final = {SOCK_STREAM: IPPROTO_TCP, SOCK_DGRAM: IPPROTO_UDP, SOCK_RAW: 0}
_PORT_MAX: Final = 65_535
# What <netdb.h> has for a name and for a service.
_NAME_MAX: Final = 1025


class _NoAddress(Exception):
    """
    getaddrinfo fails by one of its own codes.
    """

    def __init__(self, code: Eai) -> None:
        super().__init__(code.name)
        self.code = code


@dataclass(frozen=True, slots=True)
class _Hints:
    """
    What is asked for; the kind of socket is 0 for any.
    """

    flags: Resolve
    family: int
    kind: int


def getaddrinfo(process: Process, name: int, service: int, hints: int, result: int) -> int:
    """
    The addresses of a host and a service: getaddrinfo(3).

    What the gate refuses is EAI_SYSTEM with its error in errno.
    """
    memory = process.memory
    try:
        memory.span(result, 4)
        asked = _read_hints(memory, hints)
        host = _text(memory.string(name)) if name else None
        port = _port(_text(memory.string(service)) if service else None, asked.flags)
        if host is None and not service:
            raise _NoAddress(Eai.NONAME)
        found = Address(*_address(process, host, asked), port)
        canonical = host if Resolve.CANONNAME in asked.flags else None
        memory.put_u32(result, _store(process, found, asked, canonical))
    except _NoAddress as error:
        return error.code
    except GuestFault as fault:
        process.libc.set_errno(fault.errno)
        raise
    return 0


def _text(data: bytes) -> str:
    # What is no ASCII is no name; it stays what it is for the record.
    return data.decode("ascii", "backslashreplace")


def _read_hints(memory: GuestMemory, pointer: int) -> _Hints:
    if not pointer:
        return _Hints(Resolve(0), AF_UNSPEC, 0)
    flags, family, kind, protocol, *_ = ADDRINFO.unpack(memory.read(pointer, ADDRINFO.size))
    if flags & ~sum(Resolve):
        raise _NoAddress(Eai.BADFLAGS)
    if family not in {AF_UNSPEC, AF_INET, AF_INET6}:
        raise _NoAddress(Eai.FAMILY)
    if kind and kind not in _PROTOCOLS:
        raise _NoAddress(Eai.SOCKTYPE)
    if not kind and protocol:
        kind = SOCK_DGRAM if protocol == IPPROTO_UDP else SOCK_STREAM
    return _Hints(Resolve(flags), family, kind)


def _port(service: str | None, flags: Resolve) -> int:
    if service is None:
        return 0
    if service.isdecimal() and len(service) <= len(str(_PORT_MAX)):
        port = int(service)
        if port <= _PORT_MAX:
            return port
    elif service in _SERVICES and Resolve.NUMERICSERV not in flags:
        return _SERVICES[service]
    raise _NoAddress(Eai.NONAME if Resolve.NUMERICSERV in flags else Eai.SERVICE)


def _address(process: Process, host: str | None, asked: _Hints) -> tuple[int, str]:
    """
    The family and the address as text.
    """
    if host is None:
        return _of_this_host(asked)
    own = literal(host)
    if own is None and Resolve.NUMERICHOST in asked.flags:
        raise _NoAddress(Eai.NONAME)
    if own is None and asked.family == AF_INET6:
        # A name has an address of the one family that is made up here.
        raise _NoAddress(Eai.NONAME)
    text = own
    if text is None or _is_unusable(text, asked):
        text = process.network.resolve_as_name(host)
    family = AF_INET6 if ":" in text else AF_INET
    if asked.family not in {AF_UNSPEC, family}:
        raise _NoAddress(Eai.NONAME)
    return family, text


def _is_unusable(own: str, asked: _Hints) -> bool:
    """
    An address of IPv6 that was not asked for as such: the guest's Python cannot connect to it.
    """
    numeric = Resolve.NUMERICHOST in asked.flags
    return ":" in own and asked.family == AF_UNSPEC and not numeric


def _of_this_host(asked: _Hints) -> tuple[int, str]:
    passive = Resolve.PASSIVE in asked.flags
    if asked.family == AF_INET6:
        return AF_INET6, "::" if passive else "::1"
    return AF_INET, "0.0.0.0" if passive else "127.0.0.1"  # noqa: S104 - told, never bound


def _store(process: Process, found: Address, asked: _Hints, canonical: str | None) -> int:
    """
    The struct addrinfo in the guest's memory: one, of a stream where any kind will do.
    """
    kind = asked.kind or SOCK_STREAM
    address = found.packed()
    name = canonical.encode() + b"\0" if canonical is not None else b""
    at = process.libc.allocate(len(address))
    entry = process.libc.allocate(ADDRINFO.size + len(name))
    if not at or not entry:
        raise _NoAddress(Eai.MEMORY)
    text = entry + ADDRINFO.size if name else 0
    fields = (0, found.family, kind, _PROTOCOLS[kind], len(address), at, text, 0)
    process.memory.write(at, address)
    process.memory.write(entry, ADDRINFO.pack(*fields) + name)
    return entry


# ---- the other way ----------------------------------------------------------------------------


def getnameinfo(
    process: Process,
    pointer: int,
    length: int,
    host: int,
    host_room: int,
    service: int,
    service_room: int,
    flags: int,
) -> int:
    """
    The name of an address, where it was made up for one, and its port's number: getnameinfo(3).
    """
    try:
        if flags & ~sum(NameFlags):
            raise _NoAddress(Eai.BADFLAGS)
        address = _read_for_name(process, pointer, length)
        if host and host_room:
            _put_text(process, host, host_room, _name(process, address, NameFlags(flags)))
        if service and service_room:
            _put_text(process, service, service_room, str(address.port))
    except _NoAddress as error:
        return error.code
    except GuestFault as fault:
        process.libc.set_errno(fault.errno)
        raise
    return 0


def _read_for_name(process: Process, pointer: int, length: int) -> Address:
    try:
        return read_address(process.memory, pointer, length)
    except GuestFault as fault:
        if fault.errno is Errno.EFAULT:
            raise
        raise _NoAddress(Eai.FAMILY) from fault


def _name(process: Process, address: Address, flags: NameFlags) -> str:
    known = process.network.names.name_of(address.text)
    if known is not None and NameFlags.NUMERICHOST not in flags:
        return known
    if NameFlags.NAMEREQD in flags:
        raise _NoAddress(Eai.NONAME)
    return address.text


def _put_text(process: Process, pointer: int, room: int, text: str) -> None:
    data = text.encode() + b"\0"
    if len(data) > min(room, _NAME_MAX):
        raise _NoAddress(Eai.OVERFLOW)
    process.memory.write(pointer, data)


def lookup_name(process: Process, name: int) -> int:
    """
    The IPv4 address of a name as a number in the network's order, for gethostbyname(3).
    """
    host = _text(process.memory.string(name))
    text = process.network.resolve(host)
    if ":" in text:
        raise GuestFault(Errno.EAFNOSUPPORT)
    return int.from_bytes(Address(AF_INET, text, 0).packed()[4:8], "little")
