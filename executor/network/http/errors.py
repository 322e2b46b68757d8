"""
What is wrong with the HTTP of a connection; the connection ends with it.

    Ending
    └── Malformed        it is not the HTTP that is spoken here: EPROTO
        ├── BadRequest   the guest's bytes
        └── BadAnswer    the server's bytes

The reasons name fields and limits, and never quote a byte of either side: what a server sends
may hold the secret that it was sent.
"""

import errno

from executor.network.errors import Ending


class Malformed(Ending):
    """
    One side does not speak HTTP/1.1 as RFC 9112 writes it; `reason` is a sentence for the guest.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EPROTO, reason)


class BadRequest(Malformed):
    """
    The guest's request is refused for its form, before anybody decides about it.
    """


class BadAnswer(Malformed):
    """
    The server's answer is refused for its form; nothing more of it reaches the guest.
    """
