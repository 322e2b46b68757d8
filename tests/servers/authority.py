"""
A certificate authority for one run of the tests, and certificates that deserve no trust.
"""

import datetime as dt
import ssl
import tempfile
import warnings
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Flaw(Enum):
    """
    What is wrong with a server's certificate or its TLS.
    """

    NONE = "none"
    EXPIRED = "expired"
    NOT_YET = "not yet valid"
    SELF_SIGNED = "self-signed"
    OTHER_HOST = "other host"
    OTHER_AUTHORITY = "other authority"
    COMMON_NAME_ALONE = "common name alone"
    OLD_PROTOCOL = "old protocol"


def host_of(flaw: Flaw) -> str:
    """
    The name under which a test meets a server with this flaw.
    """
    return f"{flaw.name.lower().replace('_', '-')}.test"


# A wildcard below the top (`*.test`) would be believed by nobody.
HOSTS = ("api.test", "other.test", "key.test", *map(host_of, Flaw))
NAMES = (*HOSTS, "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Authority:
    """
    `pem` is what a client has to trust; `context` gives a server its side of TLS.
    """

    known: trustme.CA = field(default_factory=trustme.CA)

    @property
    def pem(self) -> bytes:
        return self.known.cert_pem.bytes()

    def context(self, flaw: Flaw = Flaw.NONE) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        match flaw:
            case Flaw.NONE:
                self.known.issue_cert(*NAMES).configure_cert(context)
            case Flaw.OTHER_HOST:
                self.known.issue_cert("other.example").configure_cert(context)
            case Flaw.OTHER_AUTHORITY:
                trustme.CA().issue_cert(*NAMES).configure_cert(context)
            case Flaw.OLD_PROTOCOL:
                self.known.issue_cert(*NAMES).configure_cert(context)
                _make_old(context)
            case _:
                _load(context, self._flawed(flaw))
        return context

    def _flawed(self, flaw: Flaw) -> bytes:
        now = dt.datetime.now(dt.UTC)
        day = dt.timedelta(days=1)
        begins, ends = now - 30 * day, now + 30 * day
        if flaw is Flaw.EXPIRED:
            return self._certificate(begins, now - day)
        if flaw is Flaw.NOT_YET:
            return self._certificate(now + day, ends)
        if flaw is Flaw.SELF_SIGNED:
            return _signed(begins, ends, None, names=HOSTS)
        return self._certificate(begins, ends, names=())

    def _certificate(
        self,
        begins: dt.datetime,
        ends: dt.datetime,
        names: tuple[str, ...] = HOSTS,
    ) -> bytes:
        key = serialization.load_pem_private_key(self.known.private_key_pem.bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        authority = x509.load_pem_x509_certificate(self.pem)
        return _signed(begins, ends, (authority, key), names=names)


Issuer = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def _signed(
    begins: dt.datetime,
    ends: dt.datetime,
    issuer: Issuer | None,
    *,
    names: tuple[str, ...],
) -> bytes:
    """
    Key and certificate as PEM; signed by itself where there is no issuer.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host_of(Flaw.COMMON_NAME_ALONE))])
    by, with_key = (issuer[0].subject, issuer[1]) if issuer else (subject, key)
    builder = (
        x509.CertificateBuilder(by, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if names:
        general = [x509.DNSName(name) for name in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    certificate = builder.sign(with_key, hashes.SHA256())
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return secret + certificate.public_bytes(serialization.Encoding.PEM)


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "server.pem"
        path.write_bytes(pem)
        context.load_cert_chain(path)


def _make_old(context: ssl.SSLContext) -> None:
    with warnings.catch_warnings():
        # That it is old is the point.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
