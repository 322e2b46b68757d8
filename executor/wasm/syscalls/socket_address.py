"""
struct sockaddr_in and sockaddr_in6 in guest memory: ip(7), ipv6(7).
"""

import socket
from dataclasses import dataclass
from typing import Final

from executor.wasm.abi import Errno, GuestFault
from executor.wasm.memory import GuestMemory
from executor.wasm.socket_abi import AF_INET, AF_INET6, SOCKADDR_IN, SOCKADDR_IN6

_FAMILY: Final = 2
_LENGTH: Final = 4


@dataclass(frozen=True, slots=True)
class Address:
    """
    An address of AF_INET or AF_INET6 as inet_ntop(3) writes it, and a port.
    """

    family: int
    text: str
    port: int

    def packed(self) -> bytes:
        """
        The struct sockaddr of its family.
        """
        port = self.port.to_bytes(2, "big")
        if self.family == AF_INET:
            return SOCKADDR_IN.pack(AF_INET, port, socket.inet_pton(socket.AF_INET, self.text))
        raw = socket.inet_pton(socket.AF_INET6, self.text)
        return SOCKADDR_IN6.pack(AF_INET6, port, 0, raw, 0)


def read_address(memory: GuestMemory, pointer: int, length: int) -> Address:
    """
    The address at `pointer`, of `length` bytes.

    Raises GuestFault: EINVAL for one that is too short or has an IPv6 scope, EAFNOSUPPORT for
    another family.
    """
    if length < _FAMILY:
        raise GuestFault(Errno.EINVAL)
    family = int.from_bytes(memory.read(pointer, _FAMILY), "little")
    if family not in {AF_INET, AF_INET6}:
        raise GuestFault(Errno.EAFNOSUPPORT)
    layout = SOCKADDR_IN if family == AF_INET else SOCKADDR_IN6
    if length < layout.size:
        raise GuestFault(Errno.EINVAL)
    fields = layout.unpack(memory.read(pointer, layout.size))
    port = int.from_bytes(fields[1], "big")
    if family == AF_INET:
        return Address(family, socket.inet_ntop(socket.AF_INET, fields[2]), port)
    if fields[4]:
        raise GuestFault(
            Errno.EINVAL, f"an IPv6 address with scope {fields[4]}; no interface can be named"
        )
    return Address(family, socket.inet_ntop(socket.AF_INET6, fields[3]), port)


def write_value(memory: GuestMemory, pointer: int, length: int, value: bytes) -> None:
    """
    Store what fits of `value` at `pointer`, for which the integer at `length` gives the room.

    The integer becomes the whole length of an address, as accept(2) has it: an EFAULT leaves both
    as they were.
    """
    room = memory.u32(length)
    if room > 2**31 - 1:
        raise GuestFault(Errno.EINVAL)
    memory.write(pointer, value[:room])
    memory.put_u32(length, len(value))
