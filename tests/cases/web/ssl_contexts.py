# Settings of TLS contexts: what depends on what, and what is refused.
import ssl

context = ssl.create_default_context()
print(context.verify_mode, context.check_hostname, context.protocol)
print(context.maximum_version)
try:
    context.verify_mode = ssl.CERT_NONE
except ValueError as error:
    print(type(error).__name__, error)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
context.check_hostname = True
print(context.verify_mode.name)
context.minimum_version = ssl.TLSVersion.TLSv1_3
context.options |= ssl.OP_NO_TICKET
context.verify_flags |= ssl.VERIFY_X509_STRICT
context.set_alpn_protocols(["http/1.1"])
context.set_ciphers("ECDHE+AESGCM")
print(context.minimum_version.name, bool(context.options & ssl.OP_NO_TICKET))
print(ssl.VerifyFlags.VERIFY_X509_STRICT in context.verify_flags)
unverified = ssl._create_unverified_context()
print(unverified.verify_mode.name, unverified.check_hostname)
for wrong in ({"cafile": "/nowhere.pem"}, {}):
    try:
        context.load_verify_locations(**wrong)
    except (OSError, TypeError) as error:
        print(type(error).__name__)
print(context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO()).server_hostname)
for name in ("", ".example.com"):
    try:
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=name)
    except ValueError as error:
        print(isinstance(error, ValueError), repr(name))
made = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="B\u00fccher.example")
print(made.server_hostname, made.server_side, made.version(), made.cipher())
