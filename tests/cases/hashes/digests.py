# Digests of the usual algorithms, whole and in pieces.
import hashlib

data = b"The quick brown fox jumps over the lazy dog"
for name in (
    "md5",
    "sha1",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "sha3_256",
    "blake2b",
    "blake2s",
):
    print(name, hashlib.new(name, data).hexdigest())
h = hashlib.sha256()
for i in range(0, len(data), 7):
    h.update(data[i : i + 7])
copy = h.copy()
copy.update(b".")
print(
    h.hexdigest() == hashlib.sha256(data).hexdigest(),
    copy.hexdigest()[:16],
    h.digest_size,
    h.block_size,
    h.name,
    hashlib.shake_128(b"x").hexdigest(10),
)
hashlib.new("no-such-hash")
