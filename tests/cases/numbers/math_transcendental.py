# Transcendental functions agree to twelve digits.
import math

for x in (0.1, 0.5, 1.0, 2.0, 10.0, -0.75):
    values = [
        math.sin(x),
        math.cos(x),
        math.tan(x),
        math.exp(x),
        math.atan(x),
        math.tanh(x),
        math.erf(x),
        math.expm1(x),
        math.sinh(x),
        math.asinh(x),
    ]
    print(" ".join(f"{v:.12g}" for v in values))
print(
    *(
        f"{f(v):.12g}"
        for f, v in [
            (math.gamma, 4.5),
            (math.lgamma, 30.5),
            (math.log1p, 1e-9),
            (math.acos, 0.3),
            (math.asin, 0.3),
            (math.atanh, 0.3),
            (math.acosh, 3),
        ]
    )
)
print(f"{math.atan2(-1, -1):.12g} {math.pow(2, 0.5):.12g} {2**0.1:.12g} {math.erfc(3):.12g}")
