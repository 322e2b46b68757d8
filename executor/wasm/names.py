"""
The addresses that a session's names have: made up here, and meaning something here alone.

No name server is asked for the guest. A name that may be connected to gets the next address of a
range that is never routed (198.18.0.0/15, RFC 2544), and the same one for the session's life, so
what the guest connects to can be told back as the name it asked for.
"""

import ipaddress
import socket
from typing import Final

from executor.wasm.abi import Errno, GuestFault

# Names are bounded by how many the gate may be asked for; this bounds what they take.
NAMES_MAX: Final = 4096
# RFC 1035: what a name has at most, without the dot at its end.
NAME_BYTES: Final = 253
_RANGE: Final = ipaddress.ip_network("198.18.0.0/15")


class Names:
    """
    Both directions of a session's names and their addresses.
    """

    def __init__(self) -> None:
        self._addresses: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def address_of(self, name: str) -> str | None:
        """
        The address of a name that has been given one.
        """
        return self._addresses.get(name)

    def name_of(self, address: str) -> str | None:
        """
        The name that an address was made for.
        """
        return self._names.get(address)

    def add(self, name: str) -> str:
        """
        Give `name` an address. Raises GuestFault(ENOMEM) beyond NAMES_MAX names.
        """
        if len(self._names) >= NAMES_MAX:
            raise GuestFault(
                Errno.ENOMEM, f"a session may have addresses of {NAMES_MAX} names; reuse those"
            )
        address = str(_RANGE[len(self._names) + 1])
        self._addresses[name] = address
        self._names[address] = name
        return address


def canonical(text: str) -> str:
    """
    A host as the gate is asked for it: in lower case, without one dot at its end, and an address
    as inet_ntop(3) writes it. What is neither a name nor an address is for the gate to refuse.
    """
    found = literal(text)
    if found is not None:
        return found
    # The gate takes one dot for a name's end as well: of two, none is taken away here.
    return text.lower() if text.endswith("..") else text.lower().removesuffix(".")


def literal(text: str) -> str | None:
    """
    An address in the text form of RFC 4291 or four decimal numbers, as inet_ntop(3) writes it.

    None for everything else: a short, octal or hexadecimal form of IPv4 is no address here.
    """
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_ntop(family, socket.inet_pton(family, text))
        except (OSError, ValueError):
            # ValueError: a character that is no ASCII, or NUL.
            continue
    return None
