# Keys of several blocks, of long passwords, by other hashes, and what is refused.
import hashlib

for name in ("md5", "sha512", "sha3_256", "blake2s"):
    print(name, hashlib.pbkdf2_hmac(name, b"p" * 200, b"salt", 3, 70).hex())
print(hashlib.pbkdf2_hmac("sha256", bytearray(b"p"), memoryview(b"s"), 1).hex())
print(hashlib.scrypt(b"p" * 80, salt=b"", n=4, r=3, p=2, dklen=70).hex())
for refused in (
    lambda: hashlib.pbkdf2_hmac("sha256", b"p", b"s", 0),
    lambda: hashlib.pbkdf2_hmac("sha256", b"p", b"s", 1, 0),
    lambda: hashlib.pbkdf2_hmac("sha256", "p", b"s", 1),
    lambda: hashlib.scrypt(b"p", salt=b"s", n=3, r=1, p=1),
    lambda: hashlib.scrypt(b"p"),
):
    try:
        refused()
    except (TypeError, ValueError) as error:
        print(type(error).__name__, error)
"pbkdf2_hmac" in hashlib.__all__, "scrypt" in hashlib.__all__
