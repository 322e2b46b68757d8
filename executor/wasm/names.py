"""
The forms of hosts: names and addresses as a guest writes them, and as the gate is asked for them.
"""

import socket
from typing import Final

# RFC 1035: what a name has at most, without the dot at its end.
NAME_BYTES: Final = 253


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
