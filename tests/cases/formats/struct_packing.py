# struct packs and unpacks binary records.
import struct

raw = struct.pack("<HIf4s?", 1, 2**31, 1.5, b"abcdef", True)
print(
    raw,
    struct.calcsize("<HIf4s?"),
    struct.unpack("<HIf4s?", raw),
    struct.pack(">d", -2.5).hex(),
    struct.unpack("!q", b"\xff" * 8),
)
record = struct.Struct(">B2h")
data = b"".join(record.pack(i, i * 2, -i) for i in range(3))
print(
    list(record.iter_unpack(data)),
    record.size,
    struct.unpack_from("<H", b"xx\x01\x02", 2),
    struct.pack("3p", b"abc"),
    struct.pack("<e", 0.5),
)
struct.pack("<B", 300)
