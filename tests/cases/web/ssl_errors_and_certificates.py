# Exceptions of TLS, certificates as text, and buffers in memory.
import ssl

for kind in (ssl.SSLZeroReturnError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
    print([one.__name__ for one in kind.__mro__])
for kind in (ssl.SSLSyscallError, ssl.SSLEOFError, ssl.SSLCertVerificationError):
    print([one.__name__ for one in kind.__mro__])
print(ssl.CertificateError is ssl.SSLCertVerificationError, str(ssl.SSLError(1, "said")))
der = bytes(range(200))
pem = ssl.DER_cert_to_PEM_cert(der)
print(pem, ssl.PEM_cert_to_DER_cert(pem) == der)
for wrong in ("nothing", ssl.PEM_HEADER):
    try:
        ssl.PEM_cert_to_DER_cert(wrong)
    except ValueError as error:
        print(error)
print(ssl.cert_time_to_seconds("Jan  5 09:34:43 2018 GMT"))
print(ssl.get_protocol_name(ssl.PROTOCOL_TLS_CLIENT), len(ssl.RAND_bytes(8)), ssl.RAND_status())
print(ssl.Purpose.SERVER_AUTH.oid, ssl.TLSVersion.TLSv1_3.value, ssl.HAS_SNI, ssl.HAS_ALPN)
print(ssl.AlertDescription.ALERT_DESCRIPTION_UNKNOWN_CA, ssl.SSL_ERROR_WANT_READ == 2)
bio = ssl.MemoryBIO()
print(bio.write(b"some bytes"), bio.pending, bio.eof, bio.read(4), bio.pending)
bio.write_eof()
print(bio.eof, bio.read(), bio.eof, bio.read())
try:
    bio.write(b"more")
except ssl.SSLError as error:
    print(error.args[-1])
