"""
The network, as far as this version goes: every attempt is judged by the gate, and refused.

A socket that is never made cannot be bound, connected or read, so those calls are refused
without asking: they come too late to be an attempt at anything.
"""

from executor.wasm.abi import Errno, GuestFault
from executor.wasm.process import Process

# EAI_FAIL of netdb.h, as musl has it.
EAI_FAIL = -4


def socket(
    process: Process, _domain: int, _kind: int, _protocol: int, _a: int, _b: int, _c: int
) -> int:
    """
    Make a socket: socket(2). The gate is told that the guest wants one.
    """
    process.broker.network("", 0)
    raise GuestFault(Errno.EACCES)


def getaddrinfo(process: Process, name: int, service: int, _hints: int, _result: int) -> int:
    """
    Resolve a name: getaddrinfo(3). The name goes to the gate and to no resolver.
    """
    host = process.memory.string(name).decode("utf-8", "backslashreplace") if name else ""
    port = process.memory.string(service).decode("ascii", "replace") if service else ""
    process.broker.network(host[:255], int(port) if port.isdecimal() and len(port) < 6 else 0)
    return EAI_FAIL
