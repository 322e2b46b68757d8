# A local context has its own precision, rounding and traps.
from decimal import Decimal, Inexact, InvalidOperation, localcontext, ROUND_DOWN

with localcontext() as context:
    context.prec = 5
    context.rounding = ROUND_DOWN
    print(Decimal(2) / 3, Decimal("1.23456789") + 0, context.flags[Inexact])
    context.traps[Inexact] = True
    try:
        Decimal(1) / 3
    except Inexact as error:
        print("inexact", type(error).__name__)
print(
    Decimal(2) / 3,
    Decimal("Infinity") > 10**9,
    Decimal("1e-400") * 10,
    Decimal("123.456").scaleb(2),
    Decimal(10).ln(),
)
try:
    Decimal("twelve")
except InvalidOperation as error:
    print(error)
Decimal("1.5") + 1.5
