# Fractions stay exact, and approximate on request.
from fractions import Fraction as F

total = sum(F(1, n) for n in range(1, 11))
print(
    total,
    float(total),
    F("0.125"),
    F("3/9"),
    F(0.5),
    F(3.14159).limit_denominator(100),
    F(7, -2),
    abs(F(-1, 3)),
)
print(
    F(1, 3) + F(1, 6),
    F(2, 3) ** -2,
    F(7, 2) // 1,
    F(7, 2) % 1,
    round(F(7, 2)),
    F(1, 2) < 0.6,
    F(1, 2) == 0.5,
    divmod(F(9, 4), F(1, 2)),
)
print(F(10, 4).numerator, int(F(-7, 2)), F(1, 2) + 1, F(1, 2) + 0.25, {F(1, 2): "half"}[0.5])
F(1, 0)
