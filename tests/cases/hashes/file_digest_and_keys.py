# Keyed hashes, salts, and a file's digest.
import hashlib
import io

print(
    hashlib.blake2b(b"m", key=b"k", digest_size=8, salt=b"s", person=b"p").hexdigest(),
    hashlib.file_digest(io.BytesIO(b"abc" * 1000), "sha256").hexdigest(),
)
print(
    {"sha256", "md5", "blake2b", "sha3_512"} <= hashlib.algorithms_guaranteed,
    hashlib.md5(b"", usedforsecurity=False).hexdigest(),
)
hashlib.sha256("text, not bytes")
