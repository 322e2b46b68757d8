# int reads bases, underscores, spaces and signs, and converts floats by truncation.
print(
    int("  42\n"),
    int("-0x1f", 16),
    int("0b101", 0),
    int("1_000"),
    int("zz", 36),
    int(-3.9),
    int("٣"),
    int(True),
)
print(
    bin(10),
    oct(8),
    hex(255),
    (255).to_bytes(2, "big"),
    int.from_bytes(b"\x01\x00", "little"),
    (-1).to_bytes(2, "big", signed=True),
)
int("12.5")
