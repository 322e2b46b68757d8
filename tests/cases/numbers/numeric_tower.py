# Numbers mix across types, and numbers' ABCs tell them apart.
import numbers
from decimal import Decimal
from fractions import Fraction

print(
    1 + 2.0,
    1 + Fraction(1, 2),
    True + 0.5,
    2j + 1,
    Decimal(1) + 1,
    1 == 1.0 == Fraction(1) == Decimal(1) == 1 + 0j,
)
for value in (1, True, 1.0, 1j, Fraction(1), Decimal(1)):
    print(
        type(value).__name__,
        *(
            isinstance(value, t)
            for t in (numbers.Integral, numbers.Rational, numbers.Real, numbers.Number)
        ),
    )
print(
    2**53 == float(2**53 + 1),
    2**53 + 1 == float(2**53),
    10**25 == 1e25,
    sorted([Fraction(1, 3), 0.3, 1]),
)
