# Secrets are fresh, and names give the same UUIDs everywhere.
import secrets
import uuid

print(
    len(secrets.token_hex(8)),
    secrets.token_bytes(4) != secrets.token_bytes(4),
    len(secrets.token_urlsafe(16)),
    secrets.choice([5]),
    secrets.randbelow(1),
    secrets.compare_digest("a", "a"),
)
print(
    uuid.uuid5(uuid.NAMESPACE_DNS, "example.org"),
    uuid.uuid3(uuid.NAMESPACE_URL, "http://example.org/"),
    uuid.uuid4() != uuid.uuid4(),
    uuid.uuid4().version,
)
u = uuid.UUID("12345678-1234-5678-1234-567812345678")
print(
    u.hex,
    u.int,
    u.fields,
    u.urn,
    u.bytes[:2],
    uuid.UUID(int=1),
    u < uuid.UUID(int=0),
    uuid.uuid1().version,
)
uuid.UUID("not-a-uuid")
