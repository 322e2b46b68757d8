# base64, base32, base85 and hexadecimal, with their refusals.
import base64
import binascii

raw = bytes(range(0, 256, 17)) + b"~?"
for f, g in (
    (base64.b64encode, base64.b64decode),
    (base64.urlsafe_b64encode, base64.urlsafe_b64decode),
    (base64.b32encode, base64.b32decode),
    (base64.b16encode, base64.b16decode),
    (base64.b85encode, base64.b85decode),
    (base64.a85encode, base64.a85decode),
):
    print(f.__name__, f(raw), g(f(raw)) == raw)
print(
    binascii.hexlify(b"ab", ":"),
    binascii.unhexlify("6162"),
    base64.b64decode("aGk= \n"),
    base64.encodebytes(b"x" * 60),
    binascii.crc32(b"hello"),
    binascii.crc_hqx(b"hello", 0),
)
base64.b64decode("abc")
