"""
Whom a connection speaks to, and what the guest may not see of it.
"""

import re
from dataclasses import dataclass
from typing import Final

from policy.hosts import canonical_host

_AUTHORITY: Final = re.compile(r"(?P<host>\[[^\[\]]*\]|[^\[\]:@]+)(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class Injected:
    """
    The field that is added to each judged request, such as `Authorization: Bearer ...`.

    `value` is the whole value in printable ASCII; `hidden` are the byte strings that must not
    reach the guest, as `hidden.hidden_forms` lists them.
    """

    header: str
    value: bytes
    hidden: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """
    The server at the other end: `host` in its one form (A-labels in lower case, or a literal
    address), `port` 1 to 65535, and whether TLS is spoken with it.
    """

    host: str
    port: int
    tls: bool
    injected: Injected | None = None

    @property
    def scheme(self) -> str:
        """
        `https` or `http`.
        """
        return "https" if self.tls else "http"

    @property
    def authority(self) -> str:
        """
        The value of our Host field; the port is named where it is not the scheme's own.
        """
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    def named_by(self, authority: str) -> bool:
        """
        Whether `authority` (RFC 3986 3.2, from a Host field or an absolute target) is this
        host, with this port or without any.
        """
        if authority == self.authority:
            return True
        found = _AUTHORITY.fullmatch(authority)
        if found is None:
            return False
        host = found["host"]
        if host.startswith("["):
            host = host[1:-1] if ":" in host else ""
        return canonical_host(host) == self.host and found["port"] in {None, str(self.port)}
