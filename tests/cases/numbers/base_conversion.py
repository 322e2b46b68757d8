# Numbers between bases, Gray codes, checksums and bit tricks.
digits = "0123456789abcdefghijklmnopqrstuvwxyz"


def to_base(n, base):
    return "0" if n == 0 else (to_base(n // base, base).lstrip("0") + digits[n % base])


print(
    to_base(255, 2),
    to_base(3735928559, 16),
    to_base(10**12, 36),
    int(to_base(10**12, 36), 36),
    f"{10:>08b}",
)
print(
    [n ^ n >> 1 for n in range(8)], [bin(n & -n) for n in (12, 40)], (0b1011).bit_count(), ~0 & 0xFF
)


def luhn(number):
    return (
        sum(sum(divmod(int(d) * (1 + i % 2), 10)) for i, d in enumerate(reversed(number))) % 10 == 0
    )


print(
    luhn("4539578763621486"),
    luhn("4539578763621487"),
    sum(b << 8 * i for i, b in enumerate(b"\x01\x02")),
)
