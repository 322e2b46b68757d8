# Integers have no limit: factorials, powers, roots, digits.
import math

f = math.factorial(50)
print(f, sum(map(int, str(f))), f.bit_length(), len(str(2**4000)), str(2**4000)[:12])
print(
    math.isqrt(10**40 + 12345),
    10**30 // 7,
    -(10**30) % 97,
    (1 << 100) | 1,
    int("9" * 40) + 1,
    (-7) ** 33,
)
print(3**200 > 2**300, pow(123456789, 987654321, 10**9 + 7), (2**64).to_bytes(9, "big"))
