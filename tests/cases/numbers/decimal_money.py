# Decimals add money exactly and round as told.
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, getcontext

prices = [Decimal("19.99"), Decimal("0.01"), Decimal("5.005")]
print(sum(prices), Decimal("0.1") + Decimal("0.2") == Decimal("0.3"), Decimal(0.1))
cent = Decimal("0.01")
print(
    Decimal("2.675").quantize(cent, ROUND_HALF_UP),
    Decimal("2.665").quantize(cent, ROUND_HALF_EVEN),
    Decimal("-1.005").quantize(cent),
)
getcontext().prec = 30
print(
    Decimal(1) / Decimal(7),
    Decimal(2).sqrt(),
    Decimal("1e3").normalize(),
    Decimal("1000").to_eng_string(),
    Decimal("12.50").as_tuple(),
)
print(
    f"{Decimal('1234567.891'):,.2f}",
    Decimal("NaN").is_nan(),
    max(Decimal("1.0"), Decimal("1.00")),
    Decimal("1.10") == Decimal("1.1"),
    Decimal("7") % 4,
    Decimal(-7) // 2,
)
Decimal(1) / 0
