# Formatting rounds the binary value, decimals round the written one.
from decimal import Decimal

for text in ("0.125", "2.5", "1.005", "2.675", "1e-3", "99.995"):
    print(
        text,
        f"{float(text):.2f}",
        round(float(text), 2),
        round(Decimal(text), 2),
        f"{Decimal(text):.2f}",
        "%.1f" % float(text),
    )
print(
    f"{1e6:.0f} {1234.5:,.0f} {0.5:.0f} {1.5:.0f} {1e21:f} {1e-5:.3g} {123456:.2g} {0.1:.20f} {float('nan'):5} {1.0:n}"
)
