# hmac signs, verifies, and compares in constant time.
import hmac
import hashlib

mac = hmac.new(b"key", b"message", "sha256")
print(
    mac.hexdigest(),
    mac.name,
    hmac.compare_digest(mac.digest(), hmac.digest(b"key", b"message", "sha256")),
)
token = f"user=ann.{hmac.new(b'k', b'user=ann', hashlib.sha1).hexdigest()}"
payload, _, sign = token.partition(".")
print(
    token,
    hmac.compare_digest(sign, hmac.new(b"k", payload.encode(), "sha1").hexdigest()),
    hmac.compare_digest("a", "b"),
)
hmac.new(b"key", b"message")
