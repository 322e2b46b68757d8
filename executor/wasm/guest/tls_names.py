"""
Names, numbers, exceptions and certificates as text: the first part of the guest's `ssl`.

Run in the namespace of that module, before `tls_streams.py` and `tls.py`, which says what it is.
The numbers are OpenSSL's, and those of the registry of TLS alerts.
"""

import base64
import calendar
import errno
import os
import socket
import time
from collections import namedtuple
from enum import Enum, IntEnum, IntFlag
from socket import SO_TYPE, SOL_SOCKET, create_connection

OUTSIDE = "TLS is spoken outside this Python, by the server that holds the policy"


def _numbered(kind, name, prefix, text):
    """An enum and the same names in this module, of a text of names and numbers."""
    words = text.split()
    pairs = [(prefix + word, int(number, 0)) for word, number in zip(words[::2], words[1::2])]
    made = kind(name, pairs, module=__name__)
    globals().update(made.__members__)
    return made


_SSLMethod = _numbered(
    IntEnum,
    "_SSLMethod",
    "PROTOCOL_",
    "TLS 2 SSLv23 2 TLSv1 3 TLSv1_1 4 TLSv1_2 5 TLS_CLIENT 16 TLS_SERVER 17",
)
Options = _numbered(
    IntFlag,
    "Options",
    "OP_",
    "ALL 0x80000050 NO_SSLv2 0 SINGLE_DH_USE 0 SINGLE_ECDH_USE 0 LEGACY_SERVER_CONNECT 4 "
    "ENABLE_KTLS 8 IGNORE_UNEXPECTED_EOF 0x80 NO_TICKET 0x4000 NO_COMPRESSION 0x20000 "
    "ENABLE_MIDDLEBOX_COMPAT 0x100000 CIPHER_SERVER_PREFERENCE 0x400000 NO_SSLv3 0x2000000 "
    "NO_TLSv1 0x4000000 NO_TLSv1_2 0x8000000 NO_TLSv1_1 0x10000000 NO_TLSv1_3 0x20000000 "
    "NO_RENEGOTIATION 0x40000000",
)
VerifyFlags = _numbered(
    IntFlag,
    "VerifyFlags",
    "VERIFY_",
    "DEFAULT 0 CRL_CHECK_LEAF 4 CRL_CHECK_CHAIN 12 X509_STRICT 32 ALLOW_PROXY_CERTS 64 "
    "X509_TRUSTED_FIRST 0x8000 X509_PARTIAL_CHAIN 0x80000",
)
VerifyMode = _numbered(IntEnum, "VerifyMode", "CERT_", "NONE 0 OPTIONAL 1 REQUIRED 2")
SSLErrorNumber = _numbered(
    IntEnum,
    "SSLErrorNumber",
    "SSL_ERROR_",
    "SSL 1 WANT_READ 2 WANT_WRITE 3 WANT_X509_LOOKUP 4 SYSCALL 5 ZERO_RETURN 6 WANT_CONNECT 7 "
    "EOF 8 INVALID_ERROR_CODE 10",
)
AlertDescription = _numbered(
    IntEnum,
    "AlertDescription",
    "ALERT_DESCRIPTION_",
    "CLOSE_NOTIFY 0 UNEXPECTED_MESSAGE 10 BAD_RECORD_MAC 20 RECORD_OVERFLOW 22 "
    "DECOMPRESSION_FAILURE 30 HANDSHAKE_FAILURE 40 BAD_CERTIFICATE 42 UNSUPPORTED_CERTIFICATE 43 "
    "CERTIFICATE_REVOKED 44 CERTIFICATE_EXPIRED 45 CERTIFICATE_UNKNOWN 46 ILLEGAL_PARAMETER 47 "
    "UNKNOWN_CA 48 ACCESS_DENIED 49 DECODE_ERROR 50 DECRYPT_ERROR 51 PROTOCOL_VERSION 70 "
    "INSUFFICIENT_SECURITY 71 INTERNAL_ERROR 80 USER_CANCELLED 90 NO_RENEGOTIATION 100 "
    "UNSUPPORTED_EXTENSION 110 CERTIFICATE_UNOBTAINABLE 111 UNRECOGNIZED_NAME 112 "
    "BAD_CERTIFICATE_STATUS_RESPONSE 113 BAD_CERTIFICATE_HASH_VALUE 114 UNKNOWN_PSK_IDENTITY 115",
)
TLSVersion = IntEnum(
    "TLSVersion",
    {
        "MINIMUM_SUPPORTED": -2,
        "SSLv3": 0x300,
        "TLSv1": 0x301,
        "TLSv1_1": 0x302,
        "TLSv1_2": 0x303,
        "TLSv1_3": 0x304,
        "MAXIMUM_SUPPORTED": -1,
    },
    module=__name__,
)

HAS_SNI = HAS_ALPN = HAS_ECDH = HAS_TLSv1_2 = HAS_TLSv1_3 = True
HAS_SSLv2 = HAS_SSLv3 = HAS_TLSv1 = HAS_TLSv1_1 = HAS_NPN = False
HAS_PSK = HAS_PSK_TLS13 = HAS_PHA = False
# The names of a certificate are looked at by the broker, and its common name is not.
HAS_NEVER_CHECK_COMMON_NAME = True
CHANNEL_BINDING_TYPES = []
# Packages look at the first word, and at the numbers.
OPENSSL_VERSION = f"OpenSSL 3.0 is what this module looks like; {OUTSIDE}"
OPENSSL_VERSION_INFO = (3, 0, 0, 0, 0)
OPENSSL_VERSION_NUMBER = 0x30000000
_OPENSSL_API_VERSION = OPENSSL_VERSION_INFO
_DEFAULT_CIPHERS = "@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:DHE+AES:!aNULL:!eNULL"
PEM_HEADER = "-----BEGIN CERTIFICATE-----"
PEM_FOOTER = "-----END CERTIFICATE-----"
# The least that the broker agrees to; which cipher it was, it does not tell.
LEAST_VERSION, LEAST_CIPHER = "TLSv1.2", ("(chosen outside)", "TLSv1.2", 128)

_ASN1Object = namedtuple("_ASN1Object", "nid shortname longname oid")
DefaultVerifyPaths = namedtuple(
    "DefaultVerifyPaths",
    "cafile capath openssl_cafile_env openssl_cafile openssl_capath_env openssl_capath",
)


class Purpose(_ASN1Object, Enum):
    """What a context is for."""

    SERVER_AUTH = 129, "serverAuth", "TLS Web Server Authentication", "1.3.6.1.5.5.7.3.1"
    CLIENT_AUTH = 130, "clientAuth", "TLS Web Client Authentication", "1.3.6.1.5.5.7.3.2"


# ---- exceptions --------------------------------------------------------------------------------


class SSLError(OSError):
    """A refusal or failure of TLS; `reason` is a word for it, where there is one."""

    library = None
    reason = None

    def __str__(self):
        return self.strerror if isinstance(self.strerror, str) else str(self.args)


class SSLZeroReturnError(SSLError):
    """The other side has ended TLS."""


class SSLWantReadError(SSLError):
    """Nothing has come yet."""


class SSLWantWriteError(SSLError):
    """Nothing can be sent yet."""


class SSLSyscallError(SSLError):
    """The connection failed."""


class SSLEOFError(SSLError):
    """The connection ended without a word."""


class SSLCertVerificationError(SSLError, ValueError):
    """The other end is not who was asked for."""

    verify_code = 0
    verify_message = ""


CertificateError = SSLCertVerificationError
socket_error = OSError


def _failure(reason, message, kind=SSLError):
    made = kind(int(SSLErrorNumber.SSL_ERROR_SSL), f"[SSL: {reason}] {message}")
    made.library, made.reason = "SSL", reason
    return made


def _no_certificates():
    return _failure(
        "NO_CERTIFICATES",
        f"the other side's certificate cannot be looked at: {OUTSIDE}, which has checked it",
    )


def _wait_to_read():
    number = int(SSLErrorNumber.SSL_ERROR_WANT_READ)
    return SSLWantReadError(number, "The operation did not complete (read)")


def _wait_to_write():
    number = int(SSLErrorNumber.SSL_ERROR_WANT_WRITE)
    return SSLWantWriteError(number, "The operation did not complete (write)")


# ---- certificates as text, randomness, and what is asked about the whole ------------------------


def DER_cert_to_PEM_cert(der_cert_bytes):
    text = base64.b64encode(der_cert_bytes).decode("ascii")
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join((PEM_HEADER, *lines, PEM_FOOTER, ""))


def PEM_cert_to_DER_cert(pem_cert_string):
    text = pem_cert_string.strip()
    if not text.startswith(PEM_HEADER):
        raise ValueError(f"Invalid PEM encoding; must start with {PEM_HEADER}")
    if not text.endswith(PEM_FOOTER):
        raise ValueError(f"Invalid PEM encoding; must end with {PEM_FOOTER}")
    return base64.decodebytes(text[len(PEM_HEADER) : -len(PEM_FOOTER)].encode("ascii", "strict"))


MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def cert_time_to_seconds(cert_time):
    """Seconds since 1970 of "Jan  5 09:34:43 2018 GMT", whatever the locale is."""
    month, _, rest = cert_time.partition(" ")
    if month.title() not in MONTHS:
        raise ValueError(f'time data {cert_time!r} does not match format "%b %d %H:%M:%S %Y GMT"')
    parts = time.strptime(rest, "%d %H:%M:%S %Y GMT")
    return calendar.timegm((parts[0], MONTHS.index(month.title()) + 1, *parts[2:6]))


def RAND_bytes(num, /):
    if num < 0:
        raise ValueError("num must be positive")
    return os.urandom(num)


def RAND_add(string, entropy, /):
    """What there is of randomness needs no more."""


def RAND_status():
    return True


def get_default_verify_paths():
    """There are no certificates here; the names of variables are those that others have."""
    return DefaultVerifyPaths(None, None, "SSL_CERT_FILE", "", "SSL_CERT_DIR", "")


def get_protocol_name(protocol_code):
    try:
        return _SSLMethod(protocol_code).name
    except ValueError:
        return "<unknown>"


def get_server_certificate(addr, ssl_version=None, ca_certs=None, timeout=None):
    raise _no_certificates()
