"""
Whom TLS believes: the system's authorities and an administrator's file, read once, before the lock.

Nothing is left to OpenSSL's own search: it follows SSL_CERT_FILE and SSL_CERT_DIR, and looks up a
directory's files when they are needed, which a locked process cannot. So the bundle's place is
taken from a list of ours, and its text is handed over. No key log is written, whatever the
environment says; no session is kept, so no connection profits from another's handshake.

Source: RFC 5280, RFC 9525, SSL_CTX_set_default_verify_paths(3).
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# Where distributions keep all authorities in one file: Debian and Alpine, Fedora, SUSE, BSD's way.
BUNDLES: Final = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/ca-bundle.pem"),
    Path("/etc/ssl/cert.pem"),
)
_BUNDLE_MAX: Final = 8 * 2**20


class TrustUnusable(Exception):
    """
    A file of authorities cannot be read, or holds none; the message says what to do.
    """


@dataclass(frozen=True, slots=True)
class Trust:
    """
    The two ways to speak TLS: as HTTP/1.1 and nothing else, or as a stream of whatever it is.

    `empty` says that nobody is believed, so that every handshake will fail.
    """

    parsed: ssl.SSLContext
    raw: ssl.SSLContext
    empty: bool

    def context(self, *, raw: bool) -> ssl.SSLContext:
        """
        The context of a raw stream or of a parsed one.
        """
        return self.raw if raw else self.parsed


def read_trust(added: Path | None, bundles: Sequence[Path] = BUNDLES) -> Trust:
    """
    Believe the first of `bundles` that is there, and besides the PEM file `added`.

    Raises TrustUnusable when a file cannot be read, is over 8 MiB or holds no certificate. A
    host without any bundle is no error: it may have only names of its own authority.
    """
    found = next((path for path in bundles if path.is_file()), None)
    texts = [_certificates(path) for path in (found, added) if path is not None]
    parsed, raw = (_context(texts) for _ in range(2))
    parsed.set_alpn_protocols(["http/1.1"])
    return Trust(parsed, raw, empty=not texts)


def _certificates(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_BUNDLE_MAX + 1)
    except OSError as error:
        raise TrustUnusable(f"{path} cannot be read ({error.strerror}); name a PEM file") from error
    if len(data) > _BUNDLE_MAX:
        raise TrustUnusable(f"{path} is larger than {_BUNDLE_MAX} bytes; name a PEM file")
    # Comments in bundles are in any encoding; what counts is ASCII.
    return data.decode("ascii", "replace")


def _context(texts: Sequence[str]) -> ssl.SSLContext:
    # A client's context of this kind begins with names checked and a certificate required.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    # Python may set it (OpenSSL 3): an end that TLS does not confirm may be a cut.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    for text in texts:
        try:
            context.load_verify_locations(cadata=text)
        except (ssl.SSLError, ValueError) as error:
            raise TrustUnusable(
                f"a file of authorities holds no usable certificate ({error}); name a PEM file"
            ) from error
    if not (context.check_hostname and context.verify_mode is ssl.CERT_REQUIRED):
        raise TrustUnusable("this Python's TLS does not check names; use another build of it")
    return context
