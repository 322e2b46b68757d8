"""
The addresses that a session's names have: made up here, and meaning something here alone.

No name server is asked for the guest. A name that may be connected to gets the next address of a
range that is never routed (198.18.0.0/15, RFC 2544), and the same one for the session's life, so
what the guest connects to can be told back as the name it asked for.
"""

import ipaddress
from typing import Final

# What a guest can have a server or its worker remember; names below a wildcard are counted besides.
NAMES_MAX: Final = 4096
_RANGE: Final = ipaddress.ip_network("198.18.0.0/15")


class Names:
    """
    Both directions of a session's names, each in its one form, and their addresses.
    """

    __slots__ = ("_addresses", "_names")

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

    def add(self, name: str) -> str | None:
        """
        The address of `name`, made now where it has none; None beyond NAMES_MAX names.
        """
        known = self._addresses.get(name)
        if known is not None or len(self._names) >= NAMES_MAX:
            return known
        address = str(_RANGE[len(self._names) + 1])
        self._addresses[name] = address
        self._names[address] = name
        return address
